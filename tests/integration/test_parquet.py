"""Runs as Parquet, read back by what other programs read it with."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
from click.testing import CliRunner

from motoko.cli.commands import export
from motoko.study.frame import write_csv, write_parquet
from tests.support.workflows import served_workflow

YAML = """\
study: mult
job: {x: float, n: int, s: str, flag: bool, values: list, more: dict}
run: {norm: float}
"""


def test_a_parquet_file_has_what_the_table_has(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    with served_workflow(tmp_path / "w", mult=YAML) as workflow:
        whole: dict[str, Any] = {"n": 7, "s": "ä,\n", "flag": True, "more": {"a": [1, None]}}
        workflow.mult.createTask(x=0.1, values=[1, "a"], **whole)
        workflow.mult.createTask(x=float("inf"))
        with workflow.session():
            run = workflow.mult.base.run(1)
            run.state = "RUNNING"
            run.count, run.huge, run.mixed, run.day = 3, 2**70, "a", {"of": "week"}
            other = workflow.mult.base.run(2)
            other.huge, other.mixed = 1, 2.5
        workflow.mult.base.set_quantity(2, "vec", 4, [1.5, 2])
        workflow.mult.base.set_quantity(1, "height", 4, 2.5)
        write_parquet(workflow.mult.dataframe(), file)
        write_parquet(workflow.mult.dataframe("state = FAILED"), tmp_path / "none.parquet")
        write_csv(workflow.mult.dataframe(), tmp_path / "t.csv")
        columns = list(workflow.mult.dataframe())
        directory = str(workflow.directory)
        given = ["mult", "--dir", directory, "--parquet", "-"]
        printed = CliRunner().invoke(export.command, given).stdout_bytes

    table = parquet.read_table(file)

    assert parquet.read_table(io.BytesIO(printed)).equals(table)
    first, second = table.to_pylist()
    assert [*columns, "run_id"] == table.column_names
    assert (first["run_id"], second["run_id"]) == (1, 2)
    assert first["x"] == 0.1 and second["x"] == float("inf")
    assert (first["n"], first["s"], first["flag"], first["count"]) == (7, "ä,\n", True, 3)
    assert (second["n"], second["s"], second["flag"], second["count"]) == (None,) * 4
    assert json.loads(first["values"]) == [1, "a"] and second["values"] is None
    assert json.loads(first["more"]) == {"a": [1, None]}
    assert json.loads(first["huge"]) == 2**70 and json.loads(second["huge"]) == 1
    assert json.loads(first["mixed"]) == "a" and json.loads(second["mixed"]) == 2.5
    assert json.loads(second["vec"]) == [1.5, 2] and first["height"] == 2.5
    assert first["create_time"].utcoffset().total_seconds() == 0
    assert parquet.read_table(tmp_path / "none.parquet").num_rows == 0
