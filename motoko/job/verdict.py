"""What became of an attempt, from what its script said and how it ended."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Optional, Tuple

RUNNING = "RUNNING"
FINISHED = "FINISHED"
FAILED = "FAILED"
DIED = "its program died: it had started, ended with exit code 0 and never said finish()"
VANISHED = "it ended without an exit code: killed, or its host went down"


def verdict(
    entries: Iterable[Dict[str, Any]], exit_code: Optional[int], completion: str = "exit"
) -> Tuple[str, Optional[str]]:
    """The state that an attempt ended in, and why when that is FAILED.

    ``entries`` are those of all its journals; their times order them. ``exit_code`` is negative
    for a signal, as `subprocess` has it, and None when nobody knows it.

    The first of finish() and fail() decides. Without either: a non-zero or unknown code is
    FAILED. With 0, a state of its own that the script set last stays; else, where completion
    is ``explicit``, the run is still RUNNING; else it is FAILED when it had started, since then
    its program died and a later line of the script succeeded, and FINISHED when it never spoke.
    A state of its own that the script set after finish() or fail() takes the place of these.
    """
    final = own_state = cause = None
    for entry in sorted(entries, key=lambda entry: float(entry["t"])):
        said = spoken_state(entry)
        if final is None and said in (FINISHED, FAILED):
            final, own_state = said, None
            if said == FAILED:
                cause = str(entry.get("reason") or "its script said fail()")
        elif said and (final is None or said not in (RUNNING, FINISHED, FAILED)):
            own_state = said
    if final:
        return own_state or final, cause
    if exit_code != 0:
        return FAILED, exit_cause(exit_code)
    if own_state not in (None, RUNNING):
        return str(own_state), None
    if completion == "explicit":
        return RUNNING, None
    return (FAILED, DIED) if own_state else (FINISHED, None)


def warning(entries: Iterable[Dict[str, Any]], exit_code: Optional[int]) -> Optional[str]:
    """A sentence when a script ended badly after finish(); its state stays."""
    said = [spoken_state(entry) for entry in sorted(entries, key=lambda e: float(e["t"]))]
    final = next((state for state in said if state in (FINISHED, FAILED)), None)
    if final != FINISHED or exit_code == 0:
        return None
    return f"after finish(): {exit_cause(exit_code)}"


def spoken_state(entry: Dict[str, Any]) -> Optional[str]:
    """The state that a journal entry puts its run in; None when it is about something else."""
    op = entry["op"]
    if op == "set" and str(entry.get("name")).lower() == "state":
        return FAILED if entry.get("value") == "FAILURE" else str(entry.get("value"))
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
