"""Is this file the report it claims to be, and who signed it when?

The order of trust:

1. The stored whole-file digest, when the caller knows it: the hospital's own register says which
   bytes it signed. Nothing of a file with another digest is even parsed.
2. The signers the report must have, all of them and in their order (a file cut back to its first
   signature is a valid PDF).
3. Each PAdES signature: mathematically right, of a certificate under our root that was meant for
   signing, valid and not revoked *at the time of signing*.
4. The last signature or document time-stamp covers every byte of the file.

What proves the time? Somebody who holds a revoked key can write any /M. So the time inside the
signature counts only as a claim. Proof is, in this order: the time in the hospital's own register
(`registered_at`, good only together with the matching digest: that row was written when it
happened, and it names these very bytes), or an RFC 3161 time-stamp over the signature. Without
either, the certificate must be good at the moment of asking (`at`); when it has expired or was
revoked since, the answer is no, with code "time_unproven", and not a guess.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import (
    DocumentSecurityStore,
    EmbeddedPdfSignature,
    PdfSignatureStatus,
    async_validate_pdf_signature,
    async_validate_pdf_timestamp,
)
from pyhanko.sign.validation.errors import NoDSSFoundError
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko_certvalidator import ValidationContext

from viewers.report.revocation import lists_of, revoked_at
from viewers.report.seal import READER_ROLE

CLOCK_ALLOWANCE = timedelta(minutes=5)

# A hostile file makes pyHanko log what is in it; the verdict says what a person needs.
logging.getLogger("pyhanko").setLevel(logging.CRITICAL)
logging.getLogger("pyhanko_certvalidator").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Why:
    """The reason of a verdict: a stable code and one sentence in each language."""

    code: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class SignerFound:
    """Who signed: name and licence number as certified, claimed time, certificate serial (hex)."""

    name: str
    licence: str | None
    when: datetime | None
    serial: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Genuine or not, why, by whom, and the file's SHA-256 (hex)."""

    genuine: bool
    why: Why
    signers: tuple[SignerFound, ...]
    sha256: str


GENUINE = Why("genuine", "签名后一个字节也没有改动。", "Not one byte was changed since signing.")
DIGEST_DIFFERS = Why(
    "digest_differs",
    "文件与本院登记的报告不同。",
    "The file differs from the report this hospital registered.",
)
UNREADABLE = Why("unreadable", "文件不是可读的 PDF。", "The file is not a PDF that can be read.")
NOT_SIGNED = Why("not_signed", "文件没有电子签名。", "The file carries no signature.")
SIGNERS_DIFFER = Why(
    "signers_differ",
    "签名人与该报告应有的签名人不符。",
    "The signatures are not those this report must have.",
)
CHANGED = Why("changed", "文件在签名后被改动。", "The file was changed after it was signed.")
NOT_OURS = Why(
    "not_ours",
    "签名证书不是本院颁发的签名证书。",
    "The signing certificate is not one this hospital issued for signing.",
)
EXPIRED = Why(
    "expired",
    "签名时证书不在有效期内。",
    "The certificate was not valid at the time of signing.",
)
REVOKED = Why("revoked", "签名时证书已被吊销。", "The certificate was revoked before signing.")
REVOCATION_UNKNOWN = Why(
    "revocation_unknown",
    "没有可用的吊销列表，无法判断。",
    "No usable revocation list is at hand, so it cannot be told.",
)
TIME_UNPROVEN = Why(
    "time_unproven",
    "证书现已过期或吊销，且无法证明签名在此之前。",
    "The certificate has since expired or been revoked, and nothing proves the signature older.",
)
TIME_CONTRADICTS = Why(
    "time_contradicts",
    "文件中的签名时间与登记时间不符。",
    "The signing time in the file contradicts the time that is known.",
)


class _Refuted(Exception):
    """One of the checks failed; carries why."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.code)
        self.why = why


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of every signature."""

    roots: tuple[asn1_x509.Certificate, ...]
    tsa_roots: tuple[asn1_x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]
    at: datetime
    registered_at: datetime | None


