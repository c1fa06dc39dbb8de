"""Batches in real processes: what is done, skipped, failed, and written down."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from motoko import crashpoints, host
from motoko.batch import BatchJob, BatchManifest, BatchRunner, BatchRunRecord, RunStatus
from motoko.batch import books as books_module
from motoko.durable import locked
from motoko.errors import BatchMistake, BatchRunning, BatchUnreadable
from motoko.other_crashpoints import OTHER_POINTS
from tests.support.batch_workers import copy, fail, jobs_in, run
from tests.support.command_line import ROOT
from tests.support.waiting import wait_until

WORKERS = pytest.mark.parametrize("max_workers", [1, 3])
POINTS = [name for name in OTHER_POINTS if name.startswith("batch.")]


def named(place: Path, *names: str) -> list[BatchJob]:
    """Jobs for `fail`."""
    return [
        BatchJob(id=name, name=name, motion=place / name, output=place / f"{name}.out")
        for name in names
    ]


def give_up(job: BatchJob) -> None:
    """Fail without having touched anything."""
    raise ValueError


def in_a_process(work: Callable[[], object], point: str, file: Path) -> int:
    """Do something in a process of its own that dies at a point; how it ended."""
    pid = os.fork()
    if pid == 0:
        try:
            crashpoints._chosen = {point: crashpoints._Chosen(3, str(file))}
            work()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_run_has_the_printed_parameters() -> None:
    parameters = inspect.signature(BatchRunner().run).parameters.values()

    printed = [(p.name, p.default, p.kind is p.KEYWORD_ONLY) for p in parameters]
    empty = inspect.Parameter.empty
    assert printed[:8] == [
        ("jobs", empty, False),
        ("worker", empty, False),
        ("manifest_path", empty, True),
        ("max_workers", 1, True),
        ("force", False, True),
        ("input_dir", None, True),
        ("output_dir", None, True),
        ("pattern", "", True),
    ]
    assert all(is_keyword for _, _, is_keyword in printed[8:])


@WORKERS
def test_each_job_is_done_and_recorded_in_the_order_of_submission(
    tmp_path: Path, max_workers: int
) -> None:
    jobs = jobs_in(tmp_path, 20)[::-1]
    for job in jobs:
        job.motion.write_text("a" * 3)

    made = BatchRunner().run(
        iter(jobs),
        copy,
        manifest_path=tmp_path / "m" / "manifest.json",
        max_workers=max_workers,
        input_dir=tmp_path,
        output_dir=tmp_path / "out",
        pattern="*.in",
    )

    assert [record.job_id for record in made.records] == [job.id for job in jobs]
    assert {record.status for record in made.records} == {RunStatus.SUCCESS}
    assert made.records[0].provenance == {"n": 3}
    assert (made.total, made.success_count) == (20, 20)
    assert (made.input_dir, made.output_dir, made.pattern) == (
        tmp_path,
        tmp_path / "out",
        "*.in",
    )
    assert all(job.output.read_text() == "AAA" for job in jobs)
    assert BatchManifest.load(tmp_path / "m" / "manifest.json") == made
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["manifest.json"]
    assert all(r.started_at <= r.finished_at <= made.updated_at for r in made.records)


def test_manifest_is_rewritten_after_each_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long a rewriting takes.
    clock = SimpleNamespace(monotonic=itertools.count(step=0.07).__next__)
    monkeypatch.setattr(books_module, "time", clock)
    file = tmp_path / "manifest.json"
    seen = []

    def look(job: BatchJob) -> None:
        seen.append(len(BatchManifest.load(file).records) if file.exists() else 0)
        job.output.touch()

    BatchRunner.run(jobs_in(tmp_path, 5), look, manifest_path=file)

    assert seen == [0, 1, 2, 3, 4]


@WORKERS
def test_existing_output_is_skipped_unless_force(tmp_path: Path, max_workers: int) -> None:
    jobs = named(tmp_path, "old", "new")
    jobs[0].output.write_text("kept")

    def go(*, force: bool) -> BatchManifest:
        file = tmp_path / "manifest.json"
        return BatchRunner.run(
            jobs, fail, manifest_path=file, max_workers=max_workers, force=force
        )

    first, kept = go(force=False), jobs[0].output.read_text()
    second = go(force=False)
    third = go(force=True)

    assert [r.status for r in first.records] == ["skipped", "success"]
    assert (first.skipped_count, kept) == (1, "kept")
    assert [r.status for r in second.records] == ["skipped", "skipped"]
    assert [r.status for r in third.records] == ["success", "success"]
    assert jobs[0].output.read_text() == "whole"
    assert second.created_at == first.created_at == third.created_at
    assert first.updated_at < second.updated_at < third.updated_at


def test_skipped_record_keeps_what_the_worker_had_returned(tmp_path: Path) -> None:
    [job] = jobs_in(tmp_path, 1)
    job.motion.write_text("abc")

    def go() -> BatchRunRecord:
        file = tmp_path / "manifest.json"
        return BatchRunner.run([job], copy, manifest_path=file).records[0]

    first, _, third = go(), go(), go()

    assert third.provenance == {
        "n": 3,
        "resumed": True,
        "previous_status": "success",
        "previous_finished_at": first.finished_at.isoformat(),
    }


def test_failing_worker_is_recorded_with_its_traceback(tmp_path: Path) -> None:
    for max_workers in (1, 2):
        made = BatchRunner.run(
            named(tmp_path, "raises", "sys.exit", "good"),
            fail,
            manifest_path=tmp_path / "manifest.json",
            max_workers=max_workers,
            force=True,
        )

        raised, gone, good = made.records
        assert (raised.status, raised.error_type, raised.message) == (
            "failed",
            "ValueError",
            "no raises",
        )
        assert "batch_workers.py" in raised.provenance["traceback"]
        assert raised.provenance["traceback"].endswith("ValueError: no raises\n")
        assert (gone.error_type, gone.message) == ("SystemExit", "gone")
        assert good.status == "success"
        assert (made.failed_count, made.success_count) == (2, 1)


@WORKERS
def test_success_without_output_is_a_failure(tmp_path: Path, max_workers: int) -> None:
    made = BatchRunner.run(
        named(tmp_path, "silent"),
        fail,
        manifest_path=tmp_path / "manifest.json",
        max_workers=max_workers,
    )

    [record] = made.records
    assert (record.status, record.error_type) == ("failed", "FileNotFoundError")
    assert "the worker has left no output" in record.message


@pytest.mark.parametrize("returned", [3, {"a": object()}])
def test_what_cannot_be_written_down_is_a_failure(tmp_path: Path, returned: Any) -> None:
    def odd(job: BatchJob) -> Any:
        job.output.touch()
        return returned

    [record] = BatchRunner.run(
        jobs_in(tmp_path, 1), odd, manifest_path=tmp_path / "manifest.json"
    ).records

    assert record.status == "failed"
    assert "returned" in record.message


def test_dying_process_costs_its_own_job_only(tmp_path: Path) -> None:
    jobs = named(tmp_path, *(f"good{i}" for i in range(10)), "killed", "exit", "good")

    made = BatchRunner.run(jobs, fail, manifest_path=tmp_path / "manifest.json", max_workers=2)

    bad = {r.job_id: (r.error_type, r.message) for r in made.records if r.status == "failed"}
    assert bad == {
        "killed": ("WorkerDied", "the process of the worker ended: killed by SIGKILL"),
        "exit": ("WorkerDied", "the process of the worker ended: exit code 3"),
    }
    assert made.success_count == 11


def leave_behind(job: BatchJob) -> None:
    """Start a process that goes on, and have the job's own end, or that of the batch."""
    if job.id != "j1":
        job.output.touch()
        return
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        signal.pause()
    job.motion.write_text(str(pid))
    os.kill(os.getppid() if job.name == "batch" else os.getpid(), signal.SIGKILL)
    signal.pause()


