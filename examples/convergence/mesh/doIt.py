"""Write the coordinates of a square grid, the same in both directions, to grid.npz."""

import numpy as np

import motoko

with motoko.running() as (run, job):
    np.savez("grid.npz", x=np.linspace(0.0, 1.0, job.n + 1))
