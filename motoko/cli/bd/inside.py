"""What a script says of its own run: written to the run directory, without a server."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import click

from motoko.cli.bd.options import Arguments
from motoko.cli.bd.texts import assignments, numbers
from motoko.config.values import RUN_CONVERTERS, Refused
from motoko.job.facts import read_facts
from motoko.job.record import get_run
from motoko.model.operands import typed


def update(run_dir: str, given: Arguments) -> int:
    """``runs update``: set entries of this run, its state among them."""
    run, _ = get_run(run_dir)
    types = read_facts(run_dir).get("run_types", {})
    for name, text in assignments(given.command).items():
        run[name.removeprefix("runs.")] = _value(text, types.get(name.lower()))
    return 0


def quantity(run_dir: str, given: Arguments) -> int:
    """``runs quantity``: push a value, or several as one row."""
    run, _ = get_run(run_dir)
    run.push_quantity(numbers(given), given.step, given.quantity_id)
    return 0


def info(run_dir: str, given: Arguments) -> int:
    """``runs info``: this run and its job."""
    run, job = get_run(run_dir)
    click.echo(f"****** job info ******\n{_lines(job)}")
    click.echo(f"****** run info ******\n{_lines(run)}")
    return 0


def _lines(entries: Any) -> str:
    return "\n".join(f"{name}: {value}" for name, value in entries.items())


def _value(text: str, kind: str | None) -> Any:
    if kind is not None:
        with suppress(Refused):
            return typed(kind, text, RUN_CONVERTERS)
    try:
        return json.loads(text)
    except ValueError:
        return text
