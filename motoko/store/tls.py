"""Mutual TLS: both sides of a connection show a certificate of the workflow's own authority.

A server of databases believes what its clients send, so that whoever may speak to it may
execute what they like: nobody does without a certificate. The files lie in one directory, which
`motoko.store.certificates` makes; those of other makers will do.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from motoko.errors import DatabaseRefused
from motoko.store.address import Address

#: Where scripts are told that the certificates lie.
VARIABLE = "MOTOKO_CERTIFICATES"
AUTHORITY = "ca"
SERVER = "server"
CLIENT = "client"


class Pair(NamedTuple):
    """A certificate and its key."""

    certificate: Path
    key: Path


def pair(directory: Path, name: str) -> Pair:
    """Where the certificate and the key of this name lie."""
    return Pair(directory / f"{name}.crt", directory / f"{name}.key")


def directory_of(address: Address) -> Path | None:
    """Where its certificates lie: where the workflow says, else where the environment does."""
    told = os.environ.get(VARIABLE)
    if address.certificates is None or address.certificates.is_dir() or not told:
        return address.certificates
    return Path(told)


def server_context(address: Address) -> ssl.SSLContext | None:
    """What a server speaks TLS with; None for without. DatabaseRefused if something lacks."""
    return _context(address, SERVER, ssl.PROTOCOL_TLS_SERVER)


def client_context(address: Address) -> ssl.SSLContext | None:
    """What a client speaks TLS with; None for without. DatabaseRefused if something lacks."""
    return _context(address, CLIENT, ssl.PROTOCOL_TLS_CLIENT)


def judging_context(address: Address) -> ssl.SSLContext | None:
    """What a certificate of a client can be looked at with as a server of the same authority
    does, by a client."""
    return _context(address, CLIENT, ssl.PROTOCOL_TLS_SERVER)


def _context(address: Address, name: str, protocol: int) -> ssl.SSLContext | None:
    directory = directory_of(address)
    if directory is None or address.path is not None:
        return None
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    authority, own = pair(directory, AUTHORITY).certificate, pair(directory, name)
    _load(address, authority, lambda: context.load_verify_locations(authority))
    _load(address, own.certificate, lambda: None)
    _load(address, own.key, lambda: context.load_cert_chain(own.certificate, own.key))
    return context


def _load(address: Address, file: Path, load: Callable[[], None]) -> None:
    try:
        file.open("rb").close()  # ssl does not say which file is missing
        load()
    except FileNotFoundError as error:
        why = (
            f"{file} is missing; `motoko server certs` makes certificates; or say"
            " `insecure: true`, if nobody else can reach that port"
        )
        raise DatabaseRefused(str(address), why) from error
    except ssl.SSLError as error:
        is_other = error.reason == "KEY_VALUES_MISMATCH"
        what = f"is not the key of {file.with_suffix('.crt')}" if is_other else "is damaged"
        why = f"{file} {what}; `motoko server certs --renew` makes it anew"
        raise DatabaseRefused(str(address), why) from error
    except OSError as error:
        raise DatabaseRefused(str(address), f"{file}: {error.strerror or error}") from error
