"""Declared parameters, and values of them in their one form."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motoko.columns import RUN_ENTRIES
from motoko.config import read_study
from motoko.errors import SchemaChanged, SchemaError
from motoko.model.schema import UNSET, Field, Schema


def schema(job: dict[str, str], run: dict[str, str] | None = None, **defaults) -> Schema:
    return Schema(
        "s",
        {name: Field(name, kind, defaults.get(name, UNSET)) for name, kind in job.items()},
        {name: Field(name, kind) for name, kind in (run or {}).items()},
    )


ALL = schema(
    {"x": "float", "n": "int", "name": "str", "flag": "bool", "l": "list", "d": "dict"},
    {"y": "float", "result": "list"},
)


def test_schema_is_what_the_file_declares(tmp_path):
    (tmp_path / "bd.yaml").write_text(
        "study: s\njob: {B: int, a: {type: float, default: 1}}\nrun: {y: str}\n"
    )

    found = Schema.from_config(read_study(tmp_path))

    assert found == Schema(
        "s",
        {"b": Field("b", "int"), "a": Field("a", "float", 1.0)},
        {"y": Field("y", "str")},
    )
    assert list(found.job) == ["b", "a"]
    assert found.job["a"].has_default and not found.job["b"].has_default


def test_schema_survives_json():
    before = schema({"x": "float", "l": "list"}, {"y": "dict"}, l=[1, [2]])

    after = Schema.from_json(json.loads(json.dumps(before.to_json())))

    assert after == before
    assert after.convert_job({"x": 1}) == {"x": 1.0, "l": [1, [2]]}


def test_types_of_entries_ignore_case():
    assert ALL.job_type("X") == "float"
    assert ALL.job_type("id") == "int"
    assert ALL.job_type("y") is None
    assert ALL.run_type("Y") == "float"
    assert ALL.run_type("STATE") == "str"
    assert ALL.run_type("free") is None
    assert set(RUN_ENTRIES) >= {"id", "job_id", "run_name", "state", "nproc", "last_step"}


@pytest.mark.parametrize(
    ("name", "given", "stored"),
    [
        ("x", 1, 1.0),
        ("x", np.float32(0.5), 0.5),
        ("x", np.int64(3), 3.0),
        ("x", np.array(2.5), 2.5),
        ("x", -0.0, 0.0),
        ("x", float("inf"), float("inf")),
        ("n", 2.0, 2),
        ("n", np.int16(7), 7),
        ("n", np.float64(7.0), 7),
        ("n", 10**30, 10**30),
        ("name", "a b", "a b"),
        ("name", np.str_("ab"), "ab"),
        ("name", Path("/a/b"), "/a/b"),
        ("flag", True, True),
        ("flag", np.bool_(False), False),
        ("l", (1, 2.5, "a"), [1, 2.5, "a"]),
        ("l", range(3), [0, 1, 2]),
        ("l", np.array([[1.0, 2.0]]), [[1.0, 2.0]]),
        ("l", pd.Series([1, 2]), [1, 2]),
        ("l", [np.float64(1.5), None, True], [1.5, None, True]),
        ("l", [], []),
        ("d", {"b": (1,), "a": {"z": np.int8(1)}}, {"a": {"z": 1}, "b": [1]}),
        ("d", {2: "x", 1: "y"}, {1: "y", 2: "x"}),
    ],
)
def test_value_is_brought_into_its_one_form(name, given, stored):
    (found,) = ALL.convert_job({name: given}).values()

    assert found == stored
    assert type(found) is type(stored)
    assert json.dumps(found) == json.dumps(stored)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("x", "1.0", "found text '1.0'; expected a number (float)"),
        ("x", True, "found true; expected a number (float)"),
        ("x", 1j, "found complex 1j; expected a number (float)"),
        ("x", [1.0], "found a list [1.0]; expected a number (float)"),
        ("x", 10**400, "expected a number that a float can hold (float)"),
        (
            "x",
            np.nan,
            "found nan; expected a number (nan equals nothing, "
            "so its job could not be found again) (float)",
        ),
        ("n", 2.5, "found 2.5; expected a whole number (int)"),
        ("n", "2", "found text '2'; expected a whole number (int)"),
        ("n", False, "found false; expected a whole number (int)"),
        ("name", 3, "found 3; expected text (str)"),
        ("name", b"a", "found bytes b'a'; expected text (str)"),
        ("flag", 1, "found 1; expected true or false (bool)"),
        ("flag", "yes", "found text 'yes'; expected true or false (bool)"),
        ("l", 3, "found 3; expected a list (list)"),
        ("l", {1, 2}, "found set {1, 2}; expected a list (list)"),
        (
            "l",
            [1, [b"a"]],
            "found bytes b'a' in a list [1, [b'a']]; "
            "expected numbers, text, true, false, lists and mappings of these (list)",
        ),
        ("d", [1], "found a list [1]; expected a mapping (dict)"),
        (
            "d",
            {(1, 2): 3},
            "found a list (1, 2) in a mapping {(1, 2): 3}; "
            "expected text or a whole number as a key (dict)",
        ),
    ],
)
def test_value_of_another_type_is_refused(name, given, message):
    with pytest.raises(SchemaError) as caught:
        ALL.convert_job({name.upper(): given})

    assert str(caught.value).startswith(f"study 's', '{name}': ")
    assert str(caught.value).endswith(message)
    assert (caught.value.study, caught.value.key) == ("s", name)


def test_job_is_in_declared_order_with_lower_names():
    found = ALL.convert_job({"NAME": "a", "n": 3, "X": 1})

    assert list(found.items()) == [("x", 1.0), ("n", 3), ("name", "a")]


def test_unset_parameters_are_absent():
    assert ALL.convert_job({"x": None, "N": None}) == {}
    assert ALL.convert_job({}) == {}


def test_default_stands_for_what_is_not_given():
    with_default = schema({"x": "float", "n": "int"}, x=2.0)

    assert with_default.convert_job({"n": 1}) == {"x": 2.0, "n": 1}
    assert with_default.convert_job({"x": None}) == {"x": 2.0}
    assert with_default.convert_job({"x": 3}) == {"x": 3.0}


def test_unknown_parameter_is_refused_with_the_nearest_one():
    with pytest.raises(SchemaError) as caught:
        ALL.convert_job({"x": 1, "nane": "a"})

    assert str(caught.value) == (
        "study 's', 'nane': no such job parameter; did you mean 'name'?; "
        "known: x, n, name, flag, l, d"
    )


def test_name_given_twice_is_refused():
    with pytest.raises(SchemaError, match="'x': given twice, as 'x' and as 'X'; names ignore"):
        ALL.convert_job({"x": 1, "X": 2})
    with pytest.raises(SchemaError, match="'y': given twice, as 'y' and as 'Y'; names ignore"):
        ALL.convert_run({"y": 1, "Y": 2})


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "x": st.floats(allow_nan=False) | st.integers(-(10**6), 10**6),
            "n": st.integers(),
            "name": st.text(),
            "flag": st.booleans(),
            "l": st.lists(st.integers() | st.text()),
            "d": st.dictionaries(st.text(), st.integers()),
        },
    )
)
def test_converted_job_stays_as_it_is(values):
    once = ALL.convert_job(values)

    assert ALL.convert_job(once) == once == values
    assert json.dumps(ALL.convert_job(once)) == json.dumps(once)


def test_run_entries_are_converted_to_their_types():
    found = ALL.convert_run({"Y": 1, "NPROC": 2.0, "start_time": 3, "result": (1, 2)})

    assert found == {"y": 1.0, "nproc": 2, "start_time": 3.0, "result": [1, 2]}
    assert [type(value) for value in found.values()] == [float, int, float, list]


def test_run_entry_may_be_nan_or_none():
    found = ALL.convert_run({"y": np.nan, "nproc": None, "free": None})

    assert found["y"] != found["y"]
    assert (found["nproc"], found["free"]) == (None, None)


def test_undeclared_entries_keep_plain_values():
    when = datetime(2024, 1, 31)
    given = {
        "a": [1, (2, {3}), {"k": b"x", 4: None}],
        "when": when,
        "z": 1 + 2j,
        "count": np.int64(3),
        "path": Path("/a"),
        "odd": frozenset({1}),
        "steps": range(2),
    }

    found = ALL.convert_run(given)

    assert found == {**given, "count": 3, "path": "/a", "steps": [0, 1]}
    assert type(found["count"]) is int
    assert found["a"] is not given["a"] and found["a"][2] is not given["a"][2]


def test_undeclared_arrays_are_copied():
    array = np.arange(3)

    found = ALL.convert_run({"u": array})["u"]
    array[0] = 7

    assert found.tolist() == [0, 1, 2] and found.dtype == array.dtype


@pytest.mark.parametrize("value", [object(), print, np.array([object()]), {"a": [object()]}])
def test_what_no_database_should_keep_is_refused(value):
    with pytest.raises(SchemaError, match=r"'free': found .*; expected numbers, text, dates,"):
        ALL.convert_run({"free": value})


def test_run_entry_of_another_type_is_refused():
    with pytest.raises(SchemaError, match=r"'y': found text 'a'; expected a number \(float\)"):
        ALL.convert_run({"y": "a"})


def test_added_declarations_keep_what_is_stored():
    old = schema({"x": "float"})
    new = schema({"z": "int", "x": "float"}, {"y": "str"}, z=3)

    change = new.changes_since(old)
    change.check()
    extended = old.extended(new)

    assert change
    assert change.added_to_jobs == ("z",)
    assert [str(c) for c in change.added] == ["job.z (int)", "run.y (str)"]
    assert list(extended.job) == ["x", "z"] and list(extended.run) == ["y"]
    assert extended.job["z"].backfill == 3
    assert not new.changes_since(extended)


def test_changed_default_leaves_stored_jobs_alone():
    first = schema({"x": "float"}).extended(schema({"x": "float", "z": "int"}, z=3))
    newer = schema({"x": "float", "z": "int"}, x=1.0, z=4)

    change = newer.changes_since(first)
    change.check()
    second = Schema.from_json(first.extended(newer).to_json())

    assert [c.name for c in change.redefaulted] == ["x", "z"]
    assert second.convert_job({}) == {"x": 1.0, "z": 4}
    assert second.job["z"].backfill == 3
    assert second.job["x"].backfill is UNSET


def test_order_is_no_change():
    assert not schema({"a": "int", "b": "int"}).changes_since(schema({"b": "int", "a": "int"}))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (
            schema({"y": "int"}),
            "'x': removed: job.x (float); "
            "undo it in bd.yaml, or change what is stored: `motoko study migrate s --remove x`",
        ),
        (
            schema({"x": "int", "y": "int"}),
            "'x': another type: job.x (float to int); "
            "undo it in bd.yaml, or change what is stored: `motoko study migrate s`",
        ),
        (
            schema({"x": "float", "y": "int", "z": "str"}),
            "'z': added without a default: job.z (str); give a default "
            "(z: {type: str, default: ...}),"
            " or fill it in: `motoko study migrate s --fill z=VALUE`",
        ),
        (
            schema({"xx": "float", "y": "str"}),
            "'x, y, xx': removed: job.x (float); another type: job.y (int to str); "
            "added without a default: job.xx (float); "
            "undo it in bd.yaml, or change what is stored:"
            " `motoko study migrate s --rename x=xx`"
            " (where it is no new name for the same: --remove x --fill xx=VALUE)",
        ),
    ],
)
def test_other_changes_are_refused(new, message):
    old = schema({"x": "float", "y": "int"})

    with pytest.raises(SchemaChanged) as caught:
        new.changes_since(old).check()

    assert str(caught.value) == f"study 's', {message}"
