"""Commands on a study with many run directories: ``python -m tests.bench.directories N_RUNS``.

The directories are copies of one that the launcher has made, each under its own number. Prints
JSON: seconds of each command, as a user would wait for it. With ``--packed N`` only so many are
packed and brought back, which is what takes long.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from motoko.study.study import Study
from motoko.workflow import Workflow, control
from tests.bench.commands import MOTOKO
from tests.bench.harness import ROOT, Figures, measured_workflow, timed

SCRIPT = """\
python3 - <<'END'
import BlackDynamite as BD
run, job = BD.getRunFromScript()
run.start()
for step in range(10):
    run.pushQuantity(job.x * step, step, "height")
run.norm = job.x
run.finish()
END
"""
_RUNS_A_COMMIT = 10_000
_DEADLINE_S = 60.0
_N_READ = 200

READ = """\
import sys
from motoko.workflow import Workflow
workflow = Workflow(sys.argv[1])
from motoko.workflow import opening
opening.open_all(workflow)
for run_id in range(1, 1 + int(sys.argv[2])):
    assert len(workflow.work.base.run(run_id).getQuantity("height")) == 10
"""
FRAME = """\
import sys
from motoko.workflow import Workflow, opening
workflow = Workflow(sys.argv[1])
opening.open_all(workflow)
assert len(workflow.work.dataframe()) == int(sys.argv[2])
"""


def measure(n_runs: int, n_packed: int) -> Figures:
    """Make the directories, then give one command after the other."""
    with measured_workflow({"work": SCRIPT}) as workflow:
        with timed() as made:
            make(workflow, n_runs)
        control.stop_all(workflow)
        found: Figures = {"made": made[0]}
        where = str(workflow.directory)
        frame = [sys.executable, "-c", FRAME, where, f"{n_runs}"]
        n_read = min(_N_READ, n_packed)
        some = f"id <= {n_packed}"
        read = [sys.executable, "-c", READ, where, f"{n_read}"]
        for name, command in {
            "info": [*MOTOKO, "info", where],
            "du": [*MOTOKO, "du", "work", "--dir", where],
            "dataframe": frame,
            "export --csv": [*MOTOKO, "export", "work", "--dir", where, "--csv", f"{where}/t"],
            "export --parquet": [
                *(*MOTOKO, "export", "work", "--dir", where),
                *("--parquet", f"{where}/t.parquet"),
            ],
            f"archive of {n_packed}": [*MOTOKO, "archive", "work", some, "--dir", where],
            "du, packed": [*MOTOKO, "du", "work", "--dir", where],
            f"quantity of {n_read} packed runs": read,
            f"archive --unpack of {n_packed}": [
                *(*MOTOKO, "archive", "work", some),
                *("--unpack", "--dir", where),
            ],
            "runs delete": [*MOTOKO, "runs", "delete", "work", "--all", "--dir", where],
        }.items():
            found[name] = given(name, command)
    return found


def given(name: str, command: Sequence[str]) -> float:
    """The seconds that a command takes, which must end well."""
    with timed() as taken:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done
    print(f"{name}: {taken[0]:.1f} s", file=sys.stderr, flush=True)
    return taken[0]


def make(workflow: Workflow, n_runs: int) -> None:
    """Let one run be executed; give all others its directory, and say that they finished."""
    study = workflow.work.base
    workflow.work.createTask(x=1.0)
    _await_first(study)
    entries = {k: v for k, v in study.run_row(1).items() if k in ("start_time", "end_time")}
    others = [float(i) for i in range(2, n_runs + 1)]
    study.database.write(lambda tables: tables.set_fact("held_since", time.time()))
    workflow.work.createTask(x=others)
    for first in range(2, n_runs + 1, _RUNS_A_COMMIT):
        some = range(first, min(first + _RUNS_A_COMMIT, n_runs + 1))

        def finish(tables: object, some: range = some) -> None:
            for run_id in some:
                tables.update_run(  # type: ignore[attr-defined]
                    run_id,
                    {"state": "FINISHED", "norm": float(run_id), **entries},
                    is_decided=True,
                )

        study.database.write(finish)
    model = study.run_dir(1)
    files = [(path.name, path.read_bytes()) for path in model.iterdir() if path.is_file()]
    for run_id in range(2, n_runs + 1):
        directory = str(study.run_dir(run_id))
        Path(directory).mkdir()
        for name, content in files:
            fd = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(fd, content)
            os.close(fd)
    print(f"{len(files)} files each", file=sys.stderr)


def _await_first(study: Study) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while study.run_row(1)["state"] != "FINISHED" or not study.run_row(1).get("end_time"):
        assert time.monotonic() < deadline, study.run_row(1)
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.directories")
    parser.add_argument("n_runs", type=int)
    parser.add_argument("--packed", type=int, metavar="N", help="pack so many; else all")
    options = parser.parse_args()
    n_packed = options.n_runs if options.packed is None else options.packed
    print(json.dumps(measure(options.n_runs, n_packed), indent=2))


if __name__ == "__main__":
    main()
