"""The table of a run's own entries, and what rests on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import motoko
from motoko import columns
from motoko.errors import SchemaError, WorkflowError
from motoko.job.facts import FORMAT, replace_file
from motoko.job.layout import run_file
from motoko.store.codec import decode_attempts, decode_run, encode_attempts, encode_run
from motoko.study.records import split_run_name


def test_the_order_of_stored_rows_is_for_ever():
    raw = b'[1,"FINISHED","a","main",2,"here",1.0,1.0,2.0,1,"n","f",1,7,1.5,{"mine":3}]'

    row = decode_run(raw)

    assert encode_run(row) == raw
    assert row == {
        "job_id": 1,
        "state": "FINISHED",
        "run_name": "a",
        "event_name": "main",
        "nproc": 2,
        "machine_name": "here",
        "create_time": 1.0,
        "start_time": 2.0,
        "end_time": 3.0,
        "attempt": 1,
        "nonce": "n",
        "files": "f",
        "has_finished": 1,
        "last_step": 7,
        "last_step_time": 2.5,
        "mine": 3,
    }


TIMES = st.floats(0, 4e9)


@given(origin=TIMES, later=st.lists(TIMES | st.none(), min_size=3, max_size=3))
def test_times_are_stored_to_the_microsecond(origin: float, later: list[float | None]):
    names = ("start_time", "end_time", "last_step_time")
    row = {"job_id": 1, "create_time": origin, **dict(zip(names, later, strict=True))}
    attempt = {"number": 1, "start_time": origin, "end_time": later[1]}

    decoded = decode_run(encode_run(row))
    (decoded_attempt,) = decode_attempts(encode_attempts([attempt]))

    for stored, given_ in ((decoded, row), (decoded_attempt, attempt)):
        known = {k: v for k, v in given_.items() if v is not None}
        assert stored == {k: round(v, 6) for k, v in known.items()}
    assert encode_run(decoded) == encode_run(row)
    assert encode_attempts([decoded_attempt]) == encode_attempts([attempt])


def test_each_name_has_one_row():
    names = [column.name for column in columns.COLUMNS]

    assert len(set(names)) == len(names)
    assert set(names) == columns.BUILT_IN
    assert columns.FIXED < columns.FIXED_FOR_SCRIPTS
    assert not columns.HIDDEN & columns.RUN_ENTRIES.keys()


@pytest.mark.parametrize("name", sorted(columns.FIXED_FOR_SCRIPTS))
def test_a_script_is_refused_at_once_what_the_launcher_would_ignore(name: str, tmp_path: Path):
    facts = '"study": "s", "run_id": 1, "job_id": 1, "attempt": 1, "nonce": "n"'
    replace_file(run_file(tmp_path), f'{{"format": {FORMAT}, {facts}}}'.encode())
    run, _ = motoko.get_run(str(tmp_path))

    with pytest.raises(SchemaError, match="Motoko's own"):
        run[name] = 1


@pytest.mark.parametrize(
    "text", ["mult", ".3", "mult.", "mult.x", "mult.²", "mult." + "9" * 30]
)
def test_what_names_no_run_is_refused(text: str):
    with pytest.raises(WorkflowError, match=r"write study\.id"):
        split_run_name(text)


def test_the_id_stands_behind_the_last_point():
    assert split_run_name("a.b.12") == ("a.b", 12)
