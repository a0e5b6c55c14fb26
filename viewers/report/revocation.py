"""Was a certificate revoked, and when?

RFC 5280 section 5, for one authority and direct lists: a list counts only if the very issuer of the
certificate signed it. The caller compares dates: "revoked" means nothing without "before what".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa


def lists_of(
    issuer: x509.Certificate, crls: Sequence[x509.CertificateRevocationList]
) -> list[x509.CertificateRevocationList]:
    """Return those of `crls` that `issuer` signed."""
    key = issuer.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return []
    return [crl for crl in crls if crl.issuer == issuer.subject and crl.is_signature_valid(key)]


def revoked_at(
    certificate: x509.Certificate, lists: Sequence[x509.CertificateRevocationList]
) -> datetime | None:
    """Return the earliest time at which one of `lists` says the certificate was revoked."""
    serial = certificate.serial_number
    entries = [crl.get_revoked_certificate_by_serial_number(serial) for crl in lists]
    return min((entry.revocation_date_utc for entry in entries if entry is not None), default=None)
