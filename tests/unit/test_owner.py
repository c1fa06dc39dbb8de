"""What is known of who holds an office: whether it is there, and how long it has lived."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from motoko import host
from motoko.cli.daemons import in_words
from motoko.daemon.office import Owner

OWN = os.getpid()
NOBODY = 2**22 + 1  # more than a process id can be


def owner(**facts: Any) -> Owner:
    here = {
        "host": host.host_name(),
        "boot": host.boot_id(),
        "pid": OWN,
        "started": host.process_start_time(OWN),
        "clock": host.boot_clock(),
    }
    return Owner(**{**here, "epoch": 1, "began": 0.0, "facts": {}, **facts})


@pytest.mark.parametrize(
    ("facts", "is_alive"),
    [
        ({}, True),
        ({"pid": NOBODY}, False),
        ({"started": 1}, False),  # another process with that id
        ({"boot": "an earlier one"}, False),
        ({"host": "login7", "pid": NOBODY, "boot": "its own"}, True),
    ],
)
def test_who_is_alive(facts: dict[str, Any], is_alive: bool) -> None:
    assert owner(**facts).is_alive is is_alive


@pytest.mark.parametrize(
    ("facts", "is_so"),
    [
        ({}, False),
        ({"clock": host.boot_clock() - 3600.0}, True),
        ({"clock": None}, True),
        ({"boot": "an earlier one"}, True),
    ],
)
def test_who_has_lived_long(facts: dict[str, Any], is_so: bool) -> None:
    assert owner(**facts).has_lived_long is is_so


@pytest.mark.parametrize(
    ("facts", "is_so"),
    [
        ({}, False),
        ({"clock": host.boot_clock() - 15.0}, True),
        ({"host": "login7", "boot": "its own"}, True),
    ],
)
def test_who_stands(facts: dict[str, Any], is_so: bool) -> None:
    assert owner(**facts).stands is is_so


def test_how_long_it_has_lived_is_told_by_a_clock_that_nobody_sets() -> None:
    began = {"clock": host.boot_clock() - 7200.0, "began": time.time() + 36000.0}

    assert in_words(owner(**began)).endswith("(2 h 0 min)")
    assert owner(boot="an earlier one").age_s is None
