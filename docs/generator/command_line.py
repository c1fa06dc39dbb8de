"""The page about the command line, from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import click

from docs.generator.markdown import block, code, page, table
from motoko.cli.own_options import RawCommand
from motoko.cli.program import COMMANDS, program


def command_line_page() -> str:
    """The page about all commands."""
    context = click.Context(program, info_name="motoko", **program.context_settings)
    rows = [[f"[{name}](#motoko-{name})", text] for name, text in COMMANDS.items()]
    return page(
        "command-line.md",
        commands=table(["command", "what it does"], rows),
        options=_option_table(program, context),
        details="\n\n".join(_commands_below(program, context)),
    )


def _commands_below(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            raise ValueError(f"{context.command_path} lists {name}, and does not have it")
        if not command.hidden:
            below = click.Context(command, info_name=name, parent=context)
            yield from _command(command, below)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    name = context.command_path
    yield f"{'#' * len(name.split())} {name}"
    if isinstance(command, RawCommand):
        yield from _raw_command(command, name)
        return
    yield _prose(command.help or "")
    yield block(" ".join([name, *command.collect_usage_pieces(context)]))
    options = _option_table(command, context)
    if options:
        yield options
    if isinstance(command, click.Group):
        yield from _commands_below(command, context)


def _option_table(command: click.Command, context: click.Context) -> str:
    rows = list(_options(command, context))
    return table(["option", "what it does"], rows) if rows else ""


def _prose(text: str) -> str:
    paragraphs = text.partition("\f")[0].strip().replace("\b\n", "").split("\n\n")
    return "\n\n".join(" ".join(line.strip() for line in p.splitlines()) for p in paragraphs)


class _Recorder:
    """Stands in for an argparse parser, and keeps what is declared."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []

    def add_argument(self, *names: str, **facts: Any) -> None:
        """One row: the names, and what the option does."""
        spellings = [n for n in names if not (n.startswith("--") and "-" in n[2:])]
        value = f" {facts['metavar']}" if "metavar" in facts else ""
        self.rows.append([code(f"{', '.join(reversed(spellings))}{value}"), facts["help"]])


def _raw_command(command: RawCommand, name: str) -> Iterator[str]:
    """A command that an orchestrator can add options to."""
    module = inspect.getmodule(command.callback)
    recorder = _Recorder()
    module._declare(recorder)  # type: ignore[union-attr]
    yield _prose(module._DESCRIPTION)  # type: ignore[union-attr]
    yield block(f"{name} [DIR] [OPTIONS] [OPTIONS OF THE ORCHESTRATOR]")
    yield table(["option", "what it does"], recorder.rows)


def _options(command: click.Command, context: click.Context) -> Iterator[list[str]]:
    for parameter in command.get_params(context):
        is_repeated = "--help" in parameter.opts and context.parent is not None
        if isinstance(parameter, click.Argument) or is_repeated:
            continue
        record = parameter.get_help_record(context)
        if record is not None:
            names, text = record
            yield [code(names), text]