def verify(
    pdf: bytes,
    trust_roots: Sequence[x509.Certificate],
    crls: Sequence[bytes],
    *,
    expected_sha256: str | None,
    required_signers: Sequence[str] = (READER_ROLE,),
    at: datetime,
    registered_at: datetime | None = None,
    tsa_roots: Sequence[x509.Certificate] = (),
) -> Verdict:
    """Return whether `pdf` is genuine, why, and who signed. Never raises for any bytes.

    Call it from a plain thread (it runs its own event loop). On a public page always hand in
    `expected_sha256`: then no stranger's file is parsed.

    Args:
        pdf: the whole file.
        trust_roots: the hospital's root certificates, present and past.
        crls: current revocation lists (DER); those inside the file are used as well, each only if
            signed by the issuer it speaks for.
        expected_sha256: the registered digest (hex), None when the report is in no register.
        required_signers: roles that must have signed, in order.
        at: the moment of asking (aware).
        registered_at: when the register says it was signed; counts only with `expected_sha256`.
        tsa_roots: roots of trusted time-stamp authorities.
    """
    digest = hashlib.sha256(pdf).hexdigest()
    if expected_sha256 is not None and not hmac.compare_digest(digest, expected_sha256.lower()):
        return Verdict(False, DIGEST_DIFFERS, (), digest)
    found: list[SignerFound] = []
    try:
        reader, signatures = _signatures(pdf, required_signers)
        question = _Question(
            roots=tuple(_asn1(root) for root in trust_roots),
            tsa_roots=tuple(_asn1(root) for root in tsa_roots),
            crls=tuple(_known_crls(crls, reader)),
            at=at,
            registered_at=registered_at if expected_sha256 is not None else None,
        )
        asyncio.run(_check_all(pdf, signatures, question, found))
    except _Refuted as refuted:
        return Verdict(False, refuted.why, tuple(found), digest)
    except (Exception, RecursionError):
        # Whatever a forged file breaks in the parser, it is not the document that was signed.
        return Verdict(False, CHANGED, (), digest)
    return Verdict(True, GENUINE, tuple(found), digest)


def _signatures(
    pdf: bytes, required: Sequence[str]
) -> tuple[PdfFileReader, list[EmbeddedPdfSignature]]:
    """Return the reader and every signature and time-stamp in order, all required ones there."""
    try:
        reader = PdfFileReader(io.BytesIO(pdf))
        everything = list(reader.embedded_signatures)
    except (Exception, RecursionError) as error:
        raise _Refuted(UNREADABLE if not pdf.startswith(b"%PDF-") else CHANGED) from error
    names = [one.field_name for one in everything if one.sig_object_type == "/Sig"]
    if not names:
        raise _Refuted(NOT_SIGNED)
    if names != list(required):
        raise _Refuted(SIGNERS_DIFFER)
    return reader, everything


async def _check_all(
    pdf: bytes,
    signatures: list[EmbeddedPdfSignature],
    question: _Question,
    found: list[SignerFound],
) -> None:
    for one in signatures:
        _contents_are_exact(pdf, one)
        if one.sig_object_type == "/Sig":
            await _check_signature(one, question, found)
        else:
            await _check_time_stamp(one, question)
    _covers_everything(pdf, signatures[-1])


async def _check_signature(
    one: EmbeddedPdfSignature, question: _Question, found: list[SignerFound]
) -> None:
    certificate = _pyca(one.signer_cert)
    claimed = one.self_reported_timestamp
    moment = min(
        max(question.registered_at or question.at, certificate.not_valid_before_utc),
        certificate.not_valid_after_utc,
    )
    status = await async_validate_pdf_signature(
        one,
        _context(question.roots, moment),
        ts_validation_context=_context(question.tsa_roots or question.roots, question.at),
        key_usage_settings=KeyUsageConstraints(key_usage={"non_repudiation"}),
    )
    if not (status.intact and status.valid and status.docmdp_ok and status.seed_value_ok):
        raise _Refuted(CHANGED)
    if not status.trusted or status.validation_path is None:
        raise _Refuted(NOT_OURS)
    path = [_pyca(link) for link in status.validation_path.iter_certs(include_root=True)]
    _only_of(one, path)
    found.append(_signer(certificate, claimed))
    _time_holds(claimed, question)
    proven = question.registered_at or _stamped_at(status)
    _path_holds(path, question, claimed, proven)


async def _check_time_stamp(one: EmbeddedPdfSignature, question: _Question) -> None:
    context = _context(question.tsa_roots or question.roots, question.at)
    status = await async_validate_pdf_timestamp(one, context)
    if not (status.intact and status.valid):
        raise _Refuted(CHANGED)


def _stamped_at(status: PdfSignatureStatus) -> datetime | None:
    """Return the time of a trusted RFC 3161 stamp on the signature, if there is one."""
    stamp = status.timestamp_validity
    if stamp is not None and stamp.valid and stamp.intact and stamp.trusted:
        return stamp.timestamp
    return None


# --- time and revocation --------------------------------------------------------------------------


def _time_holds(claimed: datetime | None, question: _Question) -> None:
    """Refute a signature that claims to be younger than what is known of it."""
    latest = question.registered_at or question.at
    if claimed is None or claimed > latest + CLOCK_ALLOWANCE:
        raise _Refuted(TIME_CONTRADICTS)


