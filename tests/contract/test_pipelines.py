"""Pipelines that run: what begins when, what becomes of failures, what a restart does again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import (
    ActionFailed,
    ConfigError,
    PipelineError,
    RunsFailed,
    StepNotRunnable,
    StepWithoutHandler,
)
from motoko.pipeline import Pipeline, Step
from motoko.study.study import Study
from motoko.systems import SimSystem
from motoko.workflow import Workflow
from tests.support.workflows import (
    conclude,
    finish_all,
    no_daemons,
    run,
    served_workflow,
    write_workflow,
)

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

BD_YAML = "study: {name}\njob: {{system: str, window: int, t: float}}\nrun: {{label: str}}\n"
STUDIES = ("prepare", "equil", "check")
ORDER = Pipeline([Step("prepare"), Step("equil", ["prepare"]), Step("check", ["equil"])])
SYSTEMS = [SimSystem(name, f"/work/{name}") for name in ("a", "b", "c")]


TEXTS = {name: BD_YAML.format(name=name) for name in STUDIES}


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    with served_workflow(tmp_path, **TEXTS) as found:
        yield found


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workflow]:
    """A workflow in which nothing ever begins."""
    with served_workflow(tmp_path_factory.mktemp("empty"), "mult", **TEXTS) as found:
        yield found


def failing(*names: str) -> Callable[[Study, Mapping[str, Any]], str]:
    """What becomes of runs: those of these phases fail."""

    def outcome(study: Study, row: Mapping[str, Any]) -> str:
        phase = f"{study.name}:{study.job_row(row['job_id'])['system']}"
        return "FAILED" if phase in names else "FINISHED"

    return outcome


def piped(
    workflow: Workflow,
    pipeline: Pipeline = ORDER,
    systems: Any = SYSTEMS,
    outcome: Any = finish_all,
    **options: Any,
) -> list[str]:
    """Run a pipeline as the workflow; the names of the survivors."""
    found: list[Any] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        found.extend(await workflow.run_pipeline(pipeline, systems, **options))

    run(workflow, main, outcome=outcome)
    return [system and system.name for system in found]


def phases(workflow: Workflow) -> dict[str, str]:
    """The state of each run, by step and system."""
    return {
        f"{name}:{job.system}": run.state
        for name, manager in workflow.task_managers.items()
        for run, job in manager.select()
    }


def fired(workflow: Workflow) -> list[str]:
    """The events that changed something, in their order."""
    with workflow.vars.db.read() as ledger:
        return [record["event"] for record in ledger.firings().values()]


def test_every_step_is_done_for_every_system_and_awaiting_gives_them(
    workflow: Workflow,
) -> None:
    survivors = piped(workflow)

    assert survivors == ["a", "b", "c"]
    assert phases(workflow) == {
        f"{step}:{system}": "FINISHED" for step in STUDIES for system in "abc"
    }
    assert fired(workflow)[0] == "prepare"
    found, _ = workflow.equil.select("system = b")[0]
    assert (found.event_name, found.system_dir) == ("equil", "/work/b")


def test_payload_gives_job_values_and_run_parameters_with_what_is_known_of_the_system(
    workflow: Workflow,
) -> None:
    payload = {
        "job": {"window": [0, 1], "t": "{system.meta.temperature}"},
        "run": {"label": "{system.name} in {system.root}"},
    }
    systems = [SYSTEMS[0].with_meta(temperature=310.5)]

    piped(workflow, Pipeline([Step("heat", payload=payload, task="equil")]), systems)

    found = {(job.window, job.t, run.label) for run, job in workflow.equil.select()}
    assert found == {(0, 310.5, "a in /work/a"), (1, 310.5, "a in /work/a")}


def test_a_system_goes_on_while_another_one_is_behind_unless_the_step_is_a_barrier(
    workflow: Workflow,
) -> None:
    begun: list[str] = []

    def outcome(study: Study, row: Mapping[str, Any]) -> str | None:
        phase = f"{study.name}:{study.job_row(row['job_id'])['system']}"
        begun.append(phase)
        if phase == "equil:c":
            workflow.prepare.base.database.write(partial(conclude, 1, "FINISHED", 1))
        return None if phase == "prepare:a" else "FINISHED"

    barrier = Step("check", ["equil"], barrier=True)
    piped(workflow, Pipeline([*list(ORDER)[:2], barrier]), outcome=outcome)

    assert begun.index("equil:c") < begun.index("equil:a") < begun.index("check:c")


def test_a_run_that_ended_in_a_state_of_its_own_is_done_and_has_not_failed(
    workflow: Workflow,
) -> None:
    def outcome(study: Study, row: Mapping[str, Any]) -> str:
        return "CONVERGED" if study.name == "equil" else "FINISHED"

    assert piped(workflow, outcome=outcome) == ["a", "b", "c"]


def test_pruned_system_leaves_out_its_remaining_phases_and_the_others_go_on(
    workflow: Workflow,
) -> None:
    survivors = piped(workflow, outcome=failing("prepare:a", "equil:b"), on_failure="prune")

    assert survivors == ["c"]
    assert phases(workflow) == {
        "prepare:a": "FAILED",
        "prepare:b": "FINISHED",
        "prepare:c": "FINISHED",
        "equil:b": "FAILED",
        "equil:c": "FINISHED",
        "check:c": "FINISHED",
    }


def test_barrier_does_not_wait_for_pruned_systems(workflow: Workflow) -> None:
    order = Pipeline([Step("prepare"), Step("check", ["prepare"], barrier=True)])

    survivors = piped(workflow, order, outcome=failing("prepare:a"), on_failure="prune")

    assert survivors == ["b", "c"]


def test_failure_that_nobody_mends_ends_the_pipeline_when_all_others_are_through(
    workflow: Workflow,
) -> None:
    with pytest.raises(RunsFailed) as caught:
        piped(workflow, outcome=failing("equil:b"))

    assert [failed.study for failed in caught.value.failed] == ["equil"]
    assert set(phases(workflow)) == {*(f"prepare:{s}" for s in "abc"), *(
        f"equil:{s}" for s in "abc"), "check:a", "check:c"}  # fmt: skip


def test_system_goes_on_when_an_action_mends_its_failed_run(workflow: Workflow) -> None:
    n_failed: list[int] = []

    def outcome(study: Study, row: Mapping[str, Any]) -> str:
        is_bad = study.name == "equil" and not row.get("label")
        return "FAILED" if is_bad else "FINISHED"

    async def mend(runs: Any, **params: Any) -> None:
        n_failed.append(len(runs))
        for found, _ in runs:
            found.label, found.state = "mended", "CREATED"

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("mend", "equil", "state = FAILED", f=mend)
        assert len(await workflow.run_pipeline(ORDER, SYSTEMS)) == 3
        workflow.finished = True

    run(workflow, main, outcome=outcome)

    assert sum(n_failed) == 3


def test_raise_ends_the_workflow_at_the_first_failure(workflow: Workflow) -> None:
    with pytest.raises(RunsFailed, match="prepare"):
        piped(workflow, outcome=failing("prepare:a"), on_failure="raise")


def test_finished_phases_are_not_done_again_under_the_same_run_name(
    workflow: Workflow,
) -> None:
    with pytest.raises(RunsFailed):
        piped(workflow, outcome=failing("equil:b"))
    before = fired(workflow)
    done = {phase for phase, state in phases(workflow).items() if state == "FINISHED"}

    for found, _ in workflow.equil.select("state = FAILED"):
        found.state = "CREATED"
    begun: list[str] = []

    def outcome(study: Study, row: Mapping[str, Any]) -> str:
        begun.append(f"{study.name}:{study.job_row(row['job_id'])['system']}")
        return "FINISHED"

    survivors = piped(workflow, outcome=outcome)

    assert survivors == ["a", "b", "c"]
    assert not done & set(begun)
    assert fired(workflow)[len(before) :] == ["check"]


# functions


def test_function_is_called_for_each_system_with_what_it_takes(workflow: Workflow) -> None:
    calls: list[Any] = []

    async def look(system: Any, runs: Any, params: Any, workflow: Workflow) -> None:
        calls.append((system.name, [f.state for f, _ in runs], params))

    order = Pipeline([Step("prepare"), Step("look", ["prepare"], payload=7)])
    piped(workflow, order, handlers={"look": look})

    assert sorted(calls) == [(name, ["FINISHED"], 7) for name in "abc"]


def test_function_that_came_to_its_end_is_not_called_again(workflow: Workflow) -> None:
    calls: list[str] = []

    async def look(system: Any, workflow: Workflow) -> None:
        calls.append(system.name)
        if system.name == "b" and not (workflow.directory / "mended").exists():
            raise ValueError("no good")

    order = Pipeline([Step("look"), Step("prepare", ["look"])])
    with pytest.raises(ActionFailed, match="look:b raised ValueError: no good") as caught:
        piped(workflow, order, handlers={"look": look})
    assert caught.value.__notes__ == ["go on with `motoko run --run_name test`"]
    assert set(phases(workflow)) == {"prepare:a", "prepare:c"}
    (workflow.directory / "mended").touch()
    survivors = piped(workflow, order, handlers={"look": look})

    assert survivors == ["a", "b", "c"]
    assert sorted(calls) == ["a", "b", "b", "c"]


def test_function_that_raises_prunes_its_system_and_leaves_no_half_done_work(
    workflow: Workflow,
) -> None:
    def look(system: Any, workflow: Workflow) -> None:
        workflow.prepare.createTask(system=system.name, window=7)
        if system.name == "b":
            raise ValueError

    order = Pipeline([Step("look"), Step("equil", ["look"])])
    survivors = piped(workflow, order, handlers={"look": look}, on_failure="prune")

    assert survivors == ["a", "c"]
    assert {job.system for _, job in workflow.prepare.select()} == {"a", "c"}


def test_failure_of_a_function_counts_when_the_orchestrator_dies_over_it(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def die(point: str) -> None:
        assert point == "call.failed"
        raise Died

    def look(system: Any) -> None:
        called.append(system.name)
        if system.name == "b":
            raise ValueError

    called: list[str] = []
    monkeypatch.setattr("motoko.workflow.pipelines.functions.reached", die)
    order = Pipeline([Step("look")])
    with pytest.raises((Died, BaseExceptionGroup)) as caught:
        piped(workflow, order, handlers={"look": look}, on_failure="prune")
    assert not isinstance(caught.value, Exception)
    n_calls = called.count("b")
    survivors = piped(workflow, order, handlers={"look": look}, on_failure="prune")

    assert survivors == ["a", "c"]
    assert called.count("b") == n_calls > 0


def test_function_is_not_called_where_files_say_that_its_work_is_finished(
    workflow: Workflow, tmp_path: Path
) -> None:
    systems = [SimSystem(name, tmp_path / name) for name in ("done", "begun", "bad", "new")]
    for name, window in (("done", 0), ("done", 1), ("begun", 0)):
        write(tmp_path / name / "fe" / f"w{window}" / "md.out")
    for name in ("bad", "begun"):
        write(tmp_path / name / "fe/w1/nan")  # of an earlier attempt, as the next one
    write(tmp_path / "begun/fe/w1/FAILED")
    groups = {
        "success": [["{window}/md.out"]],
        "failure": [["{window}/nan"], ["{window}/FAILED"]],
    }
    sentinels = {"directory": "{system.meta.where}", "windows": ["w0", "w1"], **groups}
    called: list[str] = []

    def look(system: SimSystem) -> None:
        called.append(system.name)
        if system.name == "bad":
            system.path("fe/w1/nan").write_text("again")

    order = Pipeline([Step("look", sentinels=sentinels), Step("prepare", ["look"])])
    systems = [system.with_meta(where="fe") for system in systems]
    survivors = piped(workflow, order, systems, handlers={"look": look}, on_failure="prune")

    assert sorted(called) == ["bad", "begun", "new"]
    assert survivors == ["done", "begun", "new"]
    assert not (tmp_path / "begun/fe/w1/FAILED").exists()


def write(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


def test_pipeline_without_systems_does_each_step_once(workflow: Workflow) -> None:
    assert piped(workflow, systems=None) == [None]
    assert [len(manager.select()) for manager in workflow.task_managers.values()] == [1, 1, 1]


# mistakes


@pytest.mark.parametrize(
    ("steps", "options", "kind", "words"),
    [
        ([Step("equl")], {}, StepWithoutHandler, "step 'equl'.*task_managers.*handlers="),
        ([Step("x", task="equl")], {}, StepWithoutHandler, "step 'x'.*'equl'"),
        ([Step("equil", payload=3)], {}, StepNotRunnable, "step 'equil': its payload is int"),
        ([Step("equil", payload={"t": 3})], {}, StepNotRunnable, "key 't'; job values go"),
        (
            [Step("equil", payload={"job": {"t": "{system.meta.t}"}})],
            {},
            StepNotRunnable,
            "which system 'a' does not have",
        ),
        (
            [Step("equil", payload={"job": {"window": []}})],
            {},
            StepNotRunnable,
            "step 'equil': its job value 'window' is a list without any value",
        ),
        (
            [Step("equil", payload={"job": {"t": "{system.foo}"}})],
            {},
            StepNotRunnable,
            "a system has name, root",
        ),
        (
            [Step("equil", sentinels={"widows": ["w0"]})],
            {},
            StepNotRunnable,
            "step 'equil': sentinels.'widows'.: expected no more than .*did you mean 'windows'",
        ),
        (
            [Step("equil", sentinels={"directory": "{system.meta.place}"})],
            {},
            StepNotRunnable,
            "has {system.meta.place}, which system 'a' does not have",
        ),
        (
            [Step("look", sentinels={"directory": "{window}"})],
            {"handlers": {"look": print}},
            StepNotRunnable,
            "{window} in the directory of its sentinels; a function has no job values",
        ),
        ([Step("equil")], {"systems": [*SYSTEMS, *SYSTEMS]}, PipelineError, "named 'a'"),
        ([Step("equil")], {"handlers": {"equl": "equil"}}, PipelineError, "no step 'equl'"),
        ([Step("equil")], {"on_failure": "explode"}, PipelineError, "explode"),
        (
            [Step("mult")],
            {},
            StepNotRunnable,
            r"`system: str` under `job:` in mult/bd\.yaml",
        ),
    ],
)
def test_what_could_only_fail_later_is_refused_before_anything_begins(
    empty: Workflow, steps: list[Step], options: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        piped(empty, Pipeline(steps), **options)

    assert empty.is_empty()


async def test_pipeline_outside_of_an_orchestrator_says_where_it_belongs(
    empty: Workflow,
) -> None:
    with pytest.raises(PipelineError, match="await it in `main`"):
        await empty.run_pipeline(ORDER, SYSTEMS)


# in motoko.yaml

YAML = """\
pipeline:
  systems: systems.yaml
  on_failure: prune
  steps:
    prepare:
      sentinels: {directory: "build/{system.name}", windows: [0, 1]}
    equil:
      requires: prepare
      job: {window: [0, 1], t: "{system.meta.t}"}
    report: {requires: [equil], handler: functions.report, barrier: true}
