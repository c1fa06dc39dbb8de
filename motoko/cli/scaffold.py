"""The workflow that ``motoko new`` makes."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

_TEMPLATE = Path(__file__).parent / "template"
_SUFFIX = ".in"


def make(directory: Path) -> list[str]:
    """Write the files of a small workflow; their names.

    UsageError when the directory has anything in it. Nothing is left there when that fails.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise click.UsageError(f"{directory} is there already and not empty: name a new one")
    was_there = directory.exists()
    try:
        return _write(directory)
    except BaseException:
        for made in directory.iterdir() if was_there else [directory]:
            if made.is_file():
                made.unlink()
            else:
                shutil.rmtree(made, ignore_errors=True)
        raise


def _write(directory: Path) -> list[str]:
    names = []
    for source in sorted(_TEMPLATE.rglob(f"*{_SUFFIX}")):
        name = str(source.relative_to(_TEMPLATE)).removesuffix(_SUFFIX)
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
        if target.suffix == ".sh":
            target.chmod(0o755)
        names.append(name)
    return names
