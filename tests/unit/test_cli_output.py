"""How values, tables and lists are written."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from motoko.cli import logs, output, words
from motoko.workflow.selectors import as_constraints


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.00 s"),
        (0.126, "0.13 s"),
        (4.25, "4.2 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (360_000, "4 d 4 h"),
    ],
)
def test_duration_is_in_the_units_that_matter(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_states_are_in_the_order_of_a_runs_life_and_users_own_ones_last() -> None:
    counts = {"FORWARDED": 1, "FINISHED": 3, "CREATED": 2, "FAILED": 0}

    assert words.states(counts) == "2 CREATED, 3 FINISHED, 1 FORWARDED"
    assert words.states({}) == "no runs"


def test_value_is_written_in_one_line_and_whole() -> None:
    assert words.value(list(range(100))).endswith(", 99]")
    assert words.value(words.Whole("x\ny")) == "x\ny"
    assert words.value("two\nlines") == "two lines"
    assert words.value(1 / 3) == "0.333333"
    assert words.value(1 / 3, is_rounded=False) == str(1 / 3)
    assert words.value(None) == ""


def test_table_for_a_pipe_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["study", "n"], [["a", 5], ["longer", 123]])

    assert capsys.readouterr().out == "study     n\na         5\nlonger  123\n"


def test_table_for_a_pipe_has_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["name", "x"], [["n" * 300, 1 / 3]])

    assert capsys.readouterr().out.splitlines()[1] == f"{'n' * 300}  {1 / 3}"


@pytest.mark.parametrize("width", [32, 40, 80])
def test_table_at_a_terminal_folds_names_and_never_numbers(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    headers = ["name", "FINISHED", "CANCELLED"]
    cells = [["a-very-long-name-of-a-run", "123456", "7890"]]

    console.print(output.rich_table(headers, cells, [False, True, True]))

    shown = console.export_text()
    assert "123456" in shown and "7890" in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width


def test_json_has_everything_that_a_run_may_hold(capsys: pytest.CaptureFixture[str]) -> None:
    output.as_json({"a": np.arange(2), "b": np.float64(0.5), "c": {"x"}, "d": b"y"})

    assert json.loads(capsys.readouterr().out) == {"a": [0, 1], "b": 0.5, "c": ["x"], "d": "y"}


def test_json_is_json_also_for_numbers_that_are_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.as_json({"a": float("nan"), "b": [np.array([np.inf, 1.0]), (-np.inf,)], 3: True})

    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "a": "NaN",
        "b": [["Infinity", 1.0], ["-Infinity"]],
        "3": True,
    }


def test_followed_log_begins_with_its_last_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "log"
    file.write_text("".join(f"line {i}\n" for i in range(50)))

    logs.show(file, follow_until=lambda: True)

    assert capsys.readouterr().out.split("\n") == [*(f"line {i}" for i in range(40, 50)), ""]


def test_lines_are_indented_under_their_last_column(capsys: pytest.CaptureFixture[str]) -> None:
    output.lines([("ok", "a", "first\nsecond"), ("mistake", "bb", "x")])

    assert (
        capsys.readouterr().out == "ok       a   first\n             second\nmistake  bb  x\n"
    )


@pytest.mark.parametrize(
    ("given", "constraints"),
    [
        (("state = FAILED", "id < 3"), ["state = FAILED", "id < 3"]),
        (("state", "=", "FAILED"), ["state = FAILED"]),
        (("state=FAILED",), ["state=FAILED"]),
        (("state", "=", "SLURM", "submit"), ["state = SLURM submit"]),
        ((), []),
    ],
)
def test_constraint_may_be_split_by_the_shell(
    given: tuple[str, ...], constraints: list[str]
) -> None:
    assert as_constraints(given) == constraints


def test_last_lines_of_a_log(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("".join(f"line {i}\n" for i in range(50)))

    assert logs.last_lines(file, 2) == ["line 48", "line 49"]
    assert logs.last_lines(tmp_path / "none", 2) == []


def test_new_lines_are_followed_across_the_turning_over_of_a_log(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("old\n")

    def add(text: str) -> None:
        file.write_text(file.read_text() + text)

    def turn_over() -> None:
        file.rename(tmp_path / "log.1")
        file.write_text("two\n")

    steps = iter([lambda: add("one\nhal"), lambda: add("f\n"), turn_over])

    def is_over() -> bool:
        step = next(steps, None)
        if step is not None:
            step()
        return step is None

    assert list(logs.new_lines(file, is_over, look_s=0)) == ["one", "half", "two"]


def test_log_is_shown_on_what_standard_error_is_at_that_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    logs.show_on_stderr()
    try:
        now = io.StringIO()
        monkeypatch.setattr("sys.stderr", now)
        logging.getLogger("motoko.test").info("hello")

        assert "INFO motoko.test: hello" in now.getvalue()
        assert logs.is_shown_on_stderr()
    finally:
        root.handlers[:] = before
        root.setLevel(level)


def test_latest_messages_leave_out_what_is_no_event() -> None:
    latest = logs.Latest(2)
    for name, level in (
        ("motoko.workflow.loop", logging.INFO),
        ("motoko.workflow.firings", logging.INFO),
        ("ZEO.client", logging.INFO),
        ("mine", logging.INFO),
        ("ZEO.client", logging.WARNING),
        ("txn.1", logging.CRITICAL),
        ("motoko.workflow.firings", logging.WARNING),
    ):
        latest.handle(logging.LogRecord(name, level, "", 0, f"{name}\nmore", (), None))

    assert [text for _, text in latest.messages] == [
        "mine",
        "motoko.workflow.firings",
    ]


def test_table_in_a_very_narrow_terminal_is_a_list(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "is_for_people", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")

    output.table(["study", "run name", "FINISHED"], [["sample", "a", 5], ["mean", "", 123]])
    output.table(["n", "m"], [[1, 22]])

    assert capsys.readouterr().out.splitlines() == [
        *("study: sample", "run name: a", "FINISHED: 5", ""),
        *("study: mean", "FINISHED: 123"),
        *("n   m", "1  22"),
    ]
