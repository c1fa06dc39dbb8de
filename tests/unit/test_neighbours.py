"""What lies beside an orchestrator belongs to that workflow, whatever else its process has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from motoko.workflow.neighbours import own_name

BEGIN = """
import asyncio, builtins, importlib, json, logging, pickle, sys, threading
from pathlib import Path
from motoko.workflow.loader import load_module

def load(name, orchestrator="orchestrator.main"):
    return load_module(Path(name).absolute(), orchestrator)

def say(found):
    print(json.dumps(found))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two workflows, ``a`` and ``b``."""
    for name in ("a", "b"):
        write(tmp_path / name, {"helpers.py": f"NAME = {name!r}\n"})
    return tmp_path


def write(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))


def write_both(place: Path, files: Mapping[str, str]) -> None:
    """The same into both, but for WORKFLOW, which is the name of the workflow."""
    for name in ("a", "b"):
        write(
            place / name, {file: text.replace("WORKFLOW", name) for file, text in files.items()}
        )


def told(place: Path, script: str, *arguments: str) -> Any:
    """What a script says at its end that is run there."""
    (place / "script.py").write_text(BEGIN + dedent(script))
    done = subprocess.run(
        [sys.executable, *arguments, "script.py"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_of_two_workflows_has_its_own_modules(place: Path) -> None:
    write_both(place, {"orchestrator.py": "import helpers\nfrom helpers import NAME\n"})

    found = told(
        place,
        """
        a, b, again = load("a"), load("b"), load("a")
        say([(m.NAME, m.helpers.NAME, m.helpers.__file__) for m in (a, b, again)]
            + [a.helpers is again.helpers, sys.modules["helpers"] is a.helpers])
        """,
    )

    a = ["a", "a", str(place / "a/helpers.py")]
    assert found == [a, ["b", "b", str(place / "b/helpers.py")], a, True, True]


LATER = """
async def main():
    import helpers
    from deep.inner import where
    import deep.inner as inner
    return [helpers.NAME, where(), inner.where()]

def in_thread():
    import later
    return later.NAME
