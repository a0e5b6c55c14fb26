"""Which Site does a caller belong to, and what may it send?"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from worklist.errors import Code, Refusal

# PS3.5 table 6.2-1, VR AE: at most 16 characters of the default repertoire, no backslash, no
# control characters
_AE_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
# in place of a fingerprint: any certificate that the gateway's TLS settings trust
ANY_CERTIFICATE = "any"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


class SiteKind(StrEnum):
    """A center sends studies and waits for reports; a hospital reads."""

    CENTER = "center"
    HOSPITAL = "hospital"


@dataclass(frozen=True)
class Site:
    """An institution (PS3.3 Institution Name). `key` is its short, permanent name in commands and
    addresses."""

    key: str
    name: str
    name_en: str
    kind: SiteKind
    timezone: str
    phone: str | None = None
    read_by: frozenset[str] = frozenset()

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which DICOM dates and times without offset were written."""
        return ZoneInfo(self.timezone)


@dataclass(frozen=True)
class Device:
    """An Application Entity that may call. `called`, `host` (an address or a name) and
    `certificate` narrow it when Sites share a calling title.

    `certificate` is the SHA-256 (hex) of the client certificate it must show, or `any` for one the
    gateway trusts; `tls` means that it calls, and is called, over TLS only; `returns_reports` that
    signed reports are sent to it.
    `modality` may be set by the engineer ("ECG" for a cart that sends PDFs); `one_per_image` is
    learned: the device opens one association per image, so the end of an association says nothing
    about the study.
    """

    id: int
    site: str
    ae_title: str
    called: str | None = None
    host: str | None = None
    port: int | None = None
    modality: str | None = None
    one_per_image: bool = False
    certificate: str | None = None
    tls: bool = False
    returns_reports: bool = False


def checked_site(site: Site) -> Site:
    """The site, or a refusal naming what is wrong with its key or zone."""
    if not _KEY.fullmatch(site.key):
        raise Refusal(
            Code.INVALID, "A site key has 1 to 32 letters, digits, dots, dashes or underscores."
        )
    try:
        ZoneInfo(site.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Refusal(Code.INVALID, f"There is no time zone {site.timezone!r}.") from error
    return site


def checked_ae_title(title: str) -> str:
    """The AE Title without padding, or a refusal (PS3.5 section 6.2, VR AE)."""
    title = title.strip(" ")
    if not _AE_TITLE.fullmatch(title):
        raise Refusal(
            Code.INVALID, "An AE Title has 1 to 16 printable ASCII characters, no backslash."
        )
    return title


def checked_certificate(text: str) -> str:
    """A SHA-256 fingerprint as 64 hex digits, from any usual way of writing it, or `any`."""
    plain = text.strip().replace(":", "").lower()
    if plain != ANY_CERTIFICATE and not _FINGERPRINT.fullmatch(plain):
        raise Refusal(
            Code.INVALID, "A certificate is named by its SHA-256 fingerprint (64 hex digits)."
        )
    return plain


def _itself(host: str) -> frozenset[str]:
    return frozenset({host})


def device_of(
    devices: Iterable[Device],
    called: str,
    address: str,
    *,
    certificate: str | None = None,
    tls: bool = False,
    addresses: Callable[[str], frozenset[str]] = _itself,
) -> Device:
    """The one registered device among those with the calling title, or a refusal.

    A device that names a called title, a host or a certificate matches only those; among the
    matching ones the most specific wins. Two equally specific devices of different Sites are
    ambiguous, and refused. `certificate` is the SHA-256 of what the caller showed; `addresses`
    says which addresses a device's host has.

    Raises:
        Refusal: UNKNOWN_CALLER, AMBIGUOUS_CALLER; NOT_ALLOWED where TLS is missing.
    """
    matching = [
        device
        for device in devices
        if device.called in (None, called)
        and _shown(device, certificate)
        and (device.host is None or address in addresses(device.host))
    ]
    if not matching:
        raise Refusal(Code.UNKNOWN_CALLER, "This calling AE Title is not registered here.")
    best = max(_specificity(device) for device in matching)
    winners = [device for device in matching if _specificity(device) == best]
    if len({device.site for device in winners}) > 1:
        raise Refusal(
            Code.AMBIGUOUS_CALLER,
            "Several sites own this calling AE Title; nothing tells them apart.",
        )
    # only now: a device that forgets TLS must not pass for another, less specific one
    allowed = [device for device in winners if tls or not device.tls]
    if not allowed:
        raise Refusal(Code.NOT_ALLOWED, "This device must call over TLS.")
    return allowed[0]


def _shown(device: Device, certificate: str | None) -> bool:
    if device.certificate is None:
        return True
    return certificate is not None and device.certificate in (ANY_CERTIFICATE, certificate)


def _specificity(device: Device) -> int:
    named = (device.called, device.host, device.certificate)
    return 2 * sum(one is not None for one in named) - (device.certificate == ANY_CERTIFICATE)
