"""Add numbers up."""

import motoko

with motoko.running() as (run, job):
    run.y = sum(job.terms)
