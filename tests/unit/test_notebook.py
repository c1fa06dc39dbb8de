"""`%load_ext motoko`, with a shell that keeps what it is given."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import motoko


class Shell:
    """What an extension needs of IPython."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}

    def push(self, names: dict[str, Any]) -> None:
        self.names.update(names)

    def drop_by_id(self, names: dict[str, Any]) -> None:
        for name, value in names.items():
            if self.names.get(name) is value:
                del self.names[name]


def test_notebook_gets_the_names_and_loses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.delenv("BLACKDYNAMITE_STUDY", raising=False)
    monkeypatch.delenv("BLACKDYNAMITE_HOST", raising=False)
    (tmp_path / "bd.yaml").write_text("study: sums\njob: {x: int}\n")
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    shell = Shell()

    motoko.load_ipython_extension(shell)
    motoko.load_ipython_extension(shell)  # in a cell that is executed again
    try:
        import BlackDynamite as BD

        assert shell.names["BD"] is BD
        assert {"Base", "RunSelector", "BDParser"} <= {*dir(BD)}
        assert BD.RunSelector.__module__ == "motoko.compat.selectors"
        with pytest.raises(AttributeError, match=r"no attribute 'nothing'; it has BDParser"):
            BD.nothing  # noqa: B018
        command = Path(os.environ["PATH"].split(os.pathsep)[0]) / "canYouDigIt"
        assert os.access(command, os.X_OK)
        assert os.environ["BLACKDYNAMITE_STUDY"] == "sums"
        os.environ["CHANGED"] = "since"
    finally:
        motoko.unload_ipython_extension(shell)

    assert "BlackDynamite" not in sys.modules and shell.names == {}
    monkeypatch.delenv("CHANGED")
    assert dict(os.environ) == before
