"""The launcher over a real server: runs become processes, and what becomes of them is told."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from motoko.launch import executor, launcher
from motoko.store.audit import problems
from tests.support.launch_session import (
    YAML,
    attempts,
    create,
    is_process_there,
    launching,
    make_gate,
    new_study,
    open_gate,
    row,
    wait_for,
    wait_for_attempts,
    wait_for_file,
    wait_for_state,
)

PYTHON = sys.executable


def test_a_created_run_is_executed_and_recorded(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "echo out; echo err >&2; pwd; echo $#\n") as study:
        with launching(study):
            create(study)
            wait_for_attempts(study, 1)

        run, run_dir = row(study), study.run_dir(1)
        assert run["state"] == "FINISHED"
        assert run["has_finished"] == 1
        assert run["attempt"] == 1
        assert run["create_time"] < run["start_time"] < run["end_time"]
        assert (run_dir / "r.o1").read_text() == f"out\n{run_dir}\n0\n"
        assert (run_dir / "r.e1").read_text() == "err\n"
        assert (run_dir / "FINISHED").exists() and not (run_dir / "FAILED").exists()
        (attempt,) = attempts(study)
        assert attempt["exit_code"] == 0
        assert attempt["host"] == os.uname().nodename
        assert attempt["start_time"] == run["start_time"]
        assert "class" not in attempt and "stderr" not in attempt


def test_a_failed_run_keeps_class_code_and_last_lines(tmp_path: Path) -> None:
    script = "for i in {1..30}; do echo line $i >&2; done; exit 3\n"
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FAILED"
        assert "has_finished" not in row(study)
        assert attempt["class"] == "application"
        assert attempt["exit_code"] == 3
        assert attempt["cause"] == "exit code 3"
        assert attempt["stderr"].splitlines() == [f"line {i}" for i in range(11, 31)]
        assert (study.run_dir(1) / "FAILED").exists()


def test_a_killed_script_is_failed_with_the_signal(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "kill -KILL $$\n") as study, launching(study):
        create(study)
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FAILED"
        assert attempt["class"] == "application"
        assert attempt["signal"] == "SIGKILL"
        left = json.loads((study.run_dir(1) / ".motoko-outcome-1").read_text())
        assert left["exit"] == -signal.SIGKILL


def test_many_runs_are_each_executed_once(tmp_path: Path) -> None:
    script = f"echo $MOTOKO_RUN_ID >> {tmp_path}/ran\n"
    with new_study(tmp_path / "s", script) as study:
        with launching(study):
            ids = create(study, 60)
            wait_for_state(study, "FINISHED", *ids)

        ran = (tmp_path / "ran").read_text().split()
        assert sorted(map(int, ran)) == ids
        with study.database.read() as tables:
            assert problems(tables) == []


def test_runs_execute_side_by_side_up_to_the_limit(tmp_path: Path) -> None:
    # Each of the two opens a pipe that only the other one opens too.
    script = f"""