"""
PACKAGE = {
    "orchestrator.py": LATER,
    "later.py": "from helpers import NAME\n",
    "deep/__init__.py": "",
    "deep/inner.py": """
        from . import beside
        from .beside import HERE

        def where():
            import helpers
            from deep import beside as again
            from .lazy import LAZY
            assert again is beside
            return [HERE, LAZY, helpers.NAME]
    """,
    "deep/beside.py": "HERE = 'WORKFLOW'\n",
    "deep/lazy.py": "LAZY = 'WORKFLOW'\n",
}


def test_what_is_imported_while_both_run_is_that_of_who_imports_it(place: Path) -> None:
    write_both(place, PACKAGE)

    found = told(
        place,
        """
        modules = [load("a"), load("b")]

        async def both():
            return await asyncio.gather(*(m.main() for m in reversed(modules)))

        found = asyncio.run(both())
        def work(m): found.append(m.in_thread())
        for m in modules:
            one = threading.Thread(target=work, args=[m])
            one.start()
            one.join()
        say(found)
        """,
    )

    a, b = (["a", ["a"] * 3, ["a"] * 3], ["b", ["b"] * 3, ["b"] * 3])
    assert found == [b, a, "a", "b"]


def test_modules_are_imported_by_name_as_by_a_statement(place: Path) -> None:
    write_both(
        place,
        {
            "orchestrator.py": """
                import importlib
                from importlib import import_module
                import models.one

                def later():
                    found = import_module("helpers"), importlib.import_module("models.one")
                    assert found[1] is models.one
                    return [found[0].NAME, import_module(".two", "models").WHERE]
            """,
            "models/__init__.py": "",
            "models/one.py": "",
            "models/two.py": "WHERE = 'WORKFLOW'\n",
        },
    )

    found = told(place, "a, b = load('a'), load('b'); say([b.later(), a.later()])")

    assert found == [["b", "b"], ["a", "a"]]


def test_directories_without_an_init_file_are_those_of_the_workflow(place: Path) -> None:
    write_both(
        place,
        {
            "orchestrator.py": "from tools.first import WHERE\ndef later():\n"
            "    from tools.second import WHERE\n    return WHERE\n",
            "tools/first.py": "WHERE = 'WORKFLOW'\n",
            "tools/second.py": "from tools import first\nWHERE = first.WHERE + 'WORKFLOW'\n",
        },
    )

    found = told(
        place, "a, b = load('a'), load('b'); say([a.WHERE, b.WHERE, a.later(), b.later()])"
    )

    assert found == ["a", "b", "aa", "bb"]


def test_directories_in_it_that_an_orchestrator_adds_to_the_path_are_its_own(
    place: Path,
) -> None:
    write_both(
        place,
        {
            "orchestrator.py": """
                import sys
                from pathlib import Path
                sys.path.insert(0, str(Path(__file__).parent / "lib"))
                import tools
            """,
            "lib/tools.py": "import helpers\nWHERE = 'WORKFLOW', helpers.NAME\n",
        },
    )

    found = told(place, "say([load(name).tools.WHERE for name in ('a', 'b')])")

    assert found == [["a", "a"], ["b", "b"]]


def test_a_module_from_elsewhere_is_one_for_both(place: Path) -> None:
    write(place / "common", {"shared.py": "class Shared: pass\n"})
    text = "import sys; sys.path.append('common')\nfrom shared import Shared\nimport logging\n"
    write_both(place, {"orchestrator.py": text})

    found = told(
        place,
        "a, b = load('a'), load('b'); say([a.Shared is b.Shared, b.logging is logging])",
    )

    assert found == [True, True]


def test_any_directory_gives_modules_names_of_their_own() -> None:
    places = [Path(os.fsdecode(name)) for name in (b"/w", b"/w\xff", b"/w\xfe")]

    assert len({own_name(place, "helpers") for place in places}) == 3


def test_a_class_of_either_is_one_class_that_can_be_pickled(place: Path) -> None:
    write_both(
        place,
        {
            "helpers.py": "class Result: pass\n",
            "other.py": "import helpers\n",
            "orchestrator.py": """
                from concurrent.futures import ProcessPoolExecutor
                from multiprocessing import get_context
                import helpers, other

                def is_one():
                    return helpers.Result is other.helpers.Result

                def made_elsewhere():
                    with ProcessPoolExecutor(1, get_context("fork")) as pool:
                        return type(pool.submit(helpers.Result).result()) is helpers.Result
            """,
        },
    )

    found = told(
        place,
        """
        modules = [load("a"), load("b")]
        there_and_back = [pickle.loads(pickle.dumps(m.helpers.Result())) for m in modules]
        say([[m.is_one(), type(one) is m.helpers.Result, m.made_elsewhere()]
             for m, one in zip(modules, there_and_back)])
        """,
    )

    assert found == [[True] * 3, [True] * 3]


def test_a_script_keeps_its_own_module_beside_that_of_a_workflow(place: Path) -> None:
    write(place, {"helpers.py": "NAME = 'script'\n"})
    write_both(place, {"orchestrator.py": "from helpers import NAME\n"})

    found = told(
        place,
        """
        import helpers
        found = [load(name).NAME for name in ("a", "b")]
        import helpers as again
        say([*found, again.NAME, again is helpers])
        """,
    )

    assert found == ["a", "b", "script", True]


def test_a_script_in_the_directory_has_the_same_modules_as_the_orchestrator(
    place: Path,
) -> None:
    write_both(place, {"orchestrator.py": "import helpers\n"})

    found = told(
        place / "b",
        """
        import helpers
        a, b = load("../a"), load("../b/../b")
        say([a.helpers.NAME, b.helpers.NAME, b.helpers is helpers])
        """,
    )

    assert found == ["a", "b", True]


def test_a_module_that_is_installed_already_is_left_alone(place: Path) -> None:
    write(place / "b", {"yaml.py": "raise SystemExit\n", "motoko.py": "raise SystemExit\n"})
    write(place / "b", {"random.py": "raise SystemExit\n"})
    write_both(place, {"orchestrator.py": "import helpers, yaml, motoko, random\n"})

    found = told(
        place,
        "import random; a, b = load('a'), load('b'); say([a.yaml is b.yaml, b.helpers.NAME])",
    )

    assert found == [True, "b"]


def test_a_directory_is_not_imported_in_place_of_a_module(place: Path) -> None:
    write(place, {"solve.py": "NAME = 'script'\n"})
    write_both(place, {"orchestrator.py": "import helpers, solve\n", "solve/bd.yaml": ""})

    found = told(
        place,
        """
        import solve
        sys.path.pop(0)
        a, b = load("a"), load("b")
        say([a.solve is solve, b.solve is solve, b.helpers.NAME])
        """,
    )

    assert found == [True, True, "b"]


def test_a_module_stays_the_same_when_the_path_changes(place: Path) -> None:
    write_both(
        place,
        {
            "orchestrator.py": """
                import sys
                from pathlib import Path
                import tools

                def later():
                    sys.path.insert(0, str(Path(__file__).parent / "lib"))
                    import tools as again
                    return again is tools
            """,
            "tools.py": "",
            "lib/tools.py": "",
        },
    )

    found = told(place, "a, b = load('a'), load('b'); say([a.later(), b.later()])")

    assert found == [True, True]


def test_errors_in_the_module_of_the_second_name_its_file_and_line(place: Path) -> None:
    write_both(place, {"orchestrator.py": "import helpers\n"})
    write(place / "b", {"helpers.py": "NAME = 'b'\n\n\n1 / 0\n"})

    found = told(
        place,
        """
        import traceback
        load("a")
        try:
            load("b")
        except ImportError as error:
            say([str(error), "".join(traceback.format_exception(error))])
        """,
    )

    assert found[0].startswith(f"{place / 'b/orchestrator.py'}:1: ")
    assert "ZeroDivisionError: division by zero" in found[0]
    assert f'File "{place / "b/helpers.py"}", line 4, in <module>\n    1 / 0\n' in found[1]


def test_a_process_with_one_workflow_imports_as_any_other(place: Path) -> None:
    text = "import helpers\ndef later():\n    import other\n    return other.__name__\n"
    write(place / "a", {"orchestrator.py": text, "other.py": ""})

    found = told(
        place,
        """
        before = builtins.__import__
        a = load("a")
        again = importlib.import_module("helpers")
        say([builtins.__import__ is before, again is a.helpers, a.later()])
        """,
    )

    assert found == [True, True, "other"]
