"""The token: complete, taken once, and held as long as a process of the run lives."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from motoko.host import boot_id, host_name, is_alive, process_start_time
from motoko.job.holders import is_held
from motoko.job.layout import token_file
from motoko.job.token import read_refusal, read_token, take_token, token_facts


@pytest.fixture(params=["nameless", "named aside"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of making the file: some file systems have no files without a name."""
    if request.param == "nameless":
        return
    real = os.open

    def refuse(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)


def take(run_dir: Path, attempt: int = 1, nonce: str = "n") -> int | None:
    return take_token(run_dir, attempt, token_facts(nonce, "g"))


def test_token_names_nonce_generation_host_and_boot(tmp_path: Path) -> None:
    fd = take(tmp_path)

    token = read_token(tmp_path, 1)

    assert token is not None
    assert fd is not None
    os.close(fd)
    assert (token.nonce, token.host, token.boot) == ("n", host_name(), boot_id())
    assert token.facts["generation"] == "g"
    assert token.facts["launcher"] == os.getpid()
    assert (token.pid, token.started, token.start_time) == (None, None, None)


@pytest.mark.parametrize("way", ["nameless"], indirect=True)
def test_a_python_that_does_not_know_the_flag_takes_tokens_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.O_TMPFILE", raising=False)  # as where it was built for old systems

    fd = take(tmp_path)

    assert fd is not None and take(tmp_path) is None
    os.close(fd)


def test_second_taker_gets_nothing_and_leaves_a_note(tmp_path: Path) -> None:
    fd = take(tmp_path, nonce="first")
    assert fd is not None

    assert take(tmp_path, nonce="second") is None

    token = read_token(tmp_path, 1)
    assert token is not None
    assert token.nonce == "first"
    note, _ = sorted(tmp_path.iterdir())
    said = "a further start of this attempt was refused, since its token was taken"
    by = f"by process {os.getpid()} on {host_name()!r} at "
    assert note.name.startswith(".motoko-refused-1-")
    assert read_refusal(note).startswith(f"{said}: {by}")
    note.write_text("{half")
    assert read_refusal(note) == said
    assert is_held(tmp_path, 1)
    os.close(fd)


def test_a_link_that_was_made_although_the_answer_was_lost_is_the_takers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def link(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        raise FileExistsError(errno.EEXIST, "the second request found it made")

    monkeypatch.setattr(os, "link", link)

    fd = take(tmp_path)

    assert fd is not None
    assert [file.name for file in tmp_path.iterdir()] == [Path(token_file(tmp_path, 1)).name]
    os.close(fd)


def test_of_many_takers_at_once_one_wins(tmp_path: Path) -> None:
    taken: list[int | None] = []
    gate = threading.Barrier(8)

    def run() -> None:
        gate.wait()
        taken.append(take(tmp_path))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    winners = [fd for fd in taken if fd is not None]
    assert (len(taken), len(winners)) == (8, 1)
    os.close(winners[0])


def test_attempts_have_tokens_of_their_own(tmp_path: Path) -> None:
    first, second = take(tmp_path, 1), take(tmp_path, 2)

    assert first is not None
    assert second is not None
    os.close(first)
    assert (is_held(tmp_path, 1), is_held(tmp_path, 2)) == (False, True)
    os.close(second)


def test_nobody_holds_a_token_that_is_not_there(tmp_path: Path) -> None:
    assert read_token(tmp_path, 1) is None
    assert not is_held(tmp_path, 1)


def test_descendant_holds_the_token_after_its_parents_are_gone(tmp_path: Path) -> None:
    # The grandchild lives until its standard input is closed.
    read_end, write_end = os.pipe()
    fd = take(tmp_path)
    assert fd is not None
    subprocess.run(
        ["/bin/bash", "-c", "cat >/dev/null <&0 &"], stdin=read_end, pass_fds=[fd], check=True
    )
    os.close(read_end)
    os.close(fd)

    held = [is_held(tmp_path, 1), is_held(tmp_path, 1)]
    os.close(write_end)
    # An exclusive lock is granted when the last holder is gone.
    subprocess.run(["flock", "-w", "30", token_file(tmp_path, 1), "true"], check=True)

    assert held == [True, True]
    assert not is_held(tmp_path, 1)


def test_asking_does_not_take_the_lock_away(tmp_path: Path) -> None:
    fd = take(tmp_path)
    assert fd is not None

    for _ in range(3):
        assert is_held(tmp_path, 1)
    os.close(fd)
    assert [is_held(tmp_path, 1) for _ in range(3)] == [False, False, False]


def test_two_may_ask_at_the_same_time(tmp_path: Path) -> None:
    fd = take(tmp_path)
    assert fd is not None
    os.close(fd)

    with open(token_file(tmp_path, 1)) as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not is_held(tmp_path, 1)


def test_descriptor_is_inheritable(tmp_path: Path) -> None:
    fd = take(tmp_path)

    assert fd is not None
    assert os.get_inheritable(fd)
    os.close(fd)


@pytest.mark.parametrize("content", [b"", b"\n", b"{torn", b"[]\nstarted x y z\n"])
def test_damaged_token_is_there_but_says_nothing(tmp_path: Path, content: bytes) -> None:
    Path(token_file(tmp_path, 1)).write_bytes(content)

    token = read_token(tmp_path, 1)

    assert token is not None
    assert (token.nonce, token.host, token.pid) == ("", "", None)


def test_prologue_line_is_read(tmp_path: Path) -> None:
    text = json.dumps({"nonce": "n"}) + "\nstarted 12 1.5 99\n"
    Path(token_file(tmp_path, 1)).write_text(text)

    token = read_token(tmp_path, 1)

    assert token is not None
    assert (token.pid, token.started, token.start_time) == (12, 1.5, 99)


def test_run_directory_that_is_gone_is_an_error_not_a_taken_token(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        take(tmp_path / "none")


def test_process_is_alive_only_as_itself() -> None:
    start = process_start_time(os.getpid())

    assert start is not None
    assert is_alive(os.getpid(), start)
    assert is_alive(os.getpid())
    assert not is_alive(os.getpid(), start + 1)
    assert not is_alive(0)


def test_ended_process_is_dead_even_before_anybody_waited_for_it() -> None:
    child = subprocess.Popen(["true"], stdout=subprocess.PIPE)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    is_zombie_alive = is_alive(child.pid)
    child.communicate()

    assert not is_zombie_alive
    assert not is_alive(child.pid)
    assert process_start_time(child.pid) is None


def test_the_start_of_the_system_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known = boot_id()

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was read before")

    monkeypatch.setattr("builtins.open", refuse)
    assert boot_id() == known
