"""Whatever lies in a run directory: reading it ends, and gives no false verdict."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from motoko.errors import JobSideError
from motoko.job import journal, outcome, token, verdict
from motoko.job.facts import LATEST, read_facts
from motoko.job.outcome import Outcome
from motoko.launch.adoption import Fate, examine
from motoko.launch.attempt import Attempt
from motoko.launch.reading import Reading

NONCE = "abc"
OUTCOME = Outcome(3, 1.5, 2.5, "node1", 77)
#: What a script may have left, or a disk that is damaged.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
RUBBISH = st.binary(max_size=200) | JSON.map(lambda v: json.dumps(v).encode() + b"\n")
#: Mappings with the right keys, and anything behind them.
OUTCOMES = st.fixed_dictionaries(
    dict.fromkeys(("nonce", "exit", "begin", "end", "host", "pid"), JSON)
) | st.fixed_dictionaries(
    {"nonce": st.just(NONCE), **dict.fromkeys(("exit", "begin", "end", "host", "pid"), JSON)}
)
ENTRIES = st.fixed_dictionaries(
    {"n": st.just(NONCE) | JSON, "t": JSON, "op": JSON},
    optional={"name": JSON, "value": JSON, "reason": JSON},
)


@contextmanager
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


class Known:
    """What `examine` needs to know of an attempt."""

    number, nonce = 1, NONCE

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = str(run_dir)


def fate(run_dir: Path) -> Fate:
    return examine(cast("Attempt", Known(run_dir))).fate


def take(run_dir: Path) -> int:
    fd = token.take_token(run_dir, 1, token.token_facts(NONCE, "g"))
    assert fd is not None
    return fd


def whole_outcome(run_dir: Path) -> bytes:
    outcome.write_outcome(run_dir, 1, NONCE, OUTCOME)
    return (run_dir / ".motoko-outcome-1").read_bytes()


@pytest.mark.slow
@given(RUBBISH | OUTCOMES.map(lambda v: json.dumps(v).encode() + b"\n"))
@example(b'{"nonce":"abc","exit":1e999,"begin":1,"end":2,"host":"h","pid":1}\n')
@example(b'{"nonce":"abc","exit":0,"begin":1e999,"end":2,"host":"h","pid":1}\n')
@example(b'{"nonce":"abc","exit":0,"begin":NaN,"end":2,"host":"h","pid":1}\n')
@example(b"[" * 100_000 + b"\n")
def test_an_outcome_is_whole_or_none(content: bytes) -> None:
    with directory() as run_dir:
        (run_dir / ".motoko-outcome-1").write_bytes(content)
        found = outcome.read_outcome(run_dir, 1, NONCE)

    if found is not None:
        assert json.loads(content)["nonce"] == NONCE
        assert 0 <= found.begin <= found.end < LATEST


@given(st.integers(0, 200))
def test_a_torn_outcome_is_none(cut: int) -> None:
    with directory() as run_dir:
        os.close(take(run_dir))
        content = whole_outcome(run_dir)
        (run_dir / ".motoko-outcome-1").write_bytes(content[:cut])
        found = outcome.read_outcome(run_dir, 1, NONCE)
        judged = fate(run_dir)

    if cut >= len(content):
        assert (found, judged) == (OUTCOME, Fate.ENDED)
    else:
        assert found is None
        assert judged in (Fate.VANISHED, Fate.UNTOLD)


@pytest.mark.slow
@given(RUBBISH, st.booleans())
@example(b"", True)
@example(b"[" * 100_000 + b"\n", True)
@example(b'{"nonce":"abc"}\nstarted 1e9 nan 3\n', True)
@example(b'{"nonce":"abc"}\nstarted 99999999999999999999999 1.0 3\n', True)
def test_rubbish_in_a_token_ends_nothing_that_is_there(content: bytes, is_held: bool) -> None:
    with directory() as run_dir:
        fd = take(run_dir)
        if not is_held:
            os.close(fd)
        (run_dir / ".motoko-token-1").write_bytes(content)
        judged = fate(run_dir)
        if is_held:
            os.close(fd)

    if is_held:
        assert judged in (
            Fate.HELD,
            Fate.RUNNING,
            Fate.ELSEWHERE,
            Fate.UNSTARTED,
            Fate.REBOOTED,
        )
        assert judged is Fate.HELD or json.loads(content.splitlines()[0])
    else:
        assert judged is not Fate.ENDED


@pytest.mark.slow
@given(st.integers(0, 400))
def test_a_torn_token_is_nobody_elses(cut: int) -> None:
    with directory() as run_dir:
        with open(take(run_dir), "ab") as held:
            held.write(b"started %d 1.5 3\n" % os.getpid())
            held.flush()
            file = run_dir / ".motoko-token-1"
            file.write_bytes(file.read_bytes()[:cut])
            while_held = fate(run_dir)
        afterwards = fate(run_dir)

    assert while_held in (Fate.HELD, Fate.RUNNING)
    assert afterwards is Fate.VANISHED


@pytest.mark.slow
@given(st.lists(RUBBISH | ENTRIES.map(journal.encode), max_size=6), st.integers(-3, 500))
def test_a_journal_gives_entries_or_damage_and_never_stops(
    lines: list[bytes], offset: int
) -> None:
    with directory() as run_dir:
        file = run_dir / ".motoko-journal-1-h-1-a"
        file.write_bytes(b"".join(lines))
        part = journal.read_journal(file, max(0, offset), NONCE)
        again = journal.read_journal(file, part.offset, NONCE)

    assert all(e["n"] == NONCE and 0 <= e["t"] < LATEST for e in part.entries)
    assert again.entries == []
    state, _ = verdict.verdict(verdict.Said(part.entries), None)
    said = {verdict.spoken_state(entry) for entry in part.entries}
    assert state == "FAILED" or state in said


@pytest.mark.slow
@given(st.lists(ENTRIES.map(journal.encode), min_size=1, max_size=4), st.data())
def test_a_torn_journal_says_what_the_whole_one_says_up_to_there(
    lines: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    with directory() as run_dir:
        file = run_dir / ".motoko-journal-1-h-1-a"
        file.write_bytes(whole)
        expected = journal.read_journal(file, 0, NONCE).entries
        file.write_bytes(whole[:cut])
        first = journal.read_journal(file, 0, NONCE)
        file.write_bytes(whole)
        rest = journal.read_journal(file, first.offset, NONCE)

    assert repr([*first.entries, *rest.entries]) == repr(expected)


@pytest.mark.slow
@given(
    st.dictionaries(
        st.sampled_from(
            [
                ".motoko-journal-1-",
                ".motoko-journal-1-h-1-a",
                ".motoko-journal-12-h-1-a",
                ".motoko-refused-1-ab",
                ".motoko-refused-1-ab.7-cd",
                ".motoko-outcome-1.7-cd",
                ".motoko-outcome-2",
                ".nfs0001",
                "y.csv",
                "a b\udcff.csv",
                "FINISHED",
                "core",
            ]
        ),
        RUBBISH,
    ),
)
def test_files_of_others_say_nothing(files: dict[str, bytes]) -> None:
    with directory() as run_dir:
        for name, content in files.items():
            (run_dir / name).write_bytes(content)
        reading = Reading(str(run_dir), 1, NONCE)
        news = reading.read(is_last=True)
        judged = fate(run_dir)

    assert all(entry["n"] == NONCE for entry in news)
    assert judged is Fate.UNSTARTED
    json.dumps([reading.damage, list(reading.refusals.values())])


@given(RUBBISH)
@example(b"[" * 100_000)
def test_a_damaged_file_of_a_run_is_an_error_of_its_own(content: bytes) -> None:
    with directory() as run_dir:
        (run_dir / ".motoko-run.json").write_bytes(content)
        with pytest.raises(JobSideError, match=r"run directory|is damaged|has format"):
            read_facts(run_dir)


@pytest.mark.slow
@given(RUBBISH)
@example(b"[" * 100_000)
def test_rubbish_in_a_sentinel_says_nothing(content: bytes) -> None:
    with directory() as run_dir:
        (run_dir / "FAILED").write_bytes(content)

        assert outcome.read_failure(run_dir, NONCE) is None


@given(RUBBISH | JSON.map(lambda v: json.dumps({"pid": 1, "host": "h", "refused": v}).encode()))
@example(b"[" * 100_000)
@example(b'{"pid": 1, "host": "h", "refused": 1e300}')
@example(b'{"pid": 1e999, "host": "h", "refused": 1}')
def test_a_damaged_note_still_says_that_a_start_was_refused(content: bytes) -> None:
    with directory() as run_dir:
        (run_dir / "note").write_bytes(content)
        said = token.read_refusal(run_dir / "note")

    assert said.startswith("a further start of this attempt was refused")
    assert "\n" not in said
