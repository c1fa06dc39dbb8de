"""What is printed of the public names, beside their parameters: each promise has a test that
says it. Here are those that stand nowhere else."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import OrchestratorNotLoadable, RunNameMissing, RunsFailed
from motoko.pipeline import molecular_dynamics
from motoko.task_manager import RunList, TaskSelection
from motoko.workflow import Workflow, control, event
from tests.contract.test_pitfalls import TESTS, checks_something, functions
from tests.support.workflows import no_daemons, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

SOLVE = """\
study: solve
job: {x: float, n: int, deep: dict}
run: {label: str}
job_space: {n: [1, 2], x: 0.5, deep: {a: 1, b: 2}}
run_params: {nproc: 1, label: usual}
"""
MORE = "aliases: {work: solve}\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workflow]:
    """One workflow for all; each test has a run name of its own."""
    with served_workflow(tmp_path_factory.mktemp("w"), more=MORE, solve=SOLVE) as found:
        yield found


@pytest.fixture
def workflow(served: Workflow, request: pytest.FixtureRequest) -> Workflow:
    served.run_name = request.node.name.replace("_", "-")[:60]
    served.finished = False
    for key in list(served.actions):
        served.actions.remove(key)
    return served


def test_task_managers_are_attributes_by_name_and_alias(workflow: Workflow) -> None:
    assert workflow.work is workflow.solve is workflow.task_managers["solve"]
    assert workflow.aliases == {"work": "solve"}


def test_variables_are_read_back_by_another_who_opens_the_workflow(workflow: Workflow) -> None:
    workflow.vars.mesh = {"n": [1, 2]}

    again = Workflow(workflow.config_path)
    found = again.vars.mesh
    again.close()

    assert found == {"n": [1, 2]}
    assert workflow.vars.db_fname == str(workflow.directory / ".wf" / "wf.db")


def test_create_task_merges_its_values_with_the_defaults_of_the_study(
    workflow: Workflow,
) -> None:
    created = workflow.solve.createTask({"label": "own"}, x=[1.0, 2.0], deep={"b": 3})

    assert isinstance(created, RunList)
    assert [(job.n, job.x) for _, job in created.runs] == [
        (1, 1.0), (1, 2.0), (2, 1.0), (2, 2.0)
    ]  # fmt: skip
    assert all(job.deep == {"a": 1, "b": 3} for _, job in created.runs)
    assert {(one.label, one.nproc) for one, _ in created.runs} == {("own", 1)}
    assert {one.run_name for one, _ in created.runs} == {workflow.run_name}
    assert {one.event_name for one, _ in created.runs} == {
        "test_create_task_merges_its_values_with_the_defaults_of_the_study"
    }


def test_create_task_without_a_run_name_is_a_runtime_error(workflow: Workflow) -> None:
    workflow.run_name = None

    with pytest.raises(RunNameMissing) as caught:
        workflow.solve.createTask(x=1.0)

    assert isinstance(caught.value, RuntimeError)


def test_select_takes_nothing_a_constraint_or_several_and_is_lazy(workflow: Workflow) -> None:
    empty = workflow.solve.select()
    assert isinstance(empty, TaskSelection)
    assert not empty and list(empty) == []

    workflow.solve.createTask(x=[1.0, 2.0])

    assert len(empty) == 4 and bool(empty)
    assert [job.x for _, job in workflow.solve.select("x > 1.5")] == [2.0, 2.0]
    assert [job.n for _, job in workflow.solve.select(["x > 1.5", "n = 2"]).exec()] == [2]


def test_base_is_one_connection_that_selections_share(workflow: Workflow) -> None:
    manager = workflow.solve

    assert manager.base is manager.base is manager.connect() is manager.select().base
    assert manager.bd_config["run_params"] == {"nproc": 1, "label": "usual"}
    assert (Path(manager.study_dir), Path(manager.bd_dir)) == (
        workflow.directory / "solve",
        workflow.directory / "solve" / ".bd",
    )


def test_forms_of_conditions_are_told_apart(workflow: Workflow) -> None:
    def of_run(run: Any, job: Any) -> bool:
        return True

    def of_manager(workflow: Any, task_manager: Any) -> bool:
        return True

    forms = (workflow.is_run_filter, workflow.is_workflow_filter, workflow.is_no_param_func)
    conditions = (of_run, of_manager, lambda: True)
    for is_form, meant in zip(forms, conditions, strict=True):
        assert [is_form(one) for one in conditions] == [one is meant for one in conditions]


async def test_checking_events_by_hand_fires_what_is_true_once(workflow: Workflow) -> None:
    calls: list[tuple[str, int]] = []

    @event
    async def note(workflow: Workflow, factor: int, runs: Any = (), **params: Any) -> str:
        calls.append((",".join(str(job.n) for _, job in runs), factor))
        return "noted"

    workflow.solve.createTask(x=1.0)
    workflow.add_action("by run", "solve", "n = 2", f=note)
    workflow.add_action("plain", event=lambda: True, f=note)
    workflow.add_action("never", "solve", "n > 2", f=note)

    assert await workflow.check_event("by run", "solve", factor=2) == ["noted"]
    assert await workflow.check_event("never", "solve", factor=2) == []
    await workflow.check_events(factor=3)

    assert calls == [("2", 2), ("2", 3), ("", 3)]


async def test_checking_an_error_handler_by_hand_ends_with_the_failed_runs(
    workflow: Workflow,
) -> None:
    [*_, (last, _)] = workflow.solve.createTask(x=1.0)
    last.state = "FAILED"
    workflow.add_error_handler()

    with pytest.raises(RunsFailed, match=rf"solve\.{last.id}"):
        await workflow.check_events()


async def test_loop_of_events_goes_on_until_the_workflow_is_finished(
    workflow: Workflow,
) -> None:
    n_calls: list[int] = []

    def count(workflow: Workflow) -> None:
        n_calls.append(1)
        workflow.vars.n = len(n_calls)
        workflow.finished = len(n_calls) == 3

    workflow.add_action("count", event=lambda: True, f=count)
    await workflow.loop_check_events()

    assert len(n_calls) == 3


def test_orchestrator_function_is_loaded_from_the_workflows_directory(
    workflow: Workflow,
) -> None:
    again = Workflow(workflow.config_path)
    function = again.get_orchestrator_function()
    other = Workflow(workflow.config_path)
    (other.directory / "orchestrator.py").write_text("nothing = 1\n")

    assert function.__module__.endswith("orchestrator") and function.__name__ == "main"
    assert again.get_orchestrator_function() is function
    with pytest.raises(OrchestratorNotLoadable, match="main"):
        other.get_orchestrator_function()


def test_launcher_is_started_with_the_generator_of_the_arguments(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        control, "start_launcher", lambda workflow, generator: asked.append(generator)
    )

    workflow.start_launcher_daemons()
    workflow.start_launcher_daemons(argparse.Namespace(generator="slurm"))

    assert asked == [None, "slurm"]


def test_molecular_dynamics_has_a_fixed_order_whose_short_form_ends_with_equil() -> None:
    first = "system_prep param_ligands prepare_equil equil equil_analysis".split()
    names = [step.name for step in molecular_dynamics()]

    assert names == [*first, "prepare_fe", "fe", "analysis"]
    assert [step.requires for step in molecular_dynamics()][1:] == [(n,) for n in names[:-1]]
    assert [step.name for step in molecular_dynamics(short=True)] == first


def test_ready_pipeline_takes_payloads_by_the_names_of_its_steps() -> None:
    found = molecular_dynamics(payloads={"fe": {"job": {"window": [0, 1]}}})

    assert found["fe"].params == {"job": {"window": [0, 1]}}
    with pytest.raises(KeyError, match="did you mean 'equil'"):
        molecular_dynamics(payloads={"equl": 1})


HERE = "contract/test_printed_promises.py"
WORKFLOW = "contract/test_workflow.py"
FIRINGS = "contract/test_firings.py"
ARTIFACTS = "unit/test_artifacts.py"
PIPELINE = "unit/test_pipeline.py"
BATCH, MODELS = "integration/test_batch_runner.py", "unit/test_batch_models.py"
POLICIES = "contract/test_pipelines.py"
#: Each printed name, and tests whose names say what is promised of it.
PROMISES = {
    "event": f"{WORKFLOW}::test_an_action_that_meets_a_conflict_is_run_again",
    "no_action": "contract/test_printed_names.py::test_no_action_does_nothing",
    "WorkflowVars": f"{HERE}::test_variables_are_read_back_by_another_who_opens_the_workflow",
    "Workflow.finished": f"{WORKFLOW}::test_finished_takes_effect_with_the_commit",
    "Workflow.task_managers, aliases": (
        f"{HERE}::test_task_managers_are_attributes_by_name_and_alias"
    ),
    "Workflow.orchestrator_function": (
        f"{HERE}::test_orchestrator_function_is_loaded_from_the_workflows_directory"
    ),
    "Workflow.actions": f"{WORKFLOW}::test_the_same_task_and_event_name_replaces_the_action",
    "Workflow.run_name": f"{WORKFLOW}::test_a_selection_is_of_the_present_run_name",
    "Workflow.create": "acceptance/test_cli_create.py"
    "::test_validated_create_moves_databases_and_runs_into_a_backup",
    "Workflow.start_launcher_daemons": (
        f"{HERE}::test_launcher_is_started_with_the_generator_of_the_arguments"
    ),
    "Workflow.add_action": f"{WORKFLOW}::test_a_condition_on_runs_fires_with_the_matching_runs",
    "Workflow.add_action, get_params": f"{WORKFLOW}::test_get_params_is_asked_at_the_firing",
    "Workflow.add_action, boolean": (
        f"{WORKFLOW}::test_a_boolean_condition_over_all_studies_fires_once"
    ),
    "Workflow.add_error_handler": (
        f"{WORKFLOW}::test_an_async_error_handler_is_awaited_and_then_the_workflow_ends"
    ),
    "Workflow.is_run_filter and others": f"{HERE}::test_forms_of_conditions_are_told_apart",
    "Workflow.fire_event": (
        f"{FIRINGS}::test_an_event_that_is_fired_by_hand_gets_the_runs_of_its_trigger"
    ),
    "Workflow.check_event, check_events": (
        f"{HERE}::test_checking_events_by_hand_fires_what_is_true_once"
    ),
    "Workflow.execute": "contract/test_resumed_parameters.py"
    "::test_execute_refuses_other_parameters_before_anything_is_called",
    "Workflow.loop_check_events": (
        f"{HERE}::test_loop_of_events_goes_on_until_the_workflow_is_finished"
    ),
    "Workflow.get_runs, is_empty": f"{WORKFLOW}::test_get_runs_and_is_empty",
    "RunList": f"{WORKFLOW}::test_awaiting_created_tasks_gives_them_when_all_are_over",
    "TaskSelection": f"{WORKFLOW}::test_awaiting_a_selection_waits_for_the_first_match",
    "TaskSelection.all, TaskSelectionEval": (
        f"{WORKFLOW}::test_all_waits_until_every_selected_run_satisfies_the_constraints"
    ),
    "TaskManager.base, bd_config, study_dir, bd_dir, connect": (
        f"{HERE}::test_base_is_one_connection_that_selections_share"
    ),
    "TaskManager.createTask": (
        f"{HERE}::test_create_task_merges_its_values_with_the_defaults_of_the_study"
    ),
    "TaskManager.createTask, commit": (
        "contract/test_selections.py::test_a_task_can_be_seen_by_all_before_the_session_is_over"
    ),
    "TaskManager.createTask, run name": (
        f"{HERE}::test_create_task_without_a_run_name_is_a_runtime_error"
    ),
    "TaskManager.select": (
        f"{HERE}::test_select_takes_nothing_a_constraint_or_several_and_is_lazy"
    ),
    "Pipeline.describe": f"{PIPELINE}::test_describe_is_in_topological_order_and_serialisable",
    "Pipeline.adjacency": f"{PIPELINE}::test_adjacency_has_every_step_with_its_dependents",
    "Pipeline.dependencies": (
        f"{PIPELINE}::test_dependencies_are_those_declared_and_an_unknown_name_is_a_key_error"
    ),
    "Step": f"{PIPELINE}::test_step_is_immutable_and_hashable_whatever_its_payload",
    "Step.replace": f"{PIPELINE}::test_replace_gives_a_clone_and_leaves_the_original",
    "ArtifactStore.list_artifacts": (
        f"{ARTIFACTS}::test_list_artifacts_is_sorted_by_name_and_takes_prefix_and_kind"
    ),
    "ArtifactStore, manifest": f"{ARTIFACTS}::test_manifest_is_versioned_json",
    "ArtifactStore.rebase": (f"{ARTIFACTS}::test_rebase_gives_a_view_that_shares_the_manifest"),
    "SimSystem.path": "unit/test_systems.py::test_path_joins_root_with_any_number_of_parts",
    "SimSystem.with_meta": (
        "unit/test_systems.py::test_with_meta_merges_and_leaves_the_original"
    ),
    "SimSystem.with_artifacts": (
        "unit/test_systems.py::test_with_artifacts_changes_files_and_leaves_the_original"
    ),
    "phases": (
        f"{HERE}::test_molecular_dynamics_has_a_fixed_order_whose_short_form_ends_with_equil"
    ),
    "FINISHED": f"{POLICIES}"
    "::test_function_is_not_called_where_files_say_that_its_work_is_finished",
    "FAILED, retry": "unit/test_job_windows.py"
    "::test_a_failure_says_why_and_is_gone_with_the_next_attempt",
    "total_steps": (
        "unit/test_job_windows.py::test_what_is_half_done_goes_on_from_its_last_segment"
    ),
    "on_failure: prune": f"{POLICIES}"
    "::test_pruned_system_leaves_out_its_remaining_phases_and_the_others_go_on",
    "on_failure: raise": f"{POLICIES}::test_raise_ends_the_workflow_at_the_first_failure",
    "clean_failures": "acceptance/test_cli_runs.py"
    "::test_clean_failures_removes_what_they_left_and_nothing_else",
    "BatchRunner.run": f"{BATCH}::test_run_has_the_printed_parameters",
    "BatchRunner.run, manifest": f"{BATCH}::test_manifest_is_rewritten_after_each_job",
    "BatchRunner.run, force": f"{BATCH}::test_existing_output_is_skipped_unless_force",
    "BatchRunner.run, max_workers": (
        f"{BATCH}::test_mistakes_are_value_errors_before_anything_runs"
    ),
    "BatchRunner.run, resumed": f"{BATCH}::test_batch_killed_at_each_point_is_resumed",
    "BatchJob, BatchRunRecord, BatchManifest": (
        f"{MODELS}::test_models_have_the_printed_fields_and_defaults"
    ),
    "BatchManifest.from_records": (f"{MODELS}::test_from_records_counts_and_keeps_the_order"),
    "BatchManifest.load, save_json": (f"{MODELS}::test_save_json_and_load_give_back_the_same"),
    "BatchManifest.records_by_id": (
        f"{MODELS}::test_records_by_id_finds_each_record_by_its_job"
    ),
    "BatchRunRecord.duration_s": f"{MODELS}::test_duration_s_is_in_seconds",
    "BatchRunRecord, times": (
        f"{MODELS}::test_times_are_in_utc_whatever_zone_they_are_given_in"
    ),
    "RunStatus": f"{MODELS}::test_run_status_has_the_four_printed_members",
    "MotionFormatKind, RobotKind": (
        f"{MODELS}::test_users_extend_kinds_with_members_of_their_own"
    ),
}


def test_each_printed_name_has_a_test_that_states_its_promise() -> None:
    files = {test.partition("::")[0] for test in PROMISES.values()}
    found = {file: functions((TESTS / file).read_text()) for file in files}

    for name, test in PROMISES.items():
        file, _, function = test.partition("::")
        assert function in found[file], f"{name}: {test}"
        assert checks_something(found[file][function], found[file]), name
