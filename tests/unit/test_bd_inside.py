"""What a bash script says of its run, in the words that its tools print."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

import motoko
from motoko.cli.bd import inside
from motoko.errors import SchemaError
from tests.support.facts import write_facts

FACTS = {"study": "s", "run_id": 1, "job_id": 1, "attempt": 1, "nonce": "n"}
TYPES = {"tol": "float", "steps": "int", "ok": "bool", "tags": "list", "word": "str"}


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MOTOKO_RUN_DIR", "MOTOKO_ATTEMPT"):
        monkeypatch.delenv(name, raising=False)
    write_facts(tmp_path, {**FACTS, "run_types": TYPES})
    return tmp_path


def update(run_dir: Path, *words: str) -> None:
    inside.update(str(run_dir), Namespace(command=list(words)))


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["tol=.5"], "tol", 0.5),
        (["tol", "=", "-1."], "tol", -1.0),
        (["steps=1e1"], "steps", 10),
        (["ok=True"], "ok", True),
        (["OK=false"], "ok", False),
        (["tags=[1, 2]"], "tags", [1, 2]),
        (["word=1"], "word", "1"),
        (["tol=null"], "tol", None),
        (["other=1.5"], "other", 1.5),
        (["other=a b"], "other", "a b"),
    ],
)
def test_a_declared_entry_takes_what_means_its_type(
    run_dir: Path, words: list[str], name: str, value: Any
) -> None:
    update(run_dir, *words)

    found = motoko.get_run(str(run_dir))[0][name]
    assert (found, type(found)) == (value, type(value))


def test_a_declared_entry_refuses_the_rest(run_dir: Path) -> None:
    with pytest.raises(SchemaError, match="declared as int"):
        update(run_dir, "steps=2.5")
