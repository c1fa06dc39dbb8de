"""Take the square root of a number."""

import math

import motoko

with motoko.running() as (run, job):
    run.y = math.sqrt(job.x)