def wait_for_end(job: BatchJob) -> None:
    """Wait until what `leave_behind` has left is gone."""
    pid = int(job.motion.read_text())
    wait_until(lambda: not host.is_alive(pid), "its end", 10)


def test_what_a_dying_process_has_forked_ends_with_it(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, 3)

    made = BatchRunner.run(
        jobs, leave_behind, manifest_path=tmp_path / "manifest.json", max_workers=2
    )

    wait_for_end(jobs[1])
    assert [r.status for r in made.records] == ["success", "failed", "success"]
    assert made.records[1].message.endswith("killed by SIGKILL")


def test_what_a_killed_batch_has_forked_ends_before_it_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    jobs = [job.model_copy(update={"name": "batch"}) for job in jobs_in(tmp_path, 3)]
    pid = os.fork()
    if pid == 0:
        BatchRunner.run(jobs, leave_behind, manifest_path=file, max_workers=2)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    again = run(tmp_path, 3, 2)

    wait_for_end(jobs[1])
    assert ended == -signal.SIGKILL
    assert again.success_count + again.skipped_count == 3


@WORKERS
def test_worker_may_go_to_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_workers: int
) -> None:
    monkeypatch.chdir(tmp_path)

    def go(job: BatchJob) -> None:
        text = job.motion.read_text()
        monkeypatch.chdir("/")
        job.output.write_text(text)

    for name in "abcd":
        Path(name).write_text(name)
    jobs = [BatchJob(id=n, motion=Path(n), output=Path("out", n)) for n in "abcd"]

    made = BatchRunner.run(jobs, go, manifest_path="m.json", max_workers=max_workers)

    assert [(r.message, r.status) for r in made.records] == [("", "success")] * 4
    assert [r.output for r in made.records] == [job.output for job in jobs]
    assert [(tmp_path / "out" / n).read_text() for n in "abcd"] == list("abcd")
    assert BatchManifest.load(tmp_path / "m.json") == made


