"""Words of a command line as values."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from motoko.cli.bd.options import Arguments

_ASSIGNMENT = re.compile(r"\s*([A-Za-z_][\w.]*)\s*=\s*(.*?)\s*", re.DOTALL)


def assignments(words: Sequence[str]) -> dict[str, str]:
    """``state=FAILED``, one a word, or a single one split by the shell: ``state = toto``."""
    found = [_ASSIGNMENT.fullmatch(word) for word in words]
    if not words or not all(one is not None and one[2] for one in found):
        found = [_ASSIGNMENT.fullmatch(" ".join(words))]
    if found[0] is None:
        raise click.UsageError("say what to set, as in: runs update state = toto")
    return {one[1]: one[2] for one in found if one is not None}


def numbers(given: Arguments) -> float | list[float]:
    """The value that was given, or the list of values."""
    text = given.value if given.value is not None else given.values
    if given.quantity_id is None or text is None:
        raise click.UsageError("say --quantity_id NAME and --value NUMBER or --values A,B,...")
    parts = [part for part in re.split(r"[\s,\[\]()]+", text) if part]
    try:
        values = [float(part) if not _is_whole(part) else int(part) for part in parts]
    except ValueError:
        raise click.UsageError(f"{text!r} is no number, or list of numbers") from None
    return values if given.value is None or len(values) != 1 else values[0]


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+", text) is not None
