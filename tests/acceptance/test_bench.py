"""Each measurement works: run at a tiny size, so that none rots."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import TINY

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", TINY)
@pytest.mark.slow
def test_a_measurement_gives_figures(name: str) -> None:
    command = [sys.executable, "-m", "tests.bench", "--tiny", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)

    assert done.returncode == 0, done.stderr
    assert "median" in done.stdout
    assert len(done.stdout.splitlines()) >= 2
