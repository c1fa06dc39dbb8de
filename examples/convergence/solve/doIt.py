"""Solve the Poisson equation on a grid: five-point stencil, conjugate gradients.

The solution goes to u.npz. Fails when the iterations allowed are not enough.
"""

from pathlib import Path

import numpy as np
from plate import heating

import motoko

TOLERANCE = 1e-10  # of the residual, relative to the right-hand side


def apply_stencil(u, h):
    """-(u_xx + u_yy) at the inner nodes, for a temperature that is zero on the boundary."""
    result = 4.0 * u
    result[1:] -= u[:-1]
    result[:-1] -= u[1:]
    result[:, 1:] -= u[:, :-1]
    result[:, :-1] -= u[:, 1:]
    return result / h**2


def conjugate_gradients(f, h, max_iterations, report):
    """The solution at the inner nodes and the number of iterations it took."""
    u = np.zeros_like(f)
    residual, direction = f.copy(), f.copy()
    square = begin = np.sum(residual**2)
    for iteration in range(1, max_iterations + 1):
        product = apply_stencil(direction, h)
        step = square / np.sum(direction * product)
        u += step * direction
        residual -= step * product
        before, square = square, np.sum(residual**2)
        relative = float(np.sqrt(square / begin))
        if iteration % 20 == 0:
            report(relative, iteration)
        if relative <= TOLERANCE:
            return u, iteration
        direction = residual + square / before * direction
    raise RuntimeError(f"residual {relative:.1e} after {max_iterations} iterations")


with motoko.running() as (run, job):
    x = np.load(Path(run.workflow).parent / run.grid)["x"]
    inner, run.iterations = conjugate_gradients(
        heating(x, job.width)[1:-1, 1:-1],
        h=x[1] - x[0],
        max_iterations=run.max_iterations,
        report=lambda residual, step: run.push_quantity(residual, step, "residual"),
    )
    np.savez("u.npz", x=x, u=np.pad(inner, 1))
