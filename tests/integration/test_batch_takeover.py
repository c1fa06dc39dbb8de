"""What a batch that was killed has left: its half-done outputs, its processes, its manifest."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from motoko import host
from motoko.batch import BatchJob, BatchManifest, BatchRunner, BatchRunRecord, leftovers
from motoko.batch.doing import BatchWorker
from motoko.errors import BatchRunning
from tests.support.command_line import ROOT
from tests.support.waiting import wait_until

WORKERS = pytest.mark.parametrize("max_workers", [1, 2])
#: It goes on until somebody ends it.
PROGRAM = 'echo $$ > "$1"; while :; do sleep 1; done'

#: In a current directory.
CALL = """
from pathlib import Path
from tests.integration.test_batch_takeover import go, whole

go(Path(), whole)
"""


def half(job: BatchJob) -> None:
    """Do the first job, and the half of any other."""
    if job.id == "j0":
        whole(job)
        return
    job.output.write_text("half")
    signal.pause()


def whole(job: BatchJob) -> None:
    """Do the job."""
    with open(job.output, "a") as output:
        output.write("whole")
    with open("told", "a") as told:
        told.write(f"{job.id}\n")


def start_program(job: BatchJob) -> None:
    """Have a program do it, which is never done."""
    subprocess.run(["sh", "-c", PROGRAM, "sh", job.output], check=True)


def go(
    place: Path, worker: BatchWorker, *, manifest: str = "out/manifest.json", **options: object
) -> BatchManifest:
    """Do three jobs in a directory, with paths as they are from there."""
    before = Path.cwd()
    os.chdir(place)
    try:
        jobs = [
            BatchJob(id=f"j{i}", motion=Path("in", f"{i}"), output=Path("out", f"{i}"))
            for i in range(3)
        ]
        given = {"output_dir": Path("out"), **options}
        return BatchRunner.run(jobs, worker, manifest_path=manifest, **given)  # type: ignore[arg-type]
    finally:
        os.chdir(before)


def start(
    place: Path, worker: BatchWorker, until: Callable[[], bool], **options: object
) -> int:
    """Have a process do the jobs until something is so; the process."""
    (place / "in").mkdir(parents=True, exist_ok=True)
    for i in range(3):
        (place / "in" / f"{i}").write_text(f"{i}")
    pid = os.fork()
    if pid == 0:
        os.setpgrp()
        try:
            go(place, worker, **options)  # type: ignore[arg-type]
        finally:
            os._exit(1)
    wait_until(until, "what the jobs do", 30)
    return pid


def kill(pid: int) -> None:
    """``kill -9`` it, and wait."""
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def killed_batch(place: Path, **options: object) -> None:
    """A batch that was killed when it had done one job, and begun another."""
    manifest = place / str(options.get("manifest", "out/manifest.json"))

    def is_half_done() -> bool:
        done = BatchManifest.load(manifest).records if manifest.exists() else ()
        begun = place / "out" / "1"
        return bool(done) and begun.exists() and begun.read_text() == "half"

    kill(start(place, half, is_half_done, **options))


def contents(place: Path) -> dict[str, str]:
    """What lies in a directory of outputs, but for the manifest."""
    files = sorted((place / "out").iterdir())
    return {file.name: file.read_text() for file in files if file.name != "manifest.json"}


WHOLE = {"0": "whole", "1": "whole", "2": "whole"}


@WORKERS
def test_half_done_outputs_of_a_batch_that_was_renamed_are_made_again(
    tmp_path: Path, max_workers: int
) -> None:
    killed_batch(tmp_path / "old", max_workers=max_workers)
    (tmp_path / "old").rename(tmp_path / "new")

    made = go(tmp_path / "new", whole)

    found = contents(tmp_path / "new")
    partial = {name: found.pop(name) for name in list(found) if name.endswith(".partial")}
    assert found == WHOLE
    assert set(partial.values()) == {"half"}
    assert [r.status for r in made.records] == ["skipped", "success", "success"]
    assert not (tmp_path / "old").exists()


def test_copy_of_a_killed_batch_makes_its_own_and_touches_nothing_of_the_original(
    tmp_path: Path,
) -> None:
    place, copied = tmp_path / "original", tmp_path / "copy"
    killed_batch(place)
    shutil.copytree(place, copied)
    go(place, whole)
    before = contents(place)

    made = go(copied, whole)

    assert contents(place) == before == {**WHOLE, "1.partial": "half"}
    assert contents(copied) == {**WHOLE, "1.partial": "half"}
    assert [r.status for r in made.records] == ["skipped", "success", "success"]


@pytest.mark.parametrize(("first", "second"), [("m.json", "out/manifest.json"), ("a", "b")])
def test_half_done_outputs_are_known_whatever_manifest_the_next_call_has(
    tmp_path: Path, first: str, second: str
) -> None:
    killed_batch(tmp_path, manifest=first)

    go(tmp_path, whole, manifest=second)

    assert contents(tmp_path) == {**WHOLE, "1.partial": "half"}


def test_half_done_outputs_of_a_call_without_output_dir_are_known_by_its_manifest(
    tmp_path: Path,
) -> None:
    killed_batch(tmp_path, output_dir=None, manifest="m.json")
    tmp_path.rename(moved := tmp_path.with_name("moved"))

    go(moved, whole, output_dir=None, manifest="m.json")

    assert contents(moved) == {**WHOLE, "1.partial": "half"}


@WORKERS
def test_programs_of_a_killed_batch_are_ended_before_its_jobs_are_begun_again(
    tmp_path: Path, max_workers: int
) -> None:
    pid_file = tmp_path / "out" / "0"
    batch = start(tmp_path, start_program, lambda: has_pid(pid_file), max_workers=max_workers)
    program = int(pid_file.read_text())
    kill(batch)
    assert host.is_alive(program)
    alive = []

    def look(job: BatchJob) -> None:
        alive.append(host.is_alive(program))
        whole(job)

    go(tmp_path, look)

    assert alive == [False] * 3
    assert (pid_file.read_text(), int((tmp_path / "out" / "0.partial").read_text())) == (
        "whole",
        program,
    )


def has_pid(file: Path) -> bool:
    """Whether a program has said who it is."""
    return file.exists() and file.read_text().endswith("\n")


def test_programs_of_an_original_are_not_ended_by_its_copy(tmp_path: Path) -> None:
    place, copied = tmp_path / "original", tmp_path / "copy"
    pid_file = place / "out" / "0"
    kill(start(place, start_program, lambda: has_pid(pid_file)))
    shutil.copytree(place, copied)

    go(copied, whole)

    program = int(pid_file.read_text())
    assert host.is_alive(program)
    assert contents(copied) == {**WHOLE, "0.partial": f"{program}\n"}
    go(place, whole)
    assert not host.is_alive(program)


@pytest.mark.slow
def test_call_that_a_program_of_a_killed_batch_makes_does_not_end_itself(
    tmp_path: Path,
) -> None:
    def start_call(job: BatchJob) -> None:
        words = shlex.join([sys.executable, "-c", CALL])
        command = f"echo $$ > pid; while [ ! -e gate ]; do sleep 0.1; done; {words}; exit"
        subprocess.run(["sh", "-c", command], env={**os.environ, "PYTHONPATH": str(ROOT)})

    kill(start(tmp_path, start_call, lambda: has_pid(tmp_path / "pid")))
    (tmp_path / "gate").touch()

    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not host.is_alive(pid), "its end", 60)
    assert contents(tmp_path) == WHOLE


def test_an_ancestor_that_ends_while_it_is_looked_at_is_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(file: Path) -> bytes:
        raise ProcessLookupError

    monkeypatch.setattr(Path, "read_bytes", gone)

    assert list(leftovers._ancestors()) == [os.getppid()]


@pytest.mark.parametrize("without", [(), ("os.pidfd_open",)])
def test_programs_end_with_a_worker_that_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]
) -> None:
    for name in without:  # a Python that was built for old systems lacks it
        monkeypatch.delattr(name, raising=False)

    def die(job: BatchJob) -> None:
        subprocess.Popen(["sh", "-c", PROGRAM, "sh", job.output])
        wait_until(lambda: has_pid(job.output), "the program", 30)
        os._exit(3)

    (tmp_path / "in").mkdir()
    made = go(tmp_path, die, max_workers=2)

    assert made.failed_count == 3
    for i in range(3):
        program = int((tmp_path / "out" / f"{i}.partial").read_text())
        wait_until(lambda pid=program: not host.is_alive(pid), "its end", 30)  # type: ignore[misc]


def test_programs_end_with_a_batch_that_is_stopped(tmp_path: Path) -> None:
    def work(job: BatchJob) -> None:
        if job.id == "j0":
            wait_until(lambda: has_pid(job.output.with_name("1")), "the program", 30)
            whole(job)
        else:
            start_program(job)

    def stop(record: BatchRunRecord) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, work, max_workers=2, on_record=stop)

    program = int((tmp_path / "out" / "1").read_text())
    wait_until(lambda: not host.is_alive(program), "its end", 30)


def test_batch_without_anything_to_do_writes_nothing_among_its_outputs(tmp_path: Path) -> None:
    go(tmp_path, whole, manifest="m.json")
    before = (tmp_path / "out").stat().st_mtime_ns

    go(tmp_path, whole, manifest="m.json")

    assert (tmp_path / "out").stat().st_mtime_ns == before


def test_batch_at_work_on_the_same_outputs_is_told_whatever_its_manifest(
    tmp_path: Path,
) -> None:
    batch = start(tmp_path, half, (tmp_path / "out" / "1").exists)

    with pytest.raises(BatchRunning):
        go(tmp_path, whole, manifest="other.json")

    assert (tmp_path / "out" / "1").read_text() == "half"
    assert not list(tmp_path.glob("*other.json*"))
    kill(batch)
    assert go(tmp_path, whole, manifest="other.json").total == 3


def test_interrupted_call_is_taken_up_in_the_same_process(tmp_path: Path) -> None:
    def interrupt(job: BatchJob) -> None:
        job.output.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, interrupt)
    go(tmp_path, whole)

    assert contents(tmp_path) == {**WHOLE, "0.partial": "half"}


def test_forced_batch_that_was_killed_goes_on_when_it_is_forced_again(tmp_path: Path) -> None:
    go(tmp_path, whole)
    killed_batch(tmp_path, force=True)
    (tmp_path / "told").write_text("")

    go(tmp_path, whole, force=True)
    after_kill = (tmp_path / "told").read_text().split()
    go(tmp_path, whole, force=True)

    assert after_kill == ["j1", "j2"]
    assert (tmp_path / "told").read_text().split() == ["j1", "j2", "j0", "j1", "j2"]


def test_nothing_is_left_of_a_batch_that_is_through(tmp_path: Path) -> None:
    names = set(os.environ)

    go(tmp_path, whole, max_workers=2)
    go(tmp_path, whole, force=True)

    assert {file.name for file in (tmp_path / "out").iterdir()} == {*WHOLE, "manifest.json"}
    assert set(os.environ) == names
