"""The pages about states, and about errors and exit codes."""

from __future__ import annotations

import inspect
import re

from docs.generator.markdown import code, page, prose, table
from motoko import errors
from motoko.cli import exit_codes
from motoko.errors import MotokoError
from motoko.model import states

_OWN = "any state of your own"

_ANY_FACTS = inspect.signature(MotokoError.__init__).parameters

_STATES = {
    states.CREATED: "nothing has happened yet; the launcher takes it if it waits for no step",
    states.SUBMITTED: "the launcher has taken it; its script has not said that it started",
    states.RUNNING: "its script has started",
    states.FINISHED: "it ended well",
    states.FAILED: "it ended badly",
    states.CANCELLED: "somebody gave it up",
    states.USER: "what it means is yours to say",
}


def states_page() -> str:
    """The page about states."""
    names = [*states.BUILT_IN, states.USER]
    return page(
        "states.md",
        meanings=table(["state", "meaning"], [[_name(n), _STATES[n]] for n in names]),
        transitions=table(["from", "to"], [[_name(n), _following(n)] for n in names]),
    )


def _name(state: str) -> str:
    return _OWN if state == states.USER else state


def _following(state: str) -> str:
    after = states.TRANSITIONS[state]
    return ", ".join(_name(s) for s in (*states.BUILT_IN, states.USER) if s in after)


def errors_page() -> str:
    """The page about errors and exit codes."""
    codes = [[str(number), text] for number, text in sorted(exit_codes.MEANINGS.items())]
    return page(
        "errors.md",
        exit_codes=table(["code", "meaning"], codes),
        tree=_tree(),
        errors=table(["error", "meaning", "attributes", "exit code"], map(_row, _errors())),
    )


def _errors() -> list[type[MotokoError]]:
    """All errors below the root, in the order in which they are defined."""
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind)]
    return [kind for kind in kinds if issubclass(kind, MotokoError) and kind is not MotokoError]


def _row(kind: type[MotokoError]) -> list[str]:
    meaning = prose(kind).partition("\n\n")[0]
    code_of_it = str(exit_codes.of(kind.__new__(kind)))
    return [code(kind.__name__), meaning, ", ".join(map(code, _facts(kind))), code_of_it]


def _facts(kind: type[MotokoError]) -> list[str]:
    given = inspect.signature(kind.__init__).parameters
    return [name for name in given if name != "self" and given != _ANY_FACTS]


def _tree() -> str:
    """The tree that stands in the docstring of the errors."""
    return re.findall(r"```text\n.*?```", prose(errors), re.DOTALL)[0]
