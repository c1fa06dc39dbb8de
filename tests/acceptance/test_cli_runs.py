"""Trying runs again, cancelling, correcting and deleting them, from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine, new_workflow
from tests.support.effort import examples
from tests.support.processes import kill_processes_of
from tests.support.varied import copied
from tests.support.waiting import wait_until

FAILING = """\
if [ -e ../../../bad ]; then echo no such luck >&2; exit 3; fi
python3 doIt.py
"""
HELD = "while [ ! -e ../../../go ]; do sleep 0.02; done\npython3 doIt.py\n"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        yield line


@pytest.fixture(scope="module")
def failed_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Five samples that have failed; nothing runs any more."""
    with new_workflow(tmp_path_factory.mktemp("failed") / "demo") as here:
        bd = here.directory / "sample" / "bd.yaml"
        bd.write_text(f"{bd.read_text()}  tries: int\nrun_params: {{tries: 3}}\n")
        (here.directory / "sample" / "launch.sh").write_text(FAILING)
        (here.directory / "bad").touch()
        here.run("run", "--run_name", "first", code=5)
        if here.pid("launcher") is not None:  # the first that failed has ended the workflow
            wait_until(lambda: here.counts("sample") == {"FAILED": 5}, "the other runs")
            here.run("kill")
        (here.directory / "bad").unlink()
        yield here.directory


@pytest.fixture
def failed(failed_once: Path, tmp_path: Path) -> Iterator[CommandLine]:
    """A copy of them."""
    here = copied(failed_once, tmp_path / "demo")
    yield here
    kill_processes_of(here.directory)


def rows(here: CommandLine, *constraints: str) -> list[dict[str, Any]]:
    """Runs of the samples."""
    found: list[dict[str, Any]] = here.json("runs", "list", "sample", *constraints)
    return found


def test_failure_card_tells_everything_and_what_to_do(failed: CommandLine) -> None:
    shown = failed.run("runs", "show", "sample.2").stdout
    failure = failed.json("runs", "show", "sample.2")["failure"]

    for text in ("class ", "application", "exit code ", "host ", "no such luck", "after 0."):
        assert text in shown
    assert "motoko why sample.2 -v\n" in shown
    assert "motoko runs retry sample.2\n" in shown
    assert failure["exit_code"] == 3
    assert failure["end_time"] >= failure["start_time"]
    assert failure["n_attempts"] == 1
    assert failure["next_commands"][0].endswith("sample/BD-sample-runs/run-2/first.e2")


@pytest.mark.slow
def test_failed_runs_are_tried_again(failed: CommandLine) -> None:
    one = failed.run("runs", "retry", "sample.2", "sample.3").stdout
    some = failed.json("runs", "retry", "sample", "seed > 4")
    again = failed.run("runs", "retry", "sample.2", code=4).stdout
    ran = failed.run("run", "--run_name", "first", "--retry-failed").stdout

    assert one == "2 runs CREATED again\n"
    assert some["runs"] == ["sample.5"]
    assert again == "0 runs CREATED again\nleft alone: sample.2 is CREATED already\n"
    assert "2 FAILED runs CREATED again" in ran
    assert failed.counts("sample") == {"FINISHED": 5}
    assert [row["entries"]["attempt"] for row in rows(failed)] == [2] * 5


@pytest.mark.slow
def test_runs_that_are_tried_again_without_what_was_mended_are_named(
    failed: CommandLine,
) -> None:
    script = failed.directory / "sample" / "launch.sh"
    script.write_text(f"# mended\n{script.read_text()}")

    some = failed.run("runs", "retry", "sample.1", "sample.2").stdout
    now = failed.run("runs", "retry", "sample.3", "--current-files").stdout
    rest = failed.run("run", "--run_name", "first", "--retry-failed").stdout

    older = "will execute older files than there are now"
    assert some.splitlines()[1:] == [f"2 runs {older} (sample.1, sample.2): --current-files"]
    assert now == "1 run CREATED again\n"
    how = "motoko runs retry STUDY.ID --current-files"
    assert f"\n2 runs {older} (sample.4, sample.5): {how}\n" in rest


