"""Runs whose kept files were changed behind Motoko's back do not begin with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.launch_session import (
    YAML,
    create,
    launching,
    new_study,
    row,
    wait_for_attempts,
)


@pytest.mark.parametrize("size", [1_000, 200_000])
def test_a_run_whose_kept_file_was_changed_fails_and_says_so(tmp_path: Path, size: int) -> None:
    config = YAML + "config_files: [input]\n"
    with new_study(tmp_path / "s", f"touch {tmp_path}/ran\n", config) as study:
        (study.directory / "input").write_bytes(os.urandom(size))
        create(study)
        (kept,) = (f for f in study.files.directory.iterdir() if f.stat().st_size == size)
        kept.chmod(0o600)
        kept.write_bytes(os.urandom(size))

        with launching(study):
            (attempt,) = wait_for_attempts(study, 1)

        assert (row(study)["state"], attempt["class"]) == ("FAILED", "submission")
        assert "has been changed since (input): motoko repair" in attempt["cause"]
        assert not (tmp_path / "ran").exists()
