"""What a user waits for at the prompt, and what a workflow costs that has nothing to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from motoko.workflow import control
from tests.bench.harness import (
    NO_OP,
    ROOT,
    Figures,
    cpu_s,
    daemons,
    measured_workflow,
    orchestrator,
    timed_children,
    usage,
)

MOTOKO = [sys.executable, "-m", "motoko"]


def motoko(directory: Path, *arguments: str) -> tuple[float, float]:
    """The seconds that a command takes, and those of processor time."""
    with timed_children() as taken:
        done = subprocess.run(
            [*MOTOKO, *arguments, str(directory)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=_environment(),
        )
    assert done.returncode == 0, done
    return taken[0], taken[1]


def _environment() -> dict[str, str]:

    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path}


def quickstart() -> Figures:
    """Create, start and finish of the example, each by a command of its own."""
    directory = Path(tempfile.mkdtemp(prefix="motoko-bench-"))
    try:
        shutil.copytree(ROOT / "examples" / "quickstart", directory, dirs_exist_ok=True)
        for name in (".wf", *(f"{study}/.bd" for study in ("square", "total", "root"))):
            shutil.rmtree(directory / name, ignore_errors=True)
        created = motoko(directory, "create", "--validated", "--no-backup")
        started = motoko(directory, "launcher")
        executed = motoko(directory, "orchestrator", "start", "--run_name", "bench")
        assert (directory / "result.txt").exists()
    finally:
        motoko(directory, "kill")
        shutil.rmtree(directory, ignore_errors=True)
    return {
        "startup": created[0] + started[0],
        "startup, create": created[0],
        "startup, cpu": created[1] + started[1],
        "quickstart": executed[0],
        "quickstart, cpu": executed[1],
    }


def info(n_runs: int, n_times: int) -> list[Figures]:
    """``motoko info`` on three studies with so many runs in all, and ``motoko --help``."""
    names = ("first", "second", "third")
    with measured_workflow(dict.fromkeys(names, NO_OP), launcher=False) as workflow:
        for name in names:
            workflow.task_manager(name).createTask(x=[float(i) for i in range(n_runs // 3)])
        found = []
        for _ in range(n_times):
            seconds, cpu = motoko(workflow.directory, "info")
            found.append({"info": seconds, "info, cpu": cpu})
            for key, command in (
                ("help", [*MOTOKO, "--help"]),
                ("interpreter", [sys.executable, "-c", "pass"]),
            ):
                with timed_children() as taken:
                    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
                found.append({key: taken[0], f"{key}, cpu": taken[1]})
    return found


def idle(n_studies: int, n_runs: int, seconds: float) -> Figures:
    """Server, launcher and orchestrator with nothing to do: memory and processor time.

    Each study has so many runs, all of them finished.
    """
    scripts = {f"study{i}": NO_OP for i in range(n_studies)}
    with measured_workflow(scripts, launcher=False) as workflow:
        for manager in workflow.task_managers.values():
            with workflow.session():
                manager.createTask(x=[float(i) for i in range(n_runs)])
                for run, _ in manager.select():
                    run.state = "FINISHED"
        control.start_launcher(workflow)
        with orchestrator(workflow, 1, main_goes_on=False) as pid:
            pids = {**daemons(workflow), "orchestrator": pid}
            time.sleep(seconds / 12)  # what starting up leaves behind is not idling
            before = {name: cpu_s(pid) for name, pid in pids.items()}
            time.sleep(seconds)
            after = {name: cpu_s(pid) for name, pid in pids.items()}
            sizes = {name: usage(pid).pss / 1e6 for name, pid in pids.items()}
    cpu = sum(after[name] - before[name] for name in pids)
    return {
        **{f"idle {name}": size for name, size in sizes.items()},
        "idle memory": sum(sizes.values()),
        "idle cpu": 100 * cpu / seconds,
    }
