"""The runs that a launcher may begin, where it may not begin all: written for it to read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from motoko.durable import replace_file
from motoko.store.ranges import numbers, ranges


def write_chosen(file: Path, chosen: Mapping[str, Iterable[int]]) -> Path:
    """Write down ids of runs by study; the file."""
    text = json.dumps({name: ranges(ids) for name, ids in chosen.items()})
    replace_file(file, [text.encode()])
    return file


def read_chosen(file: Path) -> dict[str, frozenset[int]]:
    """What `write_chosen` has written."""
    return {name: frozenset(numbers(ids)) for name, ids in json.loads(file.read_text()).items()}
