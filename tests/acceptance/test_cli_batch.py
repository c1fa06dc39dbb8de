"""``motoko batch`` as people use it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from docs.generator.live_view import output_in_terminal
from motoko.batch import BatchManifest
from tests.support.command_line import ROOT, CommandLine
from tests.support.processes import processes_of, wait_for
from tests.support.waiting import wait_until

WORKER = """
import os, signal
def convert(job):
    text = job.motion.read_text()
    if text == "stay":
        job.output.write_text("half")
        signal.pause()
    if text == "wait":
        job.output.write_text("half")
        open("gate").read()
    if text == "die":
        os._exit(7)
    if text == "bad":
        raise ValueError("bad motion")
    job.output.write_text(text.upper())
    return {"n": len(text)}
"""


@pytest.fixture
def here(tmp_path: Path) -> CommandLine:
    """A directory with three inputs and a module with a worker."""
    line = CommandLine(tmp_path / "here")
    (line.directory / "tools.py").write_text(WORKER)
    (line.directory / "in" / "deep").mkdir(parents=True)
    for name in ("a.bvh", "b.bvh", "deep/c.bvh", "d.txt"):
        (line.directory / "in" / name).write_text(name)
    return line


BATCH = ("batch", "in", "out", "--pattern", "*.bvh", "--worker", "tools:convert")


def manifest(here: CommandLine) -> BatchManifest:
    return BatchManifest.load(here.directory / "out" / "manifest.json")


@pytest.mark.slow
def test_batch_does_the_files_that_match_and_skips_them_later(here: CommandLine) -> None:
    first = here.run(*BATCH)
    second = here.run(*BATCH)
    forced = here.run(*BATCH, "--force", "--max-workers", "2")

    assert first.stdout.startswith("2 jobs: 2 done (")
    assert second.stdout.startswith("2 jobs: 2 skipped (")
    assert forced.stdout.startswith("2 jobs: 2 done (")
    assert sorted(p.name for p in (here.directory / "out").iterdir()) == [
        "a.bvh",
        "b.bvh",
        "manifest.json",
    ]
    found = manifest(here)
    assert (found.input_dir, found.output_dir, found.pattern) == (
        Path("in"),
        Path("out"),
        "*.bvh",
    )
    assert [(r.job_id, r.provenance) for r in found.records] == [
        ("a.bvh", {"n": 5}),
        ("b.bvh", {"n": 5}),
    ]


def test_pattern_may_go_deeper_and_outputs_may_have_another_suffix(here: CommandLine) -> None:
    here.run("batch", "in", "out", "--pattern", "**/*.bvh", "--worker", "tools:convert",
             "--suffix", ".npz", "--manifest", "m.json")  # fmt: skip

    assert (here.directory / "out" / "deep" / "c.npz").read_text() == "DEEP/C.BVH"
    assert (here.directory / "m.json").exists()


def test_failed_jobs_are_named_and_the_code_is_five(here: CommandLine) -> None:
    (here.directory / "in" / "a.bvh").write_text("bad")
    (here.directory / "in" / "b.bvh").write_text("die")

    done = here.run(*BATCH, "--max-workers", "2", code=5)

    assert done.stdout.startswith("2 jobs: 2 failed (")
    assert "motoko: a.bvh: ValueError: bad motion\n" in done.stderr
    assert "motoko: b.bvh: WorkerDied: the process of the worker ended: exit code 7" in (
        done.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--worker", "tools"), "expected module:function"),
        (("--worker", "tols:convert"), "No module named 'tols'"),
        (("--worker", "tools:convrt"), "it has no 'convrt'; did you mean 'convert'?"),
        (("--pattern", "*.npz"), "in: no file matches '*.npz'"),
        (("--pattern", "/x"), "pattern '/x'"),
        (("--max-workers", "0"), "max_workers is 0, expected 1 or more"),
    ],
)
def test_mistake_is_said_before_anything_is_done(
    here: CommandLine, arguments: tuple[str, ...], said: str
) -> None:
    done = here.run(*BATCH, *arguments, code=3)

    assert said in done.stderr
    assert not (here.directory / "out").exists()


def test_output_is_never_its_own_input(here: CommandLine) -> None:
    done = here.run("batch", "in", "in", *BATCH[3:], code=3)

    assert "the output would be the input" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("max_workers", ["1", "2"])
def test_batch_that_was_stopped_goes_on(here: CommandLine, max_workers: str) -> None:
    stay = here.directory / "in" / "b.bvh"
    stay.write_text("stay")
    half = here.directory / "out" / "b.bvh"
    with here.started(*BATCH, "--max-workers", max_workers) as process:
        wait_until(lambda: half.exists() and manifest_has_a(here), "the second job")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
        assert process.returncode == 130
    assert said == "motoko: stopped after 1 of 2 jobs; the same command goes on\n"
    stay.write_text("gone on")

    again = here.run(*BATCH, "--max-workers", max_workers)

    assert again.stdout.startswith("2 jobs: 1 done, 1 skipped (")
    assert half.read_text() == "GONE ON"


def manifest_has_a(here: CommandLine) -> bool:
    file = here.directory / "out" / "manifest.json"
    return file.exists() and "a.bvh" in manifest(here).records_by_id()


@pytest.mark.slow
def test_batch_of_runs_that_was_stopped_says_what_goes_on_and_ends_it_later(
    here: CommandLine,
) -> None:
    (here.directory / "in" / "b.bvh").write_text("wait")
    gate = here.directory / "gate"
    os.mkfifo(gate)
    runs = (*BATCH, "--executor", "motoko", "--max-workers", "2")
    half = here.directory / "out" / "b.bvh"
    with here.started(*runs) as process:
        wait_until(lambda: half.exists() and manifest_has_a(here), "a job that waits")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
        assert process.returncode == 130
    gate.write_text("on")  # as soon as the run reads it

    again = here.run(*runs)

    assert "stopped after 1 of 2 jobs; the same command goes on\nstill running: 1 run, " in said
    assert f"stop all  motoko kill --reset {here.directory}/out/manifest.motoko" in said
    assert again.stdout.startswith("2 jobs: 2 done (")
    wait_for(lambda: not processes_of(here.directory), 20)


def test_outputs_of_other_inputs_are_refused_or_named(here: CommandLine) -> None:
    here.run(*BATCH)
    (here.directory / "in" / "a.bvh").rename(here.directory / "away.bvh")
    (here.directory / "in2").mkdir()
    for name in ("a.bvh", "b.bvh"):
        (here.directory / "in2" / name).write_text("other")
    other = ("batch", "in2", *BATCH[2:])

    refused = here.run(*other, code=3)
    (here.directory / "in" / "b.bvh").unlink()
    skipped = here.run(*other)
    forced = here.run(*other, "--force")

    assert "out/b.bvh was made of" in refused.stderr
    assert "in/b.bvh, not of in2/b.bvh: have another directory for outputs" in refused.stderr
    assert (
        "motoko: 2 outputs of other inputs, which are gone (out/a.bvh of in/a.bvh): --force"
        in skipped.stderr
    )
    assert forced.stderr == ""


@pytest.mark.slow
def test_people_see_a_bar(here: CommandLine) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    command = [sys.executable, "-m", "motoko", *BATCH, "--max-workers", "2"]

    shown = output_in_terminal(command, here.directory, env)

    assert "2/2" in shown
    assert "━" in shown
    assert "2 jobs: 2 done (" in shown
