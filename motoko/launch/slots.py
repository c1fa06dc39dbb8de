"""How much may execute at once: the cores this process may use, or a number of runs."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from motoko.launch.failure import own_group

log = logging.getLogger(__name__)


class Slots:
    """Room for runs: cores, each run taking its ``nproc``; or, with ``max_concurrent``, runs.

    A run that asks for more cores than there are executes alone.
    """

    def __init__(self, n_cores: int, max_concurrent: int | None = None) -> None:
        self._n_cores = n_cores
        self.max_concurrent = max_concurrent
        self._size = max_concurrent or n_cores
        self._counts_cores = not max_concurrent
        self._used: list[int] = []
        self._n_used = 0
        self._noted: set[int] = set()

    @property
    def size(self) -> int:
        """How many runs of one core fit at once."""
        return self._size

    @property
    def n_free(self) -> int:
        """How many runs of one core fit now."""
        return max(0, self._size - self._n_used)

    def limit(self, max_concurrent: int | None) -> None:
        """Change how many runs there may be; what executes goes on."""
        if max_concurrent != self.max_concurrent:
            self.max_concurrent = max_concurrent
            self._size = max_concurrent or self._n_cores
            self._counts_cores = not max_concurrent
            self._n_used = sum(map(self._share, self._used))

    def fits(self, nproc: int) -> bool:
        """Whether a run may start now."""
        return self._n_used + self._share(nproc) <= self._size

    def take(self, nproc: int, run: str) -> None:
        """Count a run that starts, or that was found running."""
        if self._counts_cores and nproc > self._size and nproc not in self._noted:
            self._noted.add(nproc)
            log.warning(
                "run %s asks for %d cores, and there are %d: such runs execute alone",
                run,
                nproc,
                self._size,
            )
        self._used.append(nproc)
        self._n_used += self._share(nproc)

    def release(self, nproc: int) -> None:
        """Count a run that has ended."""
        self._used.remove(nproc)
        self._n_used -= self._share(nproc)

    def _share(self, nproc: int) -> int:
        return min(max(1, nproc), self._size) if self._counts_cores else 1


def available_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its control groups."""
    try:
        n_cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        n_cores = os.cpu_count() or 1
    quota = cgroup_quota()
    return n_cores if quota is None else max(1, min(n_cores, int(quota + 0.5)))


def cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Cores' worth of time that control groups allow; None when they set no limit."""
    found = []
    group = own_group("cpu")
    if group is not None:
        for directory in _upward(root / "cpu", group):
            quota = _read_number(directory / "cpu.cfs_quota_us")
            period = _read_number(directory / "cpu.cfs_period_us")
            if quota and period and quota > 0:
                found.append(quota / period)
    group = own_group("")
    if group is not None:
        for directory in _upward(root, group):
            words = _read_words(directory / "cpu.max")
            if len(words) == 2 and words[0] != "max":
                found.append(int(words[0]) / int(words[1]))
    return min(found, default=None)


def _upward(root: Path, group: str) -> list[Path]:
    """The group's directory and those above it, whose limits hold too."""
    directory = root / group.strip("/")
    return [directory, *(p for p in directory.parents if p.is_relative_to(root))]


def _read_words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _read_number(file: Path) -> int | None:
    words = _read_words(file)
    return int(words[0]) if words else None
