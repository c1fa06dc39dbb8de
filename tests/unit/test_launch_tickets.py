"""What the launcher keeps of the jobs that it submits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from motoko.job import layout
from motoko.launch.ticket import Ticket, Tickets, add_ids, group_ticket, write_tickets

NAME = "motoko-s-1-1-a"


def of_array(n_jobs: int) -> list[Ticket]:
    """The tickets of an array whose id is known."""
    return [Ticket(f"n{i}", "slurm", NAME, f"7_{i}", i) for i in range(n_jobs)]


def test_tickets_of_a_group_are_found_by_their_nonces(tmp_path: Path) -> None:
    tickets = of_array(3)
    write_tickets(group_ticket(tmp_path, NAME), tickets)
    files = Tickets(tmp_path)

    found = [files.of(str(tmp_path / "run-1"), 1, ticket.nonce) for ticket in tickets]

    assert found == tickets
    assert found[2] is not None and found[2].key == f"{NAME}#2"
    assert files.of(str(tmp_path / "run-1"), 1, "another") is None


def test_what_the_tickets_of_a_group_have_in_common_is_written_once(tmp_path: Path) -> None:
    path = Path(group_ticket(tmp_path, NAME))

    write_tickets(str(path), of_array(100))

    assert path.read_text().count(NAME) == path.read_text().count("slurm") == 1


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_ids_are_those_that_stand_below_the_tickets(tmp_path: Path, n_jobs: int) -> None:
    path = group_ticket(tmp_path, NAME)
    known = of_array(n_jobs)
    write_tickets(path, [ticket._replace(id=None) for ticket in known])
    before = [Tickets(tmp_path).of(str(tmp_path / "run-1"), 1, t.nonce) for t in known]

    add_ids(path, [str(ticket.id) for ticket in known])

    after = [Tickets(tmp_path).of(str(tmp_path / "run-1"), 1, t.nonce) for t in known]
    assert {ticket.id for ticket in before if ticket} == {None}
    assert after == known


@pytest.mark.parametrize("n_missing", range(1, 20))
def test_a_part_of_the_ids_says_nothing(tmp_path: Path, n_missing: int) -> None:
    path = Path(group_ticket(tmp_path, NAME))
    unknown = [ticket._replace(id=None) for ticket in of_array(2)]
    write_tickets(str(path), unknown)
    add_ids(str(path), ["7_0", "7_1"])

    path.write_bytes(path.read_bytes()[: -n_missing - 1])

    found = [Tickets(tmp_path).of(str(tmp_path / "run-1"), 1, t.nonce) for t in unknown]
    assert found == unknown


def test_tickets_as_earlier_launchers_wrote_them_are_read(tmp_path: Path) -> None:
    tickets = of_array(2)
    facts = [ticket._asdict() for ticket in tickets]
    Path(group_ticket(tmp_path, NAME)).write_text(json.dumps(facts))

    assert Tickets(tmp_path).of(str(tmp_path / "run-2"), 1, "n1") == tickets[1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "[1]",
        '{"nonces": ["n"], "ids": [], "tasks": [], "generator": "g", "name": "n"}',
        '{"nonces": ["n"]}',
        '{"nonce": "n"}',
    ],
)
def test_what_is_no_ticket_is_none(tmp_path: Path, text: str) -> None:
    run_dir = tmp_path / "run-1"
    run_dir.mkdir()
    Path(layout.job_ticket(run_dir, 1)).write_text(text)

    assert Tickets(tmp_path).of(str(run_dir), 1, "n") is None
