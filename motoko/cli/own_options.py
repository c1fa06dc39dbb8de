"""Options that an orchestrator adds to ``run`` and ``orchestrator start``.

They are argparse's, because that is what ``populate_arg_parser`` is given, and known only once
the workflow is found. So click hands the arguments of these commands over as they are.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import click

from motoko.cli.places import find_directory
from motoko.errors import MotokoError, StudyNotFound
from motoko.phrases import listed

#: The names under which Motoko's own options are kept begin so.
PREFIX = "motoko_"
#: What the option --takeover does, wherever there is one.
TAKEOVER = "Take over from a host that is gone; one that is not sees it and ends."

Declare = Callable[[Any], None]


def seconds(text: str) -> float:
    """A duration in seconds, more than 0; for options of a parser."""
    found = float(text)
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return found


def declare_shared(parser: Any) -> None:
    """The options that ``run`` and ``orchestrator start`` both have."""
    parser.add_argument(
        "--run_name",
        "--run-name",
        "-n",
        dest=f"{PREFIX}run_name",
        metavar="NAME",
        help="The run name: begin it, or go on where it stopped.",
    )
    parser.add_argument(
        "--wait",
        dest=f"{PREFIX}wait",
        type=seconds,
        metavar="S",
        help="Look at everything every S seconds, besides at every change (default: 5).",
    )
    parser.add_argument(
        "--retry-failed",
        "--retry_failed",
        dest=f"{PREFIX}retry_failed",
        action="store_true",
        help="Try the FAILED runs, and calls of a pipeline, of the run name again.",
    )
    parser.add_argument(
        "--clean-failures",
        "--clean_failures",
        dest=f"{PREFIX}clean_failures",
        action="store_true",
        help="First do what `motoko clean --failures` does.",
    )
    parser.add_argument(
        "--accept-changes",
        "--accept_changes",
        dest=f"{PREFIX}accept_changes",
        action="store_true",
        help="Go on with a run name although its parameters are other ones by now.",
    )
    parser.add_argument(
        "--takeover", dest=f"{PREFIX}takeover", action="store_true", help=TAKEOVER
    )


class RawCommand(click.Command):
    """A command whose arguments reach its function as they were written, in ``arguments``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["add_help_option"] = False
        super().__init__(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params["arguments"] = tuple(args)
        return []


class _Parser(argparse.ArgumentParser):
    """Raises click's usage errors, and names the nearest known option."""

    def error(self, message: str) -> NoReturn:
        unknown = "unrecognized arguments: "
        if message.startswith(unknown):
            message = self._said_of(message.removeprefix(unknown).split())
        raise click.UsageError(message, click.get_current_context(silent=True))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        if status:
            raise click.UsageError(message or f"code {status}")
        raise click.exceptions.Exit(status)

    def _said_of(self, unknown: Sequence[str]) -> str:
        word = unknown[0]
        spelled = [s for s in self._option_string_actions if s.startswith("--")]
        # Of two spellings of one option the first.
        known = list({s.replace("_", "-"): s for s in reversed(spelled)}.values())[::-1]
        if not word.startswith("-"):
            return f"unexpected argument {word!r}"
        matches = difflib.get_close_matches(word.split("=")[0], known, n=1)
        meant = f"; did you mean {matches[0]}?" if matches else f" (known: {listed(known)})"
        return f"no such option {word}{meant}"


@dataclass(frozen=True)
class Arguments:
    """What a command was given, as far as it can be told without the orchestrator."""

    directory: Path
    #: Motoko's own options.
    mine: argparse.Namespace
    #: The rest: the orchestrator's.
    rest: tuple[str, ...]


def split(arguments: Sequence[str], declare: Declare) -> Arguments | None:
    """Tell Motoko's own options from the rest; None when help is asked for.

    The directory of the workflow is what stands before the orchestrator's own options.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    declare(parser)
    mine, rest = parser.parse_known_args(list(arguments))
    for name, value in vars(mine).items():
        if value == []:  # what argparse makes of `--run_name=--`
            option = name.removeprefix(PREFIX)
            raise click.UsageError(f"--{option}: '--' is no value for it")
    if {"-h", "--help"} & set(rest):
        return None
    given = None
    if rest and not rest[0].startswith("-") and _is_directory(rest[0]):
        given, *rest = rest
    try:
        directory = find_directory(given)
    except StudyNotFound as nowhere:
        if given is not None or not rest or rest[0].startswith("-"):
            raise
        raise StudyNotFound(rest[0], f"no such directory; {nowhere}") from None
    return Arguments(directory, mine, tuple(rest))


def _is_directory(word: str) -> bool:
    return Path(word).exists() or word.endswith((".yaml", ".yml"))


class OwnOptions:
    """The options of one orchestrator."""

    def __init__(self, module: ModuleType | None, declare: Declare, usage: str) -> None:
        """``module`` is None where there is no workflow; then there are none.

        OrchestratorNotLoadable when its ``populate_arg_parser`` fails.
        """
        from motoko.workflow.loader import add_options

        self._parser = _Parser(
            prog=usage,
            usage=f"{usage} [DIR] [OPTIONS] [OPTIONS OF THE ORCHESTRATOR]",
            allow_abbrev=False,
            add_help=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        mine = self._parser.add_argument_group("Options")
        declare(mine)
        mine.add_argument("-h", "--help", action="help", help="Show this message and exit.")
        if module is not None:
            self._parser._optionals.title = f"Options of {module.__file__}"
            add_options(module, self._parser)

    @property
    def has_positionals(self) -> bool:
        """Whether the orchestrator takes words that are no options."""
        return bool(self._parser._get_positional_actions())

    def parse(self, rest: Sequence[str]) -> dict[str, Any]:
        """The parameters of ``main``. UsageError for what is unknown or wrong."""
        if rest and not rest[0].startswith("-") and not self.has_positionals:
            raise StudyNotFound(rest[0], "no such directory")
        try:
            found = vars(self._parser.parse_args(list(rest)))
        except MotokoError:
            raise
        return {name: v for name, v in found.items() if not name.startswith(PREFIX)}

    def help(self, description: str) -> str:
        """What ``--help`` shows."""
        self._parser.description = description
        return self._parser.format_help()
