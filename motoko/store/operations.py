"""What a session can do, as data: applied at once to its snapshot, again after a conflict.

An operation is immutable and made of plain values only, so that it can be written down
(`to_plain`) and applied later by another process (`from_plain`). Applying one twice is
harmless: tasks are found by their content, entries are set to what they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from motoko.model.space import expand
from motoko.store.ledger import Ledger
from motoko.store.tables import Tables, TaskIdentity


@dataclass(frozen=True)
class Operation(ABC):
    """One logical change of one database."""

    kind: ClassVar[str]

    @abstractmethod
    def apply(self, view: Any) -> Any:
        """Do it, in the transaction of the view; what the caller of the session gets."""

    def to_plain(self) -> dict[str, Any]:
        """The operation as plain values."""
        return {"kind": self.kind, **{f.name: getattr(self, f.name) for f in fields(self)}}


@dataclass(frozen=True)
class CreateTasks(Operation):
    """Make sure there are tasks for all points of a parameter space; their run ids."""

    kind: ClassVar[str] = "create"
    space: Mapping[str, Any]
    identity: TaskIdentity
    entries: Mapping[str, Any]
    manifest: Mapping[str, Any] | None

    def apply(self, view: Tables) -> list[int]:
        entries = dict(self.entries)
        if self.manifest is not None:
            view.set_manifest(self.manifest["key"], self.manifest)
            entries["files"] = self.manifest["key"]
        points = expand(self.space, view.schema)
        return view.create_tasks(points, self.identity, entries)

    def find(self, view: Tables) -> list[int]:
        """The runs of those of them that are there."""
        return view.find_tasks(expand(self.space, view.schema), self.identity)


@dataclass(frozen=True)
class UpdateRun(Operation):
    """Change entries of a run; None removes one."""

    kind: ClassVar[str] = "update"
    run_id: int
    changes: Mapping[str, Any]

    def apply(self, view: Tables) -> None:
        view.update_run(self.run_id, self.changes)


@dataclass(frozen=True)
class MoveTask(Operation):
    """Let a run be another task on its job, unless another run is that already."""

    kind: ClassVar[str] = "move"
    run_id: int
    identity: TaskIdentity

    def apply(self, view: Tables) -> None:
        view.move_task(self.run_id, self.identity)


@dataclass(frozen=True)
class SetVariable(Operation):
    """Set a variable of the workflow."""

    kind: ClassVar[str] = "set"
    name: str
    value: Any

    def apply(self, view: Ledger) -> None:
        view.set_variable(self.name, self.value)


@dataclass(frozen=True)
class RemoveVariable(Operation):
    """Forget a variable of the workflow."""

    kind: ClassVar[str] = "remove"
    name: str

    def apply(self, view: Ledger) -> None:
        view.remove_variable(self.name)


@dataclass(frozen=True)
class SayEnd(Operation):
    """Say how a run name comes to its end: a code or a text for `sys.exit`, None for no end."""

    kind: ClassVar[str] = "end"
    run_name: str
    code: int | str | None

    def apply(self, view: Ledger) -> None:
        if (view.run_name(self.run_name) or {}).get("said_end") != self.code:
            view.set_run_name(self.run_name, said_end=self.code)


_KINDS: dict[str, type[Operation]] = {
    c.kind: c for c in (CreateTasks, UpdateRun, MoveTask, SetVariable, RemoveVariable, SayEnd)
}


def from_plain(plain: Mapping[str, Any]) -> Operation:
    """The operation that `to_plain` wrote down."""
    values = dict(plain)
    kind = _KINDS[values.pop("kind")]
    if "identity" in values:
        run_name, nproc, machine_name, declared = values["identity"]
        entries = tuple((name, value) for name, value in declared)
        values["identity"] = TaskIdentity(run_name, nproc, machine_name, entries)
    return kind(**values)
