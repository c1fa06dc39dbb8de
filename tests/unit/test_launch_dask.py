"""The adapter of dask: text goes in and comes out; nothing is asked."""

from __future__ import annotations

import json
import subprocess
import sys

import cloudpickle
import pytest

from motoko.config.retry import INFRASTRUCTURE, WALLTIME
from motoko.errors import ReservedOption, SchedulerOutputError
from motoko.launch import dask_side
from motoko.launch.batch_generator import JobStatus, Phase, Shape
from motoko.launch.dask import Dask
from motoko.launch.resources import Resources


def test_what_a_run_asks_for_is_said_as_dask_has_it() -> None:
    resources = Resources(nproc=4, mem_mb=512, walltime_s=5400, gpus="2", partition="fast")
    shape = Shape(resources, ("priority=3", "resources=GPU=1"))

    assert Dask().directives("motoko-s-1-1-a", shape, "log") == [
        "key=motoko-s-1-1-a",
        "log=log",
        "limit=01:30:00",
        "resources=cores=4",
        "resources=memory=536870912",
        "resources=GPU=1",
        "resources=fast=1",
        "priority=3",
    ]


def test_the_scheduler_is_named_for_all_studies() -> None:
    system = Dask(["scheduler=tcp://lab:8786", "priority=1"])

    assert system.options == ("priority=1",)
    with pytest.raises(ReservedOption, match=r"it is said in motoko\.yaml"):
        system.dialect.check(["scheduler=tcp://other:8786"], "solve/bd.yaml: dask_options")
    assert "dask_options: [scheduler=tcp://host:8786]" in str(Dask().problem())


def test_states_of_tasks_are_phases_of_jobs() -> None:
    said = [
        ["scheduler", "processing", "tcp://lab:8786"],
        ["motoko-a", "executing", "tcp://one:1"],
        ["motoko-b", "assigned", "tcp://one:1"],
        ["motoko-c", "no-worker", "cores=9"],
        ["motoko-d", "queued", ""],
        ["motoko-e", "erred", "KilledWorker"],
        ["motoko-f", "memory", ""],
        ["motoko-g", "waiting", ""],
    ]

    found = Dask().parse_status(json.dumps(said))

    assert found.pop("scheduler").phase is Phase.RUNNING
    told = {key[-1]: (one.phase, one.reason, one.failure) for key, one in found.items()}
    assert told == {
        "a": (Phase.RUNNING, "tcp://one:1", None),
        "b": (Phase.PENDING, "waits for a thread of tcp://one:1", None),
        "c": (Phase.PENDING, "no worker offers cores=9", None),
        "d": (Phase.PENDING, "all workers are busy", None),
        "e": (Phase.ENDED, "KilledWorker", INFRASTRUCTURE),
        "f": (Phase.ENDED, "", None),
        "g": (Phase.PENDING, "", None),
    }
    assert isinstance(found["motoko-a"], JobStatus) and found["motoko-a"].key == "motoko-a"


def test_what_cannot_be_read_is_no_answer() -> None:
    with pytest.raises(SchedulerOutputError):
        Dask().parse_status("")
    with pytest.raises(SchedulerOutputError):
        Dask().parse_submission("sure")


def test_the_word_of_a_task_whose_time_is_over_is_understood() -> None:
    assert Dask().failure_in("motoko: it is ended DUE TO TIME LIMIT\n") == WALLTIME


def test_workers_need_nothing_of_motoko() -> None:
    cloudpickle.register_pickle_by_value(dask_side)
    functions = (dask_side.execute, dask_side.known, dask_side.offered, dask_side.listed)
    sent = cloudpickle.dumps(functions)
    code = "import pickle, sys; sys.modules['motoko'] = None; pickle.load(sys.stdin.buffer)"

    subprocess.run([sys.executable, "-c", code], input=sent, check=True)
