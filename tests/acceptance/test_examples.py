"""The examples, run as a user runs them."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import kill_processes_of, wait_for

pytestmark = pytest.mark.timeout(600)  # they compute, on machines that are busy too

EXAMPLES = Path(__file__).parents[2] / "examples"
LEFT_BY_RUNS = (
    ".bd",
    ".wf",
    "BD-*-runs",
    "motoko-backup-*",
    "result.txt",
    "*.png",
    "__pycache__",
)


def copied(name: str, parent: Path) -> Path:
    """A copy of an example without what its runs have left."""
    target = parent / name
    return shutil.copytree(
        EXAMPLES / name, target, ignore=shutil.ignore_patterns(*LEFT_BY_RUNS)
    )


@pytest.fixture
def quickstart(tmp_path):
    """A copy of the quickstart example."""
    yield copied("quickstart", tmp_path)
    kill_processes_of(tmp_path)


@pytest.fixture(scope="module")
def convergence(tmp_path_factory):
    """The convergence example after a run, and the result of that; only to be read."""
    directory = copied("convergence", tmp_path_factory.mktemp("read"))
    yield directory, created_and_run(directory)
    kill_processes_of(directory)


#: Job scripts say `python3`: this Python.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
ENVIRONMENT = {**os.environ, "PATH": PATH}


def motoko(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of Motoko's in a directory."""
    done = subprocess.run(
        [sys.executable, "-m", "motoko", *words],
        cwd=cwd,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
    )
    print(done.stdout, done.stderr, sep="\n")
    return done


def created_and_run(directory: Path, *options: str) -> str:
    """The result of a workflow from reset to its end."""
    assert motoko("create", "--validated", cwd=directory).returncode == 0
    return run(directory, *options)


def run(directory: Path, *options: str) -> str:
    """The result that `motoko run` leaves."""
    result = directory / "result.txt"
    result.unlink(missing_ok=True)
    assert motoko("run", *options, cwd=directory).returncode == 0
    return result.read_text()


def test_quickstart_finds_the_length_of_a_vector(quickstart):
    result = created_and_run(quickstart)

    assert result == "The length of (2, 3, 6) is 7.\n"


@pytest.mark.slow
def test_quickstart_gives_the_same_again_with_and_without_a_reset(quickstart):
    first = created_and_run(quickstart)

    again = run(quickstart)
    after_a_reset = created_and_run(quickstart)

    assert first == again == after_a_reset


@pytest.mark.slow
def test_option_of_the_orchestrator_is_an_option_of_the_command(quickstart):
    result = created_and_run(quickstart, "--components", "1", "4", "8")

    assert result == "The length of (1, 4, 8) is 9.\n"


@pytest.mark.slow
def test_equal_components_share_a_run_and_both_count(quickstart):
    result = created_and_run(quickstart, "--components", "2", "2", "1")

    assert result == "The length of (2, 2, 1) is 3.\n"
    assert len(list(quickstart.glob("square/BD-square-runs/run-*"))) == 2


@pytest.mark.slow
def test_result_is_that_of_the_components_of_now_whatever_its_run_name_has_computed(quickstart):
    created_and_run(quickstart, "--run_name", "one")
    changed = ("--run_name", "one", "--accept-changes", "--components")

    longer = run(quickstart, *changed, "1", "4", "8")
    shorter = run(quickstart, *changed, "4", "3")
    earlier = run(quickstart, *changed, "6", "3", "2")

    assert longer == "The length of (1, 4, 8) is 9.\n"
    assert shorter == "The length of (4, 3) is 5.\n"
    assert earlier == "The length of (6, 3, 2) is 7.\n"
    assert len(list(quickstart.glob("square/BD-square-runs/run-*"))) == 6


@pytest.mark.slow
def test_square_that_fails_ends_the_quickstart(quickstart):
    program = quickstart / "square/doIt.py"
    program.write_text(program.read_text().replace("job.x**2", "job.x / 0"))

    done = motoko("run", cwd=quickstart)

    assert done.returncode == 5
    assert "ZeroDivisionError" in done.stderr


