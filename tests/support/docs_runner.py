"""Executing the code blocks of one page; `docs_pages` has the rules."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from motoko.config import StudyConfig, WorkflowConfig
from tests.support.docs_pages import LANGUAGES, ROOT, Block, Page
from tests.support.processes import kill_processes_of

LEFT_BY_RUNS = (".bd", ".wf", "BD-*-runs", "motoko-backup-*", "result.txt", "__pycache__")
LONGEST_S = 110

_KEYS = {*WorkflowConfig.known_keys(), *StudyConfig.known_keys()}
_KEEP = "trap '{ pwd; env -0; } >\"$DOCS_STATE\"' EXIT\n"


class PageError(AssertionError):
    """A block did not do what the page says."""

    def __init__(self, block: Block, what: str) -> None:
        super().__init__(f"{block.place}: {what}")


class PageRunner:
    """Executes the blocks of a page in a directory; `close` ends what they left running."""

    def __init__(self, page: Page, directory: Path) -> None:
        self._top = directory
        self._work = directory / "work"
        self._state = directory / "state"
        self._cwd = self._work
        if page.start is not None:
            ignore = shutil.ignore_patterns(*LEFT_BY_RUNS)
            shutil.copytree(page.start, self._work, ignore=ignore)
        else:
            self._work.mkdir()
        self._env = self._environment(directory / "bin")
        self._python: subprocess.Popen[str] | None = None
        self._answers = -1

    def _environment(self, bin_dir: Path) -> dict[str, str]:
        bin_dir.mkdir()
        for name, words in (("motoko", " -m motoko"), ("python3", ""), ("python", "")):
            command = bin_dir / name
            command.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
            command.chmod(0o755)
        home = self._top / "home"
        home.mkdir()
        return {
            **os.environ,
            "HOME": str(home),
            "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "DOCS_STATE": str(self._state),
        }

    def run(self, block: Block) -> None:
        """Do what a block asks for; `PageError` when that fails."""
        if block.file is not None:
            self._write(block, block.file)
        elif block.language not in LANGUAGES:
            raise PageError(block, f"{block.language!r} is none of {', '.join(LANGUAGES)}")
        elif block.language == "python":
            self._run_python(block)
        elif block.language == "bash":
            self._run_bash(block)
        elif block.language == "console":
            self._run_console(block)
        elif block.language == "yaml":
            _check_yaml(block)
        elif block.language == "json":
            _parsed(block, json.loads)

    def close(self) -> None:
        """End what the page has left running."""
        if self._python is not None:
            assert self._python.stdin is not None
            self._python.stdin.close()
            self._python.wait(timeout=LONGEST_S)
            os.close(self._answers)
        kill_processes_of(self._work)

    def _write(self, block: Block, name: str) -> None:
        file = (self._cwd / name).resolve()
        if not file.is_relative_to(self._top):
            raise PageError(block, f"{name} leads out of the page's directory")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)
        if name.endswith((".yaml", ".yml")):
            _parsed(block, yaml.safe_load)
        if block.text.startswith("#!"):
            file.chmod(0o755)

    def _run_bash(self, block: Block) -> None:
        code, output = self._shell(f"set -eu -o pipefail\n{block.text}")
        if code:
            raise PageError(block, f"exit code {code}\n{output}")

    def _run_console(self, block: Block) -> None:
        for command, expected in _commands(block):
            code, output = self._shell(command)
            if code:
                raise PageError(block, f"$ {command}\nexit code {code}\n{output}")
            if expected and not matches(expected, output):
                wanted = "\n".join(expected)
                shown = f"expected:\n{wanted}\nprinted:\n{output}"
                raise PageError(block, f"$ {command}\n{shown}")

    def _shell(self, script: str) -> tuple[int, str]:
        # Background processes must not keep the pipe open: output goes to a file.
        output = self._top / "output"
        with open(output, "w+b") as file:
            done = subprocess.run(
                ["bash", "-c", _KEEP + script],
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=LONGEST_S,
            )
        cwd, _, variables = self._state.read_text().partition("\n")
        self._cwd = Path(cwd)
        for variable in variables.split("\0")[:-1]:
            name, _, value = variable.partition("=")
            self._env[name] = value
        return done.returncode, output.read_text(errors="replace")

    def _run_python(self, block: Block) -> None:
        if self._python is None:
            self._answers, theirs = os.pipe()
            self._python = subprocess.Popen(
                [sys.executable, "-m", "tests.support.docs_python", str(theirs)],
                cwd=self._work,
                env=self._env,
                stdin=subprocess.PIPE,
                pass_fds=(theirs,),
                text=True,
            )
            os.close(theirs)
        lead = "\n" * block.line  # so that tracebacks show the lines of the page
        text = block.text if block.text.lstrip().startswith(">>>") else lead + block.text
        order = {"text": text, "place": block.place, "directory": str(self._cwd)}
        assert self._python.stdin is not None
        self._python.stdin.write(json.dumps(order) + "\n")
        self._python.stdin.flush()
        answer = self._read_answer(block)
        problem = json.loads(answer)
        if problem:
            raise PageError(block, problem)

    def _read_answer(self, block: Block) -> str:
        answer = b""
        while not answer.endswith(b"\n"):
            has_news, _, _ = select.select([self._answers], [], [], LONGEST_S)
            part = os.read(self._answers, 1 << 16) if has_news else b""
            if not part:
                assert self._python is not None
                self._python.kill()
                raise PageError(block, f"the python process ended, or took {LONGEST_S} s")
            answer += part
        return answer.decode()


def _parsed(block: Block, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(block.text)
    except (ValueError, yaml.YAMLError) as error:
        raise PageError(block, str(error)) from error


def _check_yaml(block: Block) -> None:
    found = _parsed(block, yaml.safe_load)
    unknown = [k for k in found if k not in _KEYS and not k.endswith("_options")]
    if unknown:
        raise PageError(block, f"no file of ours has the keys {', '.join(unknown)}")


def _commands(block: Block) -> list[tuple[str, list[str]]]:
    found: list[tuple[list[str], list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif not found:
            raise PageError(block, f"what is {line!r}? A command begins with '$ '")
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0].append(line[2:])
        else:
            found[-1][1].append(line)
    return [("\n".join(command), expected) for command, expected in found]


def matches(expected: list[str], output: str) -> bool:
    """Whether the lines are those of the output, but for ``...`` and the width of blanks."""
    parts = []
    for line in map(_squeezed, expected):
        if line == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            pieces = map(re.escape, line.split("..."))
            parts.append(r"[^\n]*?".join(pieces) + r"\n")
    printed = "".join(f"{_squeezed(line)}\n" for line in output.rstrip().splitlines())
    return re.fullmatch("".join(parts), printed) is not None


def _squeezed(line: str) -> str:
    return re.sub(r"\s+", " ", line).strip()
