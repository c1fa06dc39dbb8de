"""Fetching leaves of trees before they are asked for: one wait for many, not one for each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

#: Leaves that were not fetched yet have no state.
_GHOST: Final = None
#: So many leaves, of thirty entries perhaps, are fetched at once by who goes through a tree.
_LEAVES = 128


def fetch_leaves(tree: Any, keys: Sequence[int]) -> None:
    """Have the server send those leaves of a tree that hold some of these ascending keys, as
    far as this connection does not have them."""
    _fetch(tree, _leaves(tree, keys))


def keys_between(tree: Any, low: int | None, high: int | None) -> Iterator[int]:
    """The keys of a tree from one to another, ascending, for who needs the values too: these
    are with the keys, and the server sends them for many at once."""
    leaves = list(_leaves_between(tree, low, high))
    if not leaves:
        yield from tree.keys(low, high)
    for first in range(0, len(leaves), _LEAVES):
        some = leaves[first : first + _LEAVES]
        _fetch(tree, some)
        for leaf in some:
            yield from leaf.keys(low, high)


def _fetch(tree: Any, leaves: Iterable[Any]) -> None:
    missing = [leaf for leaf in leaves if leaf._p_changed is _GHOST]
    # What a transaction has put by cannot fetch, and ZODB would never try again.
    if len(missing) > 1 and hasattr(tree._p_jar._storage, "prefetch"):
        tree._p_jar.prefetch(missing)


def _leaves(node: Any, keys: Sequence[int]) -> Iterator[Any]:
    """The leaves of a tree, or of a node in it, that hold the keys if any do."""
    begin = 0
    for child, _, border, is_leaf in _children(node):
        end = len(keys) if border is None else bisect_left(keys, border, begin)
        if end > begin:
            if is_leaf:
                yield child
            else:
                yield from _leaves(child, keys[begin:end])
        begin = end


def _leaves_between(node: Any, low: int | None, high: int | None) -> Iterator[Any]:
    """The leaves of a tree, or of a node in it, that hold keys from one to another if any do;
    none for a tree whose only leaf is a part of it."""
    for child, begin, border, is_leaf in _children(node):
        if low is not None and border is not None and border <= low:
            continue
        if high is not None and begin is not None and begin > high:
            return
        if is_leaf:
            yield child
        else:
            yield from _leaves_between(child, low, high)


def _children(node: Any) -> Iterator[tuple[Any, int | None, int | None, bool]]:
    """The parts of a node, each with the least key that it may hold, the least one of the
    next part, and whether it is a leaf."""
    state = node.__getstate__()
    if state is None or len(state) == 1:  # it is empty, or its only leaf is a part of it
        return
    children, borders = state[0][::2], state[0][1::2]
    is_lowest = not isinstance(children[0], type(node))
    for child, begin, border in zip(children, (None, *borders), (*borders, None), strict=True):
        yield child, begin, border, is_lowest
