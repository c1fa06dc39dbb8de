"""What became of an attempt, from what its script said and how it ended."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Optional, Tuple

    _Word = Tuple[float, int, str]

RUNNING = "RUNNING"
FINISHED = "FINISHED"
FAILED = "FAILED"
#: States that a script does not put its own run into: it would be executed again without end.
NOT_ITS_OWN = frozenset({"CREATED", "SUBMITTED"})
WHO_PUTS_BACK = (
    "a script does not put its own run back: an action does, or `retry` in its bd.yaml"
)
DIED = "its program died: it had started, ended with exit code 0 and never said finish()"
VANISHED = "it ended without an exit code: killed, or its host went down"


class Said:
    """What a script has said of its state, in all journals of an attempt.

    Entries may be heard in any order: their times order them, and of equal ones the first
    that was heard comes first. Kept is what decides, however many they are.
    """

    def __init__(self, entries: Iterable[Dict[str, Any]] = ()) -> None:
        #: The entry of finish() or fail() that decided, if there is one.
        self.final_word: Optional[Dict[str, Any]] = None
        self._n_heard = 0
        # When it was said, of entries that came at the same time which, and the state.
        self._final: Optional[_Word] = None
        self._last: Optional[_Word] = None
        self._last_own: Optional[_Word] = None
        self.hear(entries)

    def hear(self, entries: Iterable[Dict[str, Any]]) -> None:
        """Take in further entries."""
        for entry in entries:
            state = spoken_state(entry)
            if not state:
                continue
            self._n_heard += 1
            word = (float(entry["t"]), self._n_heard, state)
            if state in (FINISHED, FAILED):
                if self._final is None or word < self._final:
                    self._final, self.final_word = word, entry
                continue
            if self._last is None or word > self._last:
                self._last = word
            if state != RUNNING and (self._last_own is None or word > self._last_own):
                self._last_own = word

    @property
    def own_state(self) -> Optional[str]:
        """RUNNING or a state of its own that holds: the last one, or after finish() or fail()
        the last one of its own since then."""
        if self._final is None:
            return self._last[2] if self._last is not None else None
        last = self._last_own
        return last[2] if last is not None and last > self._final else None


def verdict(
    said: Said, exit_code: Optional[int], completion: str = "exit"
) -> Tuple[str, Optional[str]]:
    """The state that an attempt ended in, and why when that is FAILED.

    ``exit_code`` is negative for a signal, as `subprocess` has it, and None when nobody knows
    it.

    The first of finish() and fail() decides. Without either: a non-zero or unknown code is
    FAILED. With 0, a state of its own that the script set last stays; else, where completion
    is ``explicit``, the run is still RUNNING; else it is FAILED when it had started, since then
    its program died and a later line of the script succeeded, and FINISHED when it never spoke.
    A state of its own that the script set after finish() or fail() takes the place of these.
    """
    final, own_state = said.final_word, said.own_state
    if final is not None:
        state = str(spoken_state(final))
        cause = str(final.get("reason") or "its script said fail()")
        return own_state or state, cause if state == FAILED else None
    if exit_code != 0:
        return FAILED, exit_cause(exit_code)
    if own_state not in (None, RUNNING):
        return str(own_state), None
    if completion == "explicit":
        return RUNNING, None
    return (FAILED, DIED) if own_state else (FINISHED, None)


def warning(said: Said, exit_code: Optional[int]) -> Optional[str]:
    """A sentence when a script ended badly after finish(); its state stays."""
    final = said.final_word
    if final is None or spoken_state(final) != FINISHED or exit_code == 0:
        return None
    return f"after finish(): {exit_cause(exit_code)}"


def spoken_state(entry: Dict[str, Any]) -> Optional[str]:
    """The state that a journal entry puts its run in; None when it is about something else."""
    op = entry["op"]
    if op == "set" and str(entry.get("name")).lower() == "state":
        state = FAILED if entry.get("value") == "FAILURE" else str(entry.get("value"))
        return None if state in NOT_ITS_OWN else state
    return {"start": RUNNING, "finish": FINISHED, "fail": FAILED}.get(op)


def exit_cause(exit_code: Optional[int]) -> str:
    """An exit code in words; a shell's 128 + n is named too."""
    if exit_code is None:
        return VANISHED
    if exit_code < 0:
        return f"killed by {_signal_name(-exit_code)}"
    if exit_code > 128 and _signal_name(exit_code - 128).startswith("SIG"):
        return f"exit code {exit_code} ({_signal_name(exit_code - 128)})"
    return f"exit code {exit_code}"


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
