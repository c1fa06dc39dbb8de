"""Runs that were imported, and runs whose users have entries that are called as theirs are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import SchemaError
from motoko.launch.entries import converted
from motoko.study.origin import IMPORTED, free_entry
from motoko.workflow import Workflow
from motoko.workflow.upkeep import run_changes, run_values
from motoko.workflow.upkeep.run_values import Values
from tests.support.workflows import served_workflow

YAML = "study: mult\njob: {x: float}\nrun: {more: list}\nexec_file: launch.sh\n"


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workflow]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "runtime").mkdir(mode=0o700)
    with served_workflow(tmp_path / "w", mult=YAML) as workflow:
        yield workflow


@pytest.mark.parametrize("value", [5, "mesh/a.msh", "/data/a.msh", [1, 2]])
def test_an_entry_origin_of_ones_own_is_no_directory(workflow: Workflow, value: Any) -> None:
    [(run, _)] = workflow.mult.createTask(x=1.0, run_params={"origin": value})

    assert run.origin == value
    assert run.directory == workflow.mult.base.run_dir(1)
    assert run.entries["run_path"] == str(run.directory)
    retry = run_changes.Retry({"mult": Values({}, {"x": 2.0})})
    assert run_changes.retry(workflow, {workflow.mult.base: [1]}, retry).done
    assert workflow.mult.base.runs[2].origin == value


@pytest.mark.parametrize("entry", [None, "imported_from"])
def test_an_imported_run_is_read_where_it_executed(
    workflow: Workflow, tmp_path: Path, entry: str | None
) -> None:
    workflow.mult.createTask(x=1.0)
    fact = {"path": "/there"} if entry is None else {"path": "/there", "entry": entry}
    place = {entry or "origin": str(tmp_path)}
    study = workflow.mult.base
    study.database.write(lambda tables: tables.set_fact(IMPORTED, fact))
    study.database.write(lambda tables: tables.update_run(1, place))

    assert study.run(1).directory == tmp_path
    retry = run_changes.Retry({"mult": Values({}, {"x": 2.0})})
    run_changes.retry(workflow, {study: [1]}, retry)
    assert study.run(2).directory == study.run_dir(2)


def test_the_entry_of_an_import_is_none_that_is_taken() -> None:
    assert free_entry({"x"}) == "imported_from"
    assert free_entry({"imported_from"}) == "imported_from_"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("archive", "archive-1.zip"),
        ("sentinels", {"root": "./x"}),
        ("set_by_hand", {}),
        ("retry_of", 1),
        ("retried_as", 1),
        ("awaits_step", 1),
        ("required_runs", "mesh.1"),
        ("behind_runs", "mesh.1"),
    ],
)
def test_what_would_be_taken_for_motokos_own_is_refused(
    workflow: Workflow, name: str, value: Any
) -> None:
    [(run, _)] = workflow.mult.createTask(x=1.0)
    study = workflow.mult.base

    with pytest.raises(SchemaError, match=name):
        run[name] = value
    with pytest.raises(SchemaError, match=name):
        workflow.mult.createTask(x=2.0, run_params={name: value})
    with pytest.raises(SchemaError, match=name):
        run_values.read_values(study, {name: json.dumps(value)}, with_new=True)
    warnings: list[str] = []
    entry = {"op": "set", "name": name, "value": value}
    assert converted([entry], study.schema, "mult.1", warnings.append) == {}

    assert len(warnings) == 1 and name in warnings[0]
    assert name not in run
    assert len(study.runs) == 1


@pytest.mark.parametrize("value", ["of 1990", 3, ["archive-1.zip"]])
def test_anything_else_that_is_so_named_is_the_users(workflow: Workflow, value: Any) -> None:
    [(run, _)] = workflow.mult.createTask(x=1.0, run_params={"archive": value})
    run.sentinels = value

    assert (run.archive, run.sentinels) == (value, value)
    assert run.directory == workflow.mult.base.run_dir(1)


def test_where_a_run_is_packed_is_not_the_users_to_change(workflow: Workflow) -> None:
    [(run, _)] = workflow.mult.createTask(x=1.0)
    packed = {"archive": "archive-1.zip"}
    workflow.mult.base.database.write(lambda tables: tables.update_run(1, packed))

    for value in (None, "mine"):
        with pytest.raises(SchemaError, match="archive"):
            run.archive = value

    assert run.archive == "archive-1.zip"


def test_files_of_a_selected_run_are_listed_as_in_its_script(workflow: Workflow) -> None:
    [(run, _)] = workflow.mult.createTask(x=1.0)
    assert run.listFiles() == []
    (run.directory / "sub").mkdir(parents=True)
    for name in (".motoko-run.json", "a", "sub/b"):
        (run.directory / name).write_text("")

    assert run.listFiles() == ["a", "sub"]
    assert run.listFiles("sub") == ["b"]
    assert run.getFile("sub/b") == str(run.directory / "sub" / "b")
    with pytest.raises(ValueError, match="leads out of"):
        run.listFiles("..")
