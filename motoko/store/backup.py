"""Copies of several databases that belong together, taken while they are in use.

A commit over several databases finishes in the workflow's first, then in each study. So the
copies fit together when nothing was finished in the workflow's database between two looks at
it, and the ends of the studies' were read in between: whatever a study has then is decided in
the copy of the workflow's, and what a study lacks still waits there, so that `recover` gives
it to the study. Only the ends of the files are read at that moment; the bytes before them do
not change any more, and are copied at leisure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from motoko.errors import ConflictsExhausted
from motoko.store.transaction_log import TransactionLog

#: Looks at databases that change all the time; one takes less than a millisecond.
_MOST_LOOKS = 10_000


def copy_together(ledger: Path, studies: Mapping[Path, Path], ledger_target: Path) -> None:
    """Copy the workflow's database and those of studies (file to new file) as of one moment.

    Whoever uses them is not disturbed. ConflictsExhausted when they never stand still.
    """
    with ExitStack() as opened:
        for _ in range(_MOST_LOOKS):
            opened.close()  # a pack has replaced a file meanwhile
            first = opened.enter_context(TransactionLog(ledger))
            others = [opened.enter_context(TransactionLog(file)) for file in studies]
            for log in (first, *others):
                log.advance()  # nearly all of it, once
            if not _meet(first, others):
                break
            if all(log.is_current for log in (first, *others)):
                first.copy_to(ledger_target)
                for log in others:
                    log.copy_to(studies[log.file])
                return
    raise ConflictsExhausted("the backup: databases that stand still", _MOST_LOOKS)


def _meet(ledger: TransactionLog, studies: Sequence[TransactionLog]) -> bool:
    """Read the ends anew until the workflow's database stood still over it; False if never."""
    for _ in range(_MOST_LOOKS):
        ledger.advance()
        for log in studies:
            log.advance()
        if not ledger.advance():
            return True
    return False
