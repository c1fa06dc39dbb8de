"""The options of scripts for analysis: ``BD.BDParser()``.

Options may be shortened as long as one alone begins so. What ``bd.yaml`` of the study around
the current directory says is part of what is parsed, under what was given.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from motoko.compat.places import find_study_dir
from motoko.config import read_study
from motoko.paths import STUDY_FILE


class Group:
    """Options of a script, under a heading of their own."""

    def __init__(self, parser: BDParser, group: Any) -> None:
        self._parser = parser
        self._group = group

    def add_argument(self, *names: str, **settings: Any) -> Group:
        """Declare an option, as `argparse` has it; the group again, so that calls chain."""
        self._group.add_argument(*names, **settings)
        return self

    def register_group(self, name: str) -> Group:
        """Another group of the same parser."""
        return self._parser.register_group(name)

    def parseBDParameters(self, argv: Sequence[str] | None = None) -> dict[str, Any]:
        """What the parser gives."""
        return self._parser.parseBDParameters(argv)


class BDParser:
    """Options that every script takes, and those that it declares in groups."""

    def __init__(self, description: str = "") -> None:
        self.argparser = argparse.ArgumentParser(description=description)
        add_usual_options(self.argparser.add_argument_group("BDParser"))

    def register_group(self, name: str) -> Group:
        """A group in which the script declares its own options."""
        return Group(self, self.argparser.add_argument_group(name))

    def parseBDParameters(self, argv: Sequence[str] | None = None) -> dict[str, Any]:
        """The values of all options that have one, of ``argv`` or else of the command line.

        ``constraints`` is a list of texts. `Base` and the selectors take the whole mapping.
        """
        given = vars(self.argparser.parse_args(argv))
        found = {**_of_study(), **{k: v for k, v in given.items() if v is not None}}
        if isinstance(found.get("constraints"), str):
            found["constraints"] = [found["constraints"]]
        return found


class RunParser(BDParser):
    """The parser with the options that a new run takes besides."""

    def __init__(self, description: str = "") -> None:
        super().__init__(description)
        group = self.argparser.add_argument_group("RunParser")
        group.add_argument("--machine_name", help="the machine that the run is meant for")
        group.add_argument("--nproc", type=int, default=1, help="cores that it uses")
        group.add_argument("--run_name", required=True, help="what the run belongs to")


def add_usual_options(group: Any) -> None:
    """The options that scripts and commands have in common."""
    group.add_argument("--study", help="the study's name")
    group.add_argument("--host", help="zeo:///directory of the study")
    group.add_argument("--user", help=argparse.SUPPRESS)
    group.add_argument("--truerun", action="store_true", help="accepted: nothing is a trial")
    group.add_argument("--constraints", help="which runs or jobs: 'a > 1, state = FINISHED'")
    group.add_argument("--binary_operator", default="and", help=argparse.SUPPRESS)
    group.add_argument("--list_parameters", action="store_true", help=argparse.SUPPRESS)
    group.add_argument("--yes", action="store_true", help="accepted: nothing is asked")
    group.add_argument("--logging", action="store_true", help=argparse.SUPPRESS)


def _of_study() -> dict[str, Any]:
    directory = find_study_dir(Path.cwd())
    file = None if directory is None else directory / STUDY_FILE
    if file is None or not file.is_file():
        host = os.environ.get("BLACKDYNAMITE_HOST")
        return {"host": host} if host else {}
    return {**read_study(file), "config": str(file)}
