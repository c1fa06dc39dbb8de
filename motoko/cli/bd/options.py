"""Options as `argparse` reads them: shortened ones count, and they may stand anywhere."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import click

from motoko.compat.parser import add_usual_options

Arguments = argparse.Namespace


class Verb(NamedTuple):
    """What a command does, says of itself, and takes besides the usual options."""

    act: Callable[[Arguments], int]
    help: str
    options: Callable[[argparse.ArgumentParser], object] = lambda parser: None


class Parser(argparse.ArgumentParser):
    """Says mistakes as all commands do."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Raise what becomes the message and the exit code."""
        raise click.UsageError(f"{self.prog}: {message}")


def parser_of(name: str, verb: Verb) -> Parser:
    """The parser of one command."""
    parser = Parser(prog=f"canYouDigIt {name}", description=verb.help)
    verb.options(parser)
    add_usual_options(parser.add_argument_group("usual"))
    return parser


def split_command(parser: Parser, words: list[str]) -> Arguments:
    """Options up to the first word that is neither one nor a value of one; the rest is the
    ``command``, whatever it looks like."""
    for end in range(len(words) + 1):
        if end < len(words) and words[end].startswith("-") and words[end] != "--":
            continue
        try:
            given = parser.parse_args(words[:end])
        except click.UsageError:
            continue
        rest = words[end:]
        given.command = rest[1:] if rest[:1] == ["--"] else rest
        return given
    return parser.parse_args(words)
