"""Databases over the network: who gets in, and what the others are told."""

from __future__ import annotations

import asyncio.trsock
import gc
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from motoko.errors import CertificatesNotMade, DatabaseRefused, DatabaseUnavailable
from motoko.store import certificates, tls
from motoko.store.address import Address, Served
from motoko.store.refusal import find_out
from motoko.store.server import Server
from tests.support.network import far_study, free_port, listener, make_certificates, mixed
from tests.support.studies import served, write_study


class Place(NamedTuple):
    """A server that demands the certificates of a directory; nobody listens at the other."""

    port: int
    good: Path
    other: Path
    tmp: Path

    def address(self, certificates_dir: Path | None, host: str = "localhost") -> Address:
        """Where a client of these certificates goes."""
        return Address(None, host, self.port, storage="s", certificates=certificates_dir)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    tmp = tmp_path_factory.mktemp("tls")
    good = make_certificates(tmp / "good", "localhost", "127.0.0.1")
    other = make_certificates(tmp / "other")
    port = free_port()
    study = far_study(write_study(tmp / "s"), f"zeo://localhost:{port}", good)
    with served(study):
        study.initialise()
        yield Place(port, good, other, tmp)
        study.close()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers may take as long as a busy machine needs for them."""
    monkeypatch.setattr("motoko.store.refusal._ANSWER_S", 30.0)
    monkeypatch.setattr("motoko.store.refusal._AT_MOST_S", 90.0)
    monkeypatch.setattr("motoko.store.refusal._GREETING_S", 0.1)


def expired(directory: Path, good: Path) -> Path:
    """The authority of another directory, and certificates of it that are too old."""
    mixed(directory, ca=good)
    certificates.make(directory, {"localhost"}, days=-1)
    return directory


def test_several_databases_are_served_at_one_port_to_those_who_show_a_certificate(
    tmp_path: Path,
) -> None:
    own = make_certificates(tmp_path / "certs")
    host = f"zeo://localhost:{free_port()}"
    one, two = (far_study(write_study(tmp_path / n), host, own) for n in ("one", "two"))
    again = far_study(tmp_path / "one", host, own)
    with served(one, two):
        for study in (one, two):
            study.initialise()
        one.create_tasks({"x": [1.0, 2.0]}, None, run_name="a", event_name="main")

        assert (len(again.runs), len(two.runs)) == (2, 0)
        for study in (one, two, again):
            study.close()


CLIENTS: dict[str, tuple[Callable[[Place, Path], Path], str]] = {
    "of another authority": (
        lambda place, tmp: mixed(tmp / "c", ca=place.good, client=place.other),
        "it refuses us: our certificate {tmp}/c/client.crt is not signed by the authority",
    ),
    "expired": (
        lambda place, tmp: expired(tmp / "c", place.good),
        "it refuses us: our certificate {tmp}/c/client.crt has expired;"
        " `motoko server certs --renew` makes new ones",
    ),
    "missing": (
        lambda place, tmp: mixed(tmp / "c", ca=place.good),
        "{tmp}/c/client.crt is missing; `motoko server certs` makes certificates; or say"
        " `insecure: true`, if nobody else can reach that port",
    ),
    "of a server": (
        lambda place, tmp: of_a_server(place, tmp),
        "it refuses us: our certificate {tmp}/c/client.crt is not one of a client",
    ),
    "with another key": (
        lambda place, tmp: with_another_key(place, tmp),
        "{tmp}/c/client.key is not the key of {tmp}/c/client.crt;"
        " `motoko server certs --renew` makes it anew",
    ),
    "of those who know another server": (
        lambda place, tmp: mixed(tmp / "c", ca=place.other, client=place.good),
        "the certificate of the server is not signed by our authority",
    ),
}


def of_a_server(place: Place, tmp: Path) -> Path:
    directory = mixed(tmp / "c", ca=place.good, server=place.good)
    for file, source in zip(
        tls.pair(directory, "client"), tls.pair(directory, "server"), strict=True
    ):
        source.rename(file)
    return directory


def with_another_key(place: Place, tmp: Path) -> Path:
    directory = mixed(tmp / "c", ca=place.good, client=place.good)
    (directory / "client.key").write_bytes((place.other / "client.key").read_bytes())
    return directory


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_with_a_wrong_certificate_is_told_what_is_wrong(
    kind: str, place: Place, tmp_path: Path
) -> None:
    make, words = CLIENTS[kind]
    host = f"zeo://localhost:{place.port}"
    study = far_study(place.tmp / "s", host, make(place, tmp_path))

    with pytest.raises(DatabaseRefused, match=re.escape(words.format(tmp=tmp_path))) as caught:
        study.database.connect(wait_s=0.1)

    assert not caught.value.transient


def test_nobody_speaks_to_the_server_without_a_certificate(place: Place) -> None:
    context = ssl.create_default_context(cafile=str(place.good / "ca.crt"))
    with (
        socket.create_connection(("localhost", place.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as spoken,
        suppress(OSError),
    ):
        assert spoken.recv(4) == b""


def test_an_address_that_is_no_server_of_ours_is_explained(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def why(address: Address) -> tuple[str, bool]:
        return find_out(address)

    good = place.address(place.good)

    nobody = good._replace(port=free_port())
    assert why(nobody) == (
        "nobody listens there; `motoko server start` on localhost does",
        True,
    )
    unknown = why(good._replace(host="no-such-host.invalid"))
    assert unknown[0].startswith("the name no-such-host.invalid is unknown here")
    clear = why(good._replace(certificates=None))
    assert clear == ("its server demands TLS; leave `insecure: true` out", False)
    missing = why(good._replace(storage="nonsense"))
    assert missing[0].startswith("a database server answers there, and does not have this")
    with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        text, goes_by = why(good._replace(port=port))
        assert text.startswith("what listens there is no database server") and not goes_by
        monkeypatch.setattr("motoko.store.refusal._GREETING_S", 30.0)
        text, goes_by = why(good._replace(port=port, certificates=None))
        assert text == "what listens there is no database server" and not goes_by


def test_a_server_that_says_nothing_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motoko.store.refusal._ANSWER_S", 0.1)
    with listener(None) as port:
        found = find_out(place.address(place.good)._replace(port=port))

    assert found.goes_by and "says nothing" in found.why


@pytest.mark.parametrize(
    ("names", "days", "words"),
    [
        (("elsewhere",), 30, "the certificate of the server is for other names"),
        (("localhost",), -1, "the certificate of the server has expired"),
        (None, 30, "its server speaks without TLS"),
    ],
)
def test_what_is_wrong_with_a_server_is_said(
    names: tuple[str, ...] | None, days: float, words: str, place: Place, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    if names is not None:
        mixed(own, ca=place.good)
        certificates.make(own, names, days=days)
    address = place.address(own if names else None)._replace(port=free_port())
    server = Server([Served(write_study(tmp_path / "t") / "t.db", address)])
    server.start()

    found = find_out(address._replace(certificates=place.good))

    server.close()
    assert found.why.startswith(words) and not found.goes_by


def test_a_server_without_certificates_does_not_listen(tmp_path: Path) -> None:
    address = Address(None, "localhost", free_port(), certificates=tmp_path / "none")
    server = Server([Served(tmp_path / "s.db", address)])

    with pytest.raises(DatabaseRefused, match=r"none/ca\.crt is missing"):
        server.start()

    assert "nobody listens" in find_out(address._replace(certificates=None)).why


def test_a_port_that_another_one_has_is_said(place: Place, tmp_path: Path) -> None:
    server = Server([Served(tmp_path / "s.db", place.address(place.good))])

    with pytest.raises(DatabaseUnavailable, match=r"cannot listen there: .*in use"):
        server.start()


def test_certificates_that_are_there_stay_until_they_are_renewed(tmp_path: Path) -> None:
    place = make_certificates(tmp_path / "c", "node", "10.0.0.1")
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    assert certificates.make(place, {"node"}) == []

    made = certificates.make(place, {"other"}, renews=True)

    assert [one.file.name for one in made] == ["server.crt", "client.crt"]
    after = {file.name: file.read_bytes() for file in place.iterdir()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"server.crt", "server.key", "client.crt", "client.key"}
    shown = {one.file.name: one.names for one in certificates.present(place)}
    assert shown == {"ca.crt": (), "server.crt": ("other",), "client.crt": ()}
    assert {file.stat().st_mode & 0o777 for file in place.iterdir()} == {0o600}
    (place / "ca.key").unlink()
    with pytest.raises(CertificatesNotMade, match=r"the authority's key is not here"):
        certificates.make(place, {"node"}, renews=True)


def test_certificates_are_found_where_the_environment_says_if_not_here(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTOKO_CERTIFICATES", str(place.good))

    assert tls.directory_of(place.address(tmp_path / "none")) == place.good
    assert tls.directory_of(place.address(place.other)) == place.other
    assert tls.directory_of(place.address(None)) is None


def test_both_ends_of_a_connection_find_out_by_themselves_that_it_is_cut(place: Place) -> None:
    study = far_study(place.tmp / "s", f"zeo://localhost:{place.port}", place.good)
    study.database.connect()
    client = study.database._db.storage._server.client
    here = client.protocol.sm_protocol.transport.get_extra_info("socket")
    mine = here.getsockname()

    ends = [here, *(one for one in accepted() if one.getpeername() == mine)]
    asked = [
        (
            one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            one.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
        )
        for one in ends
    ]

    study.database.close()
    assert asked == [(1, 3, 10_000)] * 2


def accepted() -> list[socket.socket]:
    """The connections that servers in this process have taken."""
    kind = asyncio.trsock.TransportSocket
    found = (one._sock for one in gc.get_objects() if type(one) is kind)
    return [one for one in found if one.fileno() >= 0 and _has_peer(one)]


def _has_peer(one: socket.socket) -> bool:
    try:
        return one.family != socket.AF_UNIX and bool(one.getpeername())
    except OSError:
        return False


@pytest.mark.parametrize(
    ("host", "found", "is_here", "listens"),
    [
        ("node", "127.0.1.1", True, None),
        ("node", "127.0.0.1", True, None),
        ("node", "192.0.2.7", False, "node"),
        ("localhost", "127.0.0.1", True, "localhost"),
        ("127.0.0.1", "127.0.0.1", True, "127.0.0.1"),
    ],
)
def test_a_name_that_leads_a_machine_only_to_itself_is_listened_to_everywhere(
    host: str,
    found: str,
    is_here: bool,
    listens: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, 9100))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known)
    address = Address(None, host, 9100, certificates=tmp_path)

    assert address.is_here is is_here
    assert address.to_listen == (listens, 9100)
    assert address._replace(certificates=None).to_listen == (host, 9100)
