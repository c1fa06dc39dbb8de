"""Fetching leaves of trees before they are asked for: one wait for many, not one for each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Final

#: Leaves that were not fetched yet have no state.
_GHOST: Final = None


def fetch_leaves(tree: Any, keys: Sequence[int]) -> None:
    """Have the server send those leaves of a tree that hold some of these ascending keys, as
    far as this connection does not have them."""
    leaves = [leaf for leaf in _leaves(tree, keys) if leaf._p_changed is _GHOST]
    if len(leaves) > 1:
        tree._p_jar.prefetch(leaves)


def _leaves(node: Any, keys: Sequence[int]) -> Iterator[Any]:
    """The leaves of a tree, or of a node in it, that hold the keys if any do."""
    state = node.__getstate__()
    if state is None or len(state) == 1:  # it is empty, or its only leaf is a part of it
        return
    # Children, and between each two of them the least key of the second one.
    children, borders = state[0][::2], state[0][1::2]
    is_lowest = not isinstance(children[0], type(node))
    begin = 0
    for child, border in zip(children, (*borders, None), strict=True):
        end = len(keys) if border is None else bisect_left(keys, border, begin)
        if end > begin:
            if is_lowest:
                yield child
            else:
                yield from _leaves(child, keys[begin:end])
        begin = end
