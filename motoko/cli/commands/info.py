"""``motoko info``"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from motoko.cli import daemons, exit_codes, output, reading, words
from motoko.cli.places import directory_argument, load_to_look, study_names
from motoko.phrases import listed
from motoko.study.order import what_goes_on

if TYPE_CHECKING:
    from motoko.workflow.views.overview import Overview, StudyOverview
    from motoko.workflow.workflow import Workflow

_MOST_EVENTS = 20
_MOST_FILES = 5
_MOST_FUNCTIONS = 10


@click.command()
@directory_argument
@click.option("--verbose", "-v", is_flag=True, help="Also places, run names and variables.")
@click.option(
    "--bd_study", "studies", metavar="NAME", multiple=True, help="Only this study (also -bd)."
)
@click.option("--run_name", metavar="NAME", help="Only runs of this run name.")
@click.option("--events", is_flag=True, help="Only the log of firings: what was called for.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=_MOST_EVENTS,
    show_default=True,
    help="So many of the last firings.",
)
@click.option("--all", "is_all", is_flag=True, help="All firings, without a limit.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    directory: str | None,
    verbose: bool,
    studies: tuple[str, ...],
    run_name: str | None,
    events: bool,
    limit: int,
    is_all: bool,
    as_json: bool,
) -> int:
    """Show what runs, and how far each study is: runs by run name and state.

    Answers at once, however many runs there are, and whether or not the server runs, and with
    mistakes in the workflow's files too, which it shows. With --events it shows which actions
    were called, for which runs, and what they changed.
    """
    from motoko.workflow.views import overview

    def gather(workflow: Workflow) -> overview.Overview:
        names = study_names(workflow, studies)
        return overview.look(workflow, names, run_name, None if is_all else limit)

    found = reading.steadily(
        lambda: load_to_look(directory), gather, lambda found: found.is_cut_off
    )
    if as_json:
        shown = found.as_json()
        output.as_json(shown["events"] if events else shown)
    elif events:
        _show_events(found)
    else:
        _show_processes(found)
        for text in found.troubles:
            click.secho(f"trouble: {text}", fg="red" if output.is_for_people() else None)
        for name, stall in found.stalls.items():
            for line in daemons.stall_in_words(name, stall):
                click.echo(line)
        _show_studies(found)
        _show_failed(found)
        _show_failed_functions(found)
        if verbose:
            _show_more(found)
    if found.has_mistakes:
        return exit_codes.MISTAKE
    errors = [*(study.error for study in found.studies if study.is_broken), found.error]
    return next((exit_codes.of(e) for e in errors if e is not None), exit_codes.DONE)


def _show_processes(found: Overview) -> None:
    pairs = [
        ("workflow", found.directory),
        ("server", daemons.in_words(found.server)),
        ("launcher", daemons.in_words(found.launcher)),
    ]
    for run_name, owner in found.orchestrators.items():
        pairs.append((f"orchestrator {run_name}", daemons.in_words(owner)))
    if not found.orchestrators:
        pairs.append(("orchestrator", "not running"))
    output.facts(pairs)


def _show_studies(found: Overview) -> None:
    states = _state_columns(found.studies)
    rows: list[list[Any]] = []
    for study in found.studies:
        for run_name, counts in study.counts.items():
            cells: list[Any] = [words.Whole(study.name), words.Whole(run_name)]
            rows.append([*cells, *(counts.get(s, 0) for s in states), sum(counts.values())])
        if not study.counts and not study.problem:
            rows.append([study.name, "", *(0 for _ in states), 0])
    if rows:
        click.echo()
        output.table(["study", "run name", *states, "total"], rows)
    for study in found.studies:
        if study.problem:
            click.echo(f"{study.name}: {study.problem}")
        if study.held is not None:
            since = words.moment(study.held)
            release = f"motoko launcher release {study.name}"
            click.echo(f"{study.name}: no run begins, held since {since}; `{release}`")
        _show_awaiting(study)
        if study.changed_files:
            names = listed(study.changed_files, _MOST_FILES)
            click.echo(f"{study.name}: changed since its last run was made: {names}")


def _show_awaiting(study: StudyOverview) -> None:
    for run_name, n_awaiting in study.awaiting.items():
        passed_over = study.passed_over.get(run_name, [])
        if n_runs := n_awaiting - len(passed_over):
            verb, goes_on = "waits" if n_runs == 1 else "wait", what_goes_on(run_name)
            click.echo(
                f"{study.name}: {words.counted(n_runs, 'CREATED run')} {verb} for a pipeline,"
                f" `{goes_on}` goes through it"
            )
        if passed_over:
            n_runs, verb = len(passed_over), "is" if len(passed_over) == 1 else "are"
            click.echo(
                f"{study.name}: {words.counted(n_runs, 'CREATED run')} {verb} of no present"
                f" step of a pipeline, `motoko why {study.name}.{passed_over[0]}`"
            )


def _state_columns(studies: list[StudyOverview]) -> list[str]:
    """The states worth a column: those of a plain life, and all that some run is in."""
    from motoko.model import states

    plain = {states.CREATED, states.RUNNING, states.FINISHED, states.FAILED}
    return words.ordered_states(plain.union(*(study.total for study in studies)))


def _show_failed_functions(found: Overview) -> None:
    if not found.failed_functions:
        return
    click.echo(f"\n{words.counted(len(found.failed_functions), 'failed function')}:")
    for one in found.failed_functions[:_MOST_FUNCTIONS]:
        click.echo(f"  {one.function}  {one.in_words.splitlines()[0]}")
    if (n_more := len(found.failed_functions) - _MOST_FUNCTIONS) > 0:
        click.echo(f"  and {n_more} more")


def _show_failed(found: Overview) -> None:
    if not found.n_failed:
        return
    click.echo(f"\n{words.counted(found.n_failed, 'failed run')}:")
    for run in found.failed:
        click.echo(f"  {run.study}.{run.run_id}  {run.cause.splitlines()[0]}")
    if found.n_failed > len(found.failed):
        click.echo(f"  and {found.n_failed - len(found.failed)} more")
    first = found.failed[-1]
    click.echo(f"look further with `motoko runs show {first.study}.{first.run_id}`")


def _show_events(found: Overview) -> None:
    from motoko.workflow.views.firing_log import runs_in_words

    if not found.events:
        click.echo("no firing has changed anything yet")
        return
    headers = ["began", "took", "run name", "event", "runs", "created", "changed", "variables"]
    have_failed = any(one.failure for one in found.events)
    headers += ["failed for"] if have_failed else []
    rows = [
        [
            words.Whole(words.moment(one.began)),
            one.state if one.ended is None else words.duration(one.ended - one.began),
            words.Whole(one.run_name),
            one.event,
            one.runs_in_words,
            runs_in_words(one.created),
            runs_in_words(one.updated),
            ", ".join(one.variables),
            *([one.failure or ""] if have_failed else []),
        ]
        for one in found.events
    ]
    output.table(headers, rows)


def _show_more(found: Overview) -> None:
    click.echo()
    for study in found.studies:
        output.facts(
            [
                ("study", study.name),
                ("  directory", study.directory),
                ("  run directories", study.runs_dir),
                ("  database", study.address),
            ]
        )
    if found.run_names:
        click.echo()
        headers = ["run name", "began", "ended", "finished", "options"]
        rows = [
            [
                words.Whole(name),
                words.moment(facts.get("began")),
                words.moment(facts.get("ended")),
                "yes" if facts.get("finished") else facts.get("error") or "no",
                ", ".join(f"{k}={v}" for k, v in facts.get("params", {}).items()),
            ]
            for name, facts in found.run_names.items()
        ]
        output.table(headers, rows)
    if found.variables:
        click.echo()
        output.facts(
            [
                (f"vars.{n}", words.value(v, is_rounded=False))
                for n, v in found.variables.items()
            ]
        )
