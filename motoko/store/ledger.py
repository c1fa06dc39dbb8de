"""The workflow's own database, as one transaction sees it: variables, run names, firings."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from motoko.store import layout
from motoko.store.codec import decode, encode
from motoko.store.firing import firing_key
from motoko.store.ranges import numbers

#: In the record of a firing: what it failed for.
FAILURE = "failure"
#: Stands before what an action was called with, where calls with something else came since.
_FORMER = "former "
#: The fact that names of runs were lost with a damaged file: when one of them is begun again it
#: has older firings.
HAS_LOST_RUN_NAMES = "has_lost_run_names"
#: By so much the clocks of machines that write to one database may differ.
_CLOCKS_DIFFER_S = 3600.0


class Ledger:
    """Variables, run names and firings of one workflow, in one transaction."""

    def __init__(self, root: Any, where: str) -> None:
        #: The trees themselves, for the modules of this package only.
        self.trees = self._trees = layout.trees(root, layout.WORKFLOW, where)
        #: The ledger has no runs; it shares this attribute with the tables of a study.
        self.changed: set[int] = set()
        self.is_changed = False

    def forget_changes(self) -> None:
        """Take what was done until now for what was there already."""
        self.is_changed = False

    def fact(self, name: str) -> Any:
        """A stored fact about the database."""
        raw = self._trees["meta"].get(name)
        return None if raw is None else decode(raw)

    def set_fact(self, name: str, value: Any) -> None:
        """Store a fact about the database; None removes it."""
        self._trees["meta"].pop(name, None)
        if value is not None:
            self._trees["meta"][name] = encode(value)

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

    def firings(
        self, last: int | None = None, run_name: str | None = None
    ) -> dict[str, dict[str, Any]]:
        """Records of firings by key, in the order they began; only so many of the last.

        Those of one run name are read from the end to where the name began: what there was
        before that is not looked at.
        """
        tree = self._trees["firings"]
        first = "" if run_name is None else self._first_key(run_name)
        found: list[tuple[str, dict[str, Any]]] = []
        for key in _keys_backwards(tree):
            if len(found) == last or key < first:
                break
            record = decode(tree[key])
            if run_name in (None, record["run_name"]):
                found.append((key, record))
        return dict(reversed(found))

    def _first_key(self, run_name: str) -> str:
        """Before which key no firing of a run name is; "" if that is not known."""
        facts = self.run_name(run_name)
        if facts is None or self.fact(HAS_LOST_RUN_NAMES):
            return ""
        return firing_key(max(0.0, facts["began"] - _CLOCKS_DIFFER_S))

    def open_firings(self, run_name: str) -> dict[str, dict[str, Any]]:
        """The records of a run name's firings that have no end."""
        records = {key: decode(self._trees["firings"][key]) for key in self._trees["open"]}
        return {k: record for k, record in records.items() if record["run_name"] == run_name}

    def firing(self, key: str) -> dict[str, Any]:
        """The record of a firing."""
        return dict(decode(self._trees["firings"][key]))

    def set_firing(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep a record, new or in place of an older one of the same firing."""
        self._trees["firings"][key] = encode(dict(record))
        is_open = key in self._trees["open"]
        if record["ended"] is None and not is_open:
            self._trees["open"].insert(key)
        elif record["ended"] is not None and is_open:
            self._trees["open"].remove(key)
        if record["once"]:
            for run_id in numbers(record["runs"]) or [0]:
                self._trees["fired"][f"{_fired_where(record)} {run_id}"] = key

    def fired_runs(
        self, run_name: str, event: str, task: str, study: str | None, call: str = ""
    ) -> set[int]:
        """The runs that an action which fires once was called for; 0 stands for no runs."""
        where = json.dumps([run_name, event, task, study, *([call] if call else [])])
        keys = self._trees["fired"].keys(f"{where} ", f"{where}!", excludemax=True)
        return {int(key.rpartition(" ")[2]) for key in keys}

    def fired_calls(self, run_name: str, event: str, task: str) -> set[str]:
        """What an action that fires once, for no runs, was called with; "" if that is not
        recorded."""
        where = json.dumps([run_name, event, task, None])[:-1]
        keys = self._trees["fired"].keys(where, f"{where}\U0010ffff")
        found = (json.loads(key.rpartition(" ")[0]) for key in keys)
        return {call for *_, call in (one if len(one) > 4 else [*one, ""] for one in found)}

    def supersede_calls(
        self, run_name: str, event: str, task: str, calls: Iterable[str]
    ) -> None:
        """These calls of an action that fires once, for no runs, count no more: it fires again
        when it is to be called with the same. What it was called with is `former` then."""
        for call in calls:
            where = f"{json.dumps([run_name, event, task, None, call])} 0"
            key = self._trees["fired"].pop(where, None)
            if key is not None:
                self.set_firing(key, {**self.firing(key), "call": former(call)})

    def fail_firing(
        self, key: str, record: Mapping[str, Any], failure: Mapping[str, Any]
    ) -> None:
        """A firing came to nothing, and this is why: whom it was called for can be in another
        one."""
        for run_id in numbers(record["runs"]) or [0]:
            where = f"{_fired_where(record)} {run_id}"
            if self._trees["fired"].get(where) == key:
                del self._trees["fired"][where]
        self.set_firing(key, {**record, "once": False, FAILURE: dict(failure)})

    def failures(self, run_name: str) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        """By event the firings of a run name that came to nothing: keys and why."""
        found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for key, record in self.firings(run_name=run_name).items():
            if FAILURE in record:
                found.setdefault(record["event"], []).append((key, record[FAILURE]))
        return found

    # commits over several databases

    def commits(self) -> dict[str, dict[str, Any]]:
        """What was committed and may not have reached every study yet, by mark."""
        return {mark: decode(raw) for mark, raw in self._trees["commits"].items() if mark}

    def marks(self) -> list[str]:
        """The marks of these commits."""
        return [mark for mark in self._trees["commits"] if mark]

    def commit(self, mark: str) -> dict[str, Any] | None:
        """The parts of a decided commit by study, None for one that is through."""
        raw = self._trees["commits"].get(mark)
        return None if raw is None else dict(decode(raw))

    def set_commit(self, mark: str, parts: Mapping[str, Any]) -> None:
        """Decide a commit: from here on its parts belong to the studies."""
        commits = self._trees["commits"]
        if not commits:
            commits[""] = b""  # a tree that is emptied conflicts with everybody
        commits[mark] = encode(dict(parts))

    def take_commit(self, mark: str) -> dict[str, Any] | None:
        """Forget a commit that has reached every study; its parts."""
        parts = self.commit(mark)
        self.forget_commits([mark])
        return parts

    def forget_commits(self, marks: Iterable[str]) -> set[str]:
        """Forget commits that have reached every study; those that were known here."""
        commits = self._trees["commits"]
        return {mark for mark in marks if commits.pop(mark, None) is not None}


def former(call: str) -> str:
    """How it is recorded that an action was called with this, and with something else since."""
    return f"{_FORMER}{call}"


def is_former(call: str) -> bool:
    """Whether an action was called with something else since."""
    return call.startswith(_FORMER)


def _fired_where(record: Mapping[str, Any]) -> str:
    call = [record["call"]] if record.get("call") else []
    where = [record[name] for name in ("run_name", "event", "task", "study")]
    return json.dumps([*where, *call])


def _keys_backwards(tree: Any) -> Iterator[str]:
    """The keys of a BTree from the last to the first, reading no more of it than is asked."""
    bound = None
    with suppress(ValueError):  # there is no key below the bound
        while True:
            key = tree.maxKey() if bound is None else tree.maxKey(bound)
            yield key
            bound = _before(key)


def _before(key: str) -> str:
    """A text that sorts before a key, and after all keys of the same form before it."""
    return key[:-1] + chr(ord(key[-1]) - 1) + "\U0010ffff"
