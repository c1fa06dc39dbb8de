"""Quantities: rows in a file, read back at full precision, whatever a killed writer left."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motoko.errors import EntryNotFound, JobSideError, SchemaError
from motoko.job import quantities
from motoko.job.journal import list_journals, read_journal
from motoko.job.record import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path)


def make_run(run_dir: Path) -> Run:
    facts = {"study": "mult", "run_id": 3, "job_id": 2, "attempt": 1, "nonce": "n"}
    return Run(str(run_dir), facts, now=lambda: 100.0)


def content(run: Run, name: str) -> str:
    return run.file(name + ".csv").read_text()


@pytest.mark.parametrize(
    ("values", "step", "text"),
    [
        (1.5, 4, "step[int],q[float]\n4,1.5\n"),
        (7, 4, "step[int],q[int]\n4,7\n"),
        (True, 4, "step[int],q[bool]\n4,True\n"),
        ([2.5], 4, "step[int],q[float]\n4,2.5\n"),
        ([1, 2.5], 4, "step[int],q-0[int],q-1[float]\n4,1,2.5\n"),
        (
            [[1, 2], [3, 4]],
            4,
            "step[int],q-0[int],q-1[int],q-2[int],q-3[int]\n4,1,2,3,4\n",
        ),
        ([1.0, 2.0], [4, 5], "step[int],q[float]\n4,1.0\n5,2.0\n"),
        ([[1, 2], [3, 4]], (4, 5), "step[int],q-0[int],q-1[int]\n4,1,2\n5,3,4\n"),
        ([1, 2], [4], "step[int],q-0[int],q-1[int]\n4,1,2\n"),
        (range(2), range(2), "step[int],q[int]\n0,0\n1,1\n"),
        (np.float64(0.1), np.int64(4), "step[int],q[float64]\n4,0.1\n"),
        (np.array([0.1, 2]), 4, "step[int],q-0[float],q-1[float]\n4,0.1,2.0\n"),
        (np.array([0.1, 2]), np.array([4, 5]), "step[int],q[float]\n4,0.1\n5,2.0\n"),
        (np.array(3.5), 4, "step[int],q[float]\n4,3.5\n"),
        ([np.float64(1), np.int32(2)], 4, "step[int],q-0[float64],q-1[int32]\n4,1.0,2\n"),
        (1.5, 4.0, "step[int],q[float]\n4,1.5\n"),
    ],
)
def test_rows_and_columns(run: Run, values: Any, step: Any, text: str) -> None:
    run.push_quantity(values, step, "q")

    assert content(run, "q") == text


@pytest.mark.parametrize(
    ("values", "step", "found"),
    [
        ([1, 2, 3], [1, 2], "found 3 values for 2 steps"),
        (1.0, [1, 2], "found one value for 2 steps"),
        ([[1, 2], [3]], [1, 2], "found rows of 1 and of 2 components"),
        ([], 1, "found no value"),
        (None, 1, "found None"),
        (1 + 2j, 1, "which is no number"),
        ("done", 1, "found text 'done': text goes into an entry of the run"),
        (np.str_("1.5"), 1, "found text '1.5'"),
        ([1.0, "nan"], 1, "found text 'nan'"),
        (1.0, 1.5, "the step 1.5, which is no whole number"),
        (1.0, "1", "the step '1', which is no whole number"),
        (1.0, True, "the step True"),
        (1.0, None, "the step None"),
    ],
)
def test_values_that_fit_no_row_are_refused(
    run: Run, values: Any, step: Any, found: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        run.push_quantity(values, step, "q")

    assert found in str(caught.value)
    assert (caught.value.study, caught.value.key) == ("mult", "q")  # type: ignore[attr-defined]
    assert os.listdir(run.run_path) == []


@pytest.mark.parametrize(
    "name",
    ["", ".q", "-q", "a/b", "../q", "a,b", 'a"b', "a[0]", "a\nb", "a\0b", " a", "x" * 201],
)
def test_name_that_no_file_can_have_is_refused(run: Run, name: str) -> None:
    with pytest.raises(SchemaError, match="name of a quantity"):
        run.push_quantity(1.0, 1, name)

    assert os.listdir(run.run_path) == []


def test_other_number_of_components_is_refused_also_by_the_next_process(run: Run) -> None:
    run.push_quantity([1, 2], 1, "q")

    for writer in (run, make_run(Path(run.run_path))):
        with pytest.raises(SchemaError, match=r"found 3 components; .*q\.csv has 2"):
            writer.push_quantity([1, 2, 3], 2, "q")
    assert content(run, "q").count("\n") == 2


def test_file_of_the_users_own_is_left_alone(run: Run) -> None:
    run.file("mesh.csv").write_text("x,y\n1,2\n")

    with pytest.raises(JobSideError, match=r"mesh\.csv is in the way"):
        run.push_quantity(1.0, 1, "mesh")

    assert content(run, "mesh") == "x,y\n1,2\n"
    assert run.list_quantities() == []


def test_first_push_of_each_writer_declares_the_quantity(run: Run) -> None:
    other = make_run(Path(run.run_path))
    for step in range(3):
        run.push_quantity([1, 2], step, "q", "what it is")
        other.push_quantity([1, 2], step, "q")

    entries = [
        entry
        for path in list_journals(run.run_path, 1)
        for entry in read_journal(path, 0, "n").entries
    ]
    columns = ["step[int]", "q-0[int]", "q-1[int]"]
    assert [(e["op"], e["name"], e["columns"]) for e in entries] == 2 * [
        ("quantity", "q", columns)
    ]
    assert {e["description"] for e in entries} == {"what it is", None}
    assert content(run, "q").count("\n") == 7


def test_fork_declares_what_it_pushes(run: Run) -> None:
    run.push_quantity(1, 1, "q")

    pid = os.fork()
    if pid == 0:
        run.push_quantity(2, 2, "q")
        os._exit(0)
    os.waitpid(pid, 0)

    parts = [read_journal(path, 0, "n").entries for path in list_journals(run.run_path, 1)]
    assert [[entry["op"] for entry in part] for part in parts] == [["quantity"], ["quantity"]]
    assert content(run, "q") == "step[int],q[int]\n1,1\n2,2\n"


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-300, math.pi, -0.0, math.inf, 5e-324])
def test_floats_keep_every_digit(run: Run, value: float) -> None:
    run.push_quantity(value, 1, "q")

    row = quantities.last_row(run.file("q.csv"))
    frame = run.get_quantity("q")
    assert row is not None
    assert repr(row[1]) == repr(value)
    assert repr(float(frame["q[float]"][0])) == repr(value)


def test_nan_stays_nan(run: Run) -> None:
    run.push_quantity([1.0, math.nan], 1, "q")

    row = quantities.last_row(run.file("q.csv"))
    assert row is not None
    assert math.isnan(row[1][1])  # type: ignore[index, arg-type]
    assert run.get_quantity("q")["q-1[float]"].isna().all()


def test_frame_has_the_columns_of_the_file_and_selects_a_step(run: Run) -> None:
    run.pushQuantity([[1, 2.5], [3, 4.5]], [0, 10], "q")
    run.pushVectorQuantity([5, 6.5], 10, "q")

    frame = run.getQuantity("q")
    assert list(frame.columns) == ["step[int]", "q-0[int]", "q-1[float]"]
    assert frame.values.tolist() == [[0, 1, 2.5], [10, 3, 4.5], [10, 5, 6.5]]
    assert run.getVectorQuantity("q", 10)["q-0[int]"].tolist() == [3, 5]
    assert len(run.getScalarQuantity("q", step=7)) == 0


def test_words_that_another_program_wrote_stay_words(run: Run) -> None:
    run.file("q.csv").write_text("step[int],q[str]\n0,NA\n1,1\n2,nan\n3,\n")

    assert run.get_quantity("q")["q[str]"].tolist() == ["NA", "1", "nan", ""]
    assert quantities.last_row(run.file("q.csv")) == (3, "")


def test_several_quantities_stand_side_by_side(run: Run) -> None:
    run.pushScalarQuantities([1, 2], [0, 1], "a")
    run.pushScalarQuantity(0.5, 1, "b")

    frame = run.getQuantities(["a", "b"])
    assert list(frame.columns) == ["step[int]", "a[int]", "b[float]"]
    assert frame["a[int]"].tolist() == [1, 2]
    assert frame["b[float]"].isna().tolist() == [True, False]
    assert run.getQuantities(["a", "b"], step=1).values.tolist() == [[1, 2, 0.5]]
    assert list(run.get_quantities([]).columns) == ["step[int]"]


def test_unknown_quantity_names_the_known_ones(run: Run) -> None:
    run.push_quantity(1, 1, "energy")

    with pytest.raises(EntryNotFound, match=r"'enrgy'; did you mean 'energy'\?"):
        run.get_quantity("enrgy")


def test_quantities_and_last_step_are_listed(run: Run) -> None:
    assert (run.listQuantities(), run.getLastStep()) == ([], (None, None))

    run.push_quantity(1, 5, "b")
    run.push_quantity([1, 2], [6, 7], "a")

    assert (run.listQuantities(), run.getLastStep()) == (["a", "b"], (7, 100.0))


@pytest.mark.parametrize("torn", ["2,0.", "2", "2,", "2,0.123"])
def test_row_of_a_killed_writer_is_never_taken_for_a_value(run: Run, torn: str) -> None:
    run.push_quantity(1.5, 1, "q")
    path = run.file("q.csv")
    with open(path, "a") as file:
        file.write(torn)

    alone = quantities.last_row(path), run.get_quantity("q").values.tolist()
    make_run(Path(run.run_path)).push_quantity(3.5, 3, "q")

    assert alone == ((1, 1.5), [[1, 1.5]])
    assert quantities.last_row(path) == (3, 3.5)
    assert run.get_quantity("q").values.tolist() == [[1, 1.5], [3, 3.5]]


def test_last_row_is_found_behind_a_long_tail_of_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "q.csv"
    path.write_text("step[int],q[int]\n123,456\n" + "rubbish\n" * 40 + "2,")

    for block in range(1, 60):
        monkeypatch.setattr(quantities, "BLOCK", block)
        assert quantities.last_row(path) == (123, 456)


def test_last_row_of_a_long_file_reads_only_its_end(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    with open(path, "w") as file:
        file.write("step[int],q[int]\n")
        file.truncate(1 << 40)
        file.seek(1 << 40)
        file.write("\n8,9\n")

    assert quantities.last_row(path) == (8, 9)


@pytest.mark.parametrize("text", [None, "", "x,y\n1,2\n", "step[int],q[int]\n", "step[int],q"])
def test_file_without_a_row_has_no_last_row(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "q.csv"
    if text is not None:
        path.write_text(text)

    assert quantities.last_row(path) is None


def test_a_pipe_is_no_quantity_and_nobody_reads_from_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "q.csv")
    fd = os.open(tmp_path / "q.csv", os.O_RDWR | os.O_NONBLOCK)
    os.write(fd, b"step[int],q[int]\n4,7\n")

    assert quantities.list_quantities(tmp_path) == []
    assert quantities.last_row(tmp_path / "q.csv") is None
    assert os.read(fd, 100) == b"step[int],q[int]\n4,7\n"
    os.close(fd)


def test_file_removed_by_the_script_is_made_again(run: Run) -> None:
    run.push_quantity(1, 1, "q")
    run.file("q.csv").unlink()

    with pytest.raises(FileNotFoundError):
        run.push_quantity(2, 2, "q")
    run.push_quantity(3, 3, "q")

    assert content(run, "q") == "step[int],q[int]\n3,3\n"


def test_without_pandas_the_error_says_what_to_do(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    run.push_quantity(1, 1, "q")

    with pytest.raises(JobSideError, match="has no pandas"):
        run.get_quantity("q")
