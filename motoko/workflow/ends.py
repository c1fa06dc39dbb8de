"""How a workflow ends, or comes to a halt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class End:
    """Why a workflow ended: an exception, an exit code, or because it was finished."""

    error: BaseException | None = None
    exit_code: int | str | None = None
    #: Whether another process goes on with it, which then handles errors too.
    is_lost: bool = False


@dataclass(frozen=True)
class Stall:
    """Since when nothing can happen any more by itself, and what each condition lacks."""

    since: float
    #: How much was known of each database's changes.
    versions: tuple[int, ...]
    lacks: list[str]
