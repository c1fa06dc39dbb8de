"""The group of all commands, each loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from motoko import __version__
from motoko.cli import failures, questions
from motoko.errors import MovedOrCopied
from motoko.phrases import nearest

_COMMANDS = "motoko.cli.commands"

#: Name, and what it does in a line. The module of the same name has it as ``command``.
COMMANDS: dict[str, str] = {
    "new": "Make a small working workflow to start from.",
    "check": "Look a workflow over before anything starts.",
    "create": "Make the databases; after a question, from scratch.",
    "run": "Everything in one command: server, launcher, orchestrator.",
    "orchestrator": "Start, stop and watch orchestrators.",
    "launcher": "Start, stop and watch the launcher of runs.",
    "server": "Start, stop and watch the database server.",
    "info": "What runs, and how far each study is.",
    "why": "Why a run is in its state; why an event has not fired.",
    "runs": "List, show, try again, cancel, correct and delete runs.",
    "study": "Bring what is stored in line with a changed bd.yaml.",
    "ps": "My workflows on this host.",
    "pipeline": "Show or draw a pipeline: its steps and their order.",
    "exec": "Run a command with the names of BlackDynamite, as Motoko's own.",
    "env": "Print what a shell needs for them.",
    "export": "Write the runs of a study as CSV or Parquet.",
    "du": "How many files and bytes runs have, by study and state.",
    "archive": "Pack run directories away; what is packed is read as before.",
    "place": "Say that a workflow was moved, or copied.",
    "share": "Let other users of this machine read a workflow.",
    "import": "Bring a study of BlackDynamite here, which stays as it is.",
    "bd": "Take what canYouDigIt takes, in the directory of a study.",
    "artifacts": "List, check, pack and remove what an artifact store holds.",
    "batch": "Work through the files of a directory, each once.",
    "schema": "Print the JSON Schema of motoko.yaml or bd.yaml.",
    "verify": "Check databases against themselves and the run directories.",
    "backup": "Copy all databases while they are used; put a copy back.",
    "repair": "Rebuild databases that are damaged or lost.",
    "clean": "Put runs back to CREATED, or delete all that was computed.",
    "kill": "Stop orchestrators, launcher and server.",
}


class Program(click.Group):
    """Knows the commands by a table, and turns errors into messages and exit codes."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> None:
        arguments = spelled(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        failures.print_anything()
        try:
            try:
                code = super().main(arguments, prog_name or "motoko", **extra)
            except MovedOrCopied as error:  # nothing was started yet
                questions.ask_what_it_is(error)
                code = super().main(arguments, prog_name or "motoko", **extra)
        except BaseException as error:
            if isinstance(error, click.NoSuchOption | click.BadOptionUsage):
                error = as_spelled(error, arguments)
            code = failures.report(error, with_traceback="--traceback" in arguments)
        sys.exit(code if isinstance(code, int) else 0)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with failures.readers_may_go():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with failures.readers_may_go():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"{_COMMANDS}.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"no command {args[0]!r}{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def spelled(arguments: Sequence[str]) -> list[str]:
    """The arguments with ``-bd`` as ``--bd_study``, since click takes it for ``-b -d``."""
    found = list(arguments)
    end = found.index("--") if "--" in found else len(found)
    return ["--bd_study" if a == "-bd" and i < end else a for i, a in enumerate(found)]


def _one_spelling(name: str) -> str:
    """--run-name and --run_name are one option."""
    return name.replace("-", "_")


def as_spelled(
    error: click.NoSuchOption | click.BadOptionUsage, arguments: Sequence[str]
) -> click.UsageError:
    """The same, with options as they are documented, and one that is not there as it was
    typed: click knows them by their one spelling only."""
    command = error.ctx.command if error.ctx else None
    known = {
        _one_spelling(name.lstrip("-")): name
        for parameter in (command.params if command else ())
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    name = _one_spelling(error.option_name.lstrip("-"))
    words = (word.split("=")[0] for word in arguments)
    typed = (word for word in words if _one_spelling(word.lstrip("-")) == name)
    shown = known.get(name) or next(typed, error.option_name)
    if isinstance(error, click.BadOptionUsage):
        text = error.message.replace(error.option_name, shown)
        return click.BadOptionUsage(shown, text, error.ctx)
    meant = [known.get(_one_spelling(p.lstrip("-")), p) for p in error.possibilities or ()]
    return click.NoSuchOption(shown, possibilities=meant, ctx=error.ctx)


@click.group(
    cls=Program,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": _one_spelling,
        "max_content_width": 96,
    },
)
@click.version_option(__version__, message="motoko %(version)s")
@click.option("--verbose", "-v", is_flag=True, help="Show the log on standard error.")
@click.option("--traceback", is_flag=True, help="Show where an error came from.")
def program(verbose: bool, traceback: bool) -> None:
    """Orchestrate parametric studies: one study's results decide what the next computes.

    Commands that work on a workflow take its directory, or find motoko.yaml in the current
    one or above. `motoko COMMAND --help` says more about each.
    """
    if verbose:
        from motoko.cli.logs import show_on_stderr

        show_on_stderr()
