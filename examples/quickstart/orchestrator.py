"""The length of a vector: square its components, add the squares up, take the root."""

import logging
from pathlib import Path

from motoko.workflow import event

log = logging.getLogger("quickstart")


def populate_arg_parser(parser):
    """Options of this workflow; `motoko run --components 1 4 8` computes another vector."""
    parser.add_argument(
        "--components",
        type=int,
        nargs="+",
        default=[2, 3, 6],
        metavar="X",
        help="components of the vector (default: 2 3 6)",
    )


async def main(workflow, components, **params):
    """Say what follows what, then create the first runs: one for each component."""

    def all_are_squared(workflow, task_manager):
        """Whether the squares of these components are there."""
        squared = {job.x for run, job in task_manager.select("state = FINISHED")}
        return squared.issuperset(components)

    workflow.add_action("squared", task="square", event=all_are_squared, f=add_up)
    workflow.add_error_handler()  # a run that fails ends the workflow
    workflow.square.createTask(x=components)


@event
async def add_up(workflow, components, **params):
    """Add the squares up, take the root of the sum, and end the workflow with the result."""
    squares = await workflow.square.createTask(x=components)
    [(total, _)] = await workflow.total.createTask(terms=[run.y for run, _ in squares])
    [(root, _)] = await workflow.root.createTask(x=total.y)
    text = f"The length of ({', '.join(map(str, components))}) is {root.y:g}."
    Path(workflow.directory, "result.txt").write_text(f"{text}\n")
    log.info(text)
    workflow.vars.result = root.y
    workflow.finished = True
