"""Fetching leaves of trees before they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import transaction
import ZODB
from BTrees.LOBTree import LOBTree
from hypothesis import given, settings
from hypothesis import strategies as st

from motoko.store.ahead import fetch_leaves
from tests.support.effort import examples

_FULL = 20_000  # of three levels


class Stored:
    """A tree in a database, looked at through a connection that has nothing of it yet."""

    def __init__(self, n_keys: int) -> None:
        self.database = ZODB.DB(None)
        with self.database.transaction() as connection:
            connection.root()["tree"] = LOBTree({3 * i: b"x" for i in range(n_keys)})
            #: By key, found by looking at each leaf.
            self.leaf_of: dict[int, bytes] = {}
            connection.savepoint()
            leaf = connection.root()["tree"]._firstbucket
            while leaf is not None:
                self.leaf_of.update(dict.fromkeys(leaf.keys(), leaf._p_oid))
                leaf = leaf._next
        self.manager = transaction.TransactionManager()
        self.connection = self.database.open(self.manager)
        self.tree = self.connection.root()["tree"]
        self.asked: list[list[bytes]] = []
        self.connection.prefetch = self._note

    def _note(self, leaves: list[Any]) -> None:
        self.asked.append([leaf._p_oid for leaf in leaves])

    def forget(self) -> None:
        self.asked.clear()
        self.connection.cacheMinimize()

    def close(self) -> None:
        self.manager.abort()
        self.connection.close()
        self.database.close()


@pytest.fixture(scope="module")
def stored() -> Iterator[Stored]:
    one = Stored(_FULL)
    yield one
    one.close()


@settings(max_examples=examples(40), deadline=None)
@given(numbers=st.sets(st.integers(0, _FULL - 1), min_size=1, max_size=60))
def test_leaves_of_all_keys_and_no_others_are_asked_for_at_once(
    stored: Stored, numbers: set[int]
) -> None:
    keys = sorted(3 * number for number in numbers)
    stored.forget()

    fetch_leaves(stored.tree, keys)

    expected = {stored.leaf_of[key] for key in keys}
    asked = [set(oids) for oids in stored.asked]
    assert asked == ([expected] if len(expected) > 1 else [])


def test_what_is_there_is_not_asked_for_again(stored: Stored) -> None:
    stored.forget()
    keys = [0, 3000, 30000]
    for key in keys[:2]:
        assert stored.tree[key] == b"x"

    fetch_leaves(stored.tree, keys)

    assert stored.asked == []  # one is left, which is asked for when it is looked at


@pytest.mark.parametrize("n_keys", [0, 1, 20])
def test_a_tree_without_leaves_of_its_own_needs_none(n_keys: int) -> None:
    small = Stored(n_keys)
    fetch_leaves(small.tree, [0, 3])
    small.close()

    assert small.asked == []
