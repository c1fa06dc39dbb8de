"""``motoko why``"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from motoko.cli import output, reading, words
from motoko.cli.places import load_workflow
from motoko.errors import EventNotFound, StudyNotFound

if TYPE_CHECKING:
    from motoko.workflow.views.reason import Reason
    from motoko.workflow.workflow import Workflow


@click.command()
@click.argument("what", metavar="RUN|EVENT")
@click.option(
    "--dir", "directory", metavar="DIR", help="The workflow's directory, if not this one."
)
@click.option("--run_name", metavar="NAME", help="Of an event: under this run name.")
@click.option("--verbose", "-v", is_flag=True, help="Also what it was concluded from.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list, with the evidence.")
def command(
    what: str, directory: str | None, run_name: str | None, verbose: bool, as_json: bool
) -> None:
    """Say in a sentence why a run is in its state, or why an event has not fired.

    A run is named study.id, as in mult.17: it waits for a free core, it is held, it failed. An
    event has the name that its action was registered with, or name@study: its condition holds
    for no run, and which part of it; it is in flight; it waits since its last firing changed
    nothing. The orchestrator must run to be asked about its conditions.
    """
    try:
        reasons = reading.read(directory, lambda workflow: _reasons(workflow, what, run_name))
    except (EventNotFound, StudyNotFound):
        study, _, number = what.rpartition(".")
        if number.isdecimal():  # a run: of no study, whether there are databases or not
            load_workflow(directory).task_manager(study)
        raise
    if as_json:
        output.as_json([reason.as_json() for reason in reasons])
        return
    for reason in reasons:
        click.echo(reason.sentence)
        if verbose:
            output.facts([(f"  {k}", _in_words(k, v)) for k, v in reason.evidence.items()])


def _reasons(workflow: Workflow, what: str, run_name: str | None) -> list[Reason]:
    from motoko.workflow.views import event_reasons, run_reasons

    study, _, number = what.rpartition(".")
    if number.isdecimal() and study in (*workflow.task_managers, *workflow.aliases):
        return [run_reasons.why(workflow, what)]
    return event_reasons.why(workflow, what, run_name)


def _in_words(name: str, given: Any) -> str:
    if isinstance(given, float):
        return words.duration(given) if name.endswith("_s") else words.moment(given)
    if isinstance(given, list):
        return "\n".join(_one(item) for item in given)
    return str(words.Whole(given)) if isinstance(given, str) else words.value(given)


def _one(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    lines = [f"{item['study']}: {words.counted(item['all'], 'run')} in all"]
    lines += [f"  {words.counted(c['n_runs'], 'run')}: {c['text']}" for c in item["clauses"]]
    return "\n".join(lines)
