"""``%load_ext motoko``: the names of BlackDynamite in a notebook, as Motoko's own."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from motoko.compat.places import environment_of

_NAME = "BlackDynamite"
#: By variable of the environment: what it was, and what it was set to.
_changed: dict[str, tuple[str | None, str]] = {}


def load(shell: Any) -> None:
    """Let ``import BlackDynamite`` and ``!canYouDigIt`` find Motoko's own; it is ``BD`` too."""
    module = sys.modules.get(_NAME)
    if module is None or not _is_ours(module):
        file = _file()
        spec = importlib.util.spec_from_file_location(_NAME, file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[_NAME] = module
        spec.loader.exec_module(module)
    for name, value in environment_of(Path.cwd(), os.environ).items():
        before, _ = _changed.get(name, (os.environ.get(name), None))
        _changed[name] = before, value
        os.environ[name] = value
    shell.push({"BD": module})


def unload(shell: Any) -> None:
    """Forget the names, and what the environment has for them unless it was changed since."""
    module = sys.modules.get(_NAME)
    if module is not None and _is_ours(module):
        del sys.modules[_NAME]
    shell.drop_by_id({"BD": module})
    while _changed:
        name, (before, value) = _changed.popitem()
        if os.environ.get(name) != value:
            continue
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _file() -> Path:
    return Path(__file__).with_name("names") / _NAME / "__init__.py"


def _is_ours(module: Any) -> bool:
    return getattr(module, "__file__", None) == str(_file())
