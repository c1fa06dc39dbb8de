"""The job side under every Python that is here, from 3.8 on, with nothing installed in it."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import motoko
from motoko import errors
from motoko.job.holders import is_held
from motoko.job.journal import list_journals, read_journal
from motoko.job.outcome import read_outcome
from motoko.job.quantities import last_row
from motoko.job.shell import script
from motoko.job.token import take_token, token_facts
from motoko.job.verdict import Said, verdict
from tests.support.facts import write_facts

PACKAGE = Path(motoko.__file__).parent
VERSIONS = [f"3.{minor}" for minor in range(8, 14)]


def interpreters() -> Iterator[Any]:
    yield pytest.param(sys.executable, id="own")
    yield from installed(VERSIONS)


def installed(versions: list[str]) -> Iterator[Any]:
    roots = [os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")]
    for version in versions:
        found = [
            path
            for root in roots
            if root
            for path in Path(root).glob(f"versions/{version}.*/bin/python3")
        ]
        on_path = shutil.which(f"python{version}")
        if on_path and "shims" not in on_path:
            found.append(Path(on_path))
        for path in found[:1]:
            yield pytest.param(str(path), id=version)


TOO_OLD = list(installed(["3.6", "3.7"]))


@pytest.fixture(params=list(interpreters()))
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """What a launcher gives: a directory with the package and nothing of its environment."""
    injected = tmp_path / "injected"
    injected.mkdir()
    (injected / "motoko").symlink_to(PACKAGE)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(injected),
        "MOTOKO_RUN_DIR": str(tmp_path / "run"),
        "MOTOKO_ATTEMPT": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    facts = {
        "study": "mult",
        "run_id": 3,
        "job_id": 2,
        "attempt": 1,
        "nonce": "n",
        "job": {"x": 1.5},
        "job_types": {"x": "float"},
        "run": {"state": "RUNNING"},
        "run_types": {},
    }
    write_facts(directory, facts)
    return directory


def launch(
    run_dir: Path, text: str, env: dict[str, str], program: str, python: str
) -> subprocess.CompletedProcess[str]:
    (run_dir / "launch.sh").write_text(text)
    (run_dir / "doIt.py").write_text(program)
    fd = take_token(run_dir, 1, token_facts("n", "g"))
    assert fd is not None
    done = subprocess.run(
        script(run_dir, "launch.sh", "n", 1, fd),
        env={**env, "PYTHON": python},
        pass_fds=[fd],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    os.close(fd)
    return done


def entries(run_dir: Path) -> list[dict[str, Any]]:
    found = []
    for path in list_journals(run_dir, 1):
        part = read_journal(path, 0, "n")
        assert part.damage == []
        found += part.entries
    return sorted(found, key=lambda entry: float(entry["t"]))


GOOD = """
import motoko
with motoko.running() as (run, job):
    run.result = [job.x, job["X"] * 2]
    for step in range(3):
        run.pushQuantity([job.x, step], step, "u", description="displacement")
    with open(run.file("out.txt"), "w") as file:
        file.write(str(run))
"""


def test_script_computes_and_everything_is_found_afterwards(
    python: str, env: dict[str, str], run_dir: Path
) -> None:
    done = launch(run_dir, '"$PYTHON" -W error doIt.py', env, GOOD, python)

    outcome = read_outcome(run_dir, 1, "n")
    said = entries(run_dir)
    assert (done.returncode, done.stderr) == (0, "")
    assert outcome is not None
    assert outcome.exit == 0
    assert [entry["op"] for entry in said] == ["start", "set", "quantity", "finish"]
    assert said[1]["value"] == [1.5, 3.0]
    assert last_row(run_dir / "u.csv") == (2, [1.5, 2])
    assert verdict(Said(said), outcome.exit) == ("FINISHED", None)
    assert "run 3 of study 'mult'" in (run_dir / "out.txt").read_text()
    assert not is_held(run_dir, 1)


def test_exception_is_told_with_its_traceback(
    python: str, env: dict[str, str], run_dir: Path
) -> None:
    program = "import motoko\nwith motoko.running() as (run, job):\n    job.nope\n"

    done = launch(run_dir, '"$PYTHON" doIt.py; true', env, program, python)

    said = entries(run_dir)
    assert done.returncode == 0
    assert "EntryNotFound: job 2 of study 'mult' has no entry 'nope'" in done.stderr
    assert 'doIt.py", line 3' in said[-1]["traceback"]
    assert verdict(Said(said), 0) == ("FAILED", said[-1]["reason"])


def test_program_killed_after_its_start_fails_the_run_whatever_follows(
    python: str, env: dict[str, str], run_dir: Path
) -> None:
    program = """
import os, signal, motoko
run, job = motoko.get_run()
run.start()
run.push_quantity(1, 1, "q")
os.kill(os.getpid(), signal.SIGKILL)
"""

    launch(run_dir, '"$PYTHON" doIt.py; true', env, program, python)

    outcome = read_outcome(run_dir, 1, "n")
    assert outcome is not None
    state, cause = verdict(Said(entries(run_dir)), outcome.exit)
    assert (state, "its program died" in str(cause)) == ("FAILED", True)
    assert last_row(run_dir / "q.csv") == (1, 1)


def test_errors_read_the_same(python: str, env: dict[str, str], run_dir: Path) -> None:
    program = """
import pickle, motoko
from motoko.errors import Mistake
run, job = motoko.get_run()
for action in (lambda: run["stat"], lambda: setattr(job, "x", 1),
               lambda: run.push_quantity(1, 1, "a/b"), lambda: run.file("../x")):
    try:
        action()
    except Exception as error:
        assert type(error) is type(pickle.loads(pickle.dumps(error)))
        print(type(error).__name__, isinstance(error, motoko.MotokoError))