@WORKERS
def test_worker_whose_task_was_cancelled_has_failed(tmp_path: Path, max_workers: int) -> None:
    def cancelled(job: BatchJob) -> None:
        async def work() -> None:
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task

        if job.id == "j0":
            asyncio.run(work())
        job.output.touch()

    made = BatchRunner.run(
        jobs_in(tmp_path, 2),
        cancelled,
        manifest_path=tmp_path / "m.json",
        max_workers=max_workers,
    )

    assert [r.error_type for r in made.records] == ["CancelledError", None]
    assert "await task" in made.records[0].provenance["traceback"]


def test_what_a_failed_job_has_left_is_set_aside_and_done_again(tmp_path: Path) -> None:
    [job] = named(tmp_path, "raises")
    file = tmp_path / "manifest.json"

    BatchRunner.run([job], fail, manifest_path=file)
    half = job.output.with_name("raises.out.partial").read_text()
    was_there = job.output.exists()
    job.name = "good"
    again = BatchRunner.run([job], fail, manifest_path=file)

    assert (half, was_there) == ("half", False)
    assert again.records[0].status == "success"
    assert job.output.read_text() == "whole"


def test_output_that_a_failing_job_did_not_touch_stays(tmp_path: Path) -> None:
    [job] = named(tmp_path, "x")
    job.output.write_text("good")

    made = BatchRunner.run([job], give_up, manifest_path=tmp_path / "manifest.json", force=True)

    assert made.failed_count == 1
    assert job.output.read_text() == "good"


def test_output_that_is_older_than_a_failure_is_made_again(tmp_path: Path) -> None:
    [job] = named(tmp_path, "a")
    file = tmp_path / "manifest.json"
    job.output.write_text("of an earlier worker")
    failed = BatchRunner.run([job], give_up, manifest_path=file, force=True)

    again = BatchRunner.run([job], fail, manifest_path=file)

    assert [failed.failed_count, again.records[0].status] == [1, RunStatus.SUCCESS]
    assert job.output.read_text() == "whole"


def test_a_call_with_fewer_jobs_forgets_no_failure(tmp_path: Path) -> None:
    jobs = named(tmp_path, "a", "b")
    file = tmp_path / "manifest.json"
    for job in jobs:
        job.output.write_text("of an earlier worker")
    BatchRunner.run(jobs, give_up, manifest_path=file, force=True)
    BatchRunner.run(jobs[:1], fail, manifest_path=file)

    again = BatchRunner.run(jobs, fail, manifest_path=file)

    assert [r.status for r in again.records] == [RunStatus.SKIPPED, RunStatus.SUCCESS]


def has_ticked(place: Path, since: float) -> bool:
    """Whether files get later times: of a clock that stands still for some milliseconds."""
    probe = place / "probe"
    probe.touch()
    return probe.stat().st_ctime > since


@pytest.mark.parametrize("age_s", [-10, 1000])
def test_output_that_came_after_a_failure_is_there(tmp_path: Path, age_s: float) -> None:
    [job] = named(tmp_path, "a")
    file = tmp_path / "manifest.json"
    [failed] = BatchRunner.run([job], give_up, manifest_path=file).records
    by_hand = tmp_path / "by hand"
    by_hand.write_text("made by hand")
    made = time.time() - age_s
    os.utime(by_hand, (made, made))
    wait_until(lambda: has_ticked(tmp_path, failed.finished_at.timestamp()), "a tick", 10)
    by_hand.rename(job.output)

    [record] = BatchRunner.run([job], fail, manifest_path=file).records

    assert record.status is RunStatus.SKIPPED
    assert job.output.read_text() == "made by hand"


def test_mistakes_are_value_errors_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    one, two = named(tmp_path, "a", "b")
    twin = two.model_copy(update={"output": one.output})

    for jobs, max_workers, said in (
        ([one], 0, "max_workers is 0"),
        ([one, one], 1, "two jobs have the id 'a'"),
        ([one, twin], 1, "jobs 'a' and 'b' have one output"),
    ):
        with pytest.raises(ValueError, match=said) as caught:
            BatchRunner.run(jobs, fail, manifest_path=file, max_workers=max_workers)
        assert isinstance(caught.value, BatchMistake)

    assert list(tmp_path.iterdir()) == []


