"""The molecular-dynamics example on twelve systems, two of which fail, killed and resumed."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.test_examples import ENVIRONMENT, EXAMPLES, copied, motoko
from tests.support.processes import kill_processes_of, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = (
    "system_prep",
    "param_ligands",
    "prepare_equil",
    "equil",
    "equil_analysis",
    "prepare_fe",
    "fe",
    "analysis",
)
N_RUNS = {"prepare_fe": 2, "fe": 6}
SYSTEMS = [f"s{number:02}" for number in range(12)]
#: Which step fails for whom.
BAD = {"s03": "param_ligands", "s08": "equil"}
N_KILLS = 5

#: Both say, apart from all databases, when a run begins and when its program is done.
SCRIPT = """\
echo "__BLACKDYNAMITE__system__ $MOTOKO_STUDY $MOTOKO_RUN_ID" >>../../../begun
exec python3 doIt.py
"""
LAST_LINES = """
    import os

    study = os.environ["MOTOKO_STUDY"]
    with open("../../../done", "a") as file:
        file.write(f"{job.system} {study} {run.id}\\n")
"""


@pytest.fixture
def directory(tmp_path: Path):
    """The example for twelve systems, with less to compute."""
    found = copied("molecular-dynamics", tmp_path)
    shutil.rmtree(found / "systems")
    lines = ["systems:"]
    for name in SYSTEMS:
        root = found / "systems" / name
        root.mkdir(parents=True)
        (root / "ligand.json").write_text(json.dumps({"atoms": 9, "well": 0.1}))
        lines.append(f"  {name}: {{root: systems/{name}, meta: {{charge: 0}}}}")
    (found / "systems.yaml").write_text("\n".join(lines))
    for step in STEPS:
        (found / step / "launch.sh").write_text(SCRIPT)
        program = found / step / "doIt.py"
        text = program.read_text().replace("N_STEPS = 2000", "N_STEPS = 100")
        names = [name for name, bad in BAD.items() if bad == step]
        check = f"    assert job.system not in {names}\n"
        head, with_line, body = text.partition("with motoko.running() as (run, job):\n")
        program.write_text(head + with_line + check + body + LAST_LINES)
    yield found
    kill_processes_of(found)


def lines(file: Path) -> list[str]:
    """The lines that scripts have written so far."""
    return file.read_text().splitlines() if file.exists() else []


def killed_and_resumed(directory: Path, dice: random.Random) -> int:
    """Run the workflow, killing Motoko each time some more runs have begun; the exit code of
    the one that is left alone."""
    for _ in range(N_KILLS):
        n_before = len(lines(directory / "begun"))
        n_more = dice.randrange(1, 25)
        print(f"killed when {n_more} more than {n_before} runs have begun")
        begun = subprocess.Popen(
            [sys.executable, "-m", "motoko", "run", "--run_name", "only"],
            cwd=directory,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(
            lambda n=n_before + n_more, process=begun: (
                len(lines(directory / "begun")) >= n or process.poll() is not None
            ),
            deadline_s=120,
        )
        kill_processes_of(directory, "motoko")
        begun.wait(timeout=60)
    return motoko("run", "--run_name", "only", cwd=directory).returncode


def expected(*, with_analysis: bool) -> Counter[str]:
    """How many runs of each system and step are done when nothing is left to do."""
    found: Counter[str] = Counter()
    for name in SYSTEMS:
        end = STEPS.index(BAD.get(name, "analysis"))
        for step in STEPS[:end]:
            found[f"{name} {step}"] = N_RUNS.get(step, 1)
        if name not in BAD and with_analysis:
            found[f"{name} analysis"] = 1
    return found


RETRY = "{retry: {application: 2, infrastructure: 9, then: prune}}"


@pytest.mark.parametrize(
    ("policy", "code"), [("prune", 0), (RETRY, 0), ("keep", 5), ("raise", 5)]
)
def test_what_ran_is_what_the_policy_says_and_no_finished_phase_ran_twice(
    directory: Path, policy: str, code: int
) -> None:
    file = directory / "motoko.yaml"
    file.write_text(file.read_text().replace("on_failure: prune", f"on_failure: {policy}"))
    assert motoko("create", "--validated", cwd=directory).returncode == 0

    print(f"seed {policy!r}")
    found = killed_and_resumed(directory, random.Random(policy))

    assert found == code
    done = lines(directory / "done")
    assert Counter(done).most_common(1)[0][1] == 1
    table = Counter(line.rpartition(" ")[0] for line in done)
    full = expected(with_analysis=code == 0)
    if policy == "raise":
        assert table <= full
        assert table.total() < full.total()
    else:
        assert table == full
    begun = {line.rpartition(" ")[0] for line in lines(directory / "begun")}
    assert begun - set(full) <= {f"{name} {step}" for name, step in BAD.items()}
    assert motoko("verify", cwd=directory).returncode == 0
    for name, step in BAD.items() if policy == RETRY else ():
        found = motoko("runs", "list", step, f"system = {name}", "--json", cwd=directory)
        (run,) = json.loads(found.stdout)
        shown = motoko("runs", "show", run["run"], "--json", cwd=directory)
        earlier = json.loads(shown.stdout)["attempts"]
        assert [a["class"] for a in earlier].count("application") == 3


def test_example_has_all_steps_of_the_pipeline_that_is_ready() -> None:
    from motoko.pipeline import molecular_dynamics

    assert [step.name for step in molecular_dynamics()] == list(STEPS)
    assert all(
        (EXAMPLES / "molecular-dynamics" / step / "launch.sh").exists() for step in STEPS
    )
