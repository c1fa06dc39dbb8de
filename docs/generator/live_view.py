"""Draws docs/images/live.svg from what ``motoko run`` shows.

``python -m docs.generator.live_view`` runs a copy of the example `convergence` in a
pseudo-terminal, and keeps the picture in the middle of those in which most studies have runs at
work. Not part of `make docs`, since times differ.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "live.svg"
N_COLUMNS, N_LINES = 100, 30

_UP = re.compile(r"(?:\r?\x1b\[2K(?:\x1b\[1A\x1b\[2K)+)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(r"\x1b\[\?25[hl]|\r")
_LEFT_BY_RUNS = (".bd", ".wf", "BD-*-runs", "result.txt", "*.png", "motoko-backup-*")


def output_in_terminal(command: list[str], cwd: Path, env: Mapping[str, str]) -> str:
    """What a command writes to a terminal, with all its control sequences."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", N_LINES, N_COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 1 << 16):
            parts.append(part)
    except OSError:  # how Linux says that the other end was closed
        pass
    os.close(ours)
    if process.wait():
        raise SystemExit(f"{command} ended with {process.returncode}")
    return b"".join(parts).decode()


def frames(output: str) -> list[str]:
    """The pictures that were drawn one over the other, with their colours."""
    return [_CONTROL.sub("", part).strip("\n") for part in _UP.split(output)]


def best(found: list[str]) -> str:
    """One in which much goes on at the same time."""

    def interest(frame: str) -> tuple[int, int]:
        plain = _COLOURS.sub("", frame)
        rows = re.findall(r"^ *(\w+) +(\d.*)$", plain, re.MULTILINE)
        at_work = sum("━" in cells and "╌" in cells for _, cells in rows)
        return at_work, len(plain.splitlines())

    most = max(map(interest, found))
    chosen = [frame for frame in found if interest(frame) == most]
    return chosen[len(chosen) // 2]


def main() -> None:
    """Run the example and write the picture."""
    with tempfile.TemporaryDirectory() as place:
        example = Path(place) / "convergence"
        ignored = shutil.ignore_patterns(*_LEFT_BY_RUNS)
        shutil.copytree(ROOT / "examples" / "convergence", example, ignore=ignored)
        env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
        }
        command = [sys.executable, "-m", "motoko", "run", "--run_name", "first"]
        output = output_in_terminal(command, example, env)
    console = Console(record=True, file=io.StringIO(), width=N_COLUMNS, highlight=False)
    console.print(Text("$ motoko run --run_name first", style="bold"))
    console.print(Text.from_ansi(best(frames(output))))
    svg = console.export_svg(title="convergence", theme=MONOKAI, unique_id="live")
    PICTURE.write_text(svg + "\n" if not svg.endswith("\n") else svg)


if __name__ == "__main__":
    main()