def table(result: str) -> dict[float, tuple[int, float, float, float]]:
    """Grid size, error, order and temperature of the centre by width, from the result."""
    rows = [line.replace(" x ", " ").split() for line in result.splitlines()[1:]]
    return {
        float(width): (int(n), float(error), float(order), float(centre))
        for width, n, _, error, order, centre in rows
    }


@pytest.mark.slow
def test_convergence_study_is_of_second_order_and_exact_in_the_limit(convergence):
    _, result = convergence

    rows = table(result)

    assert rows.keys() == {1.0, 0.5, 0.25, 0.125}
    for _, error, order, centre in rows.values():
        assert error <= 4e-4
        assert abs(order - 2) <= 0.05
        assert abs(centre - 1) <= 1e-6


@pytest.mark.slow
def test_convergence_study_refines_only_where_the_error_asks_for_it(convergence):
    directory, result = convergence

    n_solved = len(list(directory.glob("solve/BD-solve-runs/run-*")))

    assert {width: row[0] for width, row in table(result).items()} == {
        1.0: 64,
        0.5: 128,
        0.25: 128,
        0.125: 256,
    }
    assert n_solved == 3 + 4 + 4 + 5
    assert len(list(directory.glob("mesh/BD-mesh-runs/run-*"))) == 5


@pytest.mark.slow
def test_solver_that_did_not_converge_was_tried_once_more(convergence):
    directory, _ = convergence

    earlier = list(directory.glob("solve/BD-solve-runs/run-*/attempt-*"))

    assert [attempt.name for attempt in earlier] == ["attempt-1"]
    errors = "".join(f.read_text() for f in earlier[0].rglob("*.e*"))
    assert "after 400 iterations" in errors


@pytest.mark.slow
def test_convergence_study_leaves_a_picture(convergence):
    directory, _ = convergence

    picture = (directory / "convergence.png").read_bytes()

    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


@pytest.mark.slow
def test_convergence_study_has_the_widths_and_the_tolerance_of_now(tmp_path):
    directory = copied("convergence", tmp_path)
    file = directory / "orchestrator.py"
    source = file.read_text()

    def table_for(widths: str, tolerance: str):
        text = source.replace("WIDTHS = (1.0, 0.5, 0.25, 0.125)", f"WIDTHS = ({widths})")
        file.write_text(text.replace("TOLERANCE = 4e-4", f"TOLERANCE = {tolerance}"))
        return table(run(directory, "--run_name", "one"))

    try:
        wide = table_for("1.0,", "4e-4")
        both_finer = table_for("1.0, 0.5", "3e-4")
        narrow = table_for("0.5,", "3e-4")
    finally:
        kill_processes_of(directory)

    assert {width: row[0] for width, row in wide.items()} == {1.0: 64}
    assert {width: row[0] for width, row in both_finer.items()} == {1.0: 128, 0.5: 128}
    assert narrow == {0.5: both_finer[0.5]}


@pytest.mark.slow
def test_convergence_study_goes_on_where_it_was_after_it_was_moved(tmp_path):
    directory = copied("convergence", tmp_path)
    first = created_and_run(directory, "--run_name", "study")
    kill_processes_of(directory)
    moved = directory.rename(directory.with_name("elsewhere"))

    try:
        again = run(moved, "--run_name", "study")
    finally:
        kill_processes_of(moved)

    assert again == first
    assert len(list(moved.glob("solve/BD-solve-runs/run-*"))) == 16


@pytest.mark.slow
def test_convergence_study_goes_on_after_motoko_was_killed(convergence, tmp_path):
    directory = copied("convergence", tmp_path)
    assert motoko("create", "--validated", cwd=directory).returncode == 0
    begun = subprocess.Popen(
        [sys.executable, "-m", "motoko", "run"], cwd=directory, env=ENVIRONMENT
    )
    wait_for((directory / "estimate/BD-estimate-runs/run-2").exists, deadline_s=60)
    n_killed = kill_processes_of(directory, "motoko")
    begun.wait(timeout=20)

    try:
        result = run(directory)
    finally:
        kill_processes_of(directory)

    assert begun.returncode == -signal.SIGKILL
    assert n_killed >= 3  # orchestrator, launcher, server; the scripts of the runs go on
    assert result == convergence[1]
    assert len(list(directory.glob("solve/BD-solve-runs/run-*"))) == 16
