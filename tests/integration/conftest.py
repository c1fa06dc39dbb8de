"""What integration tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.systems import System, fake_system


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[System]:
    """A Slurm that does as it is told."""
    with fake_system(tmp_path / "fake", "slurm") as system:
        yield system
