"""What a machine does to processes that run for weeks: no loss, no false verdict."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, new_workflow
from tests.support.waiting import wait_until

HELD = "while [ ! -e ../../../go ]; do sleep 0.02; done\npython3 doIt.py\n"

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        (line.directory / "sample" / "launch.sh").write_text(HELD)
        yield line


def test_a_launcher_without_free_descriptors_says_so_and_recovers(here: CommandLine) -> None:
    here.run("launcher", "start")
    pid = here.pid("launcher")
    assert pid is not None
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    n_open = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (n_open, most))

    here.run("orchestrator", "start", "-n", "first", "-d", "--n_samples", "2")
    troubles: list[object] = []

    def has_told() -> bool:
        troubles.extend((here.json("info")["launcher"] or {}).get("troubles", []))
        return bool(troubles)

    wait_until(has_told, "a trouble")
    counts = here.counts("sample")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
    (here.directory / "go").touch()
    wait_until(lambda: here.counts("sample") == {"FINISHED": 2}, "the runs")

    assert "open files" in str(troubles)
    assert "FAILED" not in counts
    assert here.pid("launcher") == pid


def test_a_database_removed_under_its_processes_is_said_and_ends_them(
    here: CommandLine,
) -> None:
    with here.started("run", "-n", "first", "--n_samples", "2") as running:
        here.wait_for_script("sample")
        shutil.rmtree(here.directory / "sample" / ".bd")
        _, said = running.communicate(timeout=60)

    assert running.returncode not in (0, None)
    assert "removed" in said
    assert "Traceback" not in said
