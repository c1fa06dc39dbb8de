"""A hundred kills at random, of single processes, groups and everything: nothing is lost."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support import three_studies
from tests.support.processes import kill_processes_of, processes_of

N_KILLS = 100
#: As many runs in each of three studies.
N_VALUES = 67
OPTIONS = ("--n_values", str(N_VALUES), "--retry")
#: What is killed, and how likely that is. An orchestrator starts what dies again and again
#: after ever longer pauses: it has to die often enough itself.
KINDS = {
    "server": 11,
    "launcher": 11,
    "orchestrator": 16,
    "shell": 24,
    "script": 18,
    "group": 14,
    "everything": 6,
}
#: Between two kills, at most.
PAUSE_S = 0.2
#: Some are killed while they start.
EARLY = 0.2
LONGEST_S = 400


class Killer:
    """Kills processes of a workflow, at random."""

    def __init__(self, directory: Path, chance: random.Random) -> None:
        self._directory = directory
        self._chance = chance
        self.killed: Counter[str] = Counter()
        #: By run: how many processes of its scripts were killed.
        self.victims: Counter[str] = Counter()
        self._plan()

    def _plan(self) -> None:
        [self._kind] = self._chance.choices(list(KINDS), list(KINDS.values()))
        self._is_early = self._chance.random() < EARLY

    def try_to_kill(self, orchestrator: int) -> None:
        """Kill what is to be killed next, if it is there."""
        is_up = three_studies.office_pid(self._directory, "launcher") is not None
        if (is_up or self._is_early) and self._has_killed(orchestrator):
            self.killed[self._kind] += 1
            self._plan()

    def _has_killed(self, orchestrator: int) -> bool:
        kind = self._kind
        if kind in ("server", "launcher"):
            pid = three_studies.office_pid(self._directory, kind)
            return pid is not None and _kill(pid)
        if kind == "orchestrator":
            return _kill(orchestrator)
        processes = list(processes_of(self._directory))
        if kind == "everything":
            self.victims.update(filter(None, map(_run_of, processes)))
            return sum(_kill(p.pid) for p in processes) > 0
        found = [p.pid for p in processes if _is(kind, p, orchestrator)]
        if not found:
            return False
        pid = self._chance.choice(found)
        is_group = kind == "group"
        killed = [p for p in processes if p.pid == pid or (is_group and _share(p.pid, pid))]
        self.victims.update(filter(None, map(_run_of, killed)))
        return _kill(pid, is_group=is_group)


def _is(kind: str, process: psutil.Process, orchestrator: int) -> bool:
    """Whether a process is a script's shell, its program, or any but ``motoko run``."""
    with suppress(psutil.Error):
        if kind == "group":
            return process.pid != orchestrator
        return process.name() == "bash" if kind == "shell" else "doIt.py" in process.cmdline()
    return False


def _run_of(process: psutil.Process) -> str | None:
    """The run in whose directory a process works; None if it is no script's."""
    with suppress(psutil.Error):
        place = Path(process.cwd())
        if place.name.startswith("run-"):
            return f"{place.parents[1].name}.{place.name.removeprefix('run-')}"
    return None


def _share(pid: int, other: int) -> bool:
    """Whether two processes are of one group."""
    with suppress(ProcessLookupError):
        return os.getpgid(pid) == os.getpgid(other)
    return False


def _kill(pid: int, *, is_group: bool = False) -> bool:
    try:
        if is_group:
            os.killpg(os.getpgid(pid), signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def run_to_the_end(directory: Path, *, chance: random.Random, n_kills: int) -> Killer:
    """Start a workflow until it ends well; who has killed meanwhile, so often at most."""
    three_studies.write(directory)
    killer = Killer(directory, chance)
    end = time.monotonic() + LONGEST_S
    log = directory / "output"
    code = None
    while code != 0:
        assert time.monotonic() < end, log.read_text()
        with three_studies.start(directory, *OPTIONS, output=log) as process:
            while (code := process.poll()) is None:
                assert time.monotonic() < end, log.read_text()
                try:
                    code = process.wait(chance.uniform(0, PAUSE_S))
                except subprocess.TimeoutExpired:
                    if killer.killed.total() < n_kills:
                        killer.try_to_kill(process.pid)
    return killer


@pytest.mark.slow
@pytest.mark.timeout(3 * LONGEST_S)
def test_a_hundred_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("MOTOKO_TEST_SEED") or secrets.randbits(32))
    print(f"MOTOKO_TEST_SEED={seed}")
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    undisturbed = None
    for number in range(N_KILLS):
        if killed.total() >= N_KILLS:
            break
        directory = tmp_path / f"workflow {number}"
        n_kills = N_KILLS - killed.total() if undisturbed else 0
        try:
            killer = run_to_the_end(directory, chance=chance, n_kills=n_kills)
            ended = three_studies.read(directory)
        finally:
            kill_processes_of(directory)
        killed += killer.killed
        undisturbed = undisturbed or ended
        lost = f"{ended.n_lost.total()} attempts lost, {ended.n_killed.total()} ended by it"
        print(f"killed {dict(killer.killed)}: {lost}")
        assert ended.wrong == []
        assert ended.rows == undisturbed.rows
        assert ended.variables == undisturbed.variables
        assert ended.n_cut_off <= killer.victims  # those that had begun, and only those
    assert killed.total() >= N_KILLS
