"""What ``run`` and ``orchestrator start`` have in common before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from motoko.cli.own_options import PREFIX, Declare, OwnOptions, split
from motoko.cli.places import find_directory
from motoko.errors import MotokoError, StudyNotFound
from motoko.task_manager import check_run_name
from motoko.workflow import loader
from motoko.workflow.workflow import Workflow

if TYPE_CHECKING:
    from motoko.daemon import Early


@dataclass(frozen=True)
class Call:
    """One of these commands as it was called."""

    arguments: Sequence[str]
    declare: Declare
    usage: str
    description: str
    #: Signals that came meanwhile.
    signals: Sequence[int] = ()
    early: Early | None = None


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


def read(call: Call) -> Request:
    """Load the workflow that the arguments are about and parse its own options.

    Shows help when it is asked for. Raises ConfigError, OrchestratorNotLoadable, UsageError.
    """
    found = split(call.arguments, call.declare)
    if found is None:
        _show_help(call)
        raise click.exceptions.Exit(0)
    run_name = getattr(found.mine, f"{PREFIX}run_name")
    if run_name is not None:
        check_run_name(run_name)
    workflow = Workflow(str(found.directory))
    workflow.started_early = call.early
    module = loader.load_module(workflow.directory, workflow.config.orchestrator)
    workflow.orchestrator_function = loader.find_function(module, workflow.config.orchestrator)
    options = OwnOptions(module, call.declare, call.usage)
    request = Request(workflow, options, vars(found.mine), found.rest)
    # Mistakes are said before anything is started.
    function = workflow.orchestrator_function
    loader.check_call(function, workflow.config.orchestrator, request.params())
    return request


def _show_help(call: Call) -> None:
    words = [a for a in call.arguments if a not in ("-h", "--help")]
    module, problem = None, None
    try:
        directory = find_directory(words[0] if words and words[0][:1] != "-" else None)
        config = Workflow(str(directory)).config
        module = loader.load_module(directory, config.orchestrator)
    except StudyNotFound:
        pass  # help works anywhere
    except MotokoError as error:
        problem = str(error)
    click.echo(OwnOptions(module, call.declare, call.usage).help(call.description))
    if problem is not None:
        click.echo(f"The orchestrator's own options cannot be shown:\n{problem}", err=True)
    elif module is None:
        click.echo("Inside a workflow its orchestrator's own options are shown here too.")
