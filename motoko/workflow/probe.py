"""Importing an orchestrator in a process that is there for nothing else.

It imports little itself: whoever looks at a workflow waits for it.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from motoko.errors import OrchestratorNotLoadable
from motoko.workflow import loader


def answer(directory: str, orchestrator: str, fd: str) -> None:
    """The other side of `inspection.try_orchestrator`: import, and write what came of it."""
    problem, n_options = "", 0
    try:
        module = loader.load_module(Path(directory), orchestrator)
        function = loader.find_function(module, orchestrator)
        parser = loader.add_options(module, argparse.ArgumentParser(add_help=False))
        loader.check_call(function, orchestrator, loader.option_names(parser))
        n_options = len(parser._actions)
    except OrchestratorNotLoadable as error:
        problem = str(error)
    os.write(int(fd), json.dumps({"problem": problem, "n_options": n_options}).encode())
