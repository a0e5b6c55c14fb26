"""Who vouches that a signature is this hospital's reader?

The hospital's own certification authority: a root (P-384, 20 years) certifies an issuing
authority (P-384, 10 years), which certifies readers (P-256, 3 years, RFC 5280 profile with
digitalSignature and nonRepudiation). Pure functions: certificates, keys and lists go in and out
as values and bytes; where they are kept is the caller's matter.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID

from viewers.report.keylock import (
    WrongSecret,
    lock_with_password,
    lock_with_secret,
    open_with_password,
    open_with_secret,
)

ROOT_DAYS, ISSUING_DAYS, READER_DAYS = 7305, 3653, 1096
CRL_DAYS = 30
CLOCK_ALLOWANCE = timedelta(minutes=5)
"""Certificates begin this much earlier, for machines whose clocks differ a little."""

ALMOST_A_SECOND = timedelta(microseconds=999_999)
"""Revocations round up to the next whole second, so that nothing signed before counts as after."""

_ROOT_PURPOSE = "authority root key"
_ISSUING_PURPOSE = "authority issuing key"
_READER_PURPOSE = "reader signing key"
_SESSION_PURPOSE = "session signing key "
_NAME_LIMIT = 64  # ub-common-name and ub-organization-name, RFC 5280 appendix A


@dataclass(frozen=True, slots=True)
class Authority:
    """The hospital's authority with its keys open; never written anywhere in this form."""

    root: x509.Certificate
    issuing: x509.Certificate
    root_key: ec.EllipticCurvePrivateKey = field(repr=False)
    issuing_key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """Issuing authority, then root: what a signature carries beside its own certificate."""
        return self.issuing, self.root

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: keys leave only locked."""
        raise TypeError("an open authority is not serialised")


@dataclass(frozen=True, slots=True)
class LockedAuthority:
    """The authority as it is kept: certificates as DER, keys locked under the gateway's secret."""

    root: bytes
    issuing: bytes
    root_key: bytes = field(repr=False)
    issuing_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """A reader's certificate (DER) and the key locked under what only the reader enters."""

    certificate: bytes
    locked_key: bytes = field(repr=False)

    @property
    def serial(self) -> int:
        """The certificate's serial number: what a revocation names."""
        return x509.load_der_x509_certificate(self.certificate).serial_number


@dataclass(frozen=True, slots=True)
class UnlockedKey:
    """A reader's key, open, with its certificate: what `seal` signs with."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: keys leave only locked."""
        raise TypeError("an open key is not serialised")


@dataclass(frozen=True, slots=True)
class Revocation:
    """A reader's certificate that no longer counts for signatures after `at`.

    `reason` is an RFC 5280 CRLReason, such as "superseded" (password reset),
    "cessation_of_operation" (left the hospital) or "key_compromise".
    """

    serial: int
    at: datetime
    reason: str = "superseded"


# --- the authority --------------------------------------------------------------------------------


def make_authority(hospital: str, *, now: datetime) -> Authority:
    """Return a new authority named after `hospital`, with fresh keys."""
    root_key = ec.generate_private_key(ec.SECP384R1())
    root_name = _name(hospital, f"{_short(hospital, 48)} Root CA")
    root = _authority_certificate(
        root_name, root_key.public_key(), root_name, root_key, now, ROOT_DAYS, path_length=1
    )
    issuing_key = ec.generate_private_key(ec.SECP384R1())
    issuing = _authority_certificate(
        _name(hospital, f"{_short(hospital, 40)} Report Signing CA"),
        issuing_key.public_key(),
        root_name,
        root_key,
        now,
        ISSUING_DAYS,
        path_length=0,
    )
    return Authority(root, issuing, root_key, issuing_key)


def lock_authority(authority: Authority, secret: bytes) -> LockedAuthority:
    """Return `authority` as it may be kept; `secret` (32 bytes or more) is the gateway's own."""
    return LockedAuthority(
        root=authority.root.public_bytes(Encoding.DER),
        issuing=authority.issuing.public_bytes(Encoding.DER),
        root_key=lock_with_secret(_der(authority.root_key), secret, purpose=_ROOT_PURPOSE),
        issuing_key=lock_with_secret(_der(authority.issuing_key), secret, purpose=_ISSUING_PURPOSE),
    )


def open_authority(locked: LockedAuthority, secret: bytes) -> Authority:
    """Return the authority that `lock_authority` locked.

    Raises:
        WrongSecret: another secret, or certificates and keys that do not belong together.
    """
    root = x509.load_der_x509_certificate(locked.root)
    issuing = x509.load_der_x509_certificate(locked.issuing)
    return Authority(
        root,
        issuing,
        _key_of(root, open_with_secret(locked.root_key, secret, purpose=_ROOT_PURPOSE)),
        _key_of(issuing, open_with_secret(locked.issuing_key, secret, purpose=_ISSUING_PURPOSE)),
    )


def make_crl(
    authority: Authority,
    revoked: Iterable[Revocation],
    *,
    number: int,
    now: datetime,
    days: int = CRL_DAYS,
) -> bytes:
    """Return the signed list of revoked readers (DER, RFC 5280 section 5).

    Keep every revocation in later lists: a report outlives its certificate. `number` must grow.
    """
    return _crl(authority.issuing, authority.issuing_key, revoked, number, now, days)


def make_root_crl(
    authority: Authority, *, number: int, now: datetime, days: int = CRL_DAYS
) -> bytes:
    """Return the root's (empty) revocation list (DER): the issuing authority stands."""
    return _crl(authority.root, authority.root_key, (), number, now, days)


