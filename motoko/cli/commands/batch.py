"""``motoko batch``"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from motoko.cli import exit_codes, interrupts, output, words
from motoko.cli.failures import Stopped, say

if TYPE_CHECKING:
    from motoko.batch import BatchManifest, BatchRunRecord

_FRAME_S = 0.1
_MOST_SHOWN = 10


@click.command()
@click.argument("input_dir")
@click.argument("output_dir")
@click.option("--pattern", metavar="GLOB", required=True, help="Which files, as in '*.bvh'.")
@click.option(
    "--worker", "worker_name", metavar="MODULE:FUNCTION", required=True, help="What to call."
)
@click.option("--max-workers", default=1, show_default=True, help="Jobs at once.")
@click.option(
    "--executor",
    type=click.Choice(["processes", "motoko"]),
    default="processes",
    show_default=True,
    help="Processes of this command, or runs of a study.",
)
@click.option("--workflow", metavar="DIR", help="Where that study is; beside the manifest.")
@click.option("--force", is_flag=True, help="Do jobs again whose output is there.")
@click.option("--suffix", metavar="SUFFIX", help="Of outputs, as in .npz; that of the input.")
@click.option("--manifest", metavar="FILE", help="OUTPUT_DIR/manifest.json if not given.")
def command(
    input_dir: str,
    output_dir: str,
    pattern: str,
    worker_name: str,
    max_workers: int,
    executor: Literal["processes", "motoko"],
    workflow: str | None,
    force: bool,
    suffix: str | None,
    manifest: str | None,
) -> int:
    """Work through the files of a directory with a function, each once.

    The function gets a job (`job.motion` is the input, `job.output` the output that it leaves)
    and may return a mapping that is kept in the manifest. Modules are also looked for in the
    current directory. An output has the path of its input, below OUTPUT_DIR.

    With `--executor motoko` jobs are runs of a study, which is made beside the manifest when it
    is not there: its bd.yaml says on what generator they run, and may say with `max_concurrent`
    how many at once. They go on when the command is stopped, and the same command takes them
    over.

    Stopped or killed, the same command goes on: what has an output is skipped, with `--force`
    what the command had done again before. Jobs that failed are done again. Code 5 if any
    failed. Outputs that were made of other inputs are refused, unless `--force` is given.
    """
    from motoko.batch import BatchRunner, find_jobs, load_worker
    from motoko.batch.books import beside
    from motoko.batch.inputs import MANIFEST

    if suffix is not None and not (suffix.startswith(".") and len(suffix) > 1):
        raise click.UsageError(f"--suffix {suffix!r}: expected one with its dot, as in .npz")
    manifest_file = Path(manifest or Path(output_dir, MANIFEST))
    jobs = find_jobs(input_dir, output_dir, pattern, suffix, manifest_path=manifest_file)
    sys.path.insert(0, str(Path.cwd()))
    worker = load_worker(worker_name)
    begun = time.monotonic()
    n_recorded = count()
    place = None if executor == "processes" else Path(workflow or beside(manifest_file))
    with (
        interrupts.raising(),
        _stops_told(n_recorded, len(jobs), place),
        _progress(len(jobs)) as show,
    ):
        done = BatchRunner.run(
            jobs,
            worker,
            manifest_path=manifest_file,
            max_workers=max_workers,
            force=force,
            input_dir=Path(input_dir),
            output_dir=Path(output_dir),
            pattern=pattern,
            executor=executor,
            workflow_dir=workflow,
            on_record=lambda record: (next(n_recorded), show(record)),
        )
    _report(done, time.monotonic() - begun)
    return exit_codes.RUNS_FAILED if done.failed_count else exit_codes.DONE


@contextmanager
def _stops_told(n_recorded: Iterator[int], total: int, place: Path | None) -> Iterator[None]:
    """``place`` is of the workflow whose runs the jobs are, if they are runs."""
    try:
        yield
    except Stopped:
        n_done = next(n_recorded)
        say(f"stopped after {n_done} of {total} jobs; the same command goes on")
        if place is not None and place.is_dir():
            from motoko.cli.orchestration import still_running
            from motoko.cli.places import load_to_look

            interrupts.be_deaf()
            click.echo(still_running(load_to_look(str(place)), 0), err=True)
        raise


def _report(done: BatchManifest, took_s: float) -> None:
    from motoko.batch.doing import MADE_OF

    counts = {
        "done": done.success_count,
        "skipped": done.skipped_count,
        "failed": done.failed_count,
    }
    shown = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    click.echo(f"{words.counted(done.total, 'job')}: {shown} ({words.duration(took_s)})")
    others = [r for r in done.records if r.status == "skipped" and MADE_OF in r.provenance]
    if others:
        example = f"{others[0].output} of {others[0].provenance[MADE_OF]}"
        outputs = words.counted(len(others), "output")
        say(f"{outputs} of other inputs, which are gone ({example}): --force makes them again")
    failed = [record for record in done.records if record.status == "failed"]
    for record in failed[:_MOST_SHOWN]:
        say(f"{record.job_id}: {record.error_type}: {record.message}")
    if len(failed) > _MOST_SHOWN:
        say(f"and {len(failed) - _MOST_SHOWN} more")
    if failed:
        say("their tracebacks are in the manifest")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[BatchRunRecord], object]]:
    """What is to be called with each record: a bar for people, nothing for others."""
    if not output.is_for_people():
        yield lambda record: None
        return
    from rich import progress

    columns = (
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[failed]}", style="bold red"),
        progress.TimeRemainingColumn(),
    )
    drawn_at, n_failed = 0.0, 0
    # It has no thread of its own: processes are forked meanwhile.
    with progress.Progress(*columns, auto_refresh=False) as bar:
        task = bar.add_task("", total=total, failed="")

        def advance(record: BatchRunRecord) -> None:
            nonlocal drawn_at, n_failed
            n_failed += record.status == "failed"
            bar.update(task, advance=1, failed=f"{n_failed} failed" if n_failed else "")
            if time.monotonic() >= drawn_at + _FRAME_S:
                bar.refresh()
                drawn_at = time.monotonic()

        yield advance
        bar.refresh()