if mkdir {tmp_path}/first 2>/dev/null; then echo a > {tmp_path}/meet
else read -r _ < {tmp_path}/meet; fi
"""
    os.mkfifo(tmp_path / "meet")
    with new_study(tmp_path / "s", script) as study, launching(study, max_concurrent=2):
        create(study, 2)
        wait_for_state(study, "FINISHED", 1, 2)


ALONE = "mkdir {0}/busy || exit 1; read -t 0.05 _ < <(sleep 1); rmdir {0}/busy\n"


def test_no_more_runs_than_the_limit_execute_at_once(tmp_path: Path) -> None:
    script = ALONE.format(tmp_path)
    with new_study(tmp_path / "s", script) as study, launching(study, max_concurrent=1):
        create(study, 4)
        wait_for_state(study, "FINISHED", 1, 2, 3, 4)


def test_the_limit_of_a_study_holds_within_that_of_the_launcher(tmp_path: Path) -> None:
    script, yaml = ALONE.format(tmp_path), YAML + "max_concurrent: 1\n"
    with new_study(tmp_path / "s", script, yaml) as study, launching(study, max_concurrent=4):
        create(study, 4)
        wait_for_state(study, "FINISHED", 1, 2, 3, 4)


@pytest.mark.parametrize("nproc", [3, 50])
def test_each_run_takes_its_cores(
    tmp_path: Path, nproc: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "available_cores", lambda: 4)
    script = ALONE.format(tmp_path)
    with new_study(tmp_path / "s", script) as study, launching(study, max_concurrent=None):
        create(study, 3, nproc=nproc)
        wait_for_state(study, "FINISHED", 1, 2, 3)


def test_a_run_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/child\nwait\n"
    with new_study(tmp_path / "s", script, YAML + "walltime: 0.3\n") as study:
        with launching(study):
            create(study)
            (attempt,) = wait_for_attempts(study, 1)
        assert row(study)["state"] == "FAILED"
        assert attempt["class"] == "walltime"
        assert attempt["cause"] == "it took longer than its walltime of 0.3 s"
        assert not is_process_there(int((tmp_path / "child").read_text()))


def test_what_ignores_the_end_of_its_walltime_is_killed(tmp_path: Path) -> None:
    script = f"trap '' TERM\necho $$ > {tmp_path}/pid\nmkfifo p; read -r _ <> p\n"
    with new_study(tmp_path / "s", script) as study, launching(study, grace_s=0.2):
        create(study, walltime=0.2)
        (attempt,) = wait_for_attempts(study, 1)

        assert attempt["class"] == "walltime"
        assert attempt["signal"] == "SIGKILL"


def test_a_cancelled_run_is_ended_and_stays_cancelled(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; sleep 60; echo never > {tmp_path}/late\n"
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_file(tmp_path / "pid")
        study.update_run(1, {"state": "CANCELLED"})
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "CANCELLED"
        assert attempt["state"] == "CANCELLED"
        assert attempt["cause"] == "the run was set to CANCELLED"
        assert not is_process_there(int((tmp_path / "pid").read_text()))


def test_a_waiting_run_that_is_cancelled_never_starts(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"echo $MOTOKO_RUN_ID >> {tmp_path}/ran; read _ < {gate}\n"
    with new_study(tmp_path / "s", script) as study, launching(study, max_concurrent=1):
        create(study, 2)
        wait_for_file(tmp_path / "ran")
        study.update_run(2, {"state": "CANCELLED"})
        open_gate(gate)
        wait_for_state(study, "FINISHED", 1)
        study.create_tasks({"x": 7.0}, None, run_name="r", event_name="main")
        open_gate(gate)
        wait_for_state(study, "FINISHED", 3)

        assert (tmp_path / "ran").read_text().split() == ["1", "3"]
        assert row(study, 2)["state"] == "CANCELLED"


def test_a_run_reset_while_it_executes_ends_before_it_begins_again(tmp_path: Path) -> None:
    script = f"echo $$ >> {tmp_path}/pids; [ $MOTOKO_ATTEMPT = 2 ] || sleep 60\n"
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_file(tmp_path / "pids")
        study.update_run(1, {"state": "CREATED"})
        first, second = wait_for_attempts(study, 2)

        assert row(study)["state"] == "FINISHED"
        assert row(study)["attempt"] == 2
        assert first["cause"] == "the run was set to CREATED"
        assert first["end_time"] <= second["start_time"]
        assert len((tmp_path / "pids").read_text().split()) == 2


def test_what_an_earlier_attempt_left_is_set_aside(tmp_path: Path) -> None:
    script = """
echo attempt $MOTOKO_ATTEMPT; echo changed >> doIt.py; mkdir -p deep; touch deep/$MOTOKO_ATTEMPT
printf 'step[int],q[float]\\n1,%s.5\\n' $MOTOKO_ATTEMPT > q.csv
[ $MOTOKO_ATTEMPT = 2 ]
"""
    with new_study(tmp_path / "s", script) as study:
        (study.directory / "doIt.py").write_text("original\n")
        with launching(study):
            create(study)
            wait_for_state(study, "FAILED")
            study.update_run(1, {"state": "CREATED"})
            wait_for_state(study, "FINISHED")

        run_dir = study.run_dir(1)
        aside = run_dir / "attempt-1"
        assert (aside / "r.o1").read_text() == "attempt 1\n"
        assert (run_dir / "r.o1").read_text() == "attempt 2\n"
        assert (aside / "FAILED").exists() and not (run_dir / "FAILED").exists()
        assert json.loads((aside / ".motoko-run.json").read_text())["attempt"] == 1
        assert (aside / "deep" / "1").exists() and not (run_dir / "deep" / "1").exists()
        assert (run_dir / "doIt.py").read_text() == "original\nchanged\n"
        assert [a["state"] for a in attempts(study)] == ["FAILED", "FINISHED"]
        with study.database.read() as tables:
            assert tables.quantities(1) == {"q": (1, 2.5)}


def test_a_directory_that_nobody_knows_is_set_aside(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "cat old 2>/dev/null\n") as study:
        run_dir = study.run_dir(1)
        run_dir.mkdir(parents=True)
        for name in ("old", ".motoko-token-1", "launch.sh"):
            (run_dir / name).write_text("old\n")
        with launching(study):
            create(study)
            wait_for_attempts(study, 1)

        assert (run_dir / "r.o1").read_text() == ""
        assert (run_dir / "attempt-0" / "old").read_text() == "old\n"


def test_markers_are_replaced_by_text_and_never_by_code(tmp_path: Path) -> None:
    script = """
