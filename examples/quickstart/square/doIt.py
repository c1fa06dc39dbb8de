"""Square a number."""

import motoko

with motoko.running() as (run, job):
    run.y = job.x**2
