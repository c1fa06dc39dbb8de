"""What a payload is: told by its content, the same in each process."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motoko.workflow.pipelines.content import Content, WithoutContent

HERE = Content(Path("/work/flow"))
#: Of a type that Python itself has not.
LONG = np.longdouble("0.1")


@dataclass
class Settings:
    t: float
    names: set[str]


class Plain:
    def __init__(self, **values: Any) -> None:
        self.values = values
        self.myself = self


class Chosen(Flag):
    SLOW = 1
    EXACT = 2


def table(names: tuple[str, str], filler: bytes = b"\0" * 7) -> Any:
    """A row of two fields, with bytes between them that belong to neither."""
    kind = {"names": names, "formats": ["u1", "f8"], "offsets": [0, 8], "itemsize": 16}
    return np.frombuffer(b"\1" + filler + struct.pack("d", 0.5), dtype=kind)


def record_array(filler: bytes) -> Any:
    return np.array([table(("x", "y"), filler)[0]]).view(np.recarray)


def shown() -> str:
    """The digests of values whose order, place in memory or hash is another in each process."""
    values = [
        {"b": {"x", "y", "z", None}, "a": frozenset("abc")},
        Settings(1.5, {"q", "r", "s"}),
        Plain(b={"u", "v"}, a=[Settings(1, set())]),
        partial(Settings, 3.0),
        object(),
        np.array([{"u", "v", "w"}], dtype=object),
        scaled({"u", "v"}),
        lambda value: value in {"q", "r", "s"},
    ]
    return " ".join(map(HERE.digest, values))


def scaled(names: set[str]) -> Callable[[], set[str]]:
    def report(scale: int = 2, *, of: frozenset[str] = frozenset("abc")) -> set[str]:
        return names

    return report


@pytest.mark.slow
def test_digests_are_the_same_in_each_process() -> None:
    code = "from tests.unit.test_payload_content import shown; print(shown())"
    told = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        told.add(subprocess.run(command, env=env, check=True, capture_output=True).stdout)

    assert len(told) == 1
    assert len(told.pop().split()) == 8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}),
        (Settings(1, {"x", "y"}), Settings(1.0, {"y", "x"})),
        (np.float64(3), 3),
        (np.arange(3), np.array([0, 1, 2])),
        (table(("x", "y")), table(("x", "y"), b"\1" * 7)),
        (record_array(b"\0" * 7), record_array(b"\1" * 7)),
        (LONG, np.array([LONG])[0]),
        (np.array([LONG, 1]), np.array([LONG, 1])),
        (float("nan"), float("nan")),
        (Plain(a=1), Plain(a=1)),
        (-0.0, 0),
    ],
)
def test_equal_values_have_one_digest(one: Any, other: Any) -> None:
    assert HERE.digest(one) == HERE.digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, "1"),
        (b"1", "1"),
        ([1, [2]], [1, 2]),
        ({"a": 1}, {"a": 2}),
        ({"a": "bc"}, {"ab": "c"}),
        (np.arange(3), np.arange(3.0)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (table(("x", "y")), table(("y", "x"))),
        (table(("x", "y"))[0], table(("y", "x"))[0]),
        (LONG, LONG + np.spacing(LONG)),
        (np.array([LONG]), np.array([LONG + np.spacing(LONG)])),
        (np.timedelta64(5, "ns"), np.timedelta64(5, "ps")),
        (np.datetime64(5, "ns"), 5),
        (np.datetime64("NaT"), None),
        (Chosen(0), Chosen.SLOW),
        (Chosen(0), Chosen.SLOW | Chosen.EXACT),
        (Settings(1, set()), Settings(2, set())),
        (Plain(a=1), Plain(a=2)),
        (partial(print, 1), partial(print, 2)),
        (len, print),
        (10**600, 10**600 + 1),
    ],
)
def test_different_values_have_different_digests(one: Any, other: Any) -> None:
    assert HERE.digest(one) != HERE.digest(other)


def test_what_lies_in_the_workflow_is_the_same_when_that_was_moved() -> None:
    moved = Content(Path("/scratch/flow"))

    for name in ("", "/a/b"):
        for kind in (str, Path):
            now = moved.digest([kind(f"/scratch/flow{name}")])
            assert now == HERE.digest([kind(f"/work/flow{name}")])
    assert moved.digest("/work/flow/a") != HERE.digest("/work/flow/a")
    assert moved.shown({"file": Path("/scratch/flow/a")}) == {"file": "./a"}


def test_module_of_an_orchestrator_is_the_same_wherever_it_lies() -> None:
    kinds = []
    for mark in ("0123456789ab", "ba9876543210"):
        kind = type("Settings", (), {})
        kind.__module__ = f"_motoko_{mark}_main"
        kinds.append(kind)

    assert HERE.digest(kinds[0]) == HERE.digest(kinds[1])


@pytest.mark.parametrize("value", [threading.Lock(), (n for n in ()), lambda: 0])
def test_what_cannot_be_told_is_refused_and_functions_count_by_name(value: Any) -> None:
    if callable(value):
        assert HERE.digest({"f": value}) == HERE.digest({"f": value})
    else:
        with pytest.raises(WithoutContent, match=r"lock|generator"):
            HERE.digest({"deep": [value]})


def test_what_is_nested_without_end_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(WithoutContent, match="too deep"):
        HERE.digest(value)
