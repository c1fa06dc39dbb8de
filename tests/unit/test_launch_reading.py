"""Reading on in journals keeps what decides alone, and gives what reading everything would."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from motoko.job.journal import encode
from motoko.job.verdict import DIED, FAILED, FINISHED, RUNNING, Said, exit_cause, spoken_state
from motoko.job.verdict import verdict as verdict_of
from motoko.job.verdict import warning as warning_of
from motoko.launch import reading as readings
from motoko.launch.reading import Reading
from tests.support.effort import examples

NONCE = "abc"
PREFIX = ".motoko-journal-1-"
Entries = list[dict[str, Any]]


def judged(entries: Entries, exit_code: int | None, completion: str) -> tuple[str, str | None]:
    """The verdict by going through all entries, as `verdict` describes it."""
    final = own_state = cause = None
    for entry in entries:
        said = spoken_state(entry)
        if final is None and said in (FINISHED, FAILED):
            final, own_state = said, None
            if said == FAILED:
                cause = str(entry.get("reason") or "its script said fail()")
        elif said and (final is None or said not in (RUNNING, FINISHED, FAILED)):
            own_state = said
    if final:
        return own_state or final, cause
    if exit_code != 0:
        return FAILED, exit_cause(exit_code)
    if own_state not in (None, RUNNING):
        return str(own_state), None
    if completion == "explicit":
        return RUNNING, None
    return (FAILED, DIED) if own_state else (FINISHED, None)


def final_word(entries: Entries) -> dict[str, Any] | None:
    """The first of finish() and fail()."""
    return next((e for e in entries if spoken_state(e) in (FINISHED, FAILED)), None)


STATES = st.sampled_from(["RUNNING", "FINISHED", "FAILED", "FAILURE", "", "OWN", "OTHER", None])
WORDS = st.one_of(
    st.fixed_dictionaries({"op": st.sampled_from(["start", "finish"])}),
    st.fixed_dictionaries({"op": st.just("fail")}, optional={"reason": st.text(max_size=3)}),
    st.fixed_dictionaries({"op": st.just("set"), "name": st.just("State"), "value": STATES}),
    st.fixed_dictionaries({"op": st.just("set"), "name": st.just("x"), "value": st.integers()}),
    st.fixed_dictionaries({"op": st.just("quantity"), "name": st.just("q")}),
)
#: Times that repeat and go back.
TIMES = st.integers(0, 5)
ENTRIES = st.builds(
    lambda word, t, nonce: encode({"n": nonce, "t": t, **word}),
    WORDS,
    TIMES,
    st.sampled_from([NONCE, NONCE, NONCE, "another"]),
)
LINES = ENTRIES | ENTRIES.map(lambda line: line[9:]) | st.just(b"\n")
#: To which journal, what, in which pieces it is read, and who is told of it.
STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), LINES, st.integers(0, 200), st.booleans(), st.booleans()),
    max_size=25,
)


def everything(directory: str) -> tuple[Entries, dict[str, int]]:
    """All entries by time, and how far journals go."""
    reading = Reading(directory, 1, NONCE)
    heard: Entries = []
    reading.said.hear = heard.extend  # type: ignore[method-assign, assignment]
    reading.read(is_last=True)
    return sorted(heard, key=lambda e: float(e["t"])), reading.offsets


@settings(
    suppress_health_check=[HealthCheck.too_slow], max_examples=examples(60), deadline=None
)
@given(STEPS, st.sampled_from([0, 1, None, -9]), st.sampled_from(["exit", "explicit"]))
def test_pieces_decide_what_the_whole_does(
    steps: list[tuple[str, bytes, int, bool, bool]], code: int | None, completion: str
) -> None:
    with TemporaryDirectory() as directory:
        reading = Reading(directory, 1, NONCE)
        heard: Entries = []
        hear = reading.said.hear
        reading.said.hear = lambda es: (heard.extend(es), hear(es))  # type: ignore
        news: Entries = []
        for name, line, cut, is_read, is_told in steps:
            with open(f"{directory}/{PREFIX}{name}", "ab") as file:
                file.write(line[:cut])
                file.flush()
                if is_read:
                    news += reading.read(f"{PREFIX}{name}" if is_told else None)
                file.write(line[cut:])
        news += reading.read(is_last=True)
        whole, offsets = everything(directory)

    in_pieces = sorted(heard, key=lambda e: float(e["t"]))
    assert [str(e["t"]) for e in in_pieces] == [str(e["t"]) for e in whole]
    assert sorted(map(json.dumps, news)) == sorted(map(json.dumps, whole))
    assert reading.offsets == offsets
    assert reading.said.final_word is final_word(in_pieces)
    assert verdict_of(reading.said, code, completion) == judged(in_pieces, code, completion)
    final = final_word(in_pieces)
    is_bad = final is not None and spoken_state(final) == FINISHED and code != 0
    assert (warning_of(reading.said, code) is not None) == is_bad


@given(st.lists(st.tuples(TIMES, WORDS), max_size=8))
@example([(2, {"op": "start"}), (1, {"op": "set", "name": "state", "value": "OWN"})])
def test_the_times_decide_in_whatever_order_entries_are_heard(
    words: list[tuple[int, dict[str, Any]]],
) -> None:
    entries = [{"n": NONCE, "t": t, **word} for t, word in words]
    said = Said()
    for entry in entries:
        said.hear([entry])

    by_time = sorted(entries, key=lambda e: float(e["t"]))
    assert said.final_word is final_word(by_time)
    assert verdict_of(said, 0) == judged(by_time, 0, "exit")


class Looks:
    """Counts what a reading lists, in a time that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_listed = 0
        self.now = 0.0
        real = os.listdir

        def listdir(path: str) -> list[str]:
            self.n_listed += 1
            return real(path)

        monkeypatch.setattr(readings.os, "listdir", listdir)
        monkeypatch.setattr(readings.time, "monotonic", lambda: self.now)

    def settle(self, reading: Reading) -> None:
        """Wait until a listing has everything, whatever the file system."""
        for _ in range(2):
            self.now += 10.0
            reading.read()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