@pytest.mark.slow
def test_new_values_of_a_run_change_it_and_those_of_a_job_make_another(
    failed: CommandLine,
) -> None:
    failed.run("runs", "retry", "sample.1", "--set", "tries=7")
    made = failed.json("runs", "retry", "sample.2", "--set", "seed=77", "--set", "tries=4")
    once_more = failed.json(
        "runs", "retry", "sample.2", "--set", "seed=77", "--set", "tries=4", code=4
    )
    refused = failed.run("runs", "retry", "sample.1", "--set", "seed=x", code=3).stderr
    unknown = failed.run("runs", "retry", "sample.1", "--set", "run_name=x", code=3).stderr

    first, second, sixth = rows(failed, "id = 1") + rows(failed, "id = 2 or id = 6")
    assert (first["state"], first["entries"]["tries"], first["job"]) == (
        "CREATED",
        7,
        {"seed": 1},
    )
    assert made["made"] == {"sample.2": "sample.6"}
    assert (once_more["runs"], once_more["made"]) == ([], {})
    assert once_more["left"] == {"sample.2": "has become sample.6, which is CREATED"}
    assert (second["state"], second["entries"]["retried_as"]) == ("FAILED", 6)
    assert (sixth["state"], sixth["job"], sixth["entries"]["tries"]) == (
        "CREATED",
        {"seed": 77},
        4,
    )
    assert sixth["entries"]["retry_of"] == 2
    assert "'seed'" in refused
    assert "'run_name'" in unknown
    assert "is not yours to set" in unknown


@pytest.mark.slow
def test_current_files_and_clean_directories(failed: CommandLine) -> None:
    (failed.directory / "sample" / "launch.sh").write_text("exit 0\n")
    (failed.directory / "sample" / "BD-sample-runs" / "run-1" / "mine.txt").touch()

    done = failed.json("runs", "retry", "sample.1", "--clean-dir", "--current-files")
    failed.json("runs", "retry", "sample.2")
    failed.run("launcher")
    wait_until(lambda: failed.counts("sample").get("FINISHED") == 2, "both")

    kept = Path(done["backup"]) / "sample" / "BD-sample-runs" / "run-1"
    assert (kept / "mine.txt").exists()
    executed = failed.directory / "sample" / "BD-sample-runs"
    assert (executed / "run-1" / "launch.sh").read_text() == "exit 0\n"
    assert (executed / "run-2" / "launch.sh").read_text() == FAILING


@pytest.mark.slow
def test_cancelled_run_is_ended_and_others_are_left(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    with (here.directory / "motoko.yaml").open("a") as file:
        file.write("max_concurrent: 1\n")
    here.run("orchestrator", "start", "--run_name", "first", "--detach")
    wait_until(lambda: here.counts("sample").get("RUNNING") == 1, "a run")

    retried = here.json("runs", "retry", "sample.1", code=4)
    deleted = here.json("runs", "delete", "sample.1", code=4)
    cancelled = here.json("runs", "cancel", "sample.1", "sample.5")
    again = here.json("runs", "cancel", "sample.5", code=4)

    assert retried["left"] == deleted["left"] == {"sample.1": "is RUNNING: cancel it first"}
    assert cancelled["runs"] == ["sample.1", "sample.5"]
    assert again["left"] == {"sample.5": "is CANCELLED"}
    wait_until(lambda: here.counts("sample").get("RUNNING") == 1, "the next")
    (here.directory / "go").touch()
    wait_until(
        lambda: here.counts("sample") == {"FINISHED": 3, "CANCELLED": 2}, "those that are left"
    )


@pytest.mark.slow
def test_cancelling_without_a_launcher_says_that_nobody_ends_the_script(
    here: CommandLine,
) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "--run_name", "first", "--detach", "--n_samples", "1")
    wait_until(lambda: here.counts("sample").get("RUNNING") == 1, "a run")
    here.run("orchestrator", "stop", "--run_name", "first")
    here.kill("launcher")
    wait_until(lambda: here.pid("launcher") is None, "its end")

    said = here.run("runs", "cancel", "sample.1")
    why = here.run("why", "sample.1").stdout
    left = here.json("runs", "retry", "sample.1", code=4)["left"]["sample.1"]
    here.run("launcher")
    wait_until(lambda: here.run("why", "sample.1").stdout.count("executes") == 0, "its end")
    here.run("launcher", "stop")
    here.run("runs", "retry", "sample.1")
    here.run("runs", "cancel", "sample.1")

    nobody = f"no launcher is there to end it; `motoko launcher {here.directory}` does"
    assert said.stdout == "1 run CANCELLED\n"
    assert said.stderr == f"sample.1 still executes: {nobody}\n"
    assert nobody in why
    assert left.startswith("is CANCELLED and still executes on ")
    assert left.endswith(nobody)
    [row] = rows(here)  # its first attempt has nothing to do with it
    assert (row["state"], row["cause"]) == ("CANCELLED", "set so")


