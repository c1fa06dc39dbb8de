"""What a further attempt is told and given, and what is kept of the one before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.launch_session import (
    PYTHON,
    YAML,
    attempts,
    create,
    launching,
    new_study,
    row,
    wait_for_state,
)

POLICY = (
    YAML
    + """\
mem: 3GB
walltime: 1h
on_failure:
  retry: {application: {attempts: 2, times: {mem: 2, walltime: 1.5}}, then: prune}
"""
)
TELLS = f"""
import json, os, sys
import motoko
run, job = motoko.get_run()
run.start()
with open(run.file("told"), "w") as file:
    told = {{k: v for k, v in os.environ.items() if k.startswith("MOTOKO_LAST")}}
    json.dump([told, run.last_attempt, run.entries.get("mem")], file)
if run.attempt < 3:
    run.push_quantity(run.attempt * 1.5, step=run.attempt, name="y")
    print("no", "convergence", file=sys.stderr)
    sys.exit(3)
run.finish()
"""


def told(run_dir: Path) -> Any:
    return json.loads((run_dir / "told").read_text())


def test_a_further_attempt_is_told_of_the_one_before_it_and_given_more(tmp_path: Path) -> None:
    (tmp_path / "tells.py").write_text(TELLS)
    script = f"{PYTHON} {tmp_path}/tells.py || exit 3\n"
    with new_study(tmp_path / "s", script, POLICY) as study, launching(study):
        create(study)
        wait_for_state(study, "FINISHED")
        first, second, _ = attempts(study)
        run_dir = study.run_dir(1)
        with study.database.read() as tables:
            quantities, run = tables.quantities(1), tables.run(1)

    assert told(run_dir / "attempt-1") == [{}, None, None]
    variables, last, mem = told(run_dir)
    assert variables == {
        "MOTOKO_LAST_STATE": "FAILED",
        "MOTOKO_LAST_CLASS": "application",
        "MOTOKO_LAST_CAUSE": "exit code 3",
        "MOTOKO_LAST_EXIT_CODE": "3",
        "MOTOKO_LAST_LINES": "no convergence",
    }
    assert (last["number"], last["exit_code"], last["stderr"]) == (2, 3, "no convergence")
    assert mem == "12GB"
    assert [a["given_more"]["mem"] for a in (first, second)] == ["6GB", "12GB"]
    assert run["walltime"] == 8100
    # What the first two computed is in their history and not the run's any more.
    assert quantities == {} and run.get("last_step") is None
    assert [a["quantities"] for a in (first, second)] == [{"y": [1, 1.5]}, {"y": [2, 3.0]}]


def test_the_policy_of_a_run_stands_above_that_of_its_study(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "exit 3\n", POLICY) as study, launching(study):
        create(study, on_failure={"retry": {"application": 1}})
        wait_for_state(study, "FAILED")

        assert len(attempts(study)) == 2
        assert "mem" not in row(study)