def add(directory: Path, name: str, n: int, op: str = "start") -> None:
    with open(directory / f"{PREFIX}{name}", "ab") as file:
        file.write(encode({"n": NONCE, "t": n, "op": op}))


def test_what_is_kept_does_not_grow_with_what_was_read(tmp_path: Path) -> None:
    def kept(reading: Reading) -> int:
        return len(
            json.dumps(vars(reading), default=lambda one: repr(getattr(one, "__dict__", one)))
        )

    reading = Reading(str(tmp_path), 1, NONCE)
    add(tmp_path, "a", 1)
    reading.read()
    before = kept(reading)
    for i in range(2, 1000):
        add(tmp_path, "a", i)
    assert len(reading.read()) == 998

    assert kept(reading) < before + 200


def test_a_directory_is_listed_when_it_has_changed(tmp_path: Path, looks: Looks) -> None:
    reading = Reading(str(tmp_path), 1, NONCE)
    add(tmp_path, "a", 1)
    reading.read()
    looks.settle(reading)
    looks.n_listed = 0

    for i in range(2, 12):
        add(tmp_path, "a", i)
        assert len(reading.read(f"{PREFIX}a")) == 1
    assert looks.n_listed == 0

    add(tmp_path, "b", 20, "finish")
    assert [e["op"] for e in reading.read()] == ["finish"]
    assert reading.read(is_last=True) == []
    assert looks.n_listed == 2


def test_changes_of_the_same_time_are_seen(tmp_path: Path, looks: Looks) -> None:
    reading = Reading(str(tmp_path), 1, NONCE)
    os.utime(tmp_path, ns=(0, 0))
    reading.read()

    found = []
    for name, later_s in zip("abcd", (0.01, 1.0, 1.5, 2.5), strict=True):
        add(tmp_path, name, 1)
        os.utime(tmp_path, ns=(0, 0))
        looks.now = later_s
        found.append(len(reading.read()))

    assert found == [1, 1, 0, 2]  # of one second, as on old file systems: a little later


def test_a_large_directory_is_not_listed_for_a_journal_that_is_told(
    tmp_path: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "_FEW", 5)
    names = itertools.count()
    reading = Reading(str(tmp_path), 1, NONCE)

    def grow() -> None:
        for _ in range(10):
            (tmp_path / f"frame-{next(names)}").touch()

    grow()
    reading.read()
    looks.n_listed = 0
    for n, name in enumerate("aab", 1):
        add(tmp_path, name, n)
        grow()
        assert [e["t"] for e in reading.read(f"{PREFIX}{name}")] == [n]
    for nothing in ("none", "../a", "\0"):
        assert reading.read(PREFIX.replace("1", "2") + nothing) == []
    assert reading.read(f"{PREFIX}none") == []
    assert looks.n_listed == 3  # for another attempt's journal, which tells nothing

    add(tmp_path, "c", 9)
    assert [e["t"] for e in reading.read()] == [9]
    assert set(reading.offsets) == {f"{PREFIX}{name}" for name in "abc"}
