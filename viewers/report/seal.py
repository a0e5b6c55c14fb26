"""How is a report signed?

PAdES (ETSI EN 319 142-1) by pyHanko. Without a time-stamp authority: B-B with the signing time in
/M and the certificates and revocation lists of the moment in the same revision (what B-LT keeps,
and yet one signature covers the whole file). With one: B-LTA, which ends in a document time-stamp
over everything. The first signer certifies the document (DocMDP: only further signatures may
follow).

The same inputs give the same bytes (deterministic ECDSA, RFC 6979; document id from the content),
so a signing repeated after a crash makes the same file; time-stamps aside.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from asn1crypto import crl as asn1_crl
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.writer import BasePdfFileWriter
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner, Signer
from pyhanko.sign.signers.constants import ESIC_EXTENSION_1
from pyhanko.sign.signers.pdf_signer import (
    DSSContentSettings,
    PdfSigningSession,
    SigDSSPlacementPreference,
    TimestampDSSContentSettings,
)
from pyhanko.sign.timestamps import TimeStamper
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

from viewers.report.authority import UnlockedKey
from viewers.report.revision import Revision
from viewers.report.revocation import lists_of, revoked_at

READER_ROLE = "Reader"
REVIEWER_ROLE = "Reviewer"

# pyHanko warns that nothing is fetched: that is the intention here, no network from this room.
logging.getLogger("pyhanko.sign.signers.pdf_signer").setLevel(logging.ERROR)


class SealRefused(RuntimeError):
    """The document was not signed; the message says why."""


def seal(
    pdf: bytes,
    signer: UnlockedKey,
    chain: Sequence[x509.Certificate],
    crls: Sequence[bytes],
    when: datetime,
    *,
    role: str = READER_ROLE,
    reason: str,
    location: str,
    timestamper: TimeStamper | None = None,
    tsa_roots: Sequence[x509.Certificate] = (),
) -> bytes:
    """Return `pdf` signed by `signer` at `when`.

    Call it from a plain thread (it runs its own event loop); any number may run at once.

    Args:
        pdf: the printed report, or a report already signed by an earlier role.
        signer: the reader's open key.
        chain: issuing authority and root (the last is trusted).
        crls: revocation lists (DER) of both, current at `when`; empty for a bare B-B.
        when: the signing time (aware), written as /M; the caller's clock, not this machine's.
        role: name of the signature field, one per signer: "Reader", "Reviewer".
        reason: why the reader signs, such as "签发报告 Report signed".
        location: the hospital's name.
        timestamper: an RFC 3161 client; given, the result is B-LTA.
        tsa_roots: the roots of that time-stamp authority.

    Raises:
        SealRefused: the certificate is not valid at `when`, is revoked or has another purpose;
            the role has signed already; the PDF cannot be read; the time-stamp authority does not
            answer.
        ValueError: `when` has no time zone.
    """
    if when.tzinfo is None:
        raise ValueError("when has no time zone")
    moment = when.astimezone(UTC).replace(microsecond=0)
    _refuse_revoked(signer.certificate, chain, crls, moment)
    try:
        writer = Revision(pdf, moment.isoformat().encode())
        signed_before = bool(writer.prev.embedded_signatures)
        if any(one.field_name == role for one in writer.prev.embedded_signatures):
            raise SealRefused(f"{role} has signed this document already")
        roots = [chain[-1], *tsa_roots]
        context = _context(roots, chain[:-1], crls, None if timestamper else moment)
        metadata = PdfSignatureMetadata(
            field_name=role,
            subfilter=SigSeedSubFilter.PADES,
            md_algorithm="sha256",
            reason=reason,
            location=location,
            name=_common_name(signer.certificate),
            certify=not signed_before,
            docmdp_permissions=MDPPerm.FILL_FORMS,
            validation_context=context,
            signer_key_usage={"non_repudiation"},
            **_long_term(crls, timestamper),
        )
        hand = _SignerAt(metadata, _KeySigner(signer, chain), timestamper, role, moment)
        out = io.BytesIO()
        asyncio.run(_sign(hand, writer, context, out))
    except SealRefused:
        raise
    except (SigningError, PdfError, OSError) as error:
        raise SealRefused(f"not signed: {error}") from error
    return out.getvalue()


async def _sign(
    hand: PdfSigner,
    writer: Revision,
    context: ValidationContext,
    out: io.BytesIO,
) -> None:
    try:
        await hand.async_sign_pdf(writer, output=out)
    finally:
        await context.aclose()


class _KeySigner(Signer):
    """Signs with the reader's key, deterministically; an outside CA or HSM would take its place."""

    def __init__(self, unlocked: UnlockedKey, chain: Sequence[x509.Certificate]) -> None:
        store = SimpleCertificateStore()
        store.register_multiple([_asn1(certificate) for certificate in chain])
        super().__init__(signing_cert=_asn1(unlocked.certificate), cert_registry=store)
        self._key = unlocked.key

    async def async_sign_raw(
        self, data: bytes, digest_algorithm: str, dry_run: bool = False
    ) -> bytes:
        """Return the ECDSA signature of `data` (DER); pyHanko asks twice, first for its length."""
        if digest_algorithm != "sha256":
            raise SigningError(f"this key signs with sha256, not {digest_algorithm}")
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        return self._key.sign(data, algorithm)


