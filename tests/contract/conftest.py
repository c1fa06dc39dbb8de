"""Real batch systems, for tests that are marked slow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dask_cluster import DaskCluster
from tests.support.systems import Daemons, System
from tests.support.waiting import wait_until


@pytest.fixture(scope="session")
def daemons() -> Iterator[Daemons]:
    """Those that were started are ended with the session."""
    found = Daemons()
    try:
        yield found
    finally:
        found.stop()


def without_leftovers(system: System) -> Iterator[System]:
    """A system that the next test finds without jobs: who leaves one is told of it."""
    yield system
    wait_until(lambda: system.jobs() == [], "the test has left no job", 60.0)


@pytest.fixture
def real_slurm(daemons: Daemons) -> Iterator[System]:
    """Slurm without accounts."""
    with daemons.slurm("none") as system:
        yield from without_leftovers(system)


@pytest.fixture
def real_slurm_accounts(daemons: Daemons) -> Iterator[System]:
    """Slurm with accounts."""
    with daemons.slurm("slurmdbd") as system:
        yield from without_leftovers(system)


@pytest.fixture
def real_sge(daemons: Daemons) -> Iterator[System]:
    """Grid Engine."""
    with daemons.sge() as system:
        yield from without_leftovers(system)


@pytest.fixture(scope="session")
def dask_cluster() -> Iterator[DaskCluster]:
    """A dask cluster of local processes."""
    cluster = DaskCluster()
    yield cluster
    cluster.stop()


@pytest.fixture
def real_dask(dask_cluster: DaskCluster) -> System:
    """The same, as one of the systems."""
    return dask_cluster
