"""What became of an attempt: what the script said, then how it ended."""

from __future__ import annotations

from typing import Any

import pytest

from motoko.job.verdict import DIED, VANISHED, Said, exit_cause, verdict, warning


def said(*words: str) -> list[dict[str, Any]]:
    """Entries in the order of time: ops, or ``state:X`` for a state that was set."""
    entries = []
    for i, word in enumerate(words):
        op, _, value = word.partition(":")
        entry: dict[str, Any] = {"n": "n", "t": float(i), "op": op}
        if op == "state":
            entry.update(op="set", name="State", value=value)
        elif value:
            entry["reason"] = value
        entries.append(entry)
    return entries


@pytest.mark.parametrize(
    ("words", "code", "completion", "state", "cause"),
    [
        ([], 0, "exit", "FINISHED", None),
        ([], 3, "exit", "FAILED", "exit code 3"),
        ([], -9, "exit", "FAILED", "killed by SIGKILL"),
        ([], None, "exit", "FAILED", VANISHED),
        (["start"], 0, "exit", "FAILED", DIED),
        (["start"], 1, "exit", "FAILED", "exit code 1"),
        (["start", "finish"], 0, "exit", "FINISHED", None),
        (["start", "finish"], 1, "exit", "FINISHED", None),
        (["finish"], None, "exit", "FINISHED", None),
        (["start", "fail:E: no"], 0, "exit", "FAILED", "E: no"),
        (["fail"], 0, "exit", "FAILED", "its script said fail()"),
        (["start", "finish", "start", "fail:late"], 1, "exit", "FINISHED", None),
        (["fail:first", "finish"], 0, "exit", "FAILED", "first"),
        ([], 0, "explicit", "RUNNING", None),
        (["start"], 0, "explicit", "RUNNING", None),
        (["start", "finish"], 0, "explicit", "FINISHED", None),
        (["start"], 2, "explicit", "FAILED", "exit code 2"),
        ([], None, "explicit", "FAILED", VANISHED),
        (["state:FAILED"], 0, "exit", "FAILED", "its script said fail()"),
        (["state:FAILURE"], 0, "exit", "FAILED", "its script said fail()"),
        (["state:FINISHED"], 1, "exit", "FINISHED", None),
        (["state:RUNNING"], 0, "exit", "FAILED", DIED),
        (["state:SLURM submit"], 0, "exit", "SLURM submit", None),
        (["start", "state:toto"], 0, "explicit", "toto", None),
        (["state:toto", "start"], 0, "exit", "FAILED", DIED),
        (["state:toto"], 1, "exit", "FAILED", "exit code 1"),
        (["state:toto", "finish"], 0, "exit", "FINISHED", None),
        (["finish", "state:FORWARDED"], 0, "exit", "FORWARDED", None),
        (["state:CREATED"], 0, "exit", "FINISHED", None),
        (["start", "state:CREATED"], 2, "exit", "FAILED", "exit code 2"),
        (["state:toto", "state:SUBMITTED"], 0, "exit", "toto", None),
        (["finish", "state:CREATED"], 0, "exit", "FINISHED", None),
        (["set", "quantity"], 0, "exit", "FINISHED", None),
    ],
)
def test_verdict(
    words: list[str], code: int | None, completion: str, state: str, cause: str | None
) -> None:
    assert verdict(Said(said(*words)), code, completion) == (state, cause)


def test_time_orders_what_several_processes_said() -> None:
    finish, fail = said("finish", "fail:later")

    assert verdict(Said([fail, finish]), 0) == ("FINISHED", None)


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["finish"], 0, None),
        (["finish"], 2, "after finish(): exit code 2"),
        (["finish"], -11, "after finish(): killed by SIGSEGV"),
        (["finish"], None, f"after finish(): {VANISHED}"),
        (["fail"], 2, None),
        (["start"], 2, None),
        ([], 2, None),
        (["finish", "fail", "state:toto"], 2, "after finish(): exit code 2"),
    ],
)
def test_bad_end_after_finish_is_a_warning(
    words: list[str], code: int | None, expected: str | None
) -> None:
    assert warning(Said(said(*words)), code) == expected


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, "exit code 1"),
        (137, "exit code 137 (SIGKILL)"),
        (139, "exit code 139 (SIGSEGV)"),
        (255, "exit code 255"),
        (-15, "killed by SIGTERM"),
        (-77, "killed by signal 77"),
    ],
)
def test_exit_codes_in_words(code: int, words: str) -> None:
    assert exit_cause(code) == words
