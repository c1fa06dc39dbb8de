"""``motoko repair`` brings back what run directories and the rest of a database still know."""

from __future__ import annotations

import os
import random
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from motoko import host
from motoko.errors import DatabaseFailed, DatabaseLost, ForeignOwner
from motoko.store import layout, server
from motoko.store.address import Address, Served
from motoko.store.transaction_log import TransactionLog
from motoko.workflow import Workflow, control, opening
from motoko.workflow.upkeep import repair as repairing
from motoko.workflow.upkeep.backups import back_up
from motoko.workflow.upkeep.repair import Repaired, repair
from motoko.workflow.upkeep.verification import verify
from tests.support.command_line import CommandLine
from tests.support.varied import (
    N_CREATED,
    N_LAUNCHED,
    changed,
    copied,
    create_again,
    create_more,
    picture,
    run_dirs,
    varied_once,
)

__all__ = ["varied_once"]
LAUNCHED = list(range(1, 1 + N_LAUNCHED))


@pytest.fixture
def here(varied_once: Path, tmp_path: Path) -> CommandLine:
    return copied(varied_once, tmp_path / "w")


def database(directory: Path) -> Path:
    return directory / "calc/.bd/motoko.db"


def repaired(directory: Path) -> Repaired:
    return repair(Workflow(str(directory)))


def complaints(directory: Path) -> list[Any]:
    workflow = Workflow(str(directory))
    try:
        return verify(workflow).findings
    finally:
        workflow.close()


@pytest.mark.slow
def test_all_results_are_back_wherever_the_file_was_cut(
    varied_once: Path, tmp_path: Path
) -> None:
    size = database(varied_once).stat().st_size
    chance = random.Random(20)
    before = picture(varied_once)
    assert list(before) == LAUNCHED
    for offset in [0, 3, 4, 5, size - 1, *(chance.randrange(size) for _ in range(50))]:
        here = copied(varied_once, tmp_path / "w")
        os.truncate(database(here.directory), offset)

        repaired(here.directory)

        assert picture(here.directory) == before, offset
        assert complaints(here.directory) == [], offset


@pytest.mark.slow
def test_all_results_are_back_wherever_garbage_was_written(
    varied_once: Path, tmp_path: Path
) -> None:
    size = database(varied_once).stat().st_size
    chance = random.Random(21)
    before = picture(varied_once)
    for length in [1, 16, 300, 4096, 20_000] * 8:
        here = copied(varied_once, tmp_path / "w")
        offset = chance.randrange(size)
        with open(database(here.directory), "r+b") as file:
            file.seek(offset)
            file.write(chance.randbytes(min(length, size - offset)))

        result = repaired(here.directory)

        assert complaints(here.directory) == [], (offset, length)
        if length >= 300:  # of a few bytes, a value may be made another one
            assert picture(here.directory) == before, (offset, length)
        assert "Traceback" not in str(result)


def test_the_same_tasks_are_the_same_runs_after_it(here: CommandLine) -> None:
    database(here.directory).unlink()
    repaired(here.directory)

    with changed(here.directory) as workflow:
        assert create_again(workflow) == LAUNCHED


def test_a_database_that_is_gone_is_made_of_run_directories(here: CommandLine) -> None:
    before = picture(here.directory), run_dirs(here.directory)
    shutil.rmtree(here.directory / "calc/.bd")

    done = here.run("repair")

    assert "calc: runs 1, 2, 3, 4, 5 and 3 more: back from their directories" in done.stdout
    assert (picture(here.directory), run_dirs(here.directory)) == before
    assert here.run("verify").stdout.endswith("no findings\n")


def test_runs_that_were_never_launched_are_made_again_later(here: CommandLine) -> None:
    size = database(here.directory).stat().st_size
    os.truncate(database(here.directory), size - 10)
    with open(database(here.directory), "rb") as file:
        assert file.read(4) == b"FS30"
    repaired(here.directory)

    with changed(here.directory) as workflow:
        assert len(create_more(workflow)) == N_CREATED
    assert complaints(here.directory) == []


