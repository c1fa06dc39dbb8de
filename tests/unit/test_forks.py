"""What a process forks holds none of its locks, however long it lives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from motoko.daemon import Office, Use
from motoko.host import is_locked


@contextmanager
def forked_child() -> Iterator[None]:
    """A child that lives as long as the block."""
    until, end = os.pipe()
    begun, begin = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(end)
        os.write(begin, b"x")
        os.read(until, 1)
        os._exit(0)
    try:
        os.read(begun, 1)
        yield
    finally:
        os.close(end)
        os.waitpid(pid, 0)
        for fd in (until, begun, begin):
            os.close(fd)


@pytest.mark.parametrize("without", [(), ("os.memfd_create",)])
def test_a_child_does_not_hold_the_office_of_a_parent_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]
) -> None:
    for name in without:  # a Python that was built for old systems lacks it
        monkeypatch.delattr(name, raising=False)
    office = Office(tmp_path / "it.lock", "it")
    office.take()
    use = Use(Office(tmp_path / "other.lock", "other"))
    use.begin()
    with forked_child():
        assert Office(office.file, "it").owner() is not None
        for fd in (*office.own_fds, *use.own_fds):
            os.close(fd)  # as the system does for whom it kills

        assert Office(office.file, "it").owner() is None
        assert not is_locked(str(tmp_path / "it.lock"))
        again = Use(Office(tmp_path / "other.lock", "other"))
        again.begin()
        assert again._is_alone()
        again.leave()


def test_what_a_child_writes_into_an_office_goes_nowhere(tmp_path: Path) -> None:
    office = Office(tmp_path / "it.lock", "it")
    office.take({"a": 1})

    pid = os.fork()
    if pid == 0:
        try:
            office.update({"a": 2})
            office.leave()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)

    owner = Office(office.file, "it").owner()
    assert owner is not None and owner.facts == {"a": 1} and not owner.has_left
    office.leave()
