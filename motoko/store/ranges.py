"""Ids of runs in few words: most come in a row."""

from __future__ import annotations

from collections.abc import Iterable


def ranges(ids: Iterable[int]) -> list[list[int]]:
    """Ids as pairs of first and last, which a hundred thousand runs in a row need one of."""
    found: list[list[int]] = []
    for i in sorted(ids):
        if found and i == found[-1][1] + 1:
            found[-1][1] = i
        else:
            found.append([i, i])
    return found


def numbers(found: Iterable[Iterable[int]]) -> list[int]:
    """The ids that `ranges` was given, in order."""
    return [i for first, last in found for i in range(first, last + 1)]
