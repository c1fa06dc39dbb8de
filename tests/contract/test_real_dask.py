"""What dask does that other systems do not: it goes on elsewhere when a worker is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from motoko.launch.dask import Dask
from tests.support.dask_cluster import DaskCluster, is_there
from tests.support.launch_session import (
    ONCE,
    attempts,
    create,
    launching,
    make_gate,
    new_study,
    open_gate,
    row,
    wait_for,
    wait_for_state,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_script_ends_with_its_worker_and_is_not_executed_again_elsewhere(
    dask_cluster: DaskCluster, tmp_path: Path
) -> None:
    gate = make_gate(tmp_path)
    script = f"echo $MOTOKO_RUN_ID >> {tmp_path}/ran; read -r _ < {gate}\n"
    with new_study(tmp_path / "s", script, ONCE) as study:
        with launching(study, **dask_cluster.settings):
            create(study)
            wait_for_state(study, "RUNNING")
            pid = wait_for(study, lambda: attempts(study)[0].get("pid"))
            os.kill(parent_of(pid), signal.SIGKILL)
            wait_for_state(study, "FAILED")

        assert not is_there(pid)
        (attempt,) = attempts(study)
        assert attempt["class"] == "infrastructure"
        assert (tmp_path / "ran").read_text() == "1\n"
    wait_until(lambda: dask_cluster.jobs() == [])


def test_runs_take_what_workers_offer_and_no_longer_than_they_may(
    dask_cluster: DaskCluster, tmp_path: Path
) -> None:
    gates = {run_id: make_gate(tmp_path, f"gate-{run_id}") for run_id in (2, 3, 4)}
    script = f"""
case $MOTOKO_RUN_ID in
  1) sleep 300 & wait ;;
  *) echo $OMP_NUM_THREADS; read -r _ < {tmp_path}/gate-$MOTOKO_RUN_ID ;;
esac
"""
    with new_study(tmp_path / "s", script, ONCE + "walltime: 2\nnproc: 2\n") as study:
        with launching(study, **{**dask_cluster.settings, "max_concurrent": 9}):
            ids = create(study, 1, nproc=2)
            wait_for_state(study, "FAILED")
            study.database.write(lambda t: t.update_run(1, {"walltime": 300}))
            ids += create(study, 4, nproc=2, walltime=300)[1:]
            wait_for(study, lambda: sum(row(study, r)["state"] == "RUNNING" for r in ids) == 2)
            wait_until(lambda: len(dask_cluster.jobs()) == 3)
            running = [r for r in ids if row(study, r)["state"] == "RUNNING"]
            [last] = gates.keys() - running
            for run_id in running:
                open_gate(gates[run_id])
            wait_for(study, lambda: row(study, last)["state"] == "RUNNING")
            open_gate(gates[last])
            wait_for(study, lambda: all("end_time" in row(study, r) for r in ids))

        assert attempts(study)[0]["class"] == "walltime", str(attempts(study)[0])
        assert [row(study, r)["state"] for r in ids[1:]] == ["FINISHED"] * 3
        assert (study.run_dir(ids[1]) / f"r.o{ids[1]}").read_text() == "2\n"


def test_a_scheduler_that_is_not_there_is_explained(dask_cluster: DaskCluster) -> None:
    assert Dask([dask_cluster.option]).problem() is None
    gone = Dask(["scheduler=tcp://127.0.0.1:1"])

    assert "of tcp://127.0.0.1:1 does not answer" in str(gone.problem())
    answer = gone.ask(gone.status_command("me"), 1)
    assert not answer.is_good and "does not answer" in answer.words
    refusal = gone.refusal(answer.words)
    assert refusal.name == "AWAY"
