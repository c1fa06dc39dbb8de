"""Moving and removing what programs left read-only."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from motoko.study import moving
from tests.support.powers import without_powers


def read_only(directory: Path) -> Path:
    """A directory with a file and another directory in it, none of them writable."""
    (directory / "below").mkdir(parents=True)
    (directory / "below" / "file").write_text("kept")
    (directory / "below").chmod(0o500)
    directory.chmod(0o555)
    return directory


def modes(directory: Path) -> list[int]:
    return [path.stat().st_mode & 0o777 for path in (directory, directory / "below")]


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_a_read_only_directory_is_moved_and_keeps_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_elsewhere: bool
) -> None:
    made, target = read_only(tmp_path / "out"), tmp_path / "there" / "out"
    target.parent.mkdir()
    if is_elsewhere:

        def refuse(self: Path, target: Path) -> None:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        monkeypatch.setattr(Path, "rename", refuse)
    with without_powers():
        moving.check_movable([made])
        moving.move(made, target)

    assert not made.exists()
    assert modes(target) == [0o555, 0o500]
    assert (target / "below" / "file").read_text() == "kept"


def test_read_only_directories_are_removed(tmp_path: Path) -> None:
    made = read_only(tmp_path / "out")
    (tmp_path / "link").symlink_to("/nonexistent")
    with without_powers():
        for name in ("out", "link", "missing"):
            moving.check_removable(tmp_path / name)
            moving.remove(tmp_path / name)

    assert not made.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory away needs root")
def test_what_another_user_made_read_only_is_named_with_what_to_do(tmp_path: Path) -> None:
    made = read_only(tmp_path / "out")
    os.chown(made / "below", 65534, 65534)
    os.chown(made, 65534, 65534)
    with without_powers():
        for refused in (moving.check_removable, lambda path: moving.check_movable([path])):
            with pytest.raises(PermissionError, match=f"`chmod -R u\\+w {made}`"):
                refused(made)
    assert made.exists()


def test_a_closed_parent_is_named(tmp_path: Path) -> None:
    parent = tmp_path / "runs"
    parent.mkdir(mode=0o555)
    with without_powers():
        with pytest.raises(PermissionError, match=f"`chmod u\\+w {parent}`"):
            moving.check_writable(parent / "there" / "not-yet")
        moving.check_writable(tmp_path / "not-yet")
