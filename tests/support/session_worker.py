"""A process that runs scripts of sessions: a JSON line in (study directory, script), one out.

Each step is a session of its own, begun again after a conflict as an action would be.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from motoko.errors import SessionConflict
from motoko.store.session import Session, entered
from motoko.study.study import Study
from tests.support.studies import open_study

NEXT = {"CREATED": "SUBMITTED", "SUBMITTED": "RUNNING", "RUNNING": "FINISHED"}


def in_session(body: Callable[[], Any]) -> Any:
    while True:
        session = Session()
        try:
            with entered(session):
                result = body()
            session.commit()
            return result
        except SessionConflict:
            continue
        finally:
            session.abort()


def step(study: Study, kind: str, *arguments: Any) -> Any:
    if kind == "create":
        (points,) = arguments
        return study.create_tasks({"x": points}, None, run_name="a", event_name="w")
    run_id = arguments[0]
    if run_id not in study.runs or 2 not in study.runs:
        return None
    run = study.run(run_id)
    if kind == "add":
        run.total = (run.get("total") or 0) + arguments[1]
        return arguments[1]
    if kind == "mark":
        study.run(1).mark = arguments[1]
        study.run(2).mark = arguments[1]
    if kind == "advance":
        run.state = NEXT.get(run.state, "CREATED")
    return None


def main() -> None:
    for line in sys.stdin:
        directory, script = json.loads(line)
        study = open_study(Path(directory))
        study.database.connect(20)
        results = [in_session(partial(step, study, *arguments)) for arguments in script]
        study.close()
        print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
