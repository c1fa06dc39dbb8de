"""How much a test tries: less where those that take long are left out."""

from __future__ import annotations

#: Whether slow tests are among those that are run; ``tests/conftest.py`` knows.
is_thorough = True


def examples(few: int, many: int) -> int:
    """So many examples of a test: the few of `make test`, the many of `make test-all`."""
    return many if is_thorough else few
