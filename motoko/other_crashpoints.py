"""Points that a workflow does not come to by itself: of commands that look after databases and
runs, batch systems, takeovers, packs, artifact stores and batches."""

from __future__ import annotations

from collections.abc import Mapping

from motoko.crashpoints import LOOKS, RETRIED, Point

OTHER_POINTS: Mapping[str, Point] = {
    "artifacts.copied": Point(
        "a writer of artifacts",
        "the data are copied aside, the store knows nothing of them",
        "it has not happened; the next writer removes the copy",
    ),
    "artifacts.intended": Point(
        "a writer of artifacts",
        "what is to be stored or removed is written down",
        "the next writer does it",
    ),
    "artifacts.placed": Point(
        "a writer of artifacts",
        "the data are in their place, the manifest does not have them",
        "the next writer completes the manifest",
    ),
    "artifacts.manifest": Point(
        "a writer of artifacts",
        "a new manifest is written, under another name",
        "the next writer writes it again",
    ),
    "artifacts.recorded": Point(
        "a writer of artifacts",
        "the manifest has the change; data that were removed may still be there",
        "it has happened; the next writer removes such data",
    ),
    "artifacts.emptied": Point(
        "a writer of artifacts",
        "data that were removed are aside",
        "the next writer removes them",
    ),
    "job.described": Point(
        "launcher",
        "the script and the ticket of a job are written, nothing is submitted",
        "no job has its name, which is asked for until that is sure; then it is submitted",
    ),
    "job.submitted": Point(
        "launcher",
        "the batch system has taken the job, whose id is nowhere",
        "the job is found by its name",
    ),
    "job.known": Point(
        "launcher",
        "the id of the job is in its ticket, the database does not have it",
        "the next launcher reads the ticket",
    ),
    "job.entered": Point(
        "a batch job", "it executes, and has not looked for the token", RETRIED
    ),
    "job.aside": Point("a batch job", "the token is complete and has no name", RETRIED),
    "job.taken": Point(
        "a batch job", "the token is taken, the script's shell has not begun", RETRIED
    ),
    "job.handed": Point(
        "launcher",
        "a script has ended and named the job that goes on with its work, nothing is recorded",
        "the next launcher reads the name and follows that job",
    ),
    "holders.ended": Point(
        "launcher",
        "what an earlier attempt had left executing was told to end, the next has not begun",
        LOOKS,
    ),
    "quantity.aside": Point(
        "a script in Python",
        "the columns of a quantity are written, under another name",
        "the quantity is not there; whoever pushes next makes its file",
    ),
    "quantity.named": Point(
        "a script in Python",
        "the file of a quantity is there, without a row",
        "whoever pushes next appends to it",
    ),
    "quantity.appended": Point(
        "a script in Python",
        "rows of a quantity are in its file, the journal does not speak of it",
        "the file counts",
    ),
    "office.aside": Point(
        "any command with --takeover",
        "the file that names a new holder is complete, and has another name",
        "the office is the old holder's; the next who takes it over removes the file",
    ),
    "office.named": Point(
        "any",
        "the file of an office names its new holder, notes on earlier ones are beside it",
        "they say nothing of later ones; the next holder removes them",
    ),
    "office.left": Point(
        "any",
        "the file of an office says that its holder has left, which still has the lock",
        "the lock is free again; the next one takes it",
    ),
    "pack.copied": Point(
        "server",
        "a database without its old revisions is on disk, under another name",
        "the database is as it was; the next pack begins anew",
    ),
    "pack.placed": Point(
        "server",
        "the packed database has its name, and no index; the one before is beside it",
        "the whole file is read",
    ),
    "pack.indexed": Point(
        "server",
        "the packed database and its index are there, and the database before",
        "the next pack removes that",
    ),
    "call.failed": Point(
        "orchestrator",
        "of a pipeline, that a call of a function failed is recorded, the orchestrator has not"
        " taken note",
        "the failure counts; it is called again as often as is left",
    ),
    "reset.ended": Point(
        "motoko kill --reset",
        "what executes was ended, its runs are not CREATED",
        "the same command again; a launcher that comes before it records how they ended",
    ),
    "retry.said": Point(
        "motoko runs retry, update",
        "an end that was said of a run name is recorded, the runs are as they were",
        "the same command again",
    ),
    "retry.created": Point(
        "motoko runs retry --clean-dir",
        "runs are CREATED, their directories are where they were",
        "a launcher sets aside what is in them, unless the same command about these runs moves"
        " them before",
    ),
    "clean.created": Point(
        "motoko clean",
        "runs are CREATED, their directories are where they were",
        "a launcher sets aside what is in them, unless the same command about these runs moves"
        " them before",
    ),
    "clean.moved": Point(
        "motoko clean",
        "the directory of a run is moved or removed, those of others are not",
        "the same command again",
    ),
    "reset.moved": Point(
        "motoko create --reset, clean --delete",
        "of databases, run directories and logs, some are moved away",
        "the same command again; what it keeps goes to where the rest is",
    ),
    "reset.complete": Point(
        "motoko create --reset, clean --delete",
        "all is moved away; what is not to be kept is not removed",
        "it is as if nothing had ever been made; the next such command removes the rest",
    ),
    "delete.described": Point(
        "motoko runs delete",
        "what is known of runs is written down, they are in the database",
        "the same command again, which writes it down once more",
    ),
    "delete.removed": Point(
        "motoko runs delete",
        "runs are out of the database, their directories are where they were",
        "what was known of them is written down; `motoko verify` names the directories;"
        " `motoko repair` brings these runs back",
    ),
    "delete.moved": Point(
        "motoko runs delete",
        "the directory of a run is moved or removed, those of others are not",
        "`motoko verify` names these; `motoko repair` brings these runs back",
    ),
    "archive.made": Point(
        "motoko archive",
        "an archive is complete, the database does not say so",
        "the directories are there still; the next call packs them again",
    ),
    "archive.told": Point(
        "motoko archive",
        "the runs are said to be packed, their directories are there still",
        "the directories are used; the next call removes them",
    ),
    "archive.unpacked": Point(
        "motoko archive",
        "directories are back, the database says that their runs are packed",
        "the directories are used; the next `--unpack` tells the database",
    ),
    "backup.databases": Point(
        "motoko backup",
        "the databases are copied, under another name, the stored files are not",
        "there is no backup of that name; the next one of that name begins anew",
    ),
    "backup.copied": Point(
        "motoko backup",
        "all is copied, under another name",
        "there is no backup of that name; the next one of that name begins anew",
    ),
    "restore.aside": Point(
        "motoko backup --restore",
        "the present database lies in a backup too, the other one is not in its place",
        "the same command again",
    ),
    "database.placed": Point(
        "motoko repair, backup --restore",
        "another file has the name of a database; what belonged to the one before is beside",
        "the same command again",
    ),
    "restore.placed": Point(
        "motoko backup --restore",
        "a database of the backup is in its place, the files that were stored with it are not",
        "the same command again; nothing starts before that",
    ),
    "restore.stored": Point(
        "motoko backup --restore",
        "a database of the backup and its stored files are in their places, others are not",
        "the same command again; nothing starts before that",
    ),
    "restore.replaced": Point(
        "motoko backup --restore",
        "databases of the backup are in their places, and lack what run directories know",
        "the same command again; nothing starts before that",
    ),
    "repair.aside": Point(
        "motoko repair",
        "the old database lies in a backup too, the new one has another name",
        "`motoko repair` again, from the old one",
    ),
    "repair.replaced": Point(
        "motoko repair", "one database is new, others are as they were", "`motoko repair` again"
    ),
    "repair.storing": Point(
        "motoko repair",
        "a stored file that was damaged is removed, a copy of it is found and not stored",
        "`motoko repair` again",
    ),
    "repair.stored": Point(
        "motoko repair",
        "all is rebuilt, which runs are lost is not said",
        "`motoko repair` again, which says it",
    ),
    "import.configured": Point(
        "motoko import",
        "configuration and input files are copied, there is no database",
        "the same command again, which begins anew",
    ),
    "import.jobs": Point(
        "motoko import",
        "the jobs are in the new database, the runs are not",
        "the same command again, which begins anew",
    ),
    "import.runs": Point(
        "motoko import",
        "jobs and runs are in the new database, run directories are not copied",
        "the same command again, which begins anew",
    ),
    "import.copied": Point(
        "motoko import --copy-runs",
        "the directory of a run is copied, those of others are not",
        "the same command again, which begins anew and keeps such directories",
    ),
    "migrate.aside": Point(
        "motoko study migrate",
        "the database as it was is copied, under another name",
        "the same command again",
    ),
    "migrate.copied": Point(
        "motoko study migrate",
        "the database as it was is in a backup, nothing is migrated",
        "the same command again, which copies it once more",
    ),
    "place.disowned": Point(
        "motoko place --copied",
        "one database is the copy's own, others may not be",
        "the same command again",
    ),
    "place.settled": Point(
        "motoko place --copied",
        "all databases are the copy's own, where they lie is not recorded",
        "the same command again",
    ),
    "batch.begun": Point(
        "a batch",
        "it is written down that a job begins, it has not begun",
        "the job is done by the next call; an output that is there is set aside",
    ),
    "batch.done": Point(
        "a batch",
        "a job is done, the journal does not have its record",
        "the output is set aside, and the job done again",
    ),
    "batch.noted": Point(
        "a batch",
        "the journal has the record of a job, nothing else says that it has ended",
        "the output is set aside, and the job done again",
    ),
    "batch.manifest": Point(
        "a batch",
        "a new manifest is written, under another name",
        "the one before counts, with the journal",
    ),
    "batch.ended": Point(
        "a batch", "the manifest is complete, the journal is there", "all jobs are skipped"
    ),
}
