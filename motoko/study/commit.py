"""The commit around a directory, and whether git says that files differ from it."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

#: How long git is waited for by who asks, and how long by the thread that asks it.
_WAIT_S = 0.05
_GIT_S = 2.0
#: How much of the time git may be at work at most: that of a slow one is asked seldom.
_SHARE = 0.02


class Difference:
    """Whether files in a directory are other than in their commit.

    A thread asks git, and nobody waits longer than a moment for it, nor at all while it is
    known to be slow: what it says later holds for whoever asks again of the same state.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._answers: dict[tuple[str, str], bool] = {}
        self._thread: threading.Thread | None = None
        self._next = 0.0
        self._is_slow = False
        self._lock = threading.Lock()

    def of(self, files: str, commit: str) -> bool | None:
        """Whether these files, which are those of now, differ from this commit; None if that is
        not known. ``files`` is a digest of them all."""
        state = (files, commit)
        if state in self._answers:
            return self._answers[state]
        with self._lock:
            thread = self._thread
            is_asked = thread is not None and thread.is_alive()
            if not is_asked and time.monotonic() >= self._next:
                thread = self._thread = threading.Thread(
                    target=self._ask, args=[state], name="git status", daemon=True
                )
                thread.start()
        if thread is not None and not self._is_slow:
            thread.join(_WAIT_S)
            self._is_slow = thread.is_alive()
        return self._answers.get(state)

    def _ask(self, state: tuple[str, str]) -> None:
        begun = time.monotonic()
        differs = differs_from_commit(self._directory)
        ended = time.monotonic()
        if differs is not None:
            self._answers[state] = differs
        self._is_slow = ended - begun > _WAIT_S
        self._next = ended + (ended - begun) / _SHARE


def find_commit(directory: Path) -> str | None:
    """The commit that is checked out in the git repository around a directory."""
    for place in (directory, *directory.parents):
        git = place / ".git"
        with suppress(OSError, UnicodeDecodeError):
            if git.is_file():  # a worktree, or a submodule
                git = place / git.read_text().partition("gitdir:")[2].strip()
            if (git / "HEAD").is_file():
                return _resolved(git)
    return None


def _resolved(git: Path) -> str | None:
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return head or None
    name = head.removeprefix("ref: ")
    shared = git / "commondir"
    common = git / shared.read_text().strip() if shared.is_file() else git
    for place in (git, common):
        if (place / name).is_file():
            return (place / name).read_text().strip()
    packed = common / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), None)


def differs_from_commit(directory: Path) -> bool | None:
    """Whether files in a directory are other than in the commit; None if git does not say."""
    command = ["git", "status", "--porcelain", "--untracked-files=no", "--", "."]
    command += [":(exclude).bd", ":(exclude)BD-*"]
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return bool(done.stdout.strip())
