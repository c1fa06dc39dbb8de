"""What scripts are given by the launcher, and what they say is recorded by it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from motoko.store.address import socket_address
from tests.support.launch_session import (
    DEADLINE_S,
    PYTHON,
    SAY,
    YAML,
    attempts,
    create,
    launching,
    make_gate,
    new_study,
    open_gate,
    row,
    wait_for,
    wait_for_attempts,
    wait_for_file,
    wait_for_state,
    watched_withdrawals,
)
from tests.support.waiting import wait_until


def test_scripts_start_with_the_signals_of_any_program(tmp_path: Path) -> None:
    script = "yes | head -n 1; echo ${PIPESTATUS[0]}; cat; trap 'echo got' INT; kill -INT $$\n"
    with new_study(tmp_path / "s", script) as study:
        with launching(study):
            create(study)
            wait_for_state(study, "FINISHED")
        assert (study.run_dir(1) / "r.o1").read_text() == "y\n141\ngot\n"


def test_scripts_read_nothing_from_the_launchers_input(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    before = os.dup(0)
    os.dup2(reader, 0)
    try:
        with new_study(tmp_path / "s", "readlink /proc/$$/fd/0; cat\n") as study:
            with launching(study):
                create(study)
                wait_for_state(study, "FINISHED")
            assert (study.run_dir(1) / "r.o1").read_text() == "/dev/null\n"
    finally:
        os.dup2(before, 0)
        for fd in (reader, writer, before):
            os.close(fd)


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


def test_a_state_set_by_somebody_is_not_overwritten_by_a_late_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_withdrawn = watched_withdrawals(monkeypatch)
    gate = make_gate(tmp_path)
    script = f"trap '' TERM; echo > {tmp_path}/deaf; read _ < {gate}\n"
    with new_study(tmp_path / "s", script) as study, launching(study, grace_s=60.0):
        create(study)
        wait_for_file(tmp_path / "deaf")
        study.update_run(1, {"state": "MINE"})
        assert is_withdrawn.wait(DEADLINE_S)
        open_gate(gate)
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "MINE"
        assert "has_finished" not in row(study)
        assert (attempt["exit_code"], attempt["state"]) == (0, "CANCELLED")


def test_what_others_do_with_a_run_lets_a_script_go_on_that_has_said_its_own_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_withdrawn = watched_withdrawals(monkeypatch)
    (tmp_path / "own").mkdir()
    own_gate, gate = make_gate(tmp_path / "own"), make_gate(tmp_path)
    script = f"""[ $MOTOKO_RUN_ID = 1 ] || exit 0
exec {PYTHON} -c 'import motoko
run, job = motoko.get_run()
run.state = "MESHING"
open("{own_gate}").read()
run.finish()
open("{gate}").read()
print(file=open("{tmp_path}/cleared", "w"))'
"""

    def launcher_has_seen(n: float) -> None:
        [run_id] = study.create_tasks({"x": n}, None, run_name="q", event_name="m")
        wait_for_state(study, "FINISHED", run_id)
        assert not is_withdrawn.is_set()

    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_state(study, "MESHING", 1)
        study.update_run(1, {"note": "looked at"})
        launcher_has_seen(7.0)
        open_gate(own_gate)
        wait_for_state(study, "FINISHED", 1)
        study.update_run(1, {"state": "REFINED"})
        launcher_has_seen(8.0)
        open_gate(gate)
        wait_for_file(tmp_path / "cleared")
        wait_for_state(study, "REFINED", 1)

        assert wait_for_attempts(study, 1)[0].get("signal") is None


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
    script = (
        f"{PYTHON} -c 'import motoko; motoko.get_run()[0].start(); raise SystemExit(1)'\ntrue\n"
    )
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FAILED"
        assert attempt["cause"].startswith("its program died")


def test_nonsense_at_the_socket_of_the_launcher_is_ignored_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = make_gate(tmp_path)
    with new_study(tmp_path / "s", f"read _ < {gate}\n") as study, launching(study):
        create(study)
        wait_for_state(study, "RUNNING")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.connect(str(socket_address(study.directory / ".wf", "knock.sock").path))
            for nonsense in (b'{"run": [], "nonce": "a"}', b"[" * 4000, b"", b"\xff"):
                door.send(nonsense)
        wait_until(lambda: "not understood" in caplog.text)
        open_gate(gate)
        wait_for_state(study, "FINISHED")

    assert caplog.text.count("a knock that is not understood is ignored") == 1


def test_with_explicit_completion_the_run_waits_for_its_word(tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    program = f'import motoko; open("{gate}").read(); motoko.get_run()[0].finish()'
    script = f"nohup setsid {PYTHON} -c '{program}' >/dev/null 2>&1 &\n"
    yaml = YAML + "completion: explicit\n"
    with new_study(tmp_path / "s", script, yaml) as study, launching(study):
        create(study)
        wait_for(study, lambda: [a for a in attempts(study) if "exit_code" in a])
        assert row(study)["state"] == "RUNNING"
        open_gate(gate)
        wait_for_state(study, "FINISHED")


def test_entries_of_a_wrong_type_are_a_warning(tmp_path: Path) -> None:
    script = f"""{SAY}
say 1 '"name":"norm","value":"wide"'
say 1 '"name":"nonce","value":"0"'
say 1 '"name":"free","value":5'
say 1 '"name":"free","value":6'
sed -i '$s/^-/ffffffff/' .motoko-journal-1-h-1-a
"""
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["state"] == "FINISHED"
        assert row(study)["free"] == 5
        assert "norm" not in row(study)
        assert len(attempt["warnings"]) == 3


def test_a_value_that_cannot_be_stored_does_not_keep_the_rest(tmp_path: Path) -> None:
    program = """import json, os
nonce = json.load(open(".motoko-run.json"))["nonce"]
deep = "[" * 700 + "]" * 700
with open(".motoko-journal-1-h-1-a", "w") as file:
    for name, value in ("deep", deep), ("free", "5"):
        line = json.dumps({"n": nonce, "t": 1, "op": "set", "name": name, "value": 0})
        print("-", line.replace("0}", value + "}"), file=file)
"""
    with new_study(tmp_path / "s", f"{PYTHON} -c '{program}'\n") as study, launching(study):
        create(study)
        (attempt,) = wait_for_attempts(study, 1)

        assert row(study)["free"] == 5
        assert attempt["warnings"] == ["'deep' is nested too deep to be stored: it was not set"]


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


def test_a_directory_or_a_pipe_named_like_a_table_holds_up_no_run(tmp_path: Path) -> None:
    script = "mkdir parts.csv\nmkfifo pipe.csv\n"
    with new_study(tmp_path / "s", script) as study, launching(study, max_concurrent=1):
        create(study, 2)
        wait_for_state(study, "FINISHED", 1, 2)