echo "__BLACKDYNAMITE__s__" __BLACKDYNAMITE__s__ '__BLACKDYNAMITE__s__'
echo __BLACKDYNAMITE__id__ __BLACKDYNAMITE__run_id__ __BLACKDYNAMITE__x__ \
  __BLACKDYNAMITE__study__ __BLACKDYNAMITE__run_path__ __BLACKDYNAMITE__dbhost__
"""
    text = "a'b\"$(touch pwned)`touch pwned`\\"
    with new_study(tmp_path / "s", script) as study:
        with launching(study):
            study.create_tasks({"x": 9.0, "s": "-"}, None, run_name="q", event_name="m")
            study.create_tasks({"x": 1.5, "s": text}, None, run_name="r", event_name="m")
            study.create_tasks({"x": 1.5, "s": text}, None, run_name="q", event_name="m")
            wait_for_state(study, "FINISHED", 1, 2, 3)

        run_dir = study.run_dir(3)
        first, second = (run_dir / "q.o3").read_text().splitlines()
        assert first == f"{text} {text} {text}"
        assert second.split() == ["2", "3", "1.5", "s", str(run_dir), f"zeo://{tmp_path}/s"]
        assert not (run_dir / "pwned").exists()


def test_an_unset_marker_fails_its_run_and_no_other(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "true\necho __BLACKDYNAMITE__s__\n") as study:
        with launching(study):
            create(study)
            study.create_tasks({"x": 1.0, "s": "v"}, None, run_name="r", event_name="m")
            wait_for_state(study, "FAILED", 1)
            wait_for_state(study, "FINISHED", 2)

        (attempt,) = attempts(study, 1)
        assert attempt["class"] == "submission"
        assert attempt["cause"].startswith("launch.sh:2: marker 's' has no value")
        assert not (study.run_dir(1) / ".motoko-token-1").exists()


def test_finish_is_final_before_the_script_ends(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"""{PYTHON} -c 'import motoko
run, job = motoko.get_run()
run.start(); run.norm = job.x + 0.5; run.extra = [1, "a"]; run.finish()'
read _ < {gate}; exit 7
"""
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_state(study, "FINISHED")
        before = row(study)
        open_gate(gate)
        (attempt,) = wait_for(study, lambda: [a for a in attempts(study) if "exit_code" in a])

        assert before["norm"] == 0.5
        assert before["extra"] == [1, "a"]
        assert row(study)["state"] == "FINISHED"
        assert row(study)["end_time"] == before["end_time"]
        assert attempt["warnings"] == ["after finish(): exit code 7"]
        assert (study.run_dir(1) / "FINISHED").exists()


def test_a_state_set_by_somebody_is_not_overwritten_by_a_late_record(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    with new_study(tmp_path / "s", f"read _ < {gate}\n") as study, launching(study):
        create(study)
        wait_for_state(study, "RUNNING")
        study.update_run(1, {"state": "MINE"})
        open_gate(gate)
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "MINE"
        assert "has_finished" not in row(study)
        assert attempt["state"] == "FINISHED"


def test_a_state_of_its_own_may_be_followed_by_the_end(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"""{PYTHON} -c 'import motoko
run, job = motoko.get_run()
run.state = "MESHING"
open("{gate}").read()
run.finish(); run.state = "KEPT"'
"""
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_state(study, "MESHING")
        open_gate(gate)
        wait_for_state(study, "KEPT")

        assert row(study)["has_finished"] == 1


def test_a_program_that_died_after_start_is_failed_although_the_script_ended_well(
    tmp_path: Path,
) -> None:
    script = f"{PYTHON} -c 'import motoko; motoko.get_run()[0].start(); raise SystemExit(1)'\ntrue\n"
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FAILED"
        assert attempt["cause"].startswith("its program died")


def test_with_explicit_completion_the_run_waits_for_its_word(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    program = 'import motoko; open("{}").read(); motoko.get_run()[0].finish()'.format(gate)
    script = f"nohup setsid {PYTHON} -c '{program}' >/dev/null 2>&1 &\n"
    with new_study(tmp_path / "s", script, YAML + "completion: explicit\n") as study:
        with launching(study):
            create(study)
            wait_for(study, lambda: [a for a in attempts(study) if "exit_code" in a])
            assert row(study)["state"] == "RUNNING"
            open_gate(gate)
            wait_for_state(study, "FINISHED")


def test_entries_of_a_wrong_type_are_a_warning(tmp_path: Path) -> None:
    script = """
