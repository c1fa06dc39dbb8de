"""A workflow whose scripts outlive their attempts, and are killed.

As `three_studies`: each script notes that it is executed, apart from all databases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from motoko.workflow import Workflow, opening
from tests.support.three_studies import BEGIN, RUN_NAME, Ended, read_executed, read_study


class Written:
    """A workflow that is written and read as `three_studies` is."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def write(self, directory: Path) -> None:
        """Make its files."""
        for name, text in self._files.items():
            file = directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def read(self, directory: Path) -> Ended:
        """Read what it has left, when nothing of it runs any more."""
        ended = Ended({}, {}, [], Counter(), Counter(), set(), read_executed(directory))
        workflow = Workflow(str(directory))
        with closing(workflow):
            opening.open_all(workflow)
            for manager in workflow.task_managers.values():
                read_study(manager.base, ended, lambda job: job["x"])
            with workflow.vars.db.read() as ledger:
                ended.variables = ledger.variables()
                if not (ledger.run_name(RUN_NAME) or {}).get("finished"):
                    ended.wrong.append("the run name is not finished")
        return ended


#: A script says that it has finished and goes on; then its run is put back.
OUTLIVING = Written(
    {
        "motoko.yaml": "task_managers: {calc: }\norchestrator: order.main\n",
        "order.py": """\
async def main(workflow, **params):
    workflow.calc.createTask(x=[1, 2])
    await workflow.calc.select().all("state = FINISHED")
    for run, job in workflow.calc.select("first = 1"):
        run.again = 1
        run.state = "CREATED"
    await workflow.calc.select().all("first = 0")
    await workflow.calc.select().all("state = FINISHED")
""",
        "calc/bd.yaml": """\
study: calc
job: {x: int}
run: {again: int, first: int}
run_params: {again: 0}
""",
        "calc/launch.sh": f"{BEGIN}python3 doIt.py\n",
        "calc/doIt.py": """\
import signal
import time

import motoko

run, job = motoko.get_run()
run.first = int(not run.again)
run.finish()
if not run.again:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
""",
    }
)
