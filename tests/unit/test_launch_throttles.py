"""Arrays share limits: never more than allowed executes, and all of it in the end."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motoko.launch.allotment import Extent, Part, allot, fair_shares
from motoko.launch.batch_generator import JobStatus, Phase
from motoko.launch.commands import Answer
from motoko.launch.in_hand import Held, InHand
from motoko.launch.room import Room
from motoko.launch.slurm import Slurm
from motoko.launch.throttles import Throttles
from motoko.launch.tracking import Pace, Tracker
from motoko.launch.trouble import Troubles
from tests.support.effort import examples


def test_who_wants_little_gets_that_and_the_others_the_same_each() -> None:
    assert fair_shares({"a": 100, "b": 3, "c": 50}, 21) == {"b": 3, "a": 9, "c": 9}
    assert fair_shares({"a": 100, "b": math.inf}, math.inf) == {"a": 100, "b": math.inf}
    assert fair_shares({"a": 5, "b": 5}, 1) == {"a": 1, "b": 1}  # in turns


def test_what_executes_is_not_given_away_before_it_is_given_back() -> None:
    part = Part(arrays=[Extent(n_left=50, bound=20)])

    found = allot({"old": part, "new": Part(n_waiting=30)}, most=20)

    assert found["old"].throttles == (10,)
    assert (found["new"].new_array, found["new"].alone) == (0, 0)
    lowered = part._replace(arrays=[Extent(n_left=45, bound=13)])
    found = allot({"old": lowered, "new": Part(n_waiting=30)}, most=20)
    assert found["new"].new_array == 7


def test_an_array_gets_what_another_one_of_its_study_leaves() -> None:
    part = Part(most=10, n_alone=1, arrays=[Extent(4, 4), Extent(30, 3)])

    found = allot({"s": part}, most=None)

    assert found["s"].throttles == (4, 5)
    assert found["s"].new_array == 0


class Study:
    """A study, as far as room for its jobs is concerned."""

    def __init__(self, name: str, most: int | None, n_runs: int) -> None:
        self.study = SimpleNamespace(name=name)
        self.most = most
        self.n_runs = n_runs
        self.may_get_more = self.is_held = False

    def limit(self, name: str) -> int | None:
        return self.most if name == "max_concurrent" else None


class System:
    """Slurm, whose arrays begin and end at random; commands fail, or their answers are lost."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.most = self.random.choice([None, 3, 8])
        counts = [self.random.randint(0, 20) for _ in range(3)]
        self.studies: list[Any] = [
            Study(f"s{i}", self.random.choice([None, 2, 5]), n) for i, n in enumerate(counts)
        ]
        self.phases: dict[str, Phase] = {}
        self.throttle: dict[str, float] = {}
        self.owner: dict[str, Any] = {}
        self.is_moody = True
        self.answer: dict[str, JobStatus] = {}
        self.generator = Slurm()
        self.generator.ask = self.change  # type: ignore[method-assign]
        self.in_hand = InHand(self.generator.array_of)
        self.pace = Pace()
        self.tracker = Tracker(self.pace)
        self.throttles = self.new_throttles()
        self.room = self.new_room()

    def new_throttles(self) -> Throttles:
        return Throttles(
            self.generator, self.in_hand, self.tracker, Troubles(), self.pace, lambda: self.now
        )

    def new_room(self) -> Room:
        def shared(name: str) -> int | None:
            return self.most if name == "max_concurrent" else None

        def n_ready(desk: Any) -> int:
            return int(desk.n_runs)

        return Room(self.studies, self.in_hand, self.throttles, shared, n_ready)

    def change(self, command: Any, timeout_s: float, directory: Any = None) -> Answer:
        array, most = (text.partition("=")[2] for text in command[2:])
        fate = self.random.random() if self.is_moody else 1.0
        if fate > 0.3:
            self.throttle[array] = int(most)
        return Answer(0, "", "") if fate > 0.5 else Answer(1, "", "lost")

    def executing(self, *studies: Any) -> int:
        return sum(
            phase is Phase.RUNNING and self.owner[job_id.partition("_")[0]] in studies
            for job_id, phase in self.phases.items()
        )

    @property
    def is_over(self) -> bool:
        is_waiting = any(study.n_runs for study in self.studies)
        return not is_waiting and all(p is Phase.ENDED for p in self.phases.values())

    def submit(self, desk: Any, most: int | None = None) -> None:
        n_at_once = self.room.at_once(desk, is_array=True)
        n_jobs = min(desk.n_runs, most or self.random.randint(2, 20))
        if n_at_once < 1 or not n_jobs:
            return
        array, throttle = str(len(self.owner) + 1), math.inf
        if n_at_once < n_jobs:
            throttle = n_at_once
        self.owner[array], self.throttle[array] = desk, throttle
        self.throttles.submitted(array, throttle)
        for i in range(n_jobs):
            job_id = f"{array}_{i}"
            self.phases[job_id] = Phase.PENDING
            attempt: Any = SimpleNamespace(nonce=job_id)
            self.in_hand.add(job_id, Held(desk, attempt))
            self.tracker.track(job_id, "", self.now)
        desk.n_runs -= n_jobs

    def begin(self, job_id: str) -> None:
        array = job_id.partition("_")[0]
        own = [p for j, p in self.phases.items() if j.partition("_")[0] == array]
        is_pending = self.phases[job_id] is Phase.PENDING
        if is_pending and own.count(Phase.RUNNING) < self.throttle[array]:
            self.phases[job_id] = Phase.RUNNING

    def end(self, job_id: str) -> None:
        if self.phases[job_id] is Phase.RUNNING:
            self.phases[job_id] = Phase.ENDED
            held = self.in_hand.of(job_id)[0]
            self.in_hand.leave(job_id, held.attempt)
            self.tracker.drop(job_id)

    def tell(self, asked_at: float) -> None:
        told = {j: JobStatus(j, p, p.name) for j, p in self.phases.items() if p != Phase.ENDED}
        self.tracker.answered(told, self.now, asked_at)

    def restart(self) -> None:
        self.tracker = Tracker(self.pace)
        for held in self.in_hand:
            self.tracker.track(held.attempt.nonce, "", self.now)
        self.throttles = self.new_throttles()
        self.room = self.new_room()

    async def step(self) -> None:
        self.now += 1.0
        pending = [job_id for job_id, phase in self.phases.items() if phase is Phase.PENDING]
        running = [job_id for job_id, phase in self.phases.items() if phase is Phase.RUNNING]
        match self.random.choice(
            ["submit", "begin", "begin", "end", "tell", "send", "restart"]
        ):
            case "submit":
                self.submit(self.random.choice(self.studies))
            case "tell":
                self.tell(self.now)
            case "send":
                await self.throttles.send(self.room.throttles())
            case "restart" if self.random.random() < 0.2:
                self.restart()
            case "begin":
                for job_id in pending:
                    self.begin(job_id)
            case "end" if running:
                self.end(self.random.choice(running))


