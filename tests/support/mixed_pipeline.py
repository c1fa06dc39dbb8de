"""A pipeline with all kinds of phases that is killed and started again, and what it leaves.

Runs and functions deposit artifacts, which what comes behind reads. A run and a function fail
once, others as often as they are tried; a study beside the pipeline has a run that an action
mends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from motoko.workflow import Workflow, opening
from tests.support.three_studies import BEGIN, RUN_NAME, Ended, read_executed, read_study

STUDIES = ("prepare", "sample", "total", "beside")
#: How often each function has to be called for each system, when nothing dies.
CALLS = {
    **{f"label {name}": 1 for name in "abcde"},
    **{f"note {name}": 1 for name in "abce"},
    "look a": 1,
    "look b": 1,
    "look c": 2,
    "look e": 2,
}
#: What names places, and runs by their ids, which are others in each workflow.
_PLACES = ("system_dir", "sentinels", "required_runs")

_FILES = {
    "motoko.yaml": """\
task_managers: {prepare: , sample: , total: , beside: }
orchestrator: order.main
max_concurrent: 3
""",
    "prepare/bd.yaml": "study: prepare\njob: {system: str}\nartifacts: {state: state.txt}\n",
    "prepare/launch.sh": f"""{BEGIN}\
echo "state of __BLACKDYNAMITE__system__" >state.txt
# It fails once, and an attempt that was killed before its end was told has not failed.
if [ __BLACKDYNAMITE__system__ = b ] && ! grep -qs '"exit":3' attempt-*/.motoko-outcome-*; then
  exit 3
fi
""",
    "sample/bd.yaml": """\
study: sample
job: {system: str, window: int}
run: {mean: float}
artifacts: {frames: "frames/*.txt"}
""",
    "sample/launch.sh": f"{BEGIN}exec python3 doIt.py\n",
    "sample/doIt.py": """\
from pathlib import Path

import motoko

with motoko.running() as (run, job):
    Path("frames").mkdir(exist_ok=True)
    for number in (1, 2):
        Path(f"frames/{number}.txt").write_text(f"{job.system} {job.window} {number}")
    assert (job.system, job.window) != ("d", 1)
    run.mean = job.window / 2
    run.pushQuantity(job.window, 1, "height")
""",
    "total/bd.yaml": "study: total\njob: {system: str}\nartifacts: {sum: sum.txt}\n",
    "total/launch.sh": f'{BEGIN}echo "sum of __BLACKDYNAMITE__system__" >sum.txt\n',
    "beside/bd.yaml": """\
study: beside
job: {system: str}
run: {mended: int}
on_failure: {retry: {infrastructure: 9}}
run_params: {mended: 0}
""",
    "beside/launch.sh": f"""{BEGIN}\
[ __BLACKDYNAMITE__system__ != a ] || (( __BLACKDYNAMITE__mended__ ))
""",
    "order.py": """\
from motoko.pipeline import Pipeline, Step
from motoko.systems import SimSystem

NOTED = {"directory": "note", "success": [["done"]]}
ORDER = Pipeline(
    [
        Step("prepare"),
        Step("label", ["prepare"]),
        Step("sample", ["label"], payload={"job": {"window": [0, 1]}}),
        Step("note", ["sample"], sentinels=NOTED),
        Step("look", ["sample"]),
        Step("total", ["look", "note"], barrier=True),
    ]
)
POLICY = {"retry": {"application": 1, "infrastructure": 9, "then": "prune"}}


async def main(workflow, **params):
    workflow.add_action("mend", task="beside", event="state = FAILED", f=mend)
    systems = [SimSystem(name, workflow.directory / "systems" / name) for name in "abcde"]
    found = await workflow.run_pipeline(
        ORDER, systems, handlers={"label": label, "note": note, "look": look}, on_failure=POLICY
    )
    workflow.vars.survivors = "".join(system.name for system in found)
    workflow.add_action("end", task="beside", event=all_finished, f=end, once=True)


def called(workflow, step, system):
    with open(workflow.directory / "called", "a") as file:
        file.write(f"{step} {system.name}\\n")


