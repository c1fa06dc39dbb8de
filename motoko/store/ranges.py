"""Ids of runs in few words: most come in a row."""

from __future__ import annotations

from collections.abc import Iterable


def ranges(ids: Iterable[int]) -> list[list[int]]:
    """Ids in order as pairs of first and last: a hundred thousand in a row need one of them."""
    return spans(sorted(ids))


def spans(ids: Iterable[int]) -> list[list[int]]:
    """Ids as such pairs, in the order in which they are given."""
    found: list[list[int]] = []
    for i in ids:
        if found and i == found[-1][1] + 1:
            found[-1][1] = i
        else:
            found.append([i, i])
    return found


def numbers(found: Iterable[Iterable[int]]) -> list[int]:
    """The ids that `ranges` or `spans` has written, in that order."""
    return [i for first, last in found for i in range(first, last + 1)]