@pytest.mark.slow
def test_entries_and_states_are_corrected_by_hand(failed: CommandLine) -> None:
    failed.run("runs", "update", "sample.1", "sample.2", "--new", "value=2.5", "state=CHECKED")
    failed.run("runs", "update", "sample", "id > 4", "--new", "note=see below")
    whole = failed.run("runs", "update", "sample", "value=1", code=2).stderr
    of_job = failed.run("runs", "update", "sample.1", "seed=8", code=3).stderr
    wrong = failed.run("runs", "update", "sample.1", "value=much", code=3).stderr

    for state in ("RUNNING", "SUBMITTED"):
        refused = failed.run("runs", "update", "sample.3", f"state={state}", code=3).stderr
        assert f"found '{state}', which only a launcher gives" in refused

    shown = failed.run("runs", "show", "sample.1").stdout
    found = {row["id"]: row for row in rows(failed)}
    assert "\nset by hand\n  value  not set before\n" in shown
    assert [found[i]["state"] for i in (1, 2, 3)] == ["CHECKED", "CHECKED", "FAILED"]
    assert found[2]["entries"]["value"] == 2.5
    assert found[5]["entries"]["note"] == "see below"
    assert "--all" in whole
    assert "never changes" in of_job
    assert "expected a number" in wrong

    for text in ("nan", "-inf"):
        failed.run("runs", "update", "sample.3", f"value={text}")
        assert f"  {text}  " in failed.run("runs", "list", "sample", "id = 3").stdout
    failed.run("runs", "retry", "sample.3", "--set", "seed=nan", code=3)
    assert failed.run("runs", "cancel", "sample.1").stdout == "1 run CANCELLED\n"
    assert failed.counts("sample") == {"CANCELLED": 1, "CHECKED": 1, "FAILED": 3}


@pytest.mark.slow
def test_entry_or_state_that_no_run_has_is_taken_for_a_slip(failed: CommandLine) -> None:
    entry = failed.run("runs", "update", "sample.1", "valeu=3", code=3).stderr
    state = failed.run("runs", "update", "sample.1", "state=FINISHD", code=3).stderr
    retried = failed.run("runs", "retry", "sample.1", "--set", "nosuch=3", code=3).stderr
    stated = failed.run("runs", "retry", "sample.1", "--set", "state=FOO", code=3).stderr
    for name in ("state", "id", "job_id", "run_name", "retry_of", "set_by_hand"):
        fixed = failed.run("runs", "retry", "sample.1", "--new", "--set", f"{name}=3", code=3)
        assert f"'{name}': is " in fixed.stderr

    assert "is no entry of any run; did you mean 'value'?" in entry
    assert "found 'FINISHD', which no run is in; did you mean 'FINISHED'?" in state
    assert "known: CREATED, SUBMITTED, RUNNING, FINISHED, FAILED, CANCELLED" in state
    assert "--new makes it one" in retried
    assert "'state': is CREATED for runs that are tried again" in stated
    assert "--new" not in stated
    assert failed.counts("sample") == {"FAILED": 5}


@pytest.mark.slow
def test_run_on_another_job_keeps_what_was_set_by_hand(failed: CommandLine) -> None:
    failed.run("runs", "update", "sample.1", "--new", "value=2.5", "note=mine", "nproc=2")
    made = failed.json("runs", "retry", "sample.1", "--set", "seed=77")["made"]["sample.1"]

    found = failed.json("runs", "show", made)["entries"]

    assert (found["value"], found["note"], found["nproc"]) == (2.5, "mine", 2)
    assert "set_by_hand" not in found


@pytest.mark.slow
def test_deleted_runs_are_gone_and_their_ids_are_not_given_again(failed: CommandLine) -> None:
    would = failed.run("runs", "delete", "sample", "id > 3", "--dry-run").stdout
    untouched = failed.counts("sample")
    done = failed.json("runs", "delete", "sample", "id > 3")
    failed.run("runs", "delete", "sample.1", "--delete-files")

    assert would == "would delete 2 runs\n  sample.4\n  sample.5\n"
    assert untouched == {"FAILED": 5}
    backup = Path(done["backup"]) / "sample"
    assert (backup / "BD-sample-runs" / "run-4" / "launch.sh").exists()
    known = json.loads((backup / "deleted-runs.json").read_text())["runs"]
    assert [one["run"]["id"] for one in known] == [4, 5]
    assert known[0]["attempts"][0]["exit_code"] == 3
    assert failed.counts("sample") == {"FAILED": 2}
    assert not (failed.directory / "sample" / "BD-sample-runs" / "run-1").exists()
    failed.run("runs", "show", "sample.4", code=4)

    failed.run("run", "--run_name", "first", "--retry-failed")

    assert [(row["id"], row["job"]["seed"]) for row in rows(failed)] == [
        (2, 2),
        (3, 3),
        (6, 1),
        (7, 4),
        (8, 5),
    ]


