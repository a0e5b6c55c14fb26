"""With which protocols, keys and trust do devices call over TLS?

The Modified BCP 195 profile (PS3.15 section B.12, RFC 9325): TLS 1.3, and TLS 1.2 with forward
secrecy and authenticated encryption alone.
"""

import ssl
from pathlib import Path
from typing import Final

from gateway.settings import Settings
from worklist.errors import Code, Refusal

# RFC 9325 section 4.2
CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)


def require_tls_settings(settings: Settings) -> None:
    """Refuse settings of the TLS port that do not fit together, or files that are of no use."""
    if settings.dicom_tls_port is not None:
        server_context(settings)


def server_context(settings: Settings) -> ssl.SSLContext:
    """The TLS of the second port.

    With TELEREAD_DICOM_TLS_CA a client may show a certificate; one that it does not trust ends the
    handshake. Whether a device must show one, and which, stands in its registration.

    Raises:
        Refusal: INVALID, with the setting's name and what is wrong with it.
    """
    certificate, key = settings.dicom_tls_cert, settings.dicom_tls_key
    if certificate is None or key is None:
        raise Refusal(
            Code.INVALID,
            "TELEREAD_DICOM_TLS_PORT needs TELEREAD_DICOM_TLS_CERT and TELEREAD_DICOM_TLS_KEY.",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _readable("TELEREAD_DICOM_TLS_CERT", certificate)
    _readable("TELEREAD_DICOM_TLS_KEY", key)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise _wrong("TELEREAD_DICOM_TLS_CERT, TELEREAD_DICOM_TLS_KEY", error) from error
    if settings.dicom_tls_ca is not None:
        _trust(context, settings.dicom_tls_ca)
    return context


def _trust(context: ssl.SSLContext, ca: Path) -> None:
    _readable("TELEREAD_DICOM_TLS_CA", ca)
    try:
        context.load_verify_locations(ca)
    except (ssl.SSLError, ValueError) as error:
        raise _wrong("TELEREAD_DICOM_TLS_CA", error) from error
    context.verify_mode = ssl.CERT_OPTIONAL
    # the certificate of a single device may be named there itself
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _readable(setting: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise Refusal(Code.INVALID, f"{setting}: {path}: {error.strerror}.") from error


def _wrong(setting: str, error: Exception) -> Refusal:
    reason = str(getattr(error, "reason", None) or error).replace("_", " ").lower()
    return Refusal(Code.INVALID, f"{setting}: {reason}.")


def _no_password() -> str:
    raise ValueError("the key is encrypted; the gateway has nobody to ask for its password")
