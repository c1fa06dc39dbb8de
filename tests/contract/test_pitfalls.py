"""What hurts users of earlier tools, and the tests that show that it cannot here."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

WORKFLOW = "contract/test_workflow.py"
FAILING = "acceptance/test_failing_workflows.py"
PITFALLS: dict[str, list[str]] = {
    "awaiting tasks hangs when one run fails or leaves FINISHED between two looks": [
        f"{WORKFLOW}::test_failed_runs_end_the_wait_when_all_are_over",
        f"{WORKFLOW}::test_a_run_that_has_ever_finished_counts_as_finished",
    ],
    "an exception in an action or condition is printed and the exit code is 0": [
        f"{FAILING}::test_an_action_that_raises_ends_with_its_words_and_code_1",
        f"{WORKFLOW}::test_an_exception_in_a_condition_ends_the_workflow",
    ],
    "an exception in main leaves the loop going for ever": [
        f"{WORKFLOW}::test_an_exception_in_main_ends_the_workflow"
    ],
    "async error handlers are never awaited": [
        f"{WORKFLOW}::test_an_async_error_handler_is_awaited_and_then_the_workflow_ends",
        f"{WORKFLOW}::test_the_error_handler_runs_although_main_awaits_the_same_run",
    ],
    "@event never retries a conflict, and commits before the body runs": [
        f"{WORKFLOW}::test_an_action_that_meets_a_conflict_is_run_again",
        f"{WORKFLOW}::test_an_action_is_committed_as_a_whole_or_not_at_all",
    ],
    "a condition on runs of an empty study is an error; on a match the runs are not passed": [
        f"{WORKFLOW}::test_a_condition_on_runs_of_an_empty_study_is_false",
        f"{WORKFLOW}::test_a_condition_on_runs_fires_with_the_matching_runs",
    ],
    "a boolean condition fires once per study, even after the end": [
        f"{WORKFLOW}::test_a_boolean_condition_over_all_studies_fires_once",
        f"{WORKFLOW}::test_nothing_fires_once_the_workflow_is_finished",
    ],
    "select appends to the caller's list": [
        f"{WORKFLOW}::test_the_list_of_constraints_is_left_as_it_was",
        "unit/test_constraints.py::test_list_of_the_caller_is_left_alone",
    ],
    "<= and >= do not parse, or is swallowed, ~ raises": [
        "unit/test_constraints.py::test_constraint_holds",
        "unit/test_constraints.py::test_constraint_does_not_hold",
    ],
    "stop and status crash, --wait is ignored, help fails outside a workflow": [
        "acceptance/test_cli_daemons.py::test_detached_orchestrator_is_seen_followed_and_stopped",
        "unit/test_cli_program.py::test_help_works_outside_a_workflow_and_names_every_command",
    ],
    "bash runs are executed one after the other": [
        "integration/test_launcher.py::test_runs_execute_side_by_side_up_to_the_limit",
        "integration/test_launcher.py::test_each_run_takes_its_cores",
    ],
    "the return code of sbatch is ignored, no job id is kept, nobody ever asks": [
        "contract/test_generators.py::test_a_job_that_is_refused_fails_once_with_the_systems_words",
        "unit/test_launch_adapters.py::test_submission_tells_the_id",
        "integration/test_launcher_batch.py"
        "::test_a_submission_whose_answer_was_lost_is_found_by_its_name",
        "unit/test_launch_tracking.py::test_a_job_that_is_missing_for_long_and_often_is_gone",
    ],
    "a kill in the middle of an action leaves half of it done": [
        f"{FAILING}::test_an_action_killed_in_the_middle_leaves_nothing_half_done"
    ],
    "typos give a message about super; the parser needs a workflow": [
        f"{WORKFLOW}::test_a_typo_says_which_names_there_are",
        "unit/test_cli_program.py::test_help_works_outside_a_workflow_and_names_every_command",
    ],
    "changes of directory, one database for all studies": [
        "test_architecture.py::test_nothing_below_the_command_line_prints_exits_or_changes_directory",
        "integration/test_store.py::test_a_commit_over_two_studies_is_one",
    ],
    "selecting scans all runs": [
        "contract/test_bounded_by_the_work.py::test_a_selection_reads_no_more_rows_than_can_match"
    ],
    "trivial work takes as long as the polling": [
        "contract/test_bounded_by_the_work.py::test_a_chain_over_two_studies_needs_no_timer"
    ],
}


def checks_something(function: ast.AST, beside: Mapping[str, ast.AST]) -> bool:
    """Whether it asserts, expects an error or waits with a deadline, itself or by a function of
    its file that it calls."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr == "raises":
            return True
        if isinstance(node.func, ast.Name) and node.func.id.startswith("wait_"):
            return True  # which ends at a deadline
        if isinstance(node.func, ast.Name) and node.func.id in beside:
            others = {name: f for name, f in beside.items() if name != node.func.id}
            if checks_something(beside[node.func.id], others):
                return True
    return False


def functions(text: str) -> dict[str, ast.AST]:
    """Those at the top of a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: node for node in ast.parse(text).body if isinstance(node, kinds)}


@pytest.mark.parametrize("pitfall", PITFALLS)
def test_each_pitfall_has_tests_that_check_something(pitfall: str) -> None:
    assert PITFALLS[pitfall]
    for test in PITFALLS[pitfall]:
        file, _, name = test.partition("::")
        found = functions((TESTS / file).read_text())
        assert name in found, test
        assert checks_something(found[name], found), f"{test} checks nothing"


@pytest.mark.parametrize(
    ("body", "is_one"),
    [
        ("pass", False),
        ("helping()", True),
        ("nothing()", False),
        ("assert True", True),
        ("with pytest.raises(ValueError): int('x')", True),
    ],
)
def test_a_test_with_an_empty_body_shows_nothing(body: str, is_one: bool) -> None:
    helpers = "def helping(): assert False\ndef nothing(): helped()\n"
    found = functions(f"{helpers}def test(): {body}\n".replace(": with", ":\n  with"))

    assert checks_something(found["test"], found) is is_one
