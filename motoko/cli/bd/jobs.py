"""``canYouDigIt jobs ...``"""

from __future__ import annotations

import argparse

import click

from motoko.cli import output
from motoko.cli.bd import study as studies
from motoko.cli.bd.options import Arguments


def create(given: Arguments) -> int:
    """Make the jobs that ``job_space`` of ``bd.yaml`` describes."""
    with studies.to_write(given) as (_, study):
        n_new, n_jobs = study.create_jobs()
    click.echo(f"{n_new} new jobs, {n_jobs} in all")
    return 0


def info_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``jobs info``."""
    parser.add_argument("--job_id", type=int, help="show this one")
    parser.add_argument("--order", help="the entry to sort by")
    parser.add_argument("--infos", help="entries to show, as in id,x")


def info(given: Arguments) -> int:
    """List jobs, or show one."""
    from motoko.compat.selectors import JobSelector

    asked = {"constraints": given.constraints, "job_id": given.job_id}
    with studies.to_read(given) as (_, study):
        if given.job_id is not None:
            output.facts(list(study.job(given.job_id).entries.items()))
            return 0
        jobs = JobSelector(study).selectJobs(asked, sort_by=given.order)
        names = given.infos.split(",") if given.infos else ["id", *study.schema.job]
        rows = [[job[name.strip()] for name in names] for job in jobs]
    output.table([name.strip() for name in names], rows)
    return 0
