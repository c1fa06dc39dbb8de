"""How fine must a grid be? Refine it where the estimated error asks for it, and only there.

For each width of the hot spot the plate is solved on a grid of 16 intervals, then of 32, 64
and so on, until the error estimated from the last two grids is below the tolerance.
"""

import logging
import math
import os
from pathlib import Path

from picture import draw

from motoko.workflow import event

WIDTHS = (1.0, 0.5, 0.25, 0.125)
FIRST_N = 16
TOLERANCE = 4e-4
MOST_ITERATIONS = 3200

log = logging.getLogger("convergence")


async def main(workflow, **params):
    """Say what follows what, and begin with the coarsest grid for every width."""
    workflow.add_action("solved", task="solve", event="state = FINISHED", f=compare)
    workflow.add_action("not_solved", task="solve", event="state = FAILED", f=iterate_longer)
    too_coarse = f"(state = FINISHED or state = ACCEPTED), error > {TOLERANCE}"
    workflow.add_action("too_coarse", task="estimate", event=too_coarse, f=refine)
    fine_enough = f"state = FINISHED, error <= {TOLERANCE}"
    workflow.add_action("fine_enough", task="estimate", event=fine_enough, f=accept)
    workflow.add_action("accepted", task="estimate", event=all_are_accepted, f=conclude)
    workflow.add_error_handler(task="estimate")  # nothing mends these: the workflow ends
    for width in WIDTHS:
        await solve_on(workflow, FIRST_N, width)


async def solve_on(workflow, n, width):
    """Create a run that solves on a grid of n x n, which is made first if nobody has."""
    [(mesh, _)] = await workflow.mesh.createTask(n=n)
    grid = relative(workflow, mesh.file("grid.npz"))
    workflow.solve.createTask(n=n, width=width, run_params={"grid": grid})


def relative(workflow, file):
    """The path of a file from the workflow, which may be moved to another place."""
    return os.path.relpath(file, workflow.directory)


@event
async def compare(workflow, runs, **params):
    """Compare a solution with the one on a grid half as fine; the first has none."""
    for run, job in runs:
        if job.n == FIRST_N:
            await solve_on(workflow, 2 * job.n, job.width)
        else:
            here = [f"n = {job.n // 2}", f"width = {job.width}"]
            [(coarse, _)] = workflow.solve.select(here)
            files = {
                "coarse": relative(workflow, coarse.file("u.npz")),
                "fine": relative(workflow, run.file("u.npz")),
            }
            workflow.estimate.createTask(n=job.n, width=job.width, run_params=files)
        run.state = "COMPARED"


@event
async def iterate_longer(runs, **params):
    """Let a solver that did not converge try again with twice the iterations."""
    for run, _ in runs:
        if run.max_iterations >= MOST_ITERATIONS:
            raise RuntimeError(f"{run} fails with {run.max_iterations} iterations too")
        run.max_iterations *= 2
        run.state = "CREATED"


@event
async def refine(workflow, runs, **params):
    """Halve the spacing of the grid."""
    for run, job in runs:
        await solve_on(workflow, 2 * job.n, job.width)
        run.state = "REFINED"


@event
async def accept(runs, **params):
    """Leave this width as it is."""
    for run, _ in runs:
        run.state = "ACCEPTED"


def all_are_accepted(workflow, task_manager):
    """Whether each of these widths has a grid that is fine enough for this tolerance."""
    accepted = task_manager.select(f"state = ACCEPTED, error <= {TOLERANCE}")
    return {job.width for _, job in accepted}.issuperset(WIDTHS)


@event
async def conclude(workflow, **params):
    """Tabulate, draw and check what came out."""
    rows = [summary(workflow, width) for width in WIDTHS]
    lines = ["width   grid       error    order   centre, extrapolated"]
    lines += [
        f"{r['width']:<7} {r['n']:>3} x {r['n']:<3}  {r['errors'][-1]:.2e} {r['order']:7.4f}"
        f"   {r['centre']:.8f}"
        for r in rows
    ]
    text = "\n".join(lines)
    Path(workflow.directory, "result.txt").write_text(f"{text}\n")
    draw(rows, TOLERANCE, Path(workflow.directory, "convergence.png"))
    log.info("%s", text)
    for row in rows:
        check(row)
    workflow.vars.result = {str(row["width"]): row["centre"] for row in rows}
    workflow.finished = True


def summary(workflow, width):
    """What all grids of one width say together."""
    estimates = sorted(workflow.estimate.select(f"width = {width}"), key=lambda pair: pair[1].n)
    errors = [run.error for run, _ in estimates]
    last, job = estimates[-1]
    return {
        "width": width,
        "n": job.n,
        "grids": [job.n for _, job in estimates],
        "errors": errors,
        "true_errors": [run.true_error for run, _ in estimates],
        "order": math.log2(errors[-2] / errors[-1]),
        "centre": last.extrapolated,
    }


def check(row):
    """The stencil is of second order, and the temperature of the centre is known to be 1."""
    if abs(row["order"] - 2) > 0.05:
        raise RuntimeError(f"width {row['width']}: the observed order is {row['order']:.4f}")
    if abs(row["centre"] - 1) > 1e-6:
        raise RuntimeError(f"width {row['width']}: the centre has {row['centre']:.8f}, not 1")
