"""A database file that claims to be of BlackDynamite, and what it may make of this process."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from ZODB.FileStorage import FileStorage

from motoko.errors import ForeignDatabase
from motoko.store.foreign import _Reading, read_foreign


class Forged:
    """Unpickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def database(file: Path, content: dict[str, Any]) -> None:
    storage = FileStorage(str(file))
    db = ZODB.DB(storage)
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    connection.root()._p_changed = True
    connection.root().update(content)
    manager.commit()
    connection.close()
    db.close()


@pytest.mark.parametrize(
    "forged",
    [
        Forged(os.system, "touch {}"),
        Forged(eval, "open('{}', 'w')"),
        Forged(getattr, os, "getpid"),
        Forged(open, "{}", "w"),
    ],
    ids=["os.system", "eval", "getattr", "open"],
)
def test_forged_database_is_refused_before_anything_happens(
    tmp_path: Path, forged: Forged
) -> None:
    made = tmp_path / "made"
    function, arguments = forged.call
    forged = Forged(function, *(a.format(made) if isinstance(a, str) else a for a in arguments))
    if function is getattr:
        forged = Forged(getattr, "text", "upper")
    database(tmp_path / "bd.zeo", {"schemas": {"a": forged}})

    with pytest.raises(ForeignDatabase, match="which belongs into no such database"):
        read_foreign(tmp_path / "bd.zeo")

    assert not made.exists()


def test_other_files_are_no_database(tmp_path: Path) -> None:
    database(tmp_path / "bd.zeo", {"other": 1})
    (tmp_path / "text.zeo").write_text("schemas")
    (tmp_path / "empty.zeo").touch()

    for name in ("bd.zeo", "text.zeo", "empty.zeo"):
        with pytest.raises(ForeignDatabase, match="is no database of BlackDynamite"):
            read_foreign(tmp_path / name)


def test_half_a_database_is_said_to_be_none(tmp_path: Path) -> None:
    database(tmp_path / "bd.zeo", {"schemas": {"a": {"job_desc": 1, "run_desc": [1]}}})

    with pytest.raises(ForeignDatabase, match="is not as BlackDynamite writes"):
        read_foreign(tmp_path / "bd.zeo")


@pytest.mark.parametrize("code", ["O", "O8", "V8", "i3", "f8,O", "M8[s]"])
def test_arrays_of_objects_are_refused(code: str) -> None:
    described = f"cnumpy\ndtype\n(V{code}\nI0\nI1\ntR.".encode()

    with pytest.raises(ValueError, match="an array of type"):
        _Reading(io.BytesIO(described)).load()


def test_stand_ins_are_not_changed_by_a_pickle() -> None:
    forged = (
        pickle.PROTO
        + b"\x03cBlackDynamite.job\nJobZEO\n}X\x04\x00\x00\x00nameX\x01\x00\x00\x00xsb."
    )

    with pytest.raises(TypeError):
        _Reading(io.BytesIO(forged)).load()


def test_complex_numbers_and_ordered_mappings_are_values() -> None:
    value = {"c": [1 + 2j], "o": OrderedDict(a=1)}

    read = _Reading(io.BytesIO(pickle.dumps(value))).load()

    assert read == {"c": [1 + 2j], "o": {"a": 1}}