# --- readers --------------------------------------------------------------------------------------


def issue_reader(
    authority: Authority,
    *,
    name: str,
    licence: str | None,
    hospital: str,
    password: str,
    now: datetime,
    pepper: bytes = b"",
    days: int = READER_DAYS,
) -> Credential:
    """Return a fresh key and certificate for a reader, the key locked under `password`.

    The subject holds the name as CN and the licence number as serialNumber (X.520). Safe to run at
    each password reset: revoke the earlier certificate's serial and keep both certificates.

    Raises:
        ValueError: a name longer than 64 characters, or a licence number that is not printable
            ASCII.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    until = min(now + timedelta(days=days), authority.issuing.not_valid_after_utc)
    certificate = (
        _builder(
            _name(hospital, name, licence),
            key.public_key(),
            authority.issuing.subject,
            authority.issuing_key,
            (now - CLOCK_ALLOWANCE, until),
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature", "content_commitment"), critical=True)
        .sign(authority.issuing_key, hashes.SHA256())
    )
    return relock(UnlockedKey(certificate, key), password, pepper=pepper)


def unlock(credential: Credential, password: str, *, pepper: bytes = b"") -> UnlockedKey:
    """Return the reader's key, opened by what the reader entered (takes about 0.2 s).

    Raises:
        WrongSecret: not that password.
    """
    certificate = x509.load_der_x509_certificate(credential.certificate)
    der = open_with_password(
        credential.locked_key, password, purpose=_READER_PURPOSE, pepper=pepper
    )
    return UnlockedKey(certificate, _key_of(certificate, der))


def relock(unlocked: UnlockedKey, password: str, *, pepper: bytes = b"") -> Credential:
    """Return the same key locked under another password (a change by the reader, not a reset)."""
    locked = lock_with_password(
        _der(unlocked.key), password, purpose=_READER_PURPOSE, pepper=pepper
    )
    return Credential(unlocked.certificate.public_bytes(Encoding.DER), locked)


def new_session_secret() -> bytes:
    """Return 32 random bytes, for a browser's cookie; the server keeps only what they wrap."""
    return os.urandom(32)


def wrap(unlocked: UnlockedKey, secret: bytes) -> bytes:
    """Return the open key encrypted under a browser's `secret` (32 bytes), for its certificate.

    Kept in a session row it lets that browser, and nobody with the database alone, sign for a
    while.
    """
    return lock_with_secret(_der(unlocked.key), secret, purpose=_session(unlocked.certificate))


def unwrap(wrapped: bytes, secret: bytes, certificate: bytes) -> UnlockedKey:
    """Return the key that `wrap` wrapped; `certificate` (DER) is the reader's.

    Raises:
        WrongSecret: another secret, another reader's certificate, or altered bytes.
    """
    owner = x509.load_der_x509_certificate(certificate)
    der = open_with_secret(wrapped, secret, purpose=_session(owner))
    return UnlockedKey(owner, _key_of(owner, der))


# --- certificates ---------------------------------------------------------------------------------


def _name(hospital: str, common: str, licence: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, _short(hospital, _NAME_LIMIT))]
    if licence:
        if not (licence.isascii() and licence.isprintable()):
            raise ValueError("a licence number is printable ASCII")
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, licence))
    if not 0 < len(common) <= _NAME_LIMIT:
        raise ValueError("a name in a certificate has 1 to 64 characters")
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common))
    return x509.Name(attributes)


def _short(text: str, limit: int) -> str:
    return text.strip()[:limit].strip()


def _authority_certificate(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    days: int,
    *,
    path_length: int,
) -> x509.Certificate:
    begin = now - CLOCK_ALLOWANCE
    return (
        _builder(subject, public, issuer, issuer_key, (begin, now + timedelta(days=days)))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(issuer_key, hashes.SHA384())
    )


def _builder(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    validity: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    issuer_identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_whole(validity[0]))
        .not_valid_after(_whole(validity[1]))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(issuer_identifier, critical=False)
    )


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


def _usage(*granted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in granted for usage in _USAGES})


def _crl(
    issuer: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    revoked: Iterable[Revocation],
    number: int,
    now: datetime,
    days: int,
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(_whole(now))
        .next_update(_whole(now + timedelta(days=days)))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
    )
    for revocation in revoked:
        builder = builder.add_revoked_certificate(_revoked(revocation))
    return builder.sign(key, hashes.SHA384()).public_bytes(Encoding.DER)


def _revoked(revocation: Revocation) -> x509.RevokedCertificate:
    return (
        x509.RevokedCertificateBuilder()
        .serial_number(revocation.serial)
        .revocation_date(_whole(revocation.at + ALMOST_A_SECOND))
        .add_extension(x509.CRLReason(x509.ReasonFlags[revocation.reason]), critical=False)
        .build()
    )


def _whole(moment: datetime) -> datetime:
    """Return `moment` in UTC without fractions: X.509 times have none."""
    return moment.astimezone(UTC).replace(microsecond=0)


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _key_of(certificate: x509.Certificate, der: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_der_private_key(der, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise WrongSecret
    spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*spki) != certificate.public_key().public_bytes(*spki):
        raise WrongSecret
    return key


def _session(certificate: x509.Certificate) -> str:
    return _SESSION_PURPOSE + certificate.fingerprint(hashes.SHA256()).hex()
