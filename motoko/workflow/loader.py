"""From a workflow's files to its orchestrator function."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from motoko.errors import OrchestratorNotLoadable
from motoko.paths import PIPELINE_ORCHESTRATOR
from motoko.phrases import nearest
from motoko.workflow import neighbours


def load_module(directory: Path, orchestrator: str) -> ModuleType:
    """The module of ``module.function``, from the ``.py`` file in the workflow's directory.

    It imports what lies beside it, as does whatever that imports; see `neighbours`.
    Raises OrchestratorNotLoadable with the line in question.
    """
    if orchestrator == PIPELINE_ORCHESTRATOR:
        return importlib.import_module("motoko.workflow.pipelines.orchestrator")
    name = orchestrator.rpartition(".")[0]
    file = directory.joinpath(*name.split(".")).with_suffix(".py")
    if not file.is_file():
        raise OrchestratorNotLoadable(str(file), 0, orchestrator, "there is no such file")
    neighbours.let_import(directory)
    spec = importlib.util.spec_from_file_location(neighbours.own_name(file, name), file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        why = f"SyntaxError: {error.msg}"
        line = error.lineno or 0
        raise OrchestratorNotLoadable(str(file), line, orchestrator, why) from error
    except (Exception, SystemExit) as error:
        why = _why(error)
        line = _line_in(file, error)
        raise OrchestratorNotLoadable(str(file), line, orchestrator, why) from error
    return module


def load_function(directory: Path, orchestrator: str) -> Callable[..., Awaitable[Any]]:
    """The async function that ``module.function`` names."""
    return find_function(load_module(directory, orchestrator), orchestrator)


def find_function(module: ModuleType, orchestrator: str) -> Callable[..., Awaitable[Any]]:
    """The async function that ``module.function`` names, in the module that was loaded."""
    name = orchestrator.rpartition(".")[2]
    file = str(module.__file__)
    function = getattr(module, name, None)
    if function is None:
        known = [n for n, f in vars(module).items() if inspect.iscoroutinefunction(f)]
        why = f"no function {name!r} in it{nearest(name, known)}"
        raise OrchestratorNotLoadable(file, 0, orchestrator, why)
    if not inspect.iscoroutinefunction(function):
        line = getattr(getattr(function, "__code__", None), "co_firstlineno", 0)
        why = f"it is not async; write `async def {name}(workflow, **params)`"
        raise OrchestratorNotLoadable(file, line, orchestrator, why)
    found: Callable[..., Awaitable[Any]] = function
    return found


def check_call(
    function: Callable[..., Any], orchestrator: str, params: Mapping[str, object]
) -> None:
    """OrchestratorNotLoadable unless it can be called with a workflow and these parameters."""
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return  # of what has no signature nothing can be said
    try:
        signature.bind(None, **params)
    except TypeError as error:
        code = getattr(inspect.unwrap(function), "__code__", None)
        file = getattr(code, "co_filename", orchestrator)
        name = orchestrator.rpartition(".")[2]
        given = ", ".join(["workflow", *(f"{param}=..." for param in params)])
        why = (
            f"its signature is {name}{signature}, and it is called as {name}({given}): {error};"
            f" write `async def {name}(workflow, **params)`"
        )
        line = getattr(code, "co_firstlineno", 0)
        raise OrchestratorNotLoadable(file, line, orchestrator, why) from None


def option_names(parser: ArgumentParser) -> dict[str, object]:
    """The names under which what a parser reads reaches ``main``, with their defaults."""
    options = {action.dest: action.default for action in parser._actions}
    return {n: v for n, v in {**parser._defaults, **options}.items() if v is not SUPPRESS}


def load_handler(directory: Path, name: str) -> Callable[..., Any]:
    """The function, async or not, that ``module.function`` names."""
    module = load_module(directory, name)
    function = getattr(module, name.rpartition(".")[2], None)
    if not callable(function):
        known = [n for n, f in vars(module).items() if inspect.isfunction(f)]
        why = f"no function {name.rpartition('.')[2]!r} in it{nearest(name, known)}"
        raise OrchestratorNotLoadable(str(module.__file__), 0, name, why)
    found: Callable[..., Any] = function
    return found


def add_options(module: ModuleType, parser: ArgumentParser) -> ArgumentParser:
    """Let an orchestrator's ``populate_arg_parser``, if it has one, add its options."""
    populate = getattr(module, "populate_arg_parser", None)
    if populate is None:
        return parser
    file = Path(str(module.__file__))
    try:
        populate(parser)
    except (Exception, SystemExit) as error:
        why = _why(error)
        line = _line_in(file, error)
        raise OrchestratorNotLoadable(str(file), line, populate.__name__, why) from error
    return parser


def _why(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return (
            f"it calls sys.exit({'' if error.code is None else repr(error.code)}) when loaded"
        )
    return f"{type(error).__name__}: {error}"


def _line_in(file: Path, error: BaseException) -> int:
    """The last line of the file that the traceback passes through."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(file) and frame.lineno is not None
    ]
    return lines[-1] if lines else 0
