"""What is known of who holds an office: whether it is there, and how long it has lived."""

from __future__ import annotations

import os
from typing import Any

import pytest

from motoko import host
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
