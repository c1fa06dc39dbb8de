"""Why a server cannot be reached over the network: found out by trying, one layer at a time.

ZEO's client only ever knows that it is not connected.
"""

from __future__ import annotations

import errno
import queue
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from motoko.errors import DatabaseRefused
from motoko.store import tls
from motoko.store.address import Address

#: How long it may take in all, each answer of whoever listens, and the greeting of one that
#: may be waiting for ours.
_AT_MOST_S = 5.0
_ANSWER_S = 2.0
_GREETING_S = 0.5
#: The longest first message of a ZEO server, which says what it speaks: Z5 or M5.
_LONGEST_GREETING = 16

_RENEW = "`motoko server certs --renew` makes new ones"
_OTHER_NAMES = (
    "is for other names; `motoko server certs --renew` makes one for those in motoko.yaml"
)
#: What OpenSSL says of the certificate that the server has shown.
_OF_SERVER = {
    9: "is not valid yet: compare the clocks of both machines",
    10: f"has expired; {_RENEW}",
    18: "is signed by itself, not by our authority",
    19: "is not signed by our authority",
    20: "is not signed by our authority",
    62: _OTHER_NAMES,
    64: _OTHER_NAMES,
}
#: What it says of ours, when it looks at that as the server would.
_OF_CLIENT = {
    9: "is not valid yet: compare the clocks of both machines",
    10: f"has expired; {_RENEW}",
    18: "is signed by itself, not by the authority",
    19: "is not signed by the authority",
    20: "is not signed by the authority",
    26: "is not one of a client",
}


class Refusal(NamedTuple):
    """Why nobody answers, in words; whether that may change without anybody's doing."""

    why: str
    goes_by: bool


def find_out(address: Address) -> Refusal:
    """Why a client cannot connect; ends in any case."""
    found: queue.SimpleQueue[Refusal] = queue.SimpleQueue()
    threading.Thread(target=lambda: found.put(_try(address)), daemon=True).start()
    try:
        return found.get(timeout=_AT_MOST_S)
    except queue.Empty:  # a name is asked for without any limit
        return Refusal(f"nobody says in time what address {address.host} has", True)


def _try(address: Address) -> Refusal:
    try:
        context = tls.client_context(address)
        places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except DatabaseRefused as error:
        return Refusal(error.why, False)
    except OSError as error:
        return Refusal(f"the name {address.host} is unknown here ({error.strerror})", True)
    try:
        with socket.create_connection((address.host, address.port), _ANSWER_S) as plain:
            if context is None:
                return _without_tls(address, plain)
            return _with_tls(address, plain, context)
    except TimeoutError:
        why = f"{address.host} does not answer: it is down, cut off, or keeps that port shut"
        return Refusal(why, True)
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            why = f"nobody listens there; `motoko server start` on {address.host} does"
            return Refusal(why, True)
        ip = places[0][4][0]
        return Refusal(f"{ip} cannot be reached: {error.strerror or error}", True)


def _with_tls(address: Address, plain: socket.socket, context: ssl.SSLContext) -> Refusal:
    try:
        spoken = context.wrap_socket(plain, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        what = _OF_SERVER.get(error.verify_code, f"is not taken: {error.verify_message}")
        return Refusal(f"the certificate of the server {what}", False)
    except TimeoutError:
        return _in_clear(address) or _SILENT
    except OSError:
        return _in_clear(address) or _NO_SERVER
    with spoken:
        try:
            return _greeted(spoken) or _turned_away(address)
        except TimeoutError:
            return _SILENT
        except OSError:
            return _turned_away(address)


def _turned_away(address: Address) -> Refusal:
    """What it means that a server shows a good certificate, looks at ours, and hangs up.

    It need not say why: so we look at ours as it does.
    """
    problem = _problem_of_ours(address)
    file = tls.pair(tls.directory_of(address) or Path(), tls.CLIENT).certificate
    if problem is not None:
        return Refusal(f"it refuses us: our certificate {file} {problem}", False)
    why = f"it hangs up: it does not take our certificate {file}, or is no database server"
    return Refusal(why, False)


def _problem_of_ours(address: Address) -> str | None:
    ours, judging = tls.client_context(address), tls.judging_context(address)
    if ours is None or judging is None:
        return None
    ours.check_hostname, ours.verify_mode = False, ssl.CERT_NONE
    to_judge, to_us = ssl.MemoryBIO(), ssl.MemoryBIO()
    us = ours.wrap_bio(to_us, to_judge)
    judge = judging.wrap_bio(to_judge, to_us, server_side=True)
    try:
        for side in (us, judge, us, judge):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return _OF_CLIENT.get(error.verify_code, f"is not taken: {error.verify_message}")
    return None


_NO_SERVER = Refusal("what listens there is no database server", False)
_SILENT = Refusal(
    "what listens there says nothing: it is stopped, busy or something else", True
)


def _greeted(spoken: socket.socket) -> Refusal | None:
    """What it means that this greets us as a server of databases does, or somehow else; None
    if it hangs up."""
    head = spoken.recv(4)
    size = int.from_bytes(head, "big")
    greeting = spoken.recv(size) if 0 < size <= _LONGEST_GREETING else b""
    if greeting[:1] not in (b"Z", b"M"):
        return _NO_SERVER if head else None
    why = "a database server answers there, and does not have this database, or not yet"
    return Refusal(why, True)


def _in_clear(address: Address) -> Refusal | None:
    """Whether it is a server that speaks without TLS."""
    try:
        with socket.create_connection((address.host, address.port), _ANSWER_S) as plain:
            found = _greeted(plain)
    except OSError:
        return None
    if found is None or not found.goes_by:
        return None
    return Refusal(
        "its server speaks without TLS; start it again, or say `insecure: true`", False
    )


def _without_tls(address: Address, plain: socket.socket) -> Refusal:
    plain.settimeout(_GREETING_S)
    try:
        return _greeted(plain) or _NO_SERVER
    except TimeoutError:
        pass
    except OSError:
        return _NO_SERVER
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address.host, address.port), _ANSWER_S) as second,
            context.wrap_socket(second),
        ):
            return Refusal("its server demands TLS; leave `insecure: true` out", False)
    except OSError:
        return _SILENT
