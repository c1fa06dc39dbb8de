"""What is known of batch jobs, over answers that are late, empty, old, or do not come."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motoko.launch.batch_generator import JobStatus, Phase
from motoko.launch.tracking import Pace, Tracker
from tests.support.effort import examples

PACE = Pace()


def status(job_id: str, phase: Phase = Phase.RUNNING, name: str = "") -> JobStatus:
    return JobStatus(job_id, phase, phase.name, name)


class World:
    """A batch system with a seeded plan of faults, and the truth beside it."""

    LAG_S = 240.0
    N_JOBS = 30
    END_S = 5400.0

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lives: dict[str, tuple[float, float, float]] = {}
        for number in range(self.N_JOBS):
            submitted = self.random.uniform(0, 1800)
            begun = submitted + self.random.uniform(0, 900)
            self.lives[str(number)] = submitted, begun, begun + self.random.uniform(1, 1800)
        #: Jobs that the queue forgets at some time; the accounts still know them.
        self.forgotten = {
            j: self.random.uniform(*life[::2])
            for j, life in self.lives.items()
            if self.random.random() < 0.2
        }
        self.lags = [self.random.uniform(0, self.END_S) for _ in range(6)]

    def truth(self, job_id: str, now: float) -> Phase | None:
        submitted, begun, ended = self.lives[job_id]
        if now < submitted:
            return None
        return Phase.PENDING if now < begun else Phase.RUNNING if now < ended else Phase.ENDED

    def queue(self, now: float) -> dict[str, JobStatus] | None:
        fault = self.random.random()
        if fault < 1 / 3:
            return None
        if fault < 0.43:
            return {}
        at = now
        if fault < 0.53 or any(begin < now < begin + 300 for begin in self.lags):
            at = now - self.random.uniform(0, self.LAG_S)
        phases = {j: self.truth(j, at) for j in self.lives}
        return {
            j: status(j, phase)
            for j, phase in phases.items()
            if phase not in (None, Phase.ENDED) and at < self.forgotten.get(j, at + 1)
        }

    def accounts(self, ids: list[str], now: float) -> dict[str, JobStatus]:
        if self.random.random() < 1 / 3:
            return {}
        phases = {j: self.truth(j, now - 60) for j in ids}
        return {j: status(j, phase) for j, phase in phases.items() if phase is not None}


@pytest.mark.parametrize("seed", range(10))
def test_no_fault_of_the_system_is_taken_for_the_end_of_a_job(seed: int) -> None:
    world, tracker = World(seed), Tracker(PACE)
    coming = sorted(world.lives, key=lambda job_id: world.lives[job_id][0])
    now, false, over, asked = 0.0, [], set(), []

    while now < World.END_S:
        while coming and world.lives[coming[0]][0] <= now:
            tracker.track(coming.pop(0), "", now)
        if tracker.due_at <= now:
            asked.append(now)
            answer = world.queue(now)
            if answer is None:
                tracker.failed(now)
            else:
                tracker.answered(answer, now)
                tracker.accounted(world.accounts(tracker.to_account(now, 50), now))
        ended = [
            j.id for j in tracker.jobs.values() if j.status and j.status.phase is Phase.ENDED
        ]
        for job_id in {*tracker.gone(now), *ended}:
            over.add(job_id)
            tracker.drop(job_id)
            if world.truth(job_id, now) is not Phase.ENDED:
                false.append((job_id, now))
        now += 1.0

    assert false == []
    assert over == set(world.lives), "an end was never found out"
    assert all(b - a >= PACE.least_s for a, b in pairwise(asked))


def test_a_thousand_jobs_cost_one_question_an_interval_and_fewer_when_all_is_quiet() -> None:
    tracker = Tracker(PACE)
    for number in range(1000):
        tracker.track(str(number), "", 0.0)
    answer = {str(number): status(str(number)) for number in range(1000)}

    now, asked = 0.0, []
    while now < 600:
        if tracker.due_at <= now:
            asked.append(now)
            tracker.answered(answer, now)
        now += 0.5

    assert len(asked) <= 600 / PACE.most_s + 10
    tracker.hurry()
    assert tracker.due_at == asked[-1] + PACE.least_s


@pytest.mark.slow
def test_a_thousand_jobs_that_end_one_after_the_other_cost_one_question_an_interval() -> None:
    tracker = Tracker(PACE)
    for number in range(1000):
        tracker.track(str(number), "", 0.0)

    now, asked = 0.0, []
    while now < 600:
        n_over = int(now / 600 * 1000)
        if tracker.due_at <= now:
            asked.append(now)
            queue = {str(n): status(str(n)) for n in range(n_over, 1000)}
            tracker.answered(queue, now)
            ended = {str(n): status(str(n), Phase.ENDED) for n in range(n_over)}
            tracker.accounted({j: ended[j] for j in tracker.to_account(now, 50) if j in ended})
        for job in list(tracker.jobs.values()):
            if job.status is not None and job.status.phase is Phase.ENDED:
                tracker.drop(job.id)
        tracker.hurry()  # scripts tell of their ends meanwhile
        now += 1.0

    assert len(asked) <= 600 / PACE.least_s + 1
    assert all(b - a >= PACE.least_s for a, b in pairwise(asked))


class Submitting(World):
    """Whose submissions are answered, lost on the way, or not answered though they arrived."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.of_name: dict[str, list[str]] = {}

    def submit(self, name: str, now: float) -> str | None:
        """The id of a new job; None when nobody knows whether there is one."""
        fault = self.random.random()
        if fault < 0.2:
            return None
        job_id = f"{name}/{len(self.of_name.setdefault(name, []))}"
        self.of_name[name].append(job_id)
        begun = now + self.random.uniform(0, 900)
        self.lives[job_id] = now, begun, begun + self.random.uniform(300, 1800)
        return None if fault < 0.5 else job_id

    def named(self, now: float) -> dict[str, JobStatus] | None:
        found = self.queue(now)
        if found is None:
            return None
        return {j: s._replace(name=j.partition("/")[0]) for j, s in found.items()}