@pytest.mark.slow
@given(st.integers(0, 1 << 32))
@settings(max_examples=examples(10), deadline=None)
def test_never_more_than_allowed_executes_and_all_does_in_the_end(seed: int) -> None:
    system = System(seed)

    async def main() -> None:
        for i in range(5000):
            if system.is_over:
                break
            system.is_moody = i < 200
            await system.step()
            for study in system.studies:
                assert system.executing(study) <= (study.most or math.inf), seed
            assert system.executing(*system.studies) <= (system.most or math.inf), seed

    anyio.run(main)

    assert system.is_over
    assert not system.in_hand.arrays


def test_a_lowered_throttle_counts_once_the_system_has_told_how_many_execute() -> None:
    system = System(1)
    [study, *_] = system.studies
    study.most, study.n_runs, system.most, system.is_moody = 6, 10, None, False
    system.submit(study, 10)
    array = "1"
    for job_id in system.phases:
        system.begin(job_id)
    study.most = 2

    anyio.run(system.throttles.send, system.room.throttles())
    system.tell(asked_at=-1.0)  # of a question from before that
    before = system.throttles.extents(study)[array]
    for job_id in [f"{array}_{i}" for i in range(3)]:
        system.end(job_id)
    system.tell(asked_at=system.now)

    assert before.bound == 6
    assert system.throttles.extents(study)[array].bound == 3


@pytest.mark.parametrize("n_failures", [1, 3])
def test_a_throttle_that_was_not_taken_is_tried_again_after_a_while(n_failures: int) -> None:
    system = System(1)
    [study, *_] = system.studies
    study.most, study.n_runs, system.most = 1, 20, None
    system.submit(study, 20)
    study.most = 2
    answers = [Answer(1, "", "no")] * n_failures + [Answer(0, "", "")]
    asked = []

    def ask(command: Any, *_: Any) -> Answer:
        asked.append(system.now)
        return answers[len(asked) - 1]

    system.generator.ask = ask  # type: ignore[method-assign]
    for _ in range(600):
        system.now += 0.1
        anyio.run(system.throttles.send, system.room.throttles())

    assert len(asked) == n_failures + 1
    pauses = [b - a for a, b in pairwise(asked)]
    assert all(later > 1.5 * earlier for earlier, later in pairwise(pauses))
