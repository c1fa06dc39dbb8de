"""Which study a script means that names none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from motoko.compat.places import default_study_dir
from motoko.errors import StudyNotFound
from motoko.job.layout import run_file

FACTS = {"format": 1, "study": "s", "run_id": 1, "job_id": 1, "attempt": 1, "nonce": "n"}


def test_a_run_elsewhere_says_whose_it_is(tmp_path: Path) -> None:
    run_dir, study = tmp_path / "scratch" / "run-1", tmp_path / "w" / "s"
    (run_dir / "sub").mkdir(parents=True)
    Path(run_file(run_dir)).write_text(json.dumps({**FACTS, "study_dir": str(study)}))

    assert default_study_dir(run_dir / "sub", {}) == study
    assert default_study_dir(tmp_path, {"MOTOKO_RUN_DIR": str(run_dir)}) == study
    with pytest.raises(StudyNotFound, match=r"no \.bd and no bd\.yaml"):
        default_study_dir(tmp_path, {})
