"""Processes of a directory: found by where they work and by what they were told."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil


def processes_of(directory: Path) -> list[psutil.Process]:
    """Processes that work in a directory or were started with its path, but this one."""
    place = str(directory.resolve())
    own = {psutil.Process().pid, *(parent.pid for parent in psutil.Process().parents())}
    return [p for p in psutil.process_iter() if p.pid not in own and _belongs_to(p, place)]


def kill_processes_of(directory: Path, word: str = "") -> int:
    """``kill -9`` all of them, until there are none; how many there were.

    With a word only those that were started with it. Children of this process stay to be
    waited for by whoever started them.
    """
    killed = set()
    end = time.monotonic() + 20
    while found := [p for p in processes_of(directory) if _was_told(p, word)]:
        for process in found:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
            killed.add(process)
        if time.monotonic() > end:
            raise TimeoutError(f"still there: {found}")
        time.sleep(0.01)
    return len(killed)


def wait_for(condition: Callable[[], bool], deadline_s: float) -> None:
    """Wait until a condition is true; TimeoutError after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not true within {deadline_s} s")
        time.sleep(0.02)


def _was_told(process: psutil.Process, word: str) -> bool:
    try:
        return not word or word in process.cmdline()
    except psutil.Error:
        return False


def _belongs_to(process: psutil.Process, place: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        words = [*process.cmdline(), process.cwd()]
    except psutil.Error:
        return False
    return any(word == place or f"{place}/" in f"{word}/" for word in words)
