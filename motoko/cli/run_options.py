"""What ``run`` and ``orchestrator start`` have in common before anything runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from motoko.cli.own_options import Declare, OwnOptions, split
from motoko.cli.places import find_directory
from motoko.errors import MotokoError, StudyNotFound
from motoko.model import states
from motoko.workflow import control, loader
from motoko.workflow.workflow import Workflow

if TYPE_CHECKING:
    from motoko.store.ledger import Ledger


@dataclass(frozen=True)
class Request:
    """What is to be orchestrated."""

    workflow: Workflow
    options: OwnOptions
    #: Motoko's own options by name.
    mine: dict[str, Any]
    #: The orchestrator's own, as they were written.
    rest: tuple[str, ...]

    def params(self, rest: Sequence[str] | None = None) -> dict[str, Any]:
        """The parameters of ``main``, from the options given or from other ones."""
        return self.options.parse(self.rest if rest is None else rest)


def read(arguments: Sequence[str], declare: Declare, usage: str, description: str) -> Request:
    """Load the workflow that the arguments are about and parse its own options.

    Shows help when it is asked for. Raises ConfigError, OrchestratorNotLoadable, UsageError.
    """
    found = split(arguments, declare)
    if found is None:
        _show_help(arguments, declare, usage, description)
        raise click.exceptions.Exit(0)
    workflow = Workflow(str(found.directory))
    module = loader.load_module(workflow.directory, workflow.config.orchestrator)
    workflow.orchestrator_function = loader.find_function(module, workflow.config.orchestrator)
    options = OwnOptions(module, declare, usage)
    request = Request(workflow, options, vars(found.mine), found.rest)
    request.params()  # mistakes are said before anything is started
    return request


def _show_help(
    arguments: Sequence[str], declare: Declare, usage: str, description: str
) -> None:
    words = [a for a in arguments if a not in ("-h", "--help")]
    module, problem = None, None
    try:
        directory = find_directory(words[0] if words and words[0][:1] != "-" else None)
        config = Workflow(str(directory)).config
        module = loader.load_module(directory, config.orchestrator)
    except StudyNotFound:
        pass  # help works anywhere
    except MotokoError as error:
        problem = str(error)
    click.echo(OwnOptions(module, declare, usage).help(description))
    if problem is not None:
        click.echo(f"The orchestrator's own options cannot be shown:\n{problem}", err=True)
    elif module is None:
        click.echo("Inside a workflow its orchestrator's own options are shown here too.")


@dataclass(frozen=True)
class Chosen:
    """The run name that is orchestrated, and the options of its orchestrator."""

    run_name: str
    rest: tuple[str, ...]
    #: What is recorded of the name, if it was begun before.
    facts: Mapping[str, Any] | None

    @property
    def is_resumed(self) -> bool:
        """Whether the name was begun before."""
        return self.facts is not None


def choose_run_name(request: Request, given: str | None) -> Chosen:
    """The run name given, the unfinished one, or a new one made from the date.

    A name that is taken up again without options gets those it was begun with; with options
    only a name that was begun with the same ones is taken up. The databases must be open.
    """
    workflow = request.workflow
    active = control.orchestrators(workflow)
    with workflow.vars.db.read() as ledger:
        known = ledger.run_names()
    open_names = [n for n, f in known.items() if not f.get("finished") and n not in active]
    if request.rest:  # other options are another piece of work
        open_names = [n for n in open_names if known[n].get("arguments") == list(request.rest)]
    name = given or (open_names[-1] if open_names else _new_name(known))
    facts = known.get(name)
    rest = request.rest
    if facts is not None and not rest:
        rest = tuple(facts.get("arguments", ()))
    return Chosen(name, rest, facts)


def record(workflow: Workflow, run_name: str, **facts: Any) -> None:
    """Keep what is needed when the run name is taken up again."""

    def write(ledger: Ledger) -> None:
        ledger.set_run_name(run_name, **facts)

    workflow.vars.db.write(write)


def _new_name(known: dict[str, Any]) -> str:
    stem = name = time.strftime("run-%Y%m%d-%H%M")
    n = 1
    while name in known:
        n += 1
        name = f"{stem}-{n}"
    return name


def n_failed_runs(workflow: Workflow, run_name: str) -> int:
    """How many runs of a run name are FAILED."""
    n_failed = 0
    for manager in workflow.task_managers.values():
        with suppress(MotokoError), manager.base.database.read() as tables:
            n_failed += tables.counts(run_name).get(states.FAILED, 0)
    return n_failed