def test_what_is_sound_is_left_alone(here: CommandLine) -> None:
    before = database(here.directory).read_bytes(), (here.directory / ".wf/wf.db").read_bytes()

    assert here.run("repair").stdout == "nothing to repair\n"

    after = database(here.directory).read_bytes(), (here.directory / ".wf/wf.db").read_bytes()
    assert after == before
    assert not list(here.directory.glob("motoko-backup-*"))


def test_the_damaged_file_is_kept(here: CommandLine) -> None:
    os.truncate(database(here.directory), 5000)
    before = database(here.directory).read_bytes()

    out = here.run("repair").stdout

    [aside] = here.directory.glob("motoko-backup-*")
    assert f"the databases as they were are in {aside}" in out
    assert (aside / "calc/.bd/motoko.db").read_bytes() == before


def test_a_database_that_was_cut_short_is_not_gone_on_with(here: CommandLine) -> None:
    before = picture(here.directory), run_dirs(here.directory)
    size = database(here.directory).stat().st_size
    os.truncate(database(here.directory), 9000)

    for command in (["run", "-n", "again"], ["server", "start"]):
        refused = here.run(*command, code=7).stderr
        assert f"motoko.db: ends at byte 9000, though it had {size} bytes once" in refused
        assert "motoko repair" in refused
    assert database(here.directory).stat().st_size == 9000

    workflow = Workflow(str(here.directory))
    for look in (opening.open_all, back_up):
        with pytest.raises(DatabaseLost, match=r"ends at byte 9000, .*`motoko repair`"):
            look(workflow)
    workflow.close()
    assert "ends at byte 9000, though" in here.run("why", "calc.1", code=7).stderr
    assert "motoko.db: ends at byte 9000, though" in here.run("info", code=7).stdout
    assert not list(here.directory.glob("motoko-backup-*"))
    assert database(here.directory).stat().st_size == 9000

    repaired(here.directory)
    assert (picture(here.directory), run_dirs(here.directory)) == before


@pytest.mark.slow
@pytest.mark.parametrize("size", [100, 300, 1200])
def test_a_database_of_which_the_beginning_is_left_is_damaged_and_none_that_is_new(
    here: CommandLine, size: int
) -> None:
    before = picture(here.directory)
    os.truncate(database(here.directory), size)
    Path(f"{database(here.directory)}.index").unlink()

    said = [here.run("info", code=7).stdout, here.run("run", "-n", "again", code=7).stderr]

    for words in said:
        assert "is damaged" in words
        assert "`motoko repair` rebuilds it" in words
        assert "no database yet" not in words
    repaired(here.directory)
    assert picture(here.directory) == before


