"""Which files runs are given, asked for once for each of many runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from motoko.config import read_study
from motoko.errors import ConfigError
from motoko.study import files
from motoko.study.files import GivenFiles

BD = "study: s\njob: {x: float}\nrun: {}\nexec_file: launch.sh\n"


def given(directory: Path, bd_yaml: str = BD) -> GivenFiles:
    """Those of a study with this ``bd.yaml``."""
    (directory / "bd.yaml").write_text(bd_yaml)
    return GivenFiles(read_study(directory))


def test_a_program_counts_from_the_moment_that_it_is_there(tmp_path: Path) -> None:
    found = given(tmp_path)

    names = [[file.name for file in found.present()]]
    for change in (Path.touch, Path.unlink):
        change(tmp_path / "doIt.py")
        names.append([file.name for file in found.present()])

    assert names == [["launch.sh"], ["doIt.py", "launch.sh"], ["launch.sh"]]


def test_what_cannot_change_is_found_out_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    find = files.given_files
    monkeypatch.setattr(files, "given_files", lambda study: asked.append(study) or find(study))
    found = given(tmp_path)
    found.present()
    n_asked = len(asked)

    found.present()

    assert 0 < n_asked == len(asked)


def test_files_of_one_name_are_refused_each_time(tmp_path: Path) -> None:
    found = given(tmp_path, f"{BD}config_files: [a/in.txt, b/in.txt]\n")

    for _ in range(2):
        with pytest.raises(ConfigError, match=r"both be in\.txt"):
            found.present()
