"""How much a test tries: less where what takes long is left out, more to find what is new.

The examples of a property test are the same in each run, so that what is green stays green on
other machines; `make explore` draws others, many times as many.
"""

from __future__ import annotations

import os

#: Whether slow tests are among those that are run; ``tests/conftest.py`` knows.
is_thorough = True

#: How many times the usual examples are tried, by chance; 0: the usual ones, always the same.
exploring = int(os.environ.get("MOTOKO_EXPLORE", "0"))


def examples(few: int, many: int | None = None) -> int:
    """So many examples of a test: the few of `make test`, the many of `make test-all`."""
    usual = many if many is not None and is_thorough else few
    return usual * max(1, exploring)