@pytest.mark.slow
def test_no_id_is_given_again_wherever_a_file_without_an_index_was_cut(
    varied_once: Path, tmp_path: Path
) -> None:
    size = database(varied_once).stat().st_size
    refused = 0
    for offset in range(5, size // 4, size // 80):
        here = copied(varied_once, tmp_path / "w")
        os.truncate(database(here.directory), offset)
        Path(f"{database(here.directory)}.index").unlink()
        workflow = Workflow(str(here.directory))
        try:
            opening.open_all(workflow)
            with workflow.calc.base.database.read() as tables:
                assert tables.last_run_id >= N_LAUNCHED, offset
        except (DatabaseLost, DatabaseFailed) as error:
            assert "`motoko repair`" in str(error)
            refused += 1
        finally:
            workflow.close()
    assert refused > 3


@pytest.mark.slow
def test_a_database_without_its_end_is_refused_before_anything_runs(here: CommandLine) -> None:
    before = picture(here.directory)
    os.truncate(database(here.directory), 4000)
    Path(f"{database(here.directory)}.index").unlink()

    said = here.run("run", "-n", "again", code=7).stderr

    assert "ends before run 1, though " in said
    assert "`motoko repair` rebuilds it" in said
    repaired(here.directory)
    assert picture(here.directory) == before


@pytest.mark.slow
def test_an_emptied_database_is_not_replaced_by_a_new_one(here: CommandLine) -> None:
    os.truncate(database(here.directory), 0)

    checked = here.run("check", code=3)
    refused = here.run("run", "-n", "again", code=7)

    for said in (checked.stdout, refused.stderr):
        assert "is empty, and directories of 8 runs are in" in said
        assert "; `motoko repair` rebuilds it" in said
    assert database(here.directory).stat().st_size == 0

    database(here.directory).unlink()
    refused = here.run("run", "-n", "again", code=7)

    assert "is gone, and directories of 8 runs are in" in refused.stderr
    assert not database(here.directory).exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gone", "cut", "overwritten"])
def test_the_workflows_database(here: CommandLine, how: str) -> None:
    file = here.directory / ".wf/wf.db"
    if how == "gone":
        file.unlink()
    elif how == "cut":
        os.truncate(file, file.stat().st_size - 20)
    else:
        file.write_bytes(b"something else" * 1000)

    answer = here.json("repair", code=10)

    text = "\n".join(answer["undone"])
    assert "variables" in text
    assert here.run("verify").stdout.endswith("no findings\n")
    if how == "cut":
        assert "answer" in here.run("info", "--verbose").stdout
    else:
        assert "are lost" in text and "--run_name" in text
    here.run("run", "--run_name", "first", code=5)
    here.run("kill")


def test_it_refuses_while_something_runs(here: CommandLine) -> None:
    here.run("server", "start")
    os.truncate(database(here.directory), 9000)
    try:
        error = here.run("repair", code=6).stderr
    finally:
        here.run("kill")

    assert "the database server" in error and "motoko kill" in error
    assert not list(here.directory.glob("motoko-backup-*"))


def test_only_the_studies_that_are_named(here: CommandLine) -> None:
    os.truncate(database(here.directory), 9000)
    (here.directory / ".wf/wf.db").unlink()

    here.run("repair", ".", "calc")

    assert list(picture(here.directory)) == LAUNCHED
    assert not (here.directory / ".wf/wf.db").exists()


def test_stored_files_are_found_again(here: CommandLine) -> None:
    damaged, lost = sorted((here.directory / "calc/.bd/files").iterdir())
    damaged.chmod(0o600)
    damaged.write_bytes(b"")
    lost.unlink()

    assert "calc: stored again" in here.run("repair").stdout

    assert here.run("verify").stdout.endswith("no findings\n")


def test_runs_that_firings_made_and_nobody_launched(here: CommandLine) -> None:
    with changed(here.directory) as workflow, workflow.vars.db.read() as ledger:
        [(key, record)] = ledger.firings().items()
    lost = {**record, "created": {"calc": [[12, 14]]}}
    with changed(here.directory) as workflow:
        workflow.vars.db.write(lambda ledger: ledger.set_firing(key, lost))
    database(here.directory).unlink()

    answer = here.json("repair", code=10)

    missing = "6 ids are missing: runs 9, 10, 11, 12, 13 and 1 more"
    assert any(missing in line for line in answer["undone"])
    assert any("they may fire again" in line for line in answer["done"])
    assert complaints(here.directory) == []
    assert here.run("repair").stdout == "nothing to repair\n"


@pytest.mark.slow
def test_a_database_with_zeros_at_its_end_is_damaged_for_everybody(here: CommandLine) -> None:
    before = picture(here.directory)
    ledger = here.directory / ".wf/wf.db"
    for file in (database(here.directory), ledger):
        size = file.stat().st_size
        os.truncate(file, size + 4096)

        told = [here.run("info", code=7)]
        told += [here.run("run", "-n", "a", code=7), here.run("verify", code=10)]

        for said in told:
            words = said.stdout + said.stderr
            assert f"is damaged: the 4096 bytes from byte {size} on are no transacti" in words
            assert "`motoko repair`" in words
        with pytest.raises(DatabaseLost, match=r"is damaged: .*`motoko repair`"):
            server.Server([Served(file, Address(here.directory / "a.sock"))]).start()
        assert file.stat().st_size == size + 4096
        repaired(here.directory)
        assert (picture(here.directory), complaints(here.directory)) == (before, [])


def test_a_file_that_ends_early_with_a_whole_transaction_is_replaced(here: CommandLine) -> None:
    file = database(here.directory)
    with TransactionLog(file) as log:
        log.advance()
        (length,) = struct.unpack(">Q", file.read_bytes()[-8:])
        os.truncate(file, log.end - length - 8)
    with pytest.raises(DatabaseLost, match="ends at byte"):
        layout.check_not_cut(file)

    repaired(here.directory)

    layout.check_not_cut(file)
    assert complaints(here.directory) == []


class Died(BaseException):
    """As if the process were killed."""


def die_at(point: str, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Repair, up to a point."""

    def reached(where: str) -> None:
        if where == point:
            raise Died

    monkeypatch.setattr(repairing, "reached", reached)
    with pytest.raises(Died):
        repaired(directory)
    monkeypatch.undo()


@pytest.mark.parametrize("name", ["calc/.bd/motoko.db", ".wf/wf.db"])
def test_what_only_the_database_knew_is_salvaged_also_by_the_second_repair(
    here: CommandLine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before, file = known(here.directory), here.directory / name
    with open(file, "ab") as opened:
        opened.write(bytes(40))

    for _ in range(2):
        die_at("repair.aside", monkeypatch, here.directory)
        assert file.exists()
    repaired(here.directory)

    assert known(here.directory) == before
    assert complaints(here.directory) == []


def known(directory: Path) -> Any:
    """How many runs there are in what state, variables, and how many firings."""
    workflow = Workflow(str(directory))
    try:
        opening.open_all(workflow)
        with workflow.calc.base.database.read() as tables, workflow.vars.db.read() as ledger:
            return tables.counts(), ledger.variables(), len(ledger.firings())
    finally:
        workflow.close()


@pytest.mark.parametrize("point", ["repair.aside", "repair.replaced"])
def test_lost_runs_are_told_of_until_it_came_to_its_end(
    here: CommandLine, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    with changed(here.directory) as workflow, workflow.vars.db.read() as ledger:
        [(key, record)] = ledger.firings().items()
    lost = {**record, "created": {"calc": [[12, 14]]}}
    with changed(here.directory) as workflow:
        workflow.vars.db.write(lambda ledger: ledger.set_firing(key, lost))
    database(here.directory).unlink()

    die_at(point, monkeypatch, here.directory)
    workflow = Workflow(str(here.directory))
    opening.open_ledger(workflow)
    with workflow.vars.db.read() as ledger:
        assert list(ledger.trees["fired"]) == []
    workflow.close()

    told = repaired(here.directory)
    assert any("6 ids are missing: runs 9, 10, 11" in line for line in told.undone)
    assert any("they may fire again" in line for line in told.done)
    assert repaired(here.directory) == Repaired()


def test_a_pack_that_was_killed_between_two_names_is_repaired(here: CommandLine) -> None:
    before = known(here.directory), picture(here.directory)
    files = database(here.directory), here.directory / ".wf/wf.db"
    for file in files:
        shutil.copyfile(file, f"{file}.pack")
        file.rename(f"{file}.old")
        Path(f"{file}.index").unlink()
        with pytest.raises(DatabaseLost, match="is gone"):
            layout.check_not_emptied(file)

    assert "is gone" in here.run("run", "-n", "first", code=7).stderr
    repaired(here.directory)

    assert (known(here.directory), picture(here.directory)) == before
    assert complaints(here.directory) == []
    assert not [p for file in files for p in file.parent.glob(f"{file.name}.*")]


def test_a_state_that_an_action_had_given_and_that_is_lost_is_named(here: CommandLine) -> None:
    with changed(here.directory) as workflow, workflow.vars.db.read() as ledger:
        [(key, record)] = ledger.firings().items()
    later = {**record, "began": record["began"] + 1e6, "ended": record["ended"] + 1e6}
    later["updated"] = {"calc": [[1, 2], [7, 7]]}
    with changed(here.directory) as workflow:
        workflow.vars.db.write(lambda ledger: ledger.set_firing(f"{key}-", later))
    assert repaired(here.directory) == Repaired()
    database(here.directory).unlink()

    done = here.run("repair", code=10).stdout

    assert "runs 1, 2, 3, 4, 5 and 3 more: back from their directories, which know not" in done
    assert "not done: calc: runs 1, 2, 7: actions had changed them" in done


def test_it_names_the_host_where_something_runs(
    here: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = Workflow(str(here.directory))
    with monkeypatch.context() as patched:
        patched.setattr(host, "host_name", lambda: "elsewhere")
        control.server_office(workflow).take()

    with pytest.raises(ForeignOwner, match=r"server belongs to process .* on elsewhere"):
        repaired(here.directory)
