"""What is replaced in one step is on disk before it has its name, and its name after that."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from motoko.durable import replace_file
from motoko.study.files import FileStore


def _noted(found: list[str], name: str, call: Callable[..., Any], *arguments: Any) -> None:
    found.append(name)
    call(*arguments)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the calls, in their order."""
    found: list[str] = []
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, partial(_noted, found, name, getattr(os, name)))
    return found


def test_a_file_is_forced_then_named_then_its_name_is_forced(
    calls: list[str], tmp_path: Path
) -> None:
    replace_file(tmp_path / "a", [b"content"])

    assert calls == ["fsync", "replace", "fsync"]


def test_a_stored_file_is_forced_before_it_has_its_name(
    calls: list[str], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"content")

    FileStore(tmp_path / "files").keep(tmp_path / "a")

    assert calls[:2] == ["fsync", "replace"]
