"""``%load_ext motoko``: the names of BlackDynamite in a notebook, as Motoko's own."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from motoko.compat.places import environment_of

_NAME = "BlackDynamite"


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
    os.environ.update(environment_of(Path.cwd(), os.environ))
    shell.push({"BD": module})


def unload(shell: Any) -> None:
    """Forget the names."""
    module = sys.modules.get(_NAME)
    if module is not None and _is_ours(module):
        del sys.modules[_NAME]
    shell.drop_by_id({"BD": module})


def _file() -> Path:
    return Path(__file__).with_name("names") / _NAME / "__init__.py"


def _is_ours(module: Any) -> bool:
    return getattr(module, "__file__", None) == str(_file())
