"""Attempts become processes of this host, as many at once as there is room for.

Run directories are made ahead while all slots are taken: the cores are what is scarce.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motoko.config.retry import INFRASTRUCTURE
from motoko.crashpoints import reached
from motoko.job import layout, token
from motoko.launch.adoption import Fate, examine
from motoko.launch.attempt import Attempt
from motoko.launch.desk import Desk
from motoko.launch.generator import LocalGenerator, LocalProcess, Start
from motoko.launch.slots import Slots
from motoko.launch.starter import Starter
from motoko.launch.trouble import Troubles
from motoko.launch.watch import Watch

#: Runs are claimed for this long ahead, at the present rate of starts.
_AHEAD_S = 0.5
_MOST_AHEAD = 256
#: How many starts in that time are many.
_N_MANY = 30


class Executor(Starter):
    """Starts the attempts of studies as processes; a `Watch` follows them."""

    watch: Watch

    def __init__(
        self,
        generator: LocalGenerator,
        slots: Slots,
        python_dir: Path,
        knock: str,
        inherited: Mapping[str, str],
        troubles: Troubles,
        grace_s: float,
    ) -> None:
        """``knock`` is the socket that scripts are told of, ``inherited`` their environment."""
        super().__init__(python_dir, knock, inherited, troubles)
        self.watch = Watch(generator, slots, self, troubles, grace_s)
        self.generator = generator
        self._slots = slots
        self._max_concurrent = slots.max_concurrent
        self._starts: deque[float] = deque(maxlen=_MOST_AHEAD)

    # how much

    def n_wanted(self, desk: Desk) -> int:
        """How many further runs to claim: for the free slots, and a little ahead."""
        n_free = min(self._slots.n_free, self._n_free(desk))
        return max(0, n_free + self._n_ahead() - len(desk.waiting))

    @property
    def is_busy(self) -> bool:
        """Whether runs begin so fast that what there is to say of them is to be gathered."""
        starts = self._starts
        return len(starts) >= _N_MANY and starts[-_N_MANY] > time.monotonic() - _AHEAD_S

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing can be started before something ends."""
        if self._copying:
            return False
        waiting = [d.waiting[0] for d in self._desks if d.waiting and d not in self._paused]
        return not any(self._slots.fits(attempt.nproc) for attempt in waiting)

    def _n_ahead(self) -> int:
        since = time.monotonic() - _AHEAD_S
        return sum(1 for start in self._starts if start > since)

    def _n_free(self, desk: Desk) -> int:
        most = 0 if desk.is_held else desk.limit("max_concurrent")
        return self._slots.size if most is None else most - desk.n_running

    # for the desks

    def end_left(self, run_dir: str, number: int) -> None:
        """End what is left of an attempt that an earlier launcher told to end."""
        self.watch.end_left(run_dir, number)

    def walltime_s(self, desk: Desk, row: Mapping[str, Any]) -> float | None:
        """Nothing stands above the walltime of a run."""
        return None

    # starting

    def schedule(self) -> None:
        """Start what there is room for; studies take turns."""
        self._slots.limit(self._shared_limit("max_concurrent", self._max_concurrent))
        while not self._is_closed:
            desk = self._next_desk()
            if desk is None or not self._slots.fits(desk.waiting[0].nproc):
                break
            self._start(desk, desk.waiting.popleft())
        n_ahead = self._n_ahead()
        for desk in self._desks:
            if not desk.waiting:
                self._troubles.over(desk.starting)
            if self.n_wanted(desk) > n_ahead // 2:
                desk.claim()
        self._prepare_soon()

    def _next_desk(self) -> Desk | None:
        for _ in range(len(self._desks)):
            self._desks.rotate(-1)
            desk = self._desks[-1]
            if desk in self._paused or not desk.waiting or self._n_free(desk) <= 0:
                continue
            if desk not in self._copying or desk.waiting[0].is_prepared:
                return desk
        return None

    def _start(self, desk: Desk, attempt: Attempt) -> None:
        if not attempt.is_prepared and not self._prepare(desk, attempt):
            if not attempt.has_process_ended and desk.held.get(attempt.run_id) is attempt:
                desk.waiting.appendleft(attempt)
            return
        try:
            now = time.time()  # before its script can say that it has finished
            if attempt.is_found_finished(now):
                desk.note(attempt)
                return
            process = self._spawn(desk, attempt)
        except Exception as error:
            self._refused(desk, attempt, error)
            if not attempt.has_process_ended:
                desk.waiting.appendleft(attempt)
            return
        if process is None:
            self._yield(desk, attempt)
            return
        self._troubles.over(desk.starting)
        reached("launcher.spawned")
        self._starts.append(time.monotonic())
        attempt.begin(process.pid, now, age_s=0.0)
        self.watch.follow(desk, attempt, process)
        desk.note(attempt, is_urgent=False)

    def _spawn(self, desk: Desk, attempt: Attempt) -> LocalProcess | None:
        """Start the process of an attempt whose token nobody has."""
        run_dir, name = attempt.run_dir, str(attempt.row["run_name"])
        facts = token.token_facts(attempt.nonce, desk.generation)
        fd = token.take_token(run_dir, attempt.number, facts)
        if fd is None:
            return None
        environment = self._environments[desk.study]
        try:
            return self.generator.start(
                Start(
                    run_dir=run_dir,
                    exec_file=attempt.exec_file,
                    attempt=attempt.number,
                    nonce=attempt.nonce,
                    token_fd=fd,
                    output_file=layout.output_file(run_dir, name, attempt.run_id),
                    error_file=layout.error_file(run_dir, name, attempt.run_id),
                    environment=environment.of_run(
                        attempt.run_id, attempt.row, run_dir, attempt.number, attempt.before
                    ),
                    warning=attempt.notice and attempt.notice.warning(),
                )
            )
        except BaseException:
            Path(layout.token_file(run_dir, attempt.number)).unlink()
            raise
        finally:
            os.close(fd)

    def _yield(self, desk: Desk, attempt: Attempt) -> None:
        """Somebody else has the token of an attempt that was to be started."""
        try:
            fate = examine(attempt).fate
        except OSError as error:
            self._refused(desk, attempt, error)
            if not attempt.has_process_ended:
                desk.waiting.appendleft(attempt)
            return
        if fate is not Fate.UNSTARTED:
            self.watch.adopt(desk, attempt, str(attempt.row["state"]))
            return
        why = f"{layout.token_file(attempt.run_dir, attempt.number)} is of another run"
        self._refuse(desk, attempt, why, INFRASTRUCTURE)
