"""Work in directories of its own: what its files say, and what a restart makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motoko
from motoko.job.phases import PhaseFiles
from motoko.job.windows import clear_failures
from tests.support.effort import examples

N = 4


class Died(BaseException):
    """Ends a script as a signal does: nothing is written any more."""


def work(place: Path, ran: list[int], dies_in: int | None = None, fails_in: int = 0) -> None:
    """Do the segments that are left; each leaves a file that the next one needs."""
    with motoko.window(place) as window:
        for segment in window.segments(N):
            if segment == fails_in:
                raise ValueError("no convergence")
            ran.append(segment)
            # No two attempts write the same: a record does not speak of another's file.
            (place / f"md-{segment}.rst").write_text(
                f"{segment} of {window.attempt}, {len(ran)}"
            )
            if segment == dies_in:
                raise Died
            window.record(segment, f"md-{segment}.rst", step=100 * segment)


def test_what_is_half_done_goes_on_from_its_last_segment(tmp_path: Path) -> None:
    ran: list[int] = []

    with pytest.raises(Died):
        work(tmp_path / "w", ran, dies_in=3)
    assert motoko.window(tmp_path / "w").state == "UNKNOWN"
    work(tmp_path / "w", ran)

    window = motoko.window(tmp_path / "w")
    assert ran == [1, 2, 3, 3, 4]
    assert (window.state, window.attempt) == ("FINISHED", 2)
    assert window.progress is not None
    assert (window.progress.segment, window.progress.facts["step"]) == (4, 400)


def test_what_is_finished_is_not_run_again(tmp_path: Path) -> None:
    ran: list[int] = []
    work(tmp_path, ran)

    work(tmp_path, ran)

    assert ran == [1, 2, 3, 4]
    assert (tmp_path / "job_attempt.txt").read_text() == "1\n"


def test_a_failure_says_why_and_is_gone_with_the_next_attempt(tmp_path: Path) -> None:
    ran: list[int] = []
    with pytest.raises(ValueError):
        work(tmp_path, ran, fails_in=2)

    said = json.loads((tmp_path / "FAILED").read_text())
    work(tmp_path, ran)

    assert (said["reason"], said["attempt"]) == ("ValueError: no convergence", 1)
    assert sorted(p.name for p in tmp_path.glob("F*")) == ["FINISHED"]
    assert ran == [1, 2, 3, 4]


@pytest.mark.parametrize("harm", ["removed", "changed", "torn record"])
def test_progress_counts_only_as_long_as_its_file_is_what_it_says(
    tmp_path: Path, harm: str
) -> None:
    ran: list[int] = []
    with pytest.raises(Died):
        work(tmp_path, ran, dies_in=3)
    if harm == "removed":
        (tmp_path / "md-2.rst").unlink()
    elif harm == "changed":
        (tmp_path / "md-2.rst").write_text("!")
    else:
        record = tmp_path / "job_progress.jsonl"
        record.write_bytes(record.read_bytes()[:-3])

    work(tmp_path, ran)

    assert ran == [1, 2, 3, 2, 3, 4]
    assert motoko.window(tmp_path).is_finished


def test_one_segment_at_a_time_is_unknown_until_the_last(tmp_path: Path) -> None:
    states = []
    for _ in range(N):
        with motoko.window(tmp_path) as window:
            for segment in window.segments(N):
                (tmp_path / "rst").write_text(str(segment))
                window.record(segment, "rst")
                if segment < N:
                    break
        states.append(window.state)

    assert states == ["UNKNOWN"] * (N - 1) + ["FINISHED"]


def test_ctrl_c_and_a_good_exit_are_no_failures(tmp_path: Path) -> None:
    for error in (KeyboardInterrupt(), SystemExit(0)):
        with pytest.raises(type(error)), motoko.window(tmp_path):
            raise error
    assert motoko.window(tmp_path).state == "UNKNOWN"

    with pytest.raises(SystemExit), motoko.window(tmp_path):
        raise SystemExit(2)
    assert motoko.window(tmp_path).state == "FAILED"


def test_who_says_in_the_block_that_it_failed_is_believed(tmp_path: Path) -> None:
    with motoko.window(tmp_path / "whole") as window:
        window.fail("no convergence")
    with motoko.window(tmp_path / "last") as window:
        for segment in window.segments(N):
            if segment == N:
                window.fail("no convergence")
    (tmp_path / "program").mkdir()
    with motoko.window(tmp_path / "program") as window:
        (tmp_path / "program" / "FAILED").touch()  # as a program does that knows the files

    states = {p.name: motoko.window(p).state for p in tmp_path.iterdir()}
    assert states == dict.fromkeys(("whole", "last", "program"), "FAILED")
    assert json.loads((tmp_path / "last" / "FAILED").read_text())["reason"] == "no convergence"


@pytest.mark.parametrize("name", ["time", "size", "run"])
def test_a_fact_never_takes_the_place_of_what_the_record_says_itself(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "rst").write_text("1")
    with motoko.window(tmp_path) as window:
        for segment in window.segments(N):
            with pytest.raises(ValueError, match=f"'{name}'.*choose another name"):
                window.record(segment, "rst", **{name: 0.5})
            window.record(segment, "rst", simulated=0.5)
            break

    progress = motoko.window(tmp_path).progress
    assert progress is not None
    assert (progress.segment, progress.facts["simulated"]) == (1, 0.5)


def test_facts_may_be_arrays_and_their_numbers(tmp_path: Path) -> None:
    with motoko.window(tmp_path) as window:
        window.record(
            1, energy=np.float32(0.5), n=np.int64(3), at=np.arange(2), file_of=tmp_path
        )
        with pytest.raises(TypeError, match="complex"):
            window.record(2, energy=1j)

    progress = motoko.window(tmp_path).progress
    assert progress is not None
    told = {name: progress.facts[name] for name in ("energy", "n", "at", "file_of")}
    assert told == {"energy": 0.5, "n": 3, "at": [0, 1], "file_of": str(tmp_path)}


@settings(max_examples=examples(15))
@given(
    events=st.lists(
        st.tuples(st.sampled_from(["dies", "fails", "loses", "clears"]), st.integers(1, N)),
        max_size=6,
    )
)
def test_any_history_ends_finished_and_repeats_only_what_was_lost(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int]]
) -> None:
    place = tmp_path_factory.mktemp("w")
    done = 0  # the model: how many segments are recorded with their files, from the first on
    expected: list[int] = []
    ran: list[int] = []
    is_finished = False
    for what, segment in events:
        if what in ("dies", "fails"):
            if is_finished or segment <= done:
                work(place, ran)
                expected += [] if is_finished else range(done + 1, N + 1)
                done, is_finished = N, True
                continue
            with pytest.raises((Died, ValueError)):
                work(place, ran, *((segment,) if what == "dies" else (None, segment)))
            expected += range(done + 1, segment + (what == "dies"))
            done = segment - 1
        elif what == "loses":
            (place / f"md-{segment}.rst").unlink(missing_ok=True)
            done = segment - 1 if segment == done else done
            # Earlier ones still count: the last that stands decides.
            while done and not (place / f"md-{done}.rst").exists():
                done -= 1
        else:
            clear_failures(place)
            done = 0
    work(place, ran)
    expected += [] if is_finished else range(done + 1, N + 1)

    assert ran == expected
    assert motoko.window(place).is_finished


def test_clearing_failures_removes_nothing_else(tmp_path: Path) -> None:
    cleared = ["FAILED", "job_attempt.txt", "job_progress.jsonl"]
    kept = [
        "FINISHED",
        "md.rst",
        "my_FAILED",
        "attempt-1/FAILED",
        "attempt-12/w/job_attempt.txt",
    ]
    for name in [*cleared, *kept, *(f"a/w0/{name}" for name in (*cleared, *kept))]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.mkdir()
    (elsewhere / "FAILED").touch()
    (tmp_path / "link").symlink_to(elsewhere)
    (tmp_path / "b" / "FAILED").mkdir(parents=True)

    removed = clear_failures(tmp_path)

    assert {str(Path(path).relative_to(tmp_path)) for path in removed} == {
        *cleared,
        *(f"a/w0/{name}" for name in cleared),
    }
    assert all((tmp_path / name).exists() for name in [*kept, *(f"a/w0/{k}" for k in kept)])
    assert (elsewhere / "FAILED").exists() and (tmp_path / "b/FAILED").is_dir()


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_phase_is_finished_when_all_its_windows_are(tmp_path: Path) -> None:
    files = PhaseFiles(components=["lig", "com"], windows=["w0", "w1"])
    touch(tmp_path, "lig/w0/FINISHED", "lig/w1/FINISHED", "com/w0/FINISHED")

    assert files.look(tmp_path).state == "UNKNOWN"
    touch(tmp_path, "com/w1/FAILED")
    failed = files.look(tmp_path)
    touch(tmp_path, "com/w1/FINISHED")

    assert (failed.state, failed.units["com", "w1"]) == ("FAILED", "FAILED")
    assert failed.signs == {("com", "w1"): ["com/w1/FAILED"]}
    assert files.look(tmp_path).state == "FINISHED"


def test_any_group_of_patterns_will_do_and_all_of_it_must_be_there(tmp_path: Path) -> None:
    files = PhaseFiles(
        success=[["{window}/md.out", "{window}/md-*.rst"], ["DONE"]],
        failure=[["{window}/core.*"], ["{window}/nan", "{window}/md.out"]],
        windows=["w0", "w[1]"],
    )
    looks = []
    for name in ("w0/md.out", "w0/nan", "w0/md-1.rst", "w[1]/core.7", "w1/md.out", "DONE"):
        touch(tmp_path, name)
        looks.append((files.look(tmp_path).state, files.look(tmp_path).units["", "w0"]))

    assert looks == [
        ("UNKNOWN", "UNKNOWN"),
        ("FAILED", "FAILED"),
        ("UNKNOWN", "FINISHED"),
        ("FAILED", "FINISHED"),
        ("FAILED", "FINISHED"),
        ("FINISHED", "FINISHED"),
    ]


def test_windows_may_differ_between_components(tmp_path: Path) -> None:
    files = PhaseFiles(components=["a", "b"], windows={"a": ["0", "1"], "b": ["0"]})

    assert files.units == [("a", "0"), ("a", "1"), ("b", "0")]
    assert PhaseFiles().look(tmp_path).units == {("", ""): "UNKNOWN"}