@given(st.integers(0, 1 << 32))
@settings(max_examples=examples(5))
def test_no_fault_of_the_system_makes_a_job_be_submitted_twice(seed: int) -> None:
    world, tracker = Submitting(seed), Tracker(PACE)
    world.forgotten.clear()
    names = [f"job-{n}" for n in range(20)]
    due = {name: world.random.uniform(0, 600) for name in names}
    now, over = 0.0, set()

    while now < 3 * World.END_S and len(over) < len(names):
        for name in [n for n, at in due.items() if at <= now]:
            del due[name]
            job_id = world.submit(name, now)
            if job_id is None:
                tracker.seek(name, now)
            else:
                tracker.track(job_id, name, now)
        if tracker.due_at <= now:
            answer = world.named(now)
            if answer is None:
                tracker.failed(now)
            else:
                tracker.answered(answer, now)
                tracker.accounted(world.accounts(tracker.to_account(now, 50), now))
            for name, found in tracker.found().items():
                del tracker.sought[name]
                tracker.track(found.id, name, now)
            for name in tracker.not_found(now):
                del tracker.sought[name]
                due[name] = now
        for job in list(tracker.jobs.values()):
            if job.id in tracker.gone(now) or (job.status and job.status.phase is Phase.ENDED):
                assert world.truth(job.id, now) is Phase.ENDED
                over.add(job.name)
                tracker.drop(job.id)
        now += 5.0

    assert over == set(names), "an end was never found out"
    assert {len(ids) for ids in world.of_name.values()} == {1}, "submitted twice"


def test_nothing_is_asked_when_there_is_nothing_to_ask_for() -> None:
    tracker = Tracker(PACE)
    tracker.track("1", "", 0.0)
    tracker.drop("1")

    assert tracker.due_at == float("inf")


def test_a_failed_answer_makes_all_unknown_and_none_gone() -> None:
    tracker = Tracker(PACE)
    tracker.track("1", "", 0.0)
    tracker.answered({"1": status("1")}, 0.0)

    for now in range(0, 4000, 10):
        tracker.failed(float(now))

    assert tracker.gone(4000.0) == []
    assert tracker.unknown_since == 0.0
    tracker.answered({"1": status("1")}, 4000.0)
    assert tracker.unknown_since is None


def test_a_job_that_is_missing_for_long_and_often_is_gone() -> None:
    tracker = Tracker(PACE)
    tracker.track("1", "", 0.0)
    tracker.track("2", "", 0.0)
    tracker.answered({"1": status("1"), "2": status("2")}, 0.0)

    gone = {}
    for now in range(10, 1000, 10):
        tracker.answered({"2": status("2")}, float(now))
        gone[now] = tracker.gone(float(now))

    assert gone[PACE.confirm_s] == [] and gone[PACE.confirm_s + 10] == ["1"]


def test_a_cancelled_job_is_gone_as_soon_as_it_was_missing_twice() -> None:
    tracker = Tracker(PACE)
    tracker.track("1", "", 0.0)
    tracker.jobs["1"].is_cancelled = True

    tracker.answered({}, 1.0)
    before = tracker.gone(1.0)
    tracker.answered({}, 3.0)

    assert (before, tracker.gone(3.0)) == ([], ["1"])


def test_a_job_that_was_taken_out_of_an_array_that_waits_was_cancelled() -> None:
    first, second = (status(f"7_{i}", Phase.PENDING, "array") for i in range(2))
    tracker = Tracker(PACE)
    for one in (first, second):
        tracker.track(one.id, one.name, 0.0)
    tracker.answered({"7_0": first, "7_1": second}, 0.0)

    # Whether an array that executes, or another one, lacks it says nothing yet.
    executing, other = status("7_1", name="array"), status("8_1", Phase.PENDING, "other")
    told = [
        tracker.answered({"7_1": executing, "8_1": other}, float(now)) for now in range(9, 19)
    ]
    told = [[one for one in news if one.id == "7_0"] for news in told]
    for now in range(20, 20 + PACE.n_confirm):
        news = tracker.answered({"7_1": second}, float(now))
        told.append([one for one in news if one.id == "7_0"])

    assert not any(told[:-1])
    assert [(one.id, one.phase, one.is_cancelled) for one in told[-1]] == [
        ("7_0", Phase.ENDED, True)
    ]


def test_a_job_of_another_name_has_only_the_same_number() -> None:
    tracker = Tracker(PACE)
    tracker.track("1", "mine", 0.0)

    news = tracker.answered({"1": status("1", Phase.ENDED, "yours")}, 1.0)

    assert news == []
    assert tracker.jobs["1"].missing_since == 1.0


def test_an_old_answer_does_not_undo_an_end() -> None:
    tracker = Tracker(PACE)
    tracker.track("1", "", 0.0)
    tracker.answered({"1": status("1", Phase.ENDED)}, 1.0)

    assert tracker.answered({"1": status("1")}, 2.0) == []
    found = tracker.jobs["1"].status
    assert found is not None and found.phase is Phase.ENDED


def test_a_job_is_found_by_its_name() -> None:
    tracker = Tracker(PACE)
    tracker.seek("mine", 0.0)
    tracker.seek("none", 0.0)
    for now in range(0, 1000, 100):
        tracker.answered({"9": status("9", name="mine")}, float(now))

    assert {name: one.id for name, one in tracker.found().items()} == {"mine": "9"}
    assert tracker.not_found(900.0) == ["none"]
    assert tracker.not_found(200.0) == []
