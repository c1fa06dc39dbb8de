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
    workflow.vars.components = components
    workflow.add_action("squared", task="square", event=all_are_squared, f=add_up)
    workflow.add_action("added_up", task="total", event="state = FINISHED", f=take_root)
    workflow.square.createTask(x=components)


def all_are_squared(workflow, task_manager):
    """Whether all squares are there, and nobody has added them up yet."""
    squares = task_manager.select()
    return bool(squares.all("state = FINISHED")) and not workflow.total.select()


@event
async def add_up(workflow, **params):
    """Create a run that adds the squares up, in the order of the components."""
    squares = {job.x: run.y for run, job in workflow.square.select()}
    workflow.total.createTask(terms=[squares[x] for x in workflow.vars.components])


@event
async def take_root(workflow, runs, **params):
    """Take the root of the sum, wait for it, and end the workflow with the result."""
    [(total, _)] = runs
    [(root, _)] = await workflow.root.createTask(x=total.y)
    components = ", ".join(str(x) for x in workflow.vars.components)
    text = f"The length of ({components}) is {root.y:g}."
    Path(workflow.directory, "result.txt").write_text(f"{text}\n")
    log.info(text)
    workflow.vars.result = root.y
    workflow.finished = True
