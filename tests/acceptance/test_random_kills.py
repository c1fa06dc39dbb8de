"""A hundred kills at random, of single processes, groups and everything: nothing is lost."""

from __future__ import annotations

import os
import random
import re
import secrets
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
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
#: How likely only the launcher is killed, one time, while a script waits for that.
FOR_ADOPTION = 0.8
#: So many scripts go on under a later launcher, at least.
N_ADOPTED = 5
#: How many are killed in a further workflow if these were too few, and in how many at most.
FOR_MORE, MOST_WORKFLOWS = 20, 5
_ADOPTED = re.compile(r"run (\S+) goes on, process (\d+)")
LONGEST_S = 400


class Killer:
    """Kills processes of a workflow, at random."""

    def __init__(self, directory: Path, chance: random.Random) -> None:
        self._directory = directory
        self._chance = chance
        self.killed: Counter[str] = Counter()
        #: Run and attempt of the scripts of which a process was killed.
        self.victims: set[tuple[str, int]] = set()
        self._plan()

    def _plan(self) -> None:
        [self._kind] = self._chance.choices(list(KINDS), list(KINDS.values()))
        self._is_early = self._chance.random() < EARLY

    def try_to_kill(self, orchestrator: int) -> None:
        """Kill what is to be killed next, if it is there."""
        if self._chance.random() < FOR_ADOPTION and (parents := self._parents_of_waiting()):
            if three_studies.office_pid(self._directory, "launcher") not in parents:
                return  # the next one is to find them
            self._kind = "launcher"
        is_up = three_studies.office_pid(self._directory, "launcher") is not None
        if (is_up or self._is_early) and self._has_killed(orchestrator):
            self.killed[self._kind] += 1
            self._plan()

    def _parents_of_waiting(self) -> set[int]:
        """The parents of scripts that wait to be found by a later launcher than their own."""
        pids = (int(file.name.partition("-")[2]) for file in self._directory.glob("waiting-*"))
        return {parent for parent in map(_parent, pids) if parent is not None}

    def _has_killed(self, orchestrator: int) -> bool:
        kind = self._kind
        if kind in ("server", "launcher"):
            pid = three_studies.office_pid(self._directory, kind)
            return pid is not None and _send(pid, signal.SIGKILL)
        if kind == "orchestrator":
            return _send(orchestrator, signal.SIGKILL)
        processes = list(processes_of(self._directory))
        if kind == "everything":
            return self._kill_all([p.pid for p in processes])
        found = [p.pid for p in processes if _is(kind, p, orchestrator)]
        if not found:
            return False
        pid = self._chance.choice(found)
        if kind != "group":
            return self._kill_all([pid])
        return self._kill_all([p.pid for p in processes if p.pid == pid or _share(p.pid, pid)])

    def _kill_all(self, pids: Sequence[int]) -> bool:
        """Kill processes, none of which starts or becomes anything meanwhile; whether one was
        there."""
        stopped = [pid for pid in pids if _send(pid, signal.SIGSTOP)]
        self.victims.update(filter(None, map(_attempt_of, stopped)))
        return sum(_send(pid, signal.SIGKILL) for pid in stopped) > 0


def _is(kind: str, process: psutil.Process, orchestrator: int) -> bool:
    """Whether a process is a script's shell, its program, or any but ``motoko run``."""
    with suppress(psutil.Error):
        if kind == "group":
            return process.pid != orchestrator
        return process.name() == "bash" if kind == "shell" else "doIt.py" in process.cmdline()
    return False


def _attempt_of(pid: int) -> tuple[str, int] | None:
    """The run and the attempt that a process executes, as its environment says."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/environ").read_bytes()
        said = dict(entry.partition(b"=")[::2] for entry in text.split(b"\0"))
        names = (b"MOTOKO_STUDY", b"MOTOKO_RUN_ID", b"MOTOKO_ATTEMPT")
        if all(name in said for name in names):
            study, run_id, attempt = (said[name].decode() for name in names)
            return f"{study}.{run_id}", int(attempt)
    return None


def _parent(pid: int) -> int | None:
    with suppress(psutil.Error):
        return psutil.Process(pid).ppid()
    return None


def _share(pid: int, other: int) -> bool:
    """Whether two processes are of one group."""
    with suppress(ProcessLookupError):
        return os.getpgid(pid) == os.getpgid(other)
    return False


def _send(pid: int, number: signal.Signals) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def adopted(directory: Path) -> set[tuple[str, str]]:
    """Run and process of the scripts that a launcher found executing."""
    logs = (file.read_text() for file in (directory / ".wf").glob("launch.log*"))
    return {pair for log in logs for pair in _ADOPTED.findall(log)}


def run_to_the_end(directory: Path, *, chance: random.Random, n_kills: int) -> Killer:
    """Start a workflow until it ends well; who has killed meanwhile, so often at most."""
    three_studies.write(directory)
    if n_kills:
        (directory / "adopts").touch()
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
                    else:
                        (directory / "adopts").unlink(missing_ok=True)
    return killer


@pytest.mark.slow
@pytest.mark.timeout(3 * LONGEST_S)
def test_a_hundred_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("MOTOKO_TEST_SEED") or secrets.randbits(32))
    print(f"MOTOKO_TEST_SEED={seed}")
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    n_adopted = 0
    undisturbed = None
    for number in range(MOST_WORKFLOWS):
        if killed.total() >= N_KILLS and n_adopted >= N_ADOPTED:
            break
        directory = tmp_path / f"workflow {number}"
        n_kills = max(N_KILLS - killed.total(), FOR_MORE) if undisturbed else 0
        try:
            killer = run_to_the_end(directory, chance=chance, n_kills=n_kills)
            ended = three_studies.read(directory)
        finally:
            kill_processes_of(directory)
        killed += killer.killed
        undisturbed = undisturbed or ended
        lost = f"{ended.n_lost.total()} attempts lost, {ended.n_killed.total()} ended by it"
        n_adopted += len(found := adopted(directory))
        print(f"killed {dict(killer.killed)}: {lost}; {len(found)} went on")
        assert ended.wrong == []
        assert ended.rows == undisturbed.rows
        assert ended.variables == undisturbed.variables
        assert ended.cut_off <= killer.victims
    assert killed.total() >= N_KILLS
    assert n_adopted >= N_ADOPTED
