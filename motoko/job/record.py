"""A run and its job, as a script sees them from inside.

Everything that a script does is written to the run's directory, where the launcher finds it.
What `Run` shows is therefore a local view: what the launcher said at the start, and what the
scripts of this attempt have done since.
"""

from __future__ import annotations

import errno
import os
import time
import warnings
from math import inf

from motoko.columns import FIXED_FOR_SCRIPTS, is_motokos
from motoko.errors import JobSideError, SchemaError
from motoko.job.entries import Job
from motoko.job.facts import find_run_dir, read_facts
from motoko.job.journal import Journal, list_journals, read_journal
from motoko.job.knock import Knocker
from motoko.job.layout import PREFIX
from motoko.job.results import Results
from motoko.job.values import conform, plain
from motoko.job.verdict import (
    FAILED,
    FINISHED,
    NOT_ITS_OWN,
    RUNNING,
    WHO_PUTS_BACK,
    spoken_state,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Callable, Dict, List, Optional, Tuple, Type, Union

LONGEST_TRACEBACK = 20_000
#: On a full disk the journal has no more room than the rest of its last block.
LONGEST_WITHOUT_SPACE = 1_000
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Run(Results):
    """This run: its entries, which a script may add to, its state, files and quantities."""

    def __init__(
        self,
        run_dir: str,
        facts: Dict[str, Any],
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        study, run_id = facts["study"], facts["run_id"]
        entries = {
            **facts.get("run", {}),
            "id": run_id,
            "job_id": facts["job_id"],
            "attempt": facts["attempt"],
            "run_path": run_dir,
            "workflow": facts.get("workflow", ""),
        }
        title = f"run {run_id} of study {study!r}"
        super().__init__(study, title, entries, facts.get("run_types", {}))
        self._directory = run_dir
        self._attempt = facts["attempt"]
        self._nonce = facts["nonce"]
        self._before = facts.get("last_attempt")
        self._now = now
        self._journal = Journal(run_dir, self._attempt, self._nonce, now)
        message = {
            "study": study,
            "run": run_id,
            "attempt": self._attempt,
            "nonce": self._nonce,
        }
        self._knocker = Knocker(facts.get("knock") or "", message, clock)
        self._has_started = False
        self._final: Optional[str] = None
        self._offsets: Dict[str, int] = {}
        #: When lists and mappings were set, and as what, in words, to tell what is changed in
        #: place.
        self._as_set: Dict[str, Tuple[float, str]] = {}
        self._pushed_by, self._widths = 0, {}
        self.update()

    def update(self) -> None:
        """Take over what other processes of this attempt have set and said."""
        news = []
        for path in list_journals(self._directory, self._attempt):
            part = read_journal(path, self._offsets.get(path, 0), self._nonce)
            self._offsets[path] = part.offset
            news.extend(part.entries)
        for entry in sorted(news, key=lambda entry: float(entry["t"])):
            self._apply(entry)

    def start(self) -> None:
        """Say that the program has begun; saying it again changes nothing."""
        if self._final:
            self._ignore("start()")
        elif not self._has_started:
            self._record("start", durable=True)

    def finish(self) -> None:
        """Say that the run is FINISHED, for good: no exit code changes it.

        A list or mapping that was set, and changed in place since, is set as it is now.
        """
        if self._final == FAILED:
            self._ignore("finish()")
        elif not self._final:
            self._set_changed()
            self._force_pushed()
            self._record("finish", durable=True)

    def fail(self, reason: Union[str, BaseException, None] = None) -> None:
        """Say that the run is FAILED, for good; an exception is kept with its traceback."""
        if self._final == FINISHED:
            self._ignore("fail()")
        elif not self._final:
            try:
                self._force_pushed()
            except OSError:
                pass  # it is to fail, whatever the disk has come to
            self._record("fail", durable=True, **_failure(reason))

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        elif hasattr(type(self), name):
            found = f"{name!r} is something that every run can do"
            raise SchemaError(self._study, name, found, f"an entry so named is run[{name!r}]")
        else:
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        key = str(name).lower()
        if key in FIXED_FOR_SCRIPTS:
            raise SchemaError(
                self._study, key, "this entry is Motoko's own", "scripts may read it"
            )
        if not key.isidentifier():
            allowed = "letters, digits and '_', not beginning with a digit"
            raise SchemaError(self._study, key, f"found the name {name!r}", allowed)
        if key == "state":
            self._set_state(value)
            return
        value = conform(
            plain(value, self._study, key), self._declared.get(key), self._study, key
        )
        if is_motokos(key, value):
            found = f"found {value!r}, which Motoko itself notes there"
            raise SchemaError(self._study, key, found, "another value, or another name")
        self._record("set", at_once=False, name=key, value=value)

    def file(self, name: Union[str, os.PathLike[str]]) -> Path:
        """The path of a file of this run, there or not; ValueError when it is not inside."""
        from pathlib import Path

        inside = os.path.normpath(os.fspath(name))
        if os.path.isabs(inside) or inside.split(os.sep)[0] == os.pardir:
            raise ValueError(
                f"{os.fspath(name)!r} is not inside the directory of {self._title}"
            )
        return Path(self._directory, inside)

    def list_files(self, subdir: str = "") -> List[str]:
        """Names in the run's directory or one below it, sorted, without Motoko's own."""
        names = os.listdir(self.file(subdir))
        return sorted(name for name in names if not name.startswith(PREFIX))

    def listFiles(self, subdir: str = "") -> List[str]:
        """Names in the run's directory: `list_files`."""
        return self.list_files(subdir)

    def getFile(self, name: str) -> str:
        """The path of a file of this run, as a string: `file`."""
        return str(self.file(name))

    def getFullFileName(self, name: str) -> str:
        """The path of a file of this run, as a string: `file`."""
        return str(self.file(name))

    @property
    def last_attempt(self) -> Optional[Dict[str, Any]]:
        """How the attempt before this one ended; None in the first.

        ``number``, ``state``, ``class``, ``cause``, ``exit_code``, ``signal`` and ``stderr``,
        as far as they are known.
        """
        return dict(self._before) if self._before else None

    @property
    def study(self) -> str:
        """The name of the study."""
        return self._study

    def __repr__(self) -> str:
        return f"<{self._title}: {self._entries.get('state')}>"

    def _set_changed(self) -> None:
        """Set what the script has set before and changed in place since, unless somebody else
        has set it since."""
        as_set = self._as_set.items()
        changed = {name: t for name, (t, text) in as_set if repr(self._entries[name]) != text}
        if not changed:
            return
        for path in list_journals(self._directory, self._attempt):
            if os.path.basename(path) != self._journal.name:
                for entry in read_journal(path, 0, self._nonce).entries:
                    name = str(entry.get("name")).lower()
                    if entry["op"] == "set" and float(entry["t"]) > changed.get(name, inf):
                        del changed[name]
        for name in changed:
            self[name] = self._entries[name]

    def _set_state(self, value: Any) -> None:
        if not isinstance(value, str) or not value.strip():
            raise SchemaError(self._study, "state", f"found {value!r}", "a state is a word")
        if value in NOT_ITS_OWN:
            raise SchemaError(self._study, "state", f"found {value!r}", WHO_PUTS_BACK)
        if value == FINISHED:
            self.finish()
        elif value in (FAILED, "FAILURE"):
            self.fail()
        elif value == RUNNING and self._final:
            self._ignore("state = RUNNING")
        else:
            self._record("set", name="state", value=value)

    def _record(
        self, op: str, durable: bool = False, at_once: bool = True, **facts: Any
    ) -> None:
        self._apply(self._journal.append(op, durable, **facts))
        self._knock(at_once)

    def _knock(self, at_once: bool) -> None:
        self._knocker.knock(at_once, journal=self._journal.name)

    def _apply(self, entry: Dict[str, Any]) -> None:
        state = spoken_state(entry)
        if state is None:
            name = str(entry.get("name")).lower()
            if entry["op"] == "set" and name != "state":
                self._entries[name] = value = entry.get("value")
                self._as_set.pop(name, None)
                if isinstance(value, (list, dict)):
                    self._as_set[name] = float(entry["t"]), repr(value)
            return
        if entry["op"] == "start" and not self._has_started:
            self._has_started = True
            self._entries["start_time"] = float(entry["t"])
        if self._final is None or state not in (RUNNING, FINISHED, FAILED):
            self._entries["state"] = state
        if self._final is None and state in (FINISHED, FAILED):
            self._final = state

    def _ignore(self, what: str) -> None:
        message = f"{self._title} is {self._final} already: {what} is ignored"
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _failure(reason: Union[str, BaseException, None]) -> Dict[str, Any]:
    if not isinstance(reason, BaseException):
        return {"reason": None if reason is None else str(reason)}
    import traceback

    kind, message = type(reason).__name__, str(reason)
    lines = traceback.format_exception(type(reason), reason, reason.__traceback__)
    has_space = not _met_full_disk(reason)
    longest = LONGEST_TRACEBACK if has_space else LONGEST_WITHOUT_SPACE
    facts = {
        "reason": f"{kind}: {message}" if message else kind,
        "error": kind,
        "message": message,
        "traceback": "".join(lines)[-longest:],
    }
    return facts if has_space else {**facts, "no_space": True}


def _met_full_disk(error: BaseException) -> bool:
    """Whether an error, or one that it came from, is that of a disk or quota that is full."""
    seen: List[int] = []
    found: Optional[BaseException] = error
    while found is not None and id(found) not in seen:
        if isinstance(found, OSError) and found.errno in _NO_SPACE:
            return True
        seen.append(id(found))
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return False


def get_run(run_dir: Optional[str] = None) -> Tuple[Run, Job]:
    """The run that this script belongs to, and its job.

    Found by the environment that the launcher gave, else from the current directory upward.
    `JobSideError` outside of a run, in a damaged one, and when another attempt has taken over.
    """
    directory = find_run_dir() if run_dir is None else os.path.abspath(run_dir)
    facts = read_facts(directory)
    mine = os.environ.get("MOTOKO_ATTEMPT", "")
    is_told = run_dir is None and os.environ.get("MOTOKO_RUN_DIR") and mine
    if is_told and mine != str(facts["attempt"]):
        raise JobSideError(
            f"this script belongs to attempt {mine} of run {facts['run_id']} of study"
            f" {facts['study']!r}, which is at attempt {facts['attempt']} now"
        )
    study, job_id = facts["study"], facts["job_id"]
    values = {"id": job_id, **facts.get("job", {})}
    job = Job(study, f"job {job_id} of study {study!r}", values, facts.get("job_types", {}))
    return Run(directory, facts), job


class running:
    """The run and its job for a ``with`` block: started before it, finished or failed after it.

    An exception fails the run, is recorded with its traceback, and goes on; ``sys.exit(0)`` is
    no failure. What the block itself said with finish() or fail() stays.
    """

    def __init__(self, run_dir: Optional[str] = None) -> None:
        self._run_dir = run_dir

    def __enter__(self) -> Tuple[Run, Job]:
        self._run, job = get_run(self._run_dir)
        self._pid = os.getpid()
        self._run.start()
        return self._run, job

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        # A fork that leaves the block by itself does not speak for the run.
        if self._run._final or os.getpid() != self._pid:
            return
        if error is None or _is_success(error):
            self._run.finish()
            return
        try:
            self._run.fail(error)
        except OSError as unwritten:
            warnings.warn(
                f"the failure of {self._run!r} is not recorded: {unwritten}", stacklevel=2
            )


def _is_success(error: BaseException) -> bool:
    if not isinstance(error, SystemExit):
        return False
    return error.code is None or (isinstance(error.code, int) and error.code == 0)