def label(workflow, system, runs):
    called(workflow, "label", system)
    [(run, job)] = runs
    name, made = f"label/{system.name}", system.path("label")
    state = workflow.artifacts.path(f"prepare/{run.id}/state").read_text()
    if not workflow.artifacts.list_artifacts(prefix=name):
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(f"label of {state}")
        workflow.artifacts.put_file(made, name)
    workflow.beside.createTask(system=system.name)
    setattr(workflow.vars, f"label_{system.name}", state)


def note(workflow, system):
    called(workflow, "note", system)
    system.path("note").mkdir(exist_ok=True)
    system.path("note", "done").touch()


async def look(workflow, system, runs, attempts):
    called(workflow, "look", system)
    store, name, made = workflow.artifacts, f"look/{system.name}", system.path("look")
    made.mkdir(exist_ok=True)
    for run, job in runs:
        frame = store.path(f"sample/{run.id}/frames/frames/2.txt").read_text()
        (made / f"{job.window}").write_text(frame)
    if store.list_artifacts(prefix=name):
        store.remove(name)
    store.put_dir(made, name)
    setattr(workflow.vars, f"look_{system.name}", len(attempts))
    if system.name == "e" or (system.name == "c" and not attempts):
        raise ValueError(f"{system.name} looks bad")


async def mend(workflow, runs, **params):
    for run, job in runs:
        run.mended, run.state = 1, "CREATED"


def all_finished(run, job):
    return run.state == "FINISHED"


async def end(workflow, **params):
    if len(workflow.beside.select("state = FINISHED")) == 5:
        workflow.finished = True
""",
}


def write(directory: Path) -> None:
    """Make the workflow's files."""
    for name, text in _FILES.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def read(directory: Path) -> Ended:
    """Read what a workflow has left, when nothing of it runs any more."""
    workflow = Workflow(str(directory))
    with closing(workflow):
        opening.open_all(workflow)
        ended = Ended({}, {}, [], Counter(), Counter(), set(), read_executed(directory))
        names: dict[str, str] = {}
        for study in (workflow.task_manager(name).base for name in STUDIES):
            read_study(study, ended, _key)
            for row in ended.rows[study.name].values():
                for name in _PLACES:
                    row.pop(name, None)
            with study.database.read() as tables:
                for run_id in tables.run_ids():
                    job = tables.job(tables.run(run_id)["job_id"])
                    names[f"{study.name}/{run_id}/"] = f"{study.name}:{_key(job)}/"
        with workflow.vars.db.read() as ledger:
            ended.variables = {**ledger.variables(), "failures": _failures(ledger)}
            if open_firings := ledger.open_firings(RUN_NAME):
                ended.wrong.append(f"firings without an end: {open_firings}")
            if not (ledger.run_name(RUN_NAME) or {}).get("finished"):
                ended.wrong.append("the run name is not finished")
        ended.wrong += map(str, workflow.artifacts.verify())
        ended.variables["artifacts"] = _artifacts(workflow, names)
    calls = Counter((directory / "called").read_text().splitlines())
    if calls.keys() != CALLS.keys() or any(calls[call] < CALLS[call] for call in CALLS):
        ended.wrong.append(f"called {calls}")
    return ended


def _key(job: Mapping[str, Any]) -> str:
    return f"{job['system']}{job.get('window', '')}"


def _failures(ledger: Any) -> dict[str, list[tuple[Any, ...]]]:
    return {
        event: [(why["number"], why["class"], why["cause"]) for _, why in found]
        for event, found in ledger.failures(RUN_NAME).items()
    }


def _artifacts(workflow: Workflow, names: Mapping[str, str]) -> dict[str, Any]:
    """The content of each artifact, under a name that says whose it is, and not by which id."""
    found = {}
    for artifact in workflow.artifacts.list_artifacts():
        path = workflow.artifacts.path(artifact.name)
        start = next((start for start in names if artifact.name.startswith(start)), "")
        name = names.get(start, "") + artifact.name.removeprefix(start)
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        found[name] = [(file.name, file.read_text()) for file in files]
    return found
