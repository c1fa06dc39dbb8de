"""The same studies through the existing packages and through Motoko: `make test-compat`.

The packages are installed in an environment of their own (`MOTOKO_PEERS` says where, else
``.venv/peers``). Compared are jobs, ids, states, selections, run directories and tables of
quantities; what differs on purpose is in ``docs/reference/compat.md``.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.compat.base import Base
from motoko.compat.selectors import RunSelector
from tests.bench.peers import NotThere, Peers
from tests.support.processes import kill_processes_of

ROOT = Path(__file__).parents[2]
PEER_SIDE = Path(__file__).with_name("peer_side.py")
DEADLINE_S = 120
OPERATORS = ("=", "!=", "<", ">")
SEEDS = (1, 2, 3)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "MOTOKO_PEERS" not in os.environ, reason="`make test-compat` installs the peers"
    ),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def peer() -> Path:
    """The directory of the commands of the existing packages."""
    try:
        return Peers(Path(os.environ["MOTOKO_PEERS"])).python("motoko 0.1.4").parent
    except NotThere as error:
        pytest.skip(str(error))


@pytest.fixture
def places(tmp_path: Path, peer: Path) -> Iterator[tuple[Path, Path]]:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    yield theirs, ours
    if (theirs / ".bd").exists():
        command(theirs, [str(peer / "canYouDigIt"), "server", "stop"], peer)
    kill_processes_of(tmp_path)


def command(directory: Path, words: list[str], first: Path | None = None) -> str:
    path = os.environ["PATH"] if first is None else f"{first}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": "" if first else str(ROOT)}
    done = subprocess.run(
        words,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done
    return done.stdout


def random_study(draw: random.Random) -> tuple[str, dict[str, Any]]:
    """A ``bd.yaml``, and what is pushed to its runs and asked of them."""
    axes = {
        "x": sorted({round(draw.uniform(0, 9), 2) for _ in range(draw.randint(1, 3))}),
        "n": list(range(draw.randint(1, 3))),
        "word": draw.sample(["alpha", "beta", "gamma"], draw.randint(1, 2)),
    }
    lines = ["study: diff", "job: {x: float, n: int, word: str}", "run: {kind: str}"]
    lines += ["run_space: {kind: one}", "config_files: [conf.txt]", "exec_file: launch.sh"]
    lines += ["job_space:", *(f"  {name}: {values}" for name, values in axes.items())]
    constraints = ["state = FINISHED", "jobs.id = 2", "runs.id = 1", "kind = one"]
    for name in ("x", "n"):
        value = draw.choice(axes[name])
        constraints += [f"{name} {operator} {value}" for operator in OPERATORS]
    constraints += [f"word = {draw.choice(axes['word'])}", f"x > 1, n < {draw.randint(1, 3)}"]
    asked = {"constraints": constraints, "names": ["s", "v"]}
    return "\n".join(lines) + "\n", {**asked, "values": [1.5, [1.0, draw.randint(1, 9)]]}


@pytest.mark.parametrize("seed", SEEDS)
def test_both_make_the_same_of_a_random_study(
    seed: int, peer: Path, places: tuple[Path, Path]
) -> None:
    yaml, asked = random_study(random.Random(seed))
    theirs, ours = places
    for directory in places:
        (directory / "bd.yaml").write_text(yaml)
        (directory / "launch.sh").write_text("cat conf.txt\n")
        (directory / "conf.txt").write_text("__BLACKDYNAMITE__word__ __BLACKDYNAMITE__id__\n")
    verbs = (
        ["init", "--truerun"],
        ["jobs", "create", "--truerun", "--yes"],
        ["runs", "create", "--truerun", "--yes", "--run_name", "r"],
        ["runs", "launch", "--truerun"],
    )

    for verb in verbs:
        command(theirs, [str(peer / "canYouDigIt"), *verb], peer)
        command(ours, [sys.executable, "-m", "motoko", "bd", *verb])
    said = command(theirs, [str(peer / "python"), str(PEER_SIDE), json.dumps(asked)], peer)
    there = json.loads(said.rpartition("FOUND")[2])

    for run_id in there["runs"]:
        place = ours / "BD-diff-runs" / f"run-{run_id}"
        factor = there["runs"][run_id]["job"]["x"]
        push(place, asked, int(run_id), factor)
    with Base(host=f"zeo://{ours}") as base:
        pairs = RunSelector(base).selectRuns()
        assert [str(run.id) for run, _ in pairs] == list(there["runs"])
        for run, job in pairs:
            known = there["runs"][str(run.id)]
            assert (run.job_id, job.entries, run.kind) == (
                known["job_id"],
                known["job"],
                known["kind"],
            )
            for name, (columns, values) in known["quantities"].items():
                frame = run.getQuantity(name)
                numbers = [column.partition("[")[0] for column in columns]
                assert [c.partition("[")[0] for c in frame.columns] == numbers
                assert frame.values.tolist() == values
            for name in ("conf.txt", f"r.o{run.id}"):
                place = f"BD-diff-runs/run-{run.id}/{name}"
                assert (ours / place).read_text() == (theirs / place).read_text().replace(
                    "execute ./launch.sh\n", ""
                )
        n_compared = 0
        for text, ids in there["selections"].items():
            if isinstance(ids, list) and "state" not in text:  # ours are all FINISHED
                assert [run.id for run, _ in RunSelector(base).selectRuns(text)] == ids, text
                n_compared += 1
        assert n_compared > 8


def push(place: Path, asked: dict[str, Any], run_id: int, factor: float) -> None:
    """Push what the other side has pushed, in the process of a script of the run."""
    from motoko.job import get_run

    run, _ = get_run(str(place))
    for step, value in enumerate(asked["values"]):
        values = [v + run_id for v in value] if isinstance(value, list) else value * factor
        run.pushQuantity(values, step, asked["names"][step])