"""


def written(directory: Path, text: str = YAML) -> Path:
    """A workflow's directory with a pipeline in ``motoko.yaml`` and no orchestrator."""
    write_workflow(directory, TEXTS)
    names = "".join(f"  {name}:\n" for name in STUDIES)
    (directory / "motoko.yaml").write_text(f"task_managers:\n{names}{text}")
    (directory / "systems.yaml").write_text("systems: {a: {meta: {t: 1}}, b: {meta: {t: 2}}}")
    (directory / "functions.py").write_text(
        "def report(system, workflow):\n    setattr(workflow.vars, system.name, 1)\n"
    )
    return directory


def test_pipeline_in_motoko_yaml_runs_without_an_orchestrator(tmp_path: Path) -> None:
    with served_workflow(tmp_path, **TEXTS) as other:
        written(tmp_path)
        workflow = Workflow(str(tmp_path))
        workflow.run_name = other.run_name
        code = run(workflow, workflow.get_orchestrator_function(), outcome=failing("equil:a"))
        found = {
            (job.system, job.window, job.t, run.state) for run, job in workflow.equil.select()
        }
        variables = (workflow.vars.get("a"), workflow.vars.b)
        asked = [run.sentinels for run, _ in workflow.prepare.select("system = a")]
        workflow.close()

    assert code == 0
    assert found == {
        (name, window, t, state)
        for name, t, state in (("a", 1.0, "FAILED"), ("b", 2.0, "FINISHED"))
        for window in (0, 1)
    }
    assert variables == (None, 1)
    assert asked == [
        {"directory": "build/a", "windows": ("0", "1"), "root": str(tmp_path / "a")}
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("prepare:\n", "prepar:\n", ":9: pipeline.steps.prepar: nothing does it: 'prepar'"),
        (
            "requires: prepare",
            "requires: prepar",
            "equil.requires[0]: found 'prepar', which is no",
        ),
        ("barrier: true", "barier: true", "report.barier: unknown key; expected one of"),
        ("[equil], ", "[report], ", "'report' requires 'report'"),
        ("barrier: true", "study: check", "report.handler: found beside study"),
        ("job:", "jobs:", "equil.jobs: unknown key; expected one of: requires"),
        (
            "on_failure: prune",
            "on_failure: prone",
            ":7: pipeline.on_failure: found text 'prone'",
        ),
        ("systems.yaml", "{directory: x, file: y}", "expected a file that lists systems, or"),
    ],
)
def test_mistakes_of_a_pipeline_are_told_with_file_line_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in YAML
    directory = written(tmp_path, YAML.replace(old, new, 1))

    with pytest.raises(ConfigError) as caught:
        Workflow(str(directory))

    assert str(caught.value).startswith(f"{directory}/motoko.yaml:")
    assert message in str(caught.value)
