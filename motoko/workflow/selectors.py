"""Which runs a command is about: names of runs, or a study with constraints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from motoko.errors import ConstraintError, NoRunMatches, RunNotFound, WorkflowError
from motoko.study.records import split_run_name

if TYPE_CHECKING:
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

_RUN = re.compile(r"(?P<study>[^\s=<>~!]+)\.[0-9]{1,18}")
_WHOLE_CONSTRAINT = re.compile(r"\s*[\w.]+\s*(=|!|<|>|~).*\S", re.DOTALL)


class Selector(NamedTuple):
    """Runs of one study: those named, or those that constraints hold for."""

    study: Study
    run_ids: tuple[int, ...] = ()
    constraints: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing but the study is said."""
        return not self.run_ids and not self.constraints

    def ids(self) -> list[int]:
        """The runs, ascending. RunNotFound for one that is named and not there."""
        with self.study.database.read() as tables:
            if not self.run_ids:
                return tables.select(tables.parse(as_constraints(self.constraints)))
            for run_id in self.run_ids:
                if not tables.has_run(run_id):
                    raise RunNotFound(self.study.name, run_id)
            return sorted(set(self.run_ids))

    def in_words(self) -> str:
        """What is asked for, and which runs there are."""
        counts = self.study.counts()
        there = ", ".join(f"{counts[state]} {state}" for state in sorted(counts))
        of = f"{self.study.name} ({there or 'no runs'})"
        texts = as_constraints(self.constraints) if self.constraints else []
        return " and ".join(f"`{text}`" for text in texts) + " in " * bool(texts) + of


def as_constraints(texts: Sequence[str]) -> list[str]:
    """Constraints from a command line: one an argument, or one split by the shell.

    ConstraintError for one that is blank: it is a variable of the shell that nobody has set,
    and not a wish for all runs.
    """
    for text in texts:
        if not text.strip():
            why = "an empty constraint selects nothing: write one, as in state = FAILED"
            rest = "for all runs leave it out, and say --all where that is asked for"
            raise ConstraintError(text, 0, f"{why}; {rest}")
    if all(_WHOLE_CONSTRAINT.fullmatch(text) for text in texts):
        return list(texts)
    return [" ".join(texts)]


def read_selectors(workflow: Workflow, words: Iterable[str]) -> list[Selector]:
    """The runs that words of a command line mean: ``mult.3``, or a study and constraints.

    Constraints belong to the study before them. UnknownTaskManager, WorkflowError.
    """
    found: list[Selector] = []
    for word in words:
        run = _RUN.fullmatch(word)
        if run is not None and _is_study(workflow, run["study"]):
            task, run_id = split_run_name(word)
            found.append(Selector(workflow.task_manager(task).base, (run_id,)))
        elif _is_study(workflow, word):
            found.append(Selector(workflow.task_manager(word).base))
        elif found and not found[-1].run_ids:
            last = found.pop()
            found.append(last._replace(constraints=(*last.constraints, word)))
        elif re.search(r"[=<>~]", word):
            raise WorkflowError(f"{word!r} constrains no study: name the study before it")
        else:
            workflow.task_manager(word.rpartition(".")[0] or word)  # says which there are
            raise WorkflowError(f"{word!r} names no run; write study.id, as in mult.3")
    return found


def _is_study(workflow: Workflow, name: str) -> bool:
    return name in workflow.task_managers or name in workflow.aliases


def all_ids(selectors: Sequence[Selector]) -> dict[Study, list[int]]:
    """The runs that selectors mean together, by study; NoRunMatches if these are none."""
    found: dict[Study, set[int]] = {}
    asked = []
    for selector in selectors:
        found.setdefault(selector.study, set()).update(selector.ids())
        asked.append(selector.in_words())
    if not any(found.values()):
        raise NoRunMatches(asked)
    return {study: sorted(ids) for study, ids in found.items()}