one, same, other = [Mistake("f", line, "k", "x", "y") for line in (1, 1, 2)]
assert one == same != other and len({one, same, other}) == 2
"""

    done = launch(run_dir, '"$PYTHON" doIt.py', env, program, python)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:4] == [
        "EntryNotFound True",
        "SchemaError True",
        "SchemaError True",
        "ValueError False",
    ]


def test_nothing_but_light_standard_modules_is_imported(
    python: str, env: dict[str, str], run_dir: Path
) -> None:
    program = """
import sys
before = set(sys.modules)
import motoko
assert set(sys.modules) - before == {"motoko"}, set(sys.modules) - before
with motoko.running() as (run, job):
    run.pushQuantity(job.x, 1, "u")
heavy = {"dataclasses", "inspect", "typing", "pathlib", "traceback", "difflib", "socket",
         "signal", "numpy", "pandas", "subprocess", "threading", "logging", "asyncio"}
print(*sorted(heavy & (set(sys.modules) - before)))
print(*sorted(name for name in sys.modules if name.startswith("motoko.")))
"""

    done = launch(run_dir, '"$PYTHON" -S doIt.py', env, program, python)

    heavy, mine = done.stdout.splitlines()
    assert (done.returncode, heavy) == (0, "")
    assert {name.split(".")[1] for name in mine.split()} == {
        "columns",
        "crashpoints",
        "phrases",
        "errors",
        "host",
        "job",
    }


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("open('absent')", "FileNotFoundError: [Errno 2] No such file or directory: 'absent'"),
        (
            "run.push_quantity('a, b', 1, 'q')",
            "SchemaError: study 'mult', 'q': found text 'a, b': text goes into an entry of the"
            " run; a quantity takes numbers: one row for a step, or as many as steps",
        ),
        ("run.state = 5", "SchemaError: study 'mult', 'state': found 5; a state is a word"),
        *(
            (
                f"run.{name} = 'X'",
                f"SchemaError: study 'mult', '{name}': this entry is Motoko's own;"
                " scripts may read it",
            )
            for name in ("id", "nonce", "has_finished", "files", "last_step", "start_time")
        ),
    ],
)
def test_mistake_is_one_line_at_the_end_and_the_cause_of_the_failure(
    python: str, env: dict[str, str], run_dir: Path, mistake: str, said: str
) -> None:
    program = f"import motoko\nwith motoko.running() as (run, job):\n    {mistake}\n"

    done = launch(run_dir, '"$PYTHON" doIt.py', env, program, python)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].replace("motoko.errors.", "") == said
    assert verdict(Said(entries(run_dir)), 1) == ("FAILED", said)


def test_state_of_its_own_is_no_mistake(
    python: str, env: dict[str, str], run_dir: Path
) -> None:
    program = "import motoko\nmotoko.get_run()[0].state = 'X'\n"

    done = launch(run_dir, '"$PYTHON" doIt.py', env, program, python)

    assert (done.returncode, done.stderr) == (0, "")
    assert verdict(Said(entries(run_dir)), 0) == ("X", None)


@pytest.mark.parametrize("old", TOO_OLD)
def test_python_that_is_too_old_is_told_so(
    old: str, env: dict[str, str], run_dir: Path
) -> None:
    done = launch(run_dir, '"$PYTHON" doIt.py', env, GOOD, old)

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "ImportError: Motoko's job side needs Python 3.8 or newer, this is 3."
    )
    assert old.rpartition("/")[0] in last


def test_killed_launcher_leaves_a_running_script_that_holds_its_token(
    python: str, env: dict[str, str], run_dir: Path, tmp_path: Path
) -> None:
    # The program says that it is there, then waits for a line: no clock decides.
    (run_dir / "launch.sh").write_text('exec 3>/dev/null; "$PYTHON" doIt.py')
    (run_dir / "doIt.py").write_text("print('here', flush=True)\ninput()\n")
    fd = take_token(run_dir, 1, token_facts("n", "g"))
    assert fd is not None
    child = subprocess.Popen(
        script(run_dir, "launch.sh", "n", 1, fd),
        env={**env, "PYTHON": python},
        pass_fds=[fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(fd)
    assert child.stdout is not None
    assert child.stdout.readline() == b"here\n"

    held_by_both = is_held(run_dir, 1)
    child.kill()
    child.wait()
    held_by_program = is_held(run_dir, 1)
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    subprocess.run(["flock", "-w", "30", str(run_dir / ".motoko-token-1"), "true"], check=True)

    assert (held_by_both, held_by_program, is_held(run_dir, 1)) == (True, True, False)
    assert read_outcome(run_dir, 1, "n") is None


def test_public_names_are_all_there_and_named_twice_alike() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    typed = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("motoko")
        for alias in node.names
    }
    kinds = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.MotokoError)
    }
    others = {"get_run", "running", "window", "Workflow", "event", "no_action"}
    others |= {"TaskManager", "RunList", "TaskSelection"}

    assert typed == set(motoko.__all__) == kinds | others
    assert set(motoko.__all__) <= set(dir(motoko))
    assert all(getattr(motoko, name) is getattr(errors, name) for name in kinds)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        motoko.nonsense  # noqa: B018


def test_version_is_that_of_the_project() -> None:
    text = (PACKAGE.parent / "pyproject.toml").read_text()

    found = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert found is not None
    assert motoko.__version__ == found[1]


def test_facts_of_the_launcher_are_one_json_line(run_dir: Path) -> None:
    text = (run_dir / ".motoko-run.json").read_text()

    assert text.count("\n") == 1
    assert json.loads(text)["format"] == 1
