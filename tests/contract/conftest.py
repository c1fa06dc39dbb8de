"""Real batch systems, for tests that are marked slow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.systems import Daemons, System


@pytest.fixture(scope="session")
def daemons() -> Iterator[Daemons]:
    """Those that were started are ended with the session."""
    found = Daemons()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def real_slurm(daemons: Daemons) -> Iterator[System]:
    """Slurm without accounts."""
    with daemons.slurm("none") as system:
        yield system


@pytest.fixture
def real_slurm_accounts(daemons: Daemons) -> Iterator[System]:
    """Slurm with accounts."""
    with daemons.slurm("slurmdbd") as system:
        yield system


@pytest.fixture
def real_sge(daemons: Daemons) -> Iterator[System]:
    """Grid Engine."""
    with daemons.sge() as system:
        yield system
