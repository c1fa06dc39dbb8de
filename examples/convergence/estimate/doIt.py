"""Estimate the error of a solution from that on a grid half as fine.

When the error goes as h^2, the coarser solution is three errors of the finer one away from it
(Richardson). What remains is taken off the temperature in the centre.
"""

from pathlib import Path

import numpy as np
from plate import temperature

import motoko

with motoko.running() as (run, job):
    workflow_dir = Path(run.workflow).parent
    coarse = np.load(workflow_dir / run.coarse)["u"]
    fine = np.load(workflow_dir / run.fine)
    x, u = fine["x"], fine["u"]
    correction = (u[::2, ::2] - coarse) / 3

    centre = job.n // 2
    run.error = np.abs(correction).max()
    run.true_error = np.abs(u - temperature(x, job.width)).max()
    run.extrapolated = u[centre, centre] + correction[centre // 2, centre // 2]
