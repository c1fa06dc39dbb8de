"""What the source code promises about itself: layers, sizes, imports, docstrings."""

import ast
import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "motoko"
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 500

#: Modules that only a command which needs them may import.
HEAVY = {"pandas", "numpy", "matplotlib", "ZODB", "ZEO", "pydantic"}


def modules_imported_by(module: str) -> set[str]:
    """Names of what a fresh interpreter imports for ``import module``."""
    code = (
        "import json, sys; before = set(sys.modules)\n"
        f"import {module}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def top_level(modules: set[str]) -> set[str]:
    """The packages that modules belong to."""
    return {name.partition(".")[0] for name in modules}


def relative(file: Path) -> str:
    """A file as it is named in messages."""
    return str(file.relative_to(ROOT))


def test_import_contracts_are_kept():
    command = "from importlinter.cli import lint_imports_command as check; check()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_no_file_is_longer_than_500_lines():
    lengths = {relative(f): len(f.read_text().splitlines()) for f in FILES}

    too_long = {name: length for name, length in lengths.items() if length > LONGEST_FILE}

    assert lengths
    assert not too_long


def names_that_reach_outside(file: Path) -> list[str]:
    """Uses of what only the command line may do: print, exit, change the directory."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        text = ast.unparse(node) if isinstance(node, ast.Call) else ""
        called = text.partition("(")[0]
        if called in {"print", "exit", "quit", "sys.exit", "os.chdir", "os.fchdir"}:
            found.append(f"{relative(file)}:{node.lineno}: {text}")
    return found


@pytest.mark.slow
def test_nothing_below_the_command_line_prints_exits_or_changes_directory():
    below = [f for f in FILES if f.relative_to(PACKAGE).parts[0] not in ("cli", "__main__.py")]

    assert [use for file in below for use in names_that_reach_outside(file)] == []


@pytest.mark.parametrize(
    "line", ["print(1)", "import sys; sys.exit(1)", "import os; os.chdir('/')"]
)
def test_what_reaches_outside_is_recognised(line, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    file = tmp_path / "module.py"
    file.write_text(line)

    assert len(names_that_reach_outside(file)) == 1


def test_importing_motoko_imports_nothing_else():
    assert modules_imported_by("motoko") == {"motoko"}


def test_job_side_imports_nothing_but_the_standard_library():
    others = top_level(modules_imported_by("motoko.job")) - set(sys.stdlib_module_names)

    assert others == {"motoko"}


def test_command_line_imports_nothing_heavy():
    imported = top_level(modules_imported_by("motoko.cli"))

    assert "motoko" in imported
    assert not imported & HEAVY


def test_looking_at_an_orchestrator_imports_nothing_heavy():
    imported = top_level(modules_imported_by("motoko.workflow.probe"))

    assert "motoko" in imported
    assert not imported & HEAVY


@pytest.mark.slow
def test_what_runs_a_workflow_imports_nothing_that_checks_its_files():
    imported = modules_imported_by("motoko.workflow.workflow")

    assert "motoko.task_manager" in imported
    assert not imported & {"pydantic", "yaml", "email", "xml.sax", "importlib.metadata"}


def module_name(file: Path) -> str:
    """The name that a file of the package is imported by."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def undocumented(module: ModuleType) -> list[str]:
    """Names of what a module defines for others and does not describe, itself included.

    A method that a base class has too needs no words of its own.
    """
    found = [] if module.__doc__ else [module.__name__]
    for name, thing in vars(module).items():
        is_defined_here = getattr(thing, "__module__", "") == module.__name__
        if name.startswith("_") or not is_defined_here:
            continue
        if inspect.isclass(thing):
            found += [f"{module.__name__}.{name}.{member}" for member in silent_members(thing)]
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and not thing.__doc__:
            found.append(f"{module.__name__}.{name}")
    return found


def silent_members(cls: type) -> list[str]:
    """Names of methods and properties that a class adds to its bases and does not describe."""
    kinds = (FunctionType, property, classmethod, staticmethod)
    return [
        name
        for name, member in vars(cls).items()
        if isinstance(member, kinds)
        and not name.startswith("_")
        and not any(hasattr(base, name) for base in cls.__bases__)
        and not inspect.getdoc(getattr(cls, name))
    ]


def test_every_public_module_class_and_function_says_what_it_does():
    modules = [module_name(f) for f in FILES if f.stem != "__main__"]

    missing = [name for module in modules for name in undocumented(import_module(module))]

    assert not missing, "\n".join(missing)


def test_asking_whether_runs_are_held_back_imports_no_launcher():
    imported = modules_imported_by("motoko.workflow.holding")

    assert "motoko.launch.work" in imported
    assert not imported & {"motoko.launch.launcher", "motoko.launch.batch_executor"}


#: What no process needs that only holds, launches or executes.
FOR_LOOKING = {"pandas", "numpy", "matplotlib", "rich"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "left_out"),
    [
        ("motoko.workflow.holding_files", HEAVY - {"ZODB", "ZEO"} | {"rich", "yaml", "anyio"}),
        ("motoko.workflow.serving, motoko.launch.launcher", FOR_LOOKING),
        ("motoko.workflow.workflow", FOR_LOOKING),
        ("motoko.job", HEAVY | {"rich", "yaml", "anyio", "asyncio", "logging"}),
    ],
    ids=["server", "launcher", "orchestrator", "job"],
)
def test_process_imports_nothing_that_it_does_not_need(module, left_out):
    imported = top_level(modules_imported_by(module))

    assert "motoko" in imported
    assert not imported & left_out
