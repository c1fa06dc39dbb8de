"""Who takes or leaves an office may die between two steps of that: the next one takes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from motoko.crashpoints import VARIABLE
from motoko.daemon import Office
from tests.unit.test_daemon import move_elsewhere

_PROGRAM = """\
import sys
from pathlib import Path

from motoko.daemon import Office

office = Office(Path(sys.argv[1]), "it")
office.take(takeover=True)
office.leave()
"""


def test_the_next_one_takes_an_office_wherever_the_one_before_has_died(tmp_path: Path) -> None:
    file = tmp_path / ".wf" / "it.lock"
    before = Office(file, "it")
    before.take()
    before.ask_to_stop(before.owner() or before.last_owner())  # type: ignore[arg-type]
    before.leave()
    move_elsewhere(file)
    left, epochs = [], []

    for point in ("office.aside", "office.named", "office.left", ""):
        crash_at = {VARIABLE: f"{point}:{tmp_path / point}"} if point else {}
        command = [sys.executable, "-c", _PROGRAM, str(file)]
        code = subprocess.run(command, env={**os.environ, **crash_at}).returncode
        assert code == (-signal.SIGKILL if point else 0), point
        assert point == "office.aside" or Office(file, "it").owner() is None
        left.append(sorted(path.name for path in file.parent.iterdir()))
        last = Office(file, "it").last_owner()
        assert last is not None
        epochs.append(last.epoch)

    assert epochs == [1, 2, 3, 4]
    assert [len(names) for names in left] == [3, 2, 1, 1]  # the file aside, then the note, go
