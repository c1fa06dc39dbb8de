"""Making the certificates that a workflow's server and its clients show each other.

An authority of the workflow's own signs both, and nobody else's certificates are taken. Its key
is needed to make further ones only.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from motoko.errors import CertificatesNotMade
from motoko.store.tls import AUTHORITY, CLIENT, SERVER, Pair, pair

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

#: How long they hold. The authority's is to outlive every workflow.
LIFE_DAYS = 730
_AUTHORITY_DAYS = 3650
#: Clocks of machines differ; a certificate may be used at once on all of them.
_EARLIER = timedelta(days=1)


class Certificate(NamedTuple):
    """One that there is: its file, until when it holds, and the names of a server."""

    file: Path
    until: datetime
    names: tuple[str, ...] = ()

    @property
    def has_expired(self) -> bool:
        """Whether it holds no more."""
        return self.until < datetime.now(UTC)


def make(
    directory: Path,
    names: Collection[str],
    *,
    days: float = LIFE_DAYS,
    renews: bool = False,
    parts: Sequence[str] = (SERVER, CLIENT),
) -> list[Certificate]:
    """Make what is missing, or with ``renews`` all but the authority; those that were made.

    ``names`` are those by which clients reach the server. CertificatesNotMade says what lacks.
    """
    _check_maker(directory)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    missing = [name for name in parts if renews or not _is_there(pair(directory, name))]
    if not missing:
        return []
    made = []
    authority = pair(directory, AUTHORITY)
    if not authority.certificate.exists():
        made.append(_make_authority(authority))
    if not authority.key.exists():
        why = "the authority's key is not here, by which new ones would have to be signed"
        raise CertificatesNotMade(str(authority.key), why)
    for name in missing:
        own = sorted(names) if name == SERVER else []
        made.append(_make(authority, pair(directory, name), own, days))
    return made


def present(directory: Path) -> list[Certificate]:
    """Those that lie in a directory. CertificatesNotMade for what is none."""
    _check_maker(directory)
    files = (pair(directory, name).certificate for name in (AUTHORITY, SERVER, CLIENT))
    return [_described(file) for file in files if file.exists()]


def _check_maker(directory: Path) -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        why = "making certificates needs cryptography: pip install 'motoko[tls]'"
        raise CertificatesNotMade(str(directory), why) from None


def _is_there(one: Pair) -> bool:
    return one.certificate.exists() and one.key.exists()


def _make_authority(place: Pair) -> Certificate:
    from cryptography import x509

    key = _new_key()
    # Told apart from all others, so that a wrong one is not taken for a damaged one.
    name = _name(f"Motoko workflow {os.urandom(4).hex()}")
    usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
    builder = (
        _builder(name, key.public_key(), _AUTHORITY_DAYS)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
    )
    return _sign_and_write(builder, key, key, place)


def _make(authority: Pair, place: Pair, names: Sequence[str], days: float) -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509.oid import ExtendedKeyUsageOID

    signing: Any = load_pem_private_key(authority.key.read_bytes(), None)
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    key = _new_key()
    is_server = bool(names)
    kind = ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
    usage = dict.fromkeys(_USAGES, False) | {"digital_signature": True}
    known = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    builder = (
        _builder(_name(f"Motoko {place.certificate.stem}"), key.public_key(), days)
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([kind]), critical=False)
        .add_extension(known, critical=False)
    )
    if is_server:
        shown = x509.SubjectAlternativeName([_general_name(name) for name in names])
        builder = builder.add_extension(shown, critical=False)
    return _sign_and_write(builder, key, signing, place)


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _name(text: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject: x509.Name, public_key: Any, days: float) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    end = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - _EARLIER)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _sign_and_write(
    builder: x509.CertificateBuilder, key: Any, signing: Any, place: Pair
) -> Certificate:
    from cryptography.hazmat.primitives import hashes, serialization

    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    signed = builder.sign(signing, hashes.SHA256())
    _write(place.key, secret)
    _write(place.certificate, signed.public_bytes(serialization.Encoding.PEM))
    return _described(place.certificate)


def _write(file: Path, content: bytes) -> None:
    """Nobody else can read it, not even for a moment; nobody sees half of it."""
    aside = file.with_name(f".{file.name}-{os.getpid()}")
    aside.unlink(missing_ok=True)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
        output.write(content)
    aside.replace(file)


def _described(file: Path) -> Certificate:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(file.read_bytes())
    except ValueError as error:
        raise CertificatesNotMade(str(file), f"is no certificate: {error}") from error
    names: tuple[str, ...] = ()
    try:
        kind = x509.SubjectAlternativeName
        names = tuple(
            str(one.value) for one in found.extensions.get_extension_for_class(kind).value
        )
    except x509.ExtensionNotFound:
        pass
    return Certificate(file, found.not_valid_after_utc, names)