@pytest.mark.slow
def test_words_that_name_no_runs_are_refused(failed: CommandLine) -> None:
    assert "no task manager" in failed.run("runs", "retry", "sampel.1", code=4).stderr
    for command in (("retry",), ("cancel",), ("update",), ("delete", "--dry-run"), ("delete",)):
        more = ("value=3",) if command == ("update",) else ()
        nothing = failed.run("runs", *command, "sample", "seed > 9", *more, code=4)
        assert "no run matches `seed > 9` in sample (5 FAILED)" in nothing.stderr
        assert nothing.stdout == ""
    assert "no run 9" in failed.run("runs", "cancel", "sample.9", code=4).stderr
    stray = failed.run("runs", "cancel", "state = FAILED", code=3).stderr
    assert "name the study before it" in stray


@pytest.mark.slow
def test_empty_constraint_is_no_wish_for_all_runs(failed: CommandLine) -> None:
    before = set((failed.directory / "sample" / "BD-sample-runs").rglob("*"))

    for empty in ("", " ")[: examples(1, 2)]:
        for command in (
            ("runs", "delete", "sample", empty, "--delete-files"),
            ("runs", "delete", "sample", "state = FAILED", empty, "--all"),
            ("runs", "update", "sample", empty, "value=3"),
            ("runs", "retry", "sample", empty),
            ("runs", "cancel", "sample", empty),
            ("runs", "list", "sample", empty),
            ("export", "sample", empty, "--csv", "-"),
            ("archive", "sample", empty),
            ("clean", "--constraints", empty),
            ("clean", "--failures", "--constraints", empty),
            ("bd", "runs", "update", "--constraints", empty, "value=3"),
        ):
            refused = failed.run(*command, code=3).stderr
            assert refused.startswith("motoko: an empty constraint selects nothing: write one")
            assert len(refused.splitlines()) == 1

    assert set((failed.directory / "sample" / "BD-sample-runs").rglob("*")) == before
    assert failed.counts("sample") == {"FAILED": 5}


@pytest.mark.slow
def test_clean_failures_removes_what_they_left_and_nothing_else(failed: CommandLine) -> None:
    runs = failed.directory / "sample/BD-sample-runs"
    window = runs / "run-1/w0"
    window.mkdir()
    gone = [window / name for name in ("FAILED", "job_attempt.txt", "job_progress.jsonl")]
    for file in (*gone, window / "FINISHED", window / "md.rst"):
        file.touch()
    before = set(runs.rglob("*"))

    done = failed.run("clean", "--failures", "--constraints", "id < 4")

    gone += [runs / f"run-{i}/FAILED" for i in (1, 2, 3)]
    assert done.stdout == "removed 6 files that failures had left\n"
    assert before - set(runs.rglob("*")) == set(gone)
    assert {row["state"] for row in rows(failed)} == {"FAILED"}
    again = failed.run("run", "--run_name", "first", "--clean-failures", "--retry-failed")
    assert again.stdout.startswith("removed 2 files that failures had left\n")
    assert failed.counts("sample") == {"FINISHED": 5}


def test_run_names_that_are_not_there_are_named(failed: CommandLine) -> None:
    listed = failed.run("runs", "list", "sample", "--run_name", "frist", code=4).stderr
    info = failed.run("info", "--run_name", "frist", code=4).stderr
    empty = failed.run("run", "--run_name", "", code=3).stderr

    assert listed == info
    assert "there is no run name 'frist'; did you mean 'first'? (the last: first)" in listed
    assert "'' is no run name" in empty


@pytest.mark.slow
def test_run_name_that_is_live_is_refused_before_anything_is_said(here: CommandLine) -> None:
    (here.directory / "sample" / "launch.sh").write_text(HELD)
    here.run("orchestrator", "start", "--run_name", "first", "--detach")

    refused = here.run("run", "--run_name", "first", code=6)
    (here.directory / "go").touch()

    assert refused.stdout == ""
    assert "is already running" in refused.stderr


@pytest.mark.slow
def test_clean_names_the_studies_that_lack_an_entry(failed: CommandLine) -> None:
    cleaned = failed.run("clean", "--constraints", "seed = 1").stdout
    nowhere = failed.run("clean", "--constraints", "sede = 1", code=3).stderr

    assert "left alone: mean, which has no such entry" in cleaned
    assert "in study sample" in nowhere
