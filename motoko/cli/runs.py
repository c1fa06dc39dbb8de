"""What ``motoko runs`` shows: a table of runs, and the card of one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

from motoko.cli import words
from motoko.columns import RUN_ENTRIES
from motoko.store.identity import SET_BY_HAND
from motoko.study.order import waiting_in_words
from motoko.workflow.views.rows import FIRST_ENTRIES, Card, Listed

#: Of files that have changed, so many are named.
_MOST_FILES = 10
#: Git may not have said yet, when a run was made, whether files differ from the commit.
_CHANGES = {True: ", with changes", False: "", None: ", perhaps with changes"}


def table(found: Listed) -> tuple[list[str], list[list[Any]]]:
    """Headers and cells for people."""
    job, run = found.declared
    headers = [*FIRST_ENTRIES, *job, *(f"run.{n}" if n in job else n for n in run)]
    cells = [
        [
            *(row[name] for name in FIRST_ENTRIES),
            *(row["job"].get(name) for name in job),
            *(row["entries"].get(name) for name in run),
            "" if row["elapsed_s"] is None else words.duration(row["elapsed_s"]),
            row["cause"],
        ]
        for row in found.rows
    ]
    if all(row["cause"] is None for row in found.rows):
        cells = [line[:-1] for line in cells]
        return [*headers, "took"], cells
    return [*headers, "took", "cause"], cells


def sections(card: Card) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Headings, with names and values below them."""
    if card.cause is not None:
        yield "failure", _failure(card)
    yield "job", [(k, v) for k, v in card.job.items() if k != "id"]
    hidden = {*RUN_ENTRIES, SET_BY_HAND}
    yield "entries", [(k, v) for k, v in card.run.items() if k not in hidden]
    before = card.run.get(SET_BY_HAND, {})
    yield "set by hand", [(k, words.Whole(_before(v))) for k, v in before.items()]
    last = [(k, f"{words.value(v)} (step {s})") for k, (s, v) in card.quantities.items()]
    yield "quantities", last
    yield "run", _run(card)
    batch = card.attempts[-1].get("batch", {}) if card.attempts else {}
    yield (
        "batch job",
        [(k, batch.get(k)) for k in ("generator", "id", "state", "reason")],
    )
    yield (
        "earlier attempts",
        [(str(a["number"]), words.Whole(_in_words(a))) for a in card.earlier_attempts],
    )
    yield "made with", _code(card)
    yield "paths", [(k, words.Whole(v)) for k, v in card.paths.items()]


def _code(card: Card) -> list[tuple[str, Any]]:
    code = card.code
    if not code:
        return []
    python = code["python"]
    commit = f"{code['commit']}{_CHANGES[code['is_changed']]}"
    interpreter = (
        f"{python['version']} ({python['executable']}),"
        f" {words.counted(len(python['packages']), 'package')}"
        if python
        else None
    )
    n_files = words.counted(len(code["files"]), "file")
    changed = words.listed(code["changed_since"], _MOST_FILES) if code["changed_since"] else ""
    return [
        ("its files", words.Whole(", ".join(code["given"]))),
        ("study", f"{n_files} (--json has their digests)" if code["files"] else None),
        ("other now", words.Whole(changed)),
        ("commit", words.Whole(commit) if code["commit"] else None),
        ("python", words.Whole(interpreter) if interpreter else None),
    ]


def _before(value: Any) -> str:
    return "not set before" if value is None else f"{words.value(value)} before"


def _failure(card: Card) -> list[tuple[str, Any]]:
    last = card.attempts[-1] if card.attempts else {}
    return [
        ("class", last.get("class")),
        ("cause", words.Whole(card.cause or "")),
        ("exit code", _exit_code(last)),
        ("host", last.get("host")),
        ("process", last.get("pid")),
        ("began", words.moment(last.get("start_time"))),
        ("ended", _ended(last)),
        ("attempt", _which(card)),
        ("last lines", words.Whole(last.get("stderr") or "")),
        ("warnings", words.Whole("\n".join(card.warnings))),
        ("look further", words.Whole("\n".join(card.next_commands))),
    ]


def _ended(attempt: dict[str, Any]) -> str:
    began, ended = attempt.get("start_time"), attempt.get("end_time")
    if began is None or ended is None:
        return words.moment(ended)
    return f"{words.moment(ended)}, after {words.duration(ended - began)}"


def _which(card: Card) -> str:
    n_attempts = len(card.attempts)
    return f"{card.attempts[-1]['number']} of {n_attempts}" if n_attempts > 1 else ""


def _run(card: Card) -> list[tuple[str, Any]]:
    run = card.run
    elapsed = card.elapsed_s
    return [
        ("run name", words.Whole(run["run_name"])),
        ("created by", run.get("event_name")),
        ("job", run["job_id"]),
        ("cores", run.get("nproc")),
        ("attempt", run.get("attempt")),
        ("created", words.moment(run.get("create_time"))),
        ("started", words.moment(run.get("start_time"))),
        ("ended", words.moment(run.get("end_time"))),
        ("took", None if elapsed is None else words.duration(elapsed)),
        ("waits", words.Whole(waiting_in_words(run) or "")),
        ("last step", run.get("last_step")),
        # A failed run has them with its failure.
        ("warnings", words.Whole("\n".join(card.warnings if card.cause is None else ()))),
    ]


def _exit_code(attempt: dict[str, Any]) -> str | None:
    code = attempt.get("exit_code")
    if attempt.get("signal"):
        return f"none: ended by {attempt['signal']}"
    if code is None:
        return None
    if code > 128 and code - 128 in {s.value for s in signal.Signals}:
        return f"{code} (a program was ended by {signal.Signals(code - 128).name})"
    return str(code)


def _in_words(attempt: dict[str, Any]) -> str:
    failure = f" ({attempt['class']})" if attempt.get("class") else ""
    parts = [f"{attempt.get('state', '')}{failure}", str(attempt.get("cause") or "")]
    parts.append(words.moment(attempt.get("start_time")))
    more = attempt.get("given_more") or {}
    parts += [f"then with {name} {value}" for name, value in more.items()]
    said = ", ".join(part for part in parts if part)
    return "\n".join([said, *(attempt.get("warnings") or ())])