def _path_holds(
    path: list[x509.Certificate],
    question: _Question,
    claimed: datetime | None,
    proven: datetime | None,
) -> None:
    """Refute a path (root first) that had ended or was revoked when it counted."""
    moment = proven or question.at
    for issuer, subject in pairwise(path):
        if not subject.not_valid_before_utc <= moment <= subject.not_valid_after_utc:
            raise _Refuted(_unless_proven(EXPIRED, claimed, subject.not_valid_after_utc, proven))
        lists = lists_of(issuer, question.crls)
        current = [crl for crl in lists if (crl.next_update_utc or moment) >= moment]
        if not (lists if proven else current):
            raise _Refuted(REVOCATION_UNKNOWN)
        revoked = revoked_at(subject, lists)
        if revoked is not None and revoked <= moment:
            raise _Refuted(_unless_proven(REVOKED, claimed, revoked, proven))


def _unless_proven(
    why: Why, claimed: datetime | None, end: datetime, proven: datetime | None
) -> Why:
    """Return TIME_UNPROVEN where only the file's own claim puts the signature before the end."""
    return TIME_UNPROVEN if proven is None and claimed is not None and claimed <= end else why


def _known_crls(
    crls: Sequence[bytes], reader: PdfFileReader
) -> list[x509.CertificateRevocationList]:
    """Return the lists handed in and those in the file's Document Security Store."""
    embedded: list[bytes] = []
    try:
        store = DocumentSecurityStore.read_dss(reader)
        embedded = [reference.get_object().data for reference in store.crls]
    except NoDSSFoundError:
        pass
    return [x509.load_der_x509_crl(der) for der in [*crls, *embedded]]


# --- bytes ----------------------------------------------------------------------------------------


def _contents_are_exact(pdf: bytes, one: EmbeddedPdfSignature) -> None:
    """Refute a signature container with room for changes nobody would notice.

    /Contents itself is outside what is signed: it must be upper-case hex of one DER value in its
    only encoding, then zeros, and fill the gap in /ByteRange to the last character.
    """
    start, length, after, _ = (int(number) for number in one.byte_range)
    gap = pdf[length:after]
    if start != 0 or gap[:1] != b"<" or gap[-1:] != b">" or gap != gap.upper():
        raise _Refuted(CHANGED)
    held = bytes.fromhex(gap[1:-1].decode("ascii"))
    body = cms.ContentInfo.load(held, strict=False).dump(force=True)
    if held[: len(body)] != body or any(held[len(body) :]):
        raise _Refuted(CHANGED)
    _fields_are_exact(one)


def _fields_are_exact(one: EmbeddedPdfSignature) -> None:
    """Refute other values in container fields that no signature covers (RFC 5652, 5.1)."""
    data, signer = one.signed_data, one.signer_info
    exact = (
        data["version"].native == signer["version"].native == "v1"
        and len(data["signer_infos"]) == 1
        and len(data["digest_algorithms"]) == 1
        and data["digest_algorithms"][0].dump() == signer["digest_algorithm"].dump()
    )
    if one.sig_object_type == "/Sig" and not exact:
        raise _Refuted(CHANGED)


def _only_of(one: EmbeddedPdfSignature, path: list[x509.Certificate]) -> None:
    """Refute a container that carries certificates other than those of the path."""
    known = {link.public_bytes(Encoding.DER) for link in path}
    carried = one.signed_data["certificates"]
    if {choice.chosen.dump() for choice in carried} - known:
        raise _Refuted(CHANGED)


def _covers_everything(pdf: bytes, last: EmbeddedPdfSignature) -> None:
    """Refute bytes before, between or behind what the last signature covers."""
    start, length, after, rest = (int(number) for number in last.byte_range)
    if (start, after + rest) != (0, len(pdf)) or not 0 < length < after:
        raise _Refuted(CHANGED)


# --- certificates ---------------------------------------------------------------------------------


def _context(roots: tuple[asn1_x509.Certificate, ...], moment: datetime) -> ValidationContext:
    """Return pyHanko's path rules at `moment`; for revocation see `_path_holds`."""
    return ValidationContext(
        trust_roots=list(roots), moment=moment, allow_fetching=False, revocation_mode="soft-fail"
    )


def _signer(certificate: x509.Certificate, claimed: datetime | None) -> SignerFound:
    return SignerFound(
        name=_attribute(certificate, NameOID.COMMON_NAME) or "",
        licence=_attribute(certificate, NameOID.SERIAL_NUMBER),
        when=claimed,
        serial=f"{certificate.serial_number:x}",
    )


def _attribute(certificate: x509.Certificate, name: x509.ObjectIdentifier) -> str | None:
    values = certificate.subject.get_attributes_for_oid(name)
    return str(values[0].value) if values else None


def _asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))


def _pyca(certificate: asn1_x509.Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate.dump())