class _SignerAt(PdfSigner):
    """A signer whose clock is handed in."""

    def __init__(
        self,
        metadata: PdfSignatureMetadata,
        signer: Signer,
        timestamper: TimeStamper | None,
        role: str,
        moment: datetime,
    ) -> None:
        super().__init__(
            metadata,
            signer,
            timestamper=timestamper,
            new_field_spec=SigFieldSpec(role, readable_field_name=role),
        )
        self._moment = moment

    def init_signing_session(
        self, pdf_out: Any, existing_fields_only: bool = False
    ) -> PdfSigningSession:
        """Return pyHanko's session, with the given moment as its time."""
        session = super().init_signing_session(pdf_out, existing_fields_only)
        session.system_time = self._moment
        return session

    def register_extensions(self, pdf_out: BasePdfFileWriter, *, md_algorithm: str) -> None:
        """Declare PAdES only: naming P-256 too would raise the file to PDF 2.0, out of PDF/A-3."""
        pdf_out.register_extension(ESIC_EXTENSION_1)


def _refuse_revoked(
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    crls: Sequence[bytes],
    moment: datetime,
) -> None:
    """Refuse when a list says that signer or issuing authority no longer counted at `moment`."""
    lists = [x509.load_der_x509_crl(der) for der in crls]
    for subject, issuer in pairwise([certificate, *chain]):
        revoked = revoked_at(subject, lists_of(issuer, lists))
        if revoked is not None and revoked <= moment:
            raise SealRefused("not signed: the certificate is revoked")


def _context(
    roots: Sequence[x509.Certificate],
    others: Sequence[x509.Certificate],
    crls: Sequence[bytes],
    moment: datetime | None,
) -> ValidationContext:
    """Return the path rules a signer must meet at `moment` (None: now, as time-stamps are).

    The lists go along to be embedded; `_refuse_revoked` is what reads them.
    """
    return ValidationContext(
        trust_roots=[_asn1(certificate) for certificate in roots],
        other_certs=[_asn1(certificate) for certificate in others],
        crls=[asn1_crl.CertificateList.load(der) for der in crls],
        moment=moment,
        allow_fetching=False,
        revocation_mode="soft-fail",
    )


def _long_term(crls: Sequence[bytes], timestamper: TimeStamper | None) -> dict[str, Any]:
    if timestamper is not None:
        return {
            "embed_validation_info": True,
            "use_pades_lta": True,
            "dss_settings": DSSContentSettings(
                include_vri=False,
                placement=SigDSSPlacementPreference.TOGETHER_WITH_NEXT_TS,
                next_ts_settings=TimestampDSSContentSettings(
                    include_vri=False, update_before_ts=True
                ),
            ),
        }
    if crls:
        return {
            "embed_validation_info": True,
            "dss_settings": DSSContentSettings(
                include_vri=False, placement=SigDSSPlacementPreference.TOGETHER_WITH_SIGNATURE
            ),
        }
    return {}


def _common_name(certificate: x509.Certificate) -> str:
    values = certificate.subject.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)
    return str(values[0].value) if values else ""


def _asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
