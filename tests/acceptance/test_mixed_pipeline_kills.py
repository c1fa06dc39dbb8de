"""A pipeline of runs and functions with artifacts and budgets: who dies is not to be seen."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.acceptance.test_crash_points import drive
from tests.support import mixed_pipeline, three_studies
from tests.support.processes import kill_processes_of, processes_of
from tests.support.three_studies import Ended

pytestmark = pytest.mark.slow

#: Where processes die in one workflow, one after the other.
PLACES = [
    "artifacts.copied artifacts.intended#3 artifacts.placed#3 launcher.recorded#3",
    "artifacts.manifest#4 artifacts.recorded#4 launcher.claimed#2 server.voted#20",
    "artifacts.emptied firing.ended#2 firing.begun#2 launcher.read#2",
    "artifacts.copied#12 artifacts.recorded#2 script.ended#3 server.replied#20",
    "commit.decided#3 commit.applied#2 commit.through#2 sentinel.written",
    "commit.applied#6 commit.begun#3 firing.ended#4 token.linked#2",
    "commit.decided#8 artifacts.placed#6 firing.begun#5 script.entered#3",
    "main.returned firing.ended#9 commit.through#5 outcome.aside",
    "workflow.finished artifacts.manifest#9 commit.begun#9 launcher.spawned#4",
]
#: What is killed at random, and how likely that is.
KINDS = {"server": 2, "launcher": 3, "orchestrator": 5, "everything": 3}
N_KILLS = 40
PAUSE_S = 0.4
LONGEST_S = 200


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """What is left of a workflow in which nothing dies."""
    ended = drive(tmp_path_factory.mktemp("w"), workflow=mixed_pipeline).ended
    assert ended is not None and ended.wrong == []
    assert ended.variables["survivors"] == "abc"
    return ended


@pytest.mark.timeout(300)
@pytest.mark.parametrize("places", PLACES)
def test_nobody_can_tell_at_which_points_processes_have_died(
    places: str, undisturbed: Ended, tmp_path: Path
) -> None:
    driven = drive(tmp_path, places.split(), mixed_pipeline)

    assert driven.differences(undisturbed) == []


def kill(directory: Path, kind: str, orchestrator: int) -> bool:
    """Kill what is of this kind, all at one moment; whether there was anything."""
    if kind == "everything":
        found: set[psutil.Process] = set()
        while more := set(processes_of(directory)) - found:
            for process in more:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()  # nobody sees another one die
            found |= more
    else:
        is_orchestrator = kind == "orchestrator"
        pid = orchestrator if is_orchestrator else three_studies.office_pid(directory, kind)
        found = {psutil.Process(pid)} if pid is not None and psutil.pid_exists(pid) else set()
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return bool(found)


def run_to_the_end(directory: Path, chance: random.Random, n_kills: int) -> Counter[str]:
    """Start the workflow until it ends well; what was killed meanwhile, so often at most."""
    mixed_pipeline.write(directory)
    killed: Counter[str] = Counter()
    end = time.monotonic() + LONGEST_S
    code, output = None, directory / "output"
    while code != 0:
        with three_studies.start(directory, output=output) as process:
            while (code := process.poll()) is None:
                assert time.monotonic() < end, output.read_text()
                time.sleep(chance.uniform(0, PAUSE_S))
                if killed.total() < n_kills:
                    [kind] = chance.choices(list(KINDS), list(KINDS.values()))
                    killed[kind] += kill(directory, kind, process.pid)
    return killed


@pytest.mark.timeout(5 * LONGEST_S)
def test_nobody_can_tell_what_was_killed_at_random(undisturbed: Ended, tmp_path: Path) -> None:
    seed = int(os.environ.get("MOTOKO_TEST_SEED") or secrets.randbits(32))
    print(f"MOTOKO_TEST_SEED={seed}")
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    number = 0
    while killed.total() < N_KILLS:
        directory = tmp_path / f"workflow {(number := number + 1)}"
        try:
            killed += run_to_the_end(directory, chance, N_KILLS - killed.total())
            ended = mixed_pipeline.read(directory)
        finally:
            kill_processes_of(directory)
        assert ended.wrong == []
        assert ended.rows == undisturbed.rows
        assert ended.variables == undisturbed.variables
        assert ended.n_killed.total() == 0
    print(f"killed {dict(killed)} in {number} workflows")