def test_file_that_is_no_manifest_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    file.write_text("mine")

    with pytest.raises(BatchUnreadable):
        BatchRunner.run(named(tmp_path, "a"), fail, manifest_path=file)

    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def test_two_processes_do_not_work_on_one_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books_module, "_PATIENCE_S", 0.0)

    with locked(tmp_path / ".manifest.json.journal", 0), pytest.raises(BatchRunning):
        BatchRunner.run(named(tmp_path, "a"), fail, manifest_path=tmp_path / "manifest.json")


def test_on_record_hears_of_every_job(tmp_path: Path) -> None:
    jobs = named(tmp_path, "a", "raises")
    jobs[0].output.touch()
    heard: list[BatchRunRecord] = []

    made = BatchRunner.run(
        jobs, fail, manifest_path=tmp_path / "manifest.json", on_record=heard.append
    )

    assert heard == list(made.records)


def test_interruption_leaves_a_manifest_of_what_was_done(tmp_path: Path) -> None:
    def interrupt(job: BatchJob) -> None:
        job.output.write_text("half" if job.id == "j2" else "whole")
        if job.id == "j2":
            raise KeyboardInterrupt

    file = tmp_path / "manifest.json"
    with pytest.raises(KeyboardInterrupt):
        BatchRunner.run(jobs_in(tmp_path, 4), interrupt, manifest_path=file)
    stopped = BatchManifest.load(file)
    resumed = run(tmp_path, 4, 1)

    assert [r.job_id for r in stopped.records] == ["j0", "j1"]
    assert [r.status for r in resumed.records] == ["skipped", "skipped", "success", "success"]
    assert (tmp_path / "out" / "2.out").read_text() == "once\n"


@WORKERS
@pytest.mark.parametrize("point", POINTS)
def test_batch_killed_at_each_point_is_resumed(
    tmp_path: Path, point: str, max_workers: int
) -> None:
    file = tmp_path / "manifest.json"

    code = in_a_process(lambda: run(tmp_path, 12, max_workers), point, tmp_path / "died")
    is_reached = code == -signal.SIGKILL
    if is_reached and file.exists():
        BatchManifest.load(file)
    made = run(tmp_path, 12, max_workers)

    assert is_reached == (point != "batch.ended")  # which is reached only once
    assert {job.output.read_text() for job in jobs_in(tmp_path, 12)} == {"once\n"}
    assert (made.total, made.success_count + made.skipped_count) == (12, 12)
    told = (tmp_path / "told").read_text().split()
    assert len(told) - len(set(told)) <= max_workers
    assert not (tmp_path / ".manifest.json.journal").exists()


def test_record_that_only_the_journal_has_is_not_lost(tmp_path: Path) -> None:
    [job] = named(tmp_path, "raises")
    file = tmp_path / "manifest.json"
    failed = BatchRunner.run([job], fail, manifest_path=file).records[0]
    file.unlink()
    journal = tmp_path / ".manifest.json.journal"
    journal.write_text(f'{failed.model_dump_json()}\n{{"job_id": "torn')

    def look(job: BatchJob) -> None:
        assert BatchManifest.load(file).records[0] == failed
        job.output.touch()

    assert BatchRunner.run([job], look, manifest_path=file).success_count == 1


def test_workers_of_a_batch_that_is_killed_do_not_outlive_it(tmp_path: Path) -> None:
    program = r"""
import os, sys, time
from pathlib import Path
from motoko.batch import BatchJob, BatchRunner
place = Path(sys.argv[1])
def stay(job):
    os.write(1, f"{os.getpid()}\n".encode())
    time.sleep(60)
jobs = [BatchJob(id=str(i), motion=place, output=place / str(i)) for i in range(2)]
BatchRunner.run(jobs, stay, manifest_path=place / "manifest.json", max_workers=2)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        pids = [int(process.stdout.readline()) for _ in range(2)]
        process.kill()
        rest = process.stdout.read()  # ends when nobody has it open any more

    assert len(set(pids)) == 2
    assert rest == ""


def test_worker_may_start_processes_of_its_own(tmp_path: Path) -> None:
    def start(job: BatchJob) -> None:
        from multiprocessing import get_context

        process = get_context("fork").Process(target=job.output.touch)
        process.start()
        process.join()

    made = BatchRunner.run(
        jobs_in(tmp_path, 2), start, manifest_path=tmp_path / "m.json", max_workers=2
    )

    assert made.success_count == 2
