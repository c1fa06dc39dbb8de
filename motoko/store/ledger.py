"""The workflow's own database, as one transaction sees it: variables, run names, firings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from motoko.store import layout
from motoko.store.codec import decode, encode


class Ledger:
    """Variables, run names and firings of one workflow, in one transaction."""

    def __init__(self, root: Any, where: str) -> None:
        self._trees = layout.trees(root, layout.WORKFLOW, where)
        #: The ledger has no runs; it shares this attribute with the tables of a study.
        self.changed: set[int] = set()
        self.is_changed = False

    def fact(self, name: str) -> Any:
        """A stored fact about the database."""
        raw = self._trees["meta"].get(name)
        return None if raw is None else decode(raw)

    # variables

    def variables(self) -> dict[str, Any]:
        """All variables by name."""
        return {name: decode(raw) for name, raw in self._trees["variables"].items()}

    def raw_variable(self, name: str) -> bytes | None:
        """A variable as it is stored, None when it was never set."""
        raw: bytes | None = self._trees["variables"].get(name)
        return raw

    def set_variable(self, name: str, value: Any) -> None:
        """Set a variable; TypeError for a value that cannot be stored."""
        raw = encode(value)
        if self._trees["variables"].get(name) != raw:
            self._trees["variables"][name] = raw
            self.is_changed = True

    def remove_variable(self, name: str) -> None:
        """Forget a variable, if there is one."""
        if name in self._trees["variables"]:
            del self._trees["variables"][name]
            self.is_changed = True

    # run names

    def run_name(self, name: str) -> dict[str, Any] | None:
        """What is known of a run name: parameters, when it began, whether it is finished."""
        raw = self._trees["run_names"].get(name)
        return None if raw is None else decode(raw)

    def run_names(self) -> dict[str, dict[str, Any]]:
        """All run names, in the order they began."""
        found = {name: decode(raw) for name, raw in self._trees["run_names"].items()}
        return dict(sorted(found.items(), key=lambda item: item[1]["began"]))

    def set_run_name(self, name: str, **facts: Any) -> None:
        """Record facts about a run name over those that are known."""
        known = self.run_name(name) or {"began": time.time(), "finished": None, "params": {}}
        self._trees["run_names"][name] = encode({**known, **facts})
        self.is_changed = True

    # firings

    def firings(self) -> dict[int, dict[str, Any]]:
        """Records of firings by number."""
        return {number: decode(raw) for number, raw in self._trees["firings"].items()}

    def add_firing(self, record: Mapping[str, Any]) -> int:
        """Keep a new record; its number."""
        firings = self._trees["firings"]
        number = firings.maxKey() + 1 if firings else 1
        firings[number] = encode(dict(record))
        self.is_changed = True
        return int(number)

    def set_firing(self, number: int, record: Mapping[str, Any]) -> None:
        """Replace a record."""
        self._trees["firings"][number] = encode(dict(record))
        self.is_changed = True
