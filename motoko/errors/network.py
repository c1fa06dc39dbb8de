"""What is wrong between hosts."""

from __future__ import annotations

from motoko.errors.workflows import DatabaseUnavailable, StudyError


class DatabaseRefused(DatabaseUnavailable):
    """The server of a database and this process do not speak to each other: a certificate is
    wrong, missing or expired, or what listens there is something else."""

    transient = False


class CertificatesNotMade(StudyError, RuntimeError):
    """Certificates cannot be made or read."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place}: {why}", place=place, why=why)