entry='{"n":"'$(sed 's/.*"nonce": "\\([^"]*\\)".*/\\1/' .motoko-run.json)'","t":1,"op":"set",'
echo "- $entry\\"name\\":\\"norm\\",\\"value\\":\\"wide\\"}" > .motoko-journal-1-h-1-a
echo "- $entry\\"name\\":\\"nonce\\",\\"value\\":\\"0\\"}" >> .motoko-journal-1-h-1-a
echo "- $entry\\"name\\":\\"free\\",\\"value\\":5}" >> .motoko-journal-1-h-1-a
echo "ffffffff $entry\\"name\\":\\"free\\",\\"value\\":6}" >> .motoko-journal-1-h-1-a
"""
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FINISHED"
        assert row(study)["free"] == 5
        assert "norm" not in row(study)
        assert len(attempt["warnings"]) == 3


def test_the_last_values_of_quantities_are_told_while_it_runs(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"""{PYTHON} -c 'import motoko
run, job = motoko.get_run()
for i in range(3): run.push_quantity([i + 0.5, 2.0], i, "energy")
run.start()
open("{gate}").read()
run.push_quantity([9.5, 2.0], 7, "energy")
run.finish()'
"""
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for(study, lambda: row(study).get("last_step") == 2)
        open_gate(gate)
        wait_for_attempts(study, 1)

        assert row(study)["last_step"] == 7
        assert row(study)["last_step_time"] > 0
        with study.database.read() as tables:
            assert tables.quantities(1) == {"energy": (7, [9.5, 2.0])}


def test_scripts_find_the_job_side_and_nothing_else_of_ours(tmp_path: Path) -> None:
    script = f"""{PYTHON} -S -c 'import motoko, os, sys
run, job = motoko.get_run()
print(job.x, os.environ["OMP_NUM_THREADS"], sys.stdin.read() == "")
try: import numpy
except ImportError: print("alone")'
"""
    environment = {"PATH": os.environ["PATH"], "HOME": "/"}
    with new_study(tmp_path / "s", script) as study:
        with launching(study, environment=environment):
            create(study, nproc=2)
            wait_for_state(study, "FINISHED")
        assert (study.run_dir(1) / "r.o1").read_text() == "0.0 2 True\nalone\n"


def test_the_number_of_threads_is_the_users_to_say(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "5"}
    with new_study(tmp_path / "s", "echo $OMP_NUM_THREADS\n") as study:
        with launching(study, environment=environment):
            create(study)
            study.create_tasks(
                {"x": 1.0}, {"omp_num_threads": 3}, run_name="q", event_name="main"
            )
            wait_for_state(study, "FINISHED", 1, 2)
        assert (study.run_dir(1) / "r.o1").read_text() == "5\n"
        assert (study.run_dir(2) / "q.o2").read_text() == "3\n"


def test_what_the_system_refuses_for_now_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(executor, "PAUSE_S", 0.02)
    refusals = [28, 11, 24]
    spawn = os.posix_spawn

    def refusing(*given: object, **options: object) -> int:
        if refusals:
            number = refusals.pop()
            raise OSError(number, os.strerror(number))
        return spawn(*given, **options)  # type: ignore[arg-type]

    with new_study(tmp_path / "s", "true\n") as study:
        monkeypatch.setattr(os, "posix_spawn", refusing)
        with launching(study):
            create(study, 3)
            wait_for_state(study, "FINISHED", 1, 2, 3)

        assert refusals == []
        assert all(len(attempts(study, run_id)) == 1 for run_id in (1, 2, 3))
        assert "No space left on device; trying again" in caplog.text
        assert "runs start again" in caplog.text


def test_what_the_system_refuses_for_good_fails_the_run(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "true\n") as study:
        study.runs_dir.write_text("in the way")
        with launching(study):
            create(study)
            (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FAILED"
        assert attempt["class"] == "submission"
        assert "Not a directory" in attempt["cause"]


def test_a_store_that_lost_its_files_fails_the_run(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "true\n") as study:
        create(study)
        for file in study.files.directory.iterdir():
            file.unlink()
        with launching(study):
            (attempt,) = wait_for_attempts(study, 1)

        assert attempt["class"] == "submission"
        assert "are lost" in attempt["cause"]
