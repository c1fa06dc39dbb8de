"""What archives hold, for whoever cannot ask the database, or does not trust it alone."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from motoko.errors import ArchiveDamaged
from motoko.study.archive import archive_files, bring_back, packing_lock
from motoko.study.archive_file import open_archive

if TYPE_CHECKING:
    from motoko.study.study import Study

#: Beside the database: where packed directories are unpacked to be looked at.
_PLACE = "unpacked"


class PackedRun(NamedTuple):
    """The attempt of a run that archives have, and what its own file says of it."""

    run_id: int
    archive: str
    facts: Mapping[str, Any]


def packed_runs(
    study: Study, generations: Collection[str], problems: list[str]
) -> dict[int, PackedRun]:
    """The runs that archives have and that were made for one of these databases; of a run that
    several have, what the last one says: attempts count anew after a backup is put back.

    ``problems`` gets a sentence for each archive that cannot be read.
    """
    found: dict[int, PackedRun] = {}
    for file in archive_files(study):
        try:
            archive = open_archive(file)
            for run_id in archive.runs:
                facts = archive.facts(run_id)
                if facts.get("generation") not in generations or not _is_sound(facts):
                    continue
                found[run_id] = PackedRun(run_id, file.name, facts)
        except (ArchiveDamaged, OSError) as error:
            problems.append(str(error))
    return dict(sorted(found.items()))


def n_packed(study: Study) -> int:
    """How many runs of the database that is, or was, in its place lie in archives."""
    if not packing_lock(study).exists():
        return 0  # those that are there are of one that was put aside with all it had
    n_runs = 0
    for file in archive_files(study):
        try:
            n_runs += len(open_archive(file).runs)
        except (ArchiveDamaged, OSError):
            n_runs += 1
    return n_runs


def latest_generation(study: Study) -> tuple[float, str]:
    """The database that the latest archive was made for, and when that was."""
    latest = (0.0, "")
    for file in archive_files(study):
        try:
            archive = open_archive(file)
            told = [archive.facts(run_id).get("generation") for run_id in archive.runs]
            made = file.stat().st_mtime
        except (ArchiveDamaged, OSError):
            continue
        latest = max(latest, *((made, str(one)) for one in told if one), latest)
    return latest


@contextmanager
def looked_into(study: Study, packed: PackedRun) -> Iterator[Path]:
    """The directory of a packed run inside the block. ArchiveDamaged when it cannot be read."""
    place = study.state_dir / _PLACE
    shutil.rmtree(place, ignore_errors=True)  # of who was killed
    directory = place / packed.archive / f"run-{packed.run_id}"
    try:
        bring_back(study, packed.run_id, packed.archive, directory)
        yield directory
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _is_sound(facts: Mapping[str, Any]) -> bool:
    return isinstance(facts.get("attempt"), int) and isinstance(facts.get("nonce"), str)
