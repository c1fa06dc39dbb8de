"""What is shown of a running workflow at terminals of all widths."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from motoko.cli.logs import Latest
from motoko.cli.views import Lines, Live, without_advice
from motoko.workflow.views.progress import Progress
from motoko.workflow.workflow import Workflow
from tests.support.workflows import write_workflow

COUNTS = {
    "mult": {"CREATED": 123456, "RUNNING": 77, "FINISHED": 98765, "CANCELLED": 4321},
    "norm": {"SUBMITTED": 8, "ACCEPTED": 1234},
}


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    directory = write_workflow(tmp_path / "w", {"mult": None, "norm": None})
    made = Progress(Workflow(str(directory)), "first")
    made.counts = {study: dict(counts) for study, counts in COUNTS.items()}
    return made


def picture(progress: Progress, width: int) -> str:
    """The live view as text."""
    view = Live(Latest(5))
    view._console = Console(width=width, file=io.StringIO(), record=True)
    view._console.print(view._picture(progress))
    return view._console.export_text()


@pytest.mark.parametrize("width", [30, 50, 60, 80, 100, 136])
def test_no_number_is_cut_at_any_width(progress: Progress, width: int) -> None:
    shown = picture(progress, width)

    numbers = {str(n) for counts in COUNTS.values() for n in counts.values()}
    assert numbers <= set(re.findall(r"\d+", shown))
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width


def test_states_that_no_run_is_in_have_no_column(progress: Progress) -> None:
    progress.counts["mult"]["FAILED"] = 0

    shown = picture(progress, 136)

    assert "FAILED" not in shown
    assert "ACCEPTED" in shown


def test_bar_shrinks_with_the_terminal(progress: Progress) -> None:
    wide, narrow = picture(progress, 136), picture(progress, 88)

    n_wide, n_narrow = (len(re.findall("[━╌]", text)) for text in (wide, narrow))
    assert n_wide == 32
    assert 0 < n_narrow < n_wide


def test_trouble_is_shown_in_both_views(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.troubles = ["the disk is full"]
    lines = Lines()

    shown = picture(progress, 80)
    lines.close(progress)
    progress.troubles = []
    lines.close(progress)

    assert "the disk is full" in shown
    said = [line.partition("] ")[2] for line in capsys.readouterr().out.splitlines()]
    assert said[0] == "trouble: the disk is full"
    assert said[-1] == "over: the disk is full"


def test_lines_say_what_a_stall_lacks_as_often_as_that_is_something_else(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    progress._stalled_at = progress.counts
    lines = Lines()

    for lack in ("a lacks x", "a lacks x", "a lacks y"):
        progress.lacks = [lack]
        lines.close(progress)

    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "lacks" in line] == ["  a lacks x", "  a lacks y"]


@pytest.mark.parametrize(
    ("trouble", "amiss"),
    [
        (
            "the launcher is stopped (SIGSTOP) and answers nobody: `kill -CONT 12`",
            "the launcher is stopped (SIGSTOP) and answers nobody",
        ),
        (
            "the launcher has died; see /x: y; no run starts until `motoko launcher /x`",
            "the launcher has died; see /x: y",
        ),
        ("`x`", "`x`"),
        ("/x: is full", "/x: is full"),
    ],
)
def test_the_end_of_a_trouble_leaves_out_what_was_to_be_done(trouble: str, amiss: str) -> None:
    assert without_advice(trouble) == amiss
