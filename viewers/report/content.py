"""What does a report say?

Frozen values only: a `ReportContent` is everything a printed report shows, and nothing else decides
what is printed. Its canonical JSON (one spelling per value) gives the content digest, which DICOM,
FHIR and HL7 derivations carry, so that each can be traced to the signed document.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["ECG", "CT", "MR", "DX", "US", "OT"]
ResultClass: TypeAlias = Literal["normal", "abnormal", "critical", "unreadable"]
Sex: TypeAlias = Literal["M", "F", "O"]
Mark: TypeAlias = Literal[
    "no_patient_id",
    "charset_guessed",
    "identity_conflict",
    "late_instances",
    "uid_conflict",
    "clock_off",
    "follows_report",
]
ReplacementKind: TypeAlias = Literal["correction", "addendum", "withdrawal"]

SCHEMA = "teleread.report/1"


class ContentInvalid(ValueError):
    """The report content contradicts itself; the message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Institution:
    """A hospital or a center as the page names it."""

    name: str
    name_en: str | None = None
    phone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Who the study is of; `age` is a DICOM Age String (PS3.5 AS): "058Y", "4M", "12D", "3W"."""

    name: str
    name_latin: str | None = None
    id: str | None = None
    sex: Sex | None = None
    age: str | None = None
    birth_date: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What was read; `acquired_at` is an aware instant, `device` what the header names."""

    uid: str
    description: str
    accession: str | None = None
    acquired_at: datetime | None = None
    received_at: datetime | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who reports and signs."""

    display: str
    display_en: str | None = None
    title: str | None = None
    licence_number: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """Which signed version this one stands in for, and why.

    `sha256` is the whole-file digest of the earlier PDF, `original` its exact bytes: given, they
    are embedded (PDF/A-3 associated file), so that the earlier signature can still be checked.
    """

    kind: ReplacementKind
    version: int
    signed_at: datetime
    signed_by: str
    reason: str
    sha256: str | None = None
    original: bytes | None = None

    def __post_init__(self) -> None:
        """Refuse an embedded original that is not the file `sha256` speaks of."""
        if self.original is None or self.sha256 is None:
            return
        if hashlib.sha256(self.original).hexdigest() != self.sha256:
            raise ContentInvalid("replaces.original is not the file that replaces.sha256 names")


@dataclass(frozen=True, slots=True, kw_only=True)
class EcgSheet:
    """A 12-lead sheet as SVG whose width and height are in mm: it is printed at exactly that size.

    `speed_mm_s`, `gain_mm_mv` and `band` (such as "0.05–150 Hz") are what the sheet was drawn with;
    they are printed beside it.
    """

    svg: str
    speed_mm_s: float = 25.0
    gain_mm_mv: float = 10.0
    band: str | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyImage:
    """One picture the reader chose, as PNG, with the words below it."""

    png: bytes
    caption: str | None = None


Picture: TypeAlias = EcgSheet | KeyImage


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRead:
    """One instance the reader saw: SOP Instance UID and SHA-256 of its bytes (hex)."""

    sop_uid: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """One version of one report, whole.

    `call_back` is the number to ring with questions; a critical result shows it large. Instants are
    aware; `time_zone` (IANA) is only how they are printed. `verify_url` goes into the QR code,
    `verify_code` beside it.

    Raises:
        ContentInvalid: an instant without a zone, a version below 1, or a replacement that does not
            come before this version.
    """

    report_id: str
    version: int
    kind: Kind
    hospital: Institution
    center: Institution
    patient: Patient
    study: Study
    findings: str
    impression: str
    result: ResultClass
    reader: Reader
    signed_at: datetime
    time_zone: str
    call_back: str
    verify_url: str
    verify_code: str
    requester: str | None = None
    question: str | None = None
    marks: tuple[Mark, ...] = ()
    replaces: Replacement | None = None
    pictures: tuple[Picture, ...] = ()
    instances: tuple[InstanceRead, ...] = ()

    def __post_init__(self) -> None:
        """Check what would make the printed page lie."""
        if self.version < 1:
            raise ContentInvalid("version counts from 1")
        _aware("signed_at", self.signed_at)
        _aware("study.acquired_at", self.study.acquired_at)
        _aware("study.received_at", self.study.received_at)
        if self.replaces is not None:
            _aware("replaces.signed_at", self.replaces.signed_at)
            if self.replaces.version >= self.version:
                raise ContentInvalid("replaces.version must be an earlier version")


def canonical_json(content: ReportContent) -> bytes:
    """Return the one UTF-8 spelling of `content`: keys sorted, no blanks, instants in UTC with Z.

    Pictures and an embedded original stand in it as their SHA-256, so that it stays small and can
    be shown. Same content, same bytes, on every machine (RFC 8785's rules for the values used
    here).
    """
    body = {"schema": SCHEMA, **_plain(content)}
    text = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


def content_digest(content: ReportContent) -> str:
    """Return the SHA-256 (hex) of the canonical JSON: what derivations of the report carry."""
    return hashlib.sha256(canonical_json(content)).hexdigest()


def _aware(field: str, value: datetime | None) -> None:
    if value is not None and value.tzinfo is None:
        raise ContentInvalid(f"{field} has no time zone")


_DIGESTED = {"svg": "svg_sha256", "png": "png_sha256", "original": "original_sha256"}


def _plain(value: Any) -> Any:
    """Turn a content value into what JSON can say, pictures into digests."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if hasattr(value, "__dataclass_fields__"):
        return dict(_member(f.name, getattr(value, f.name)) for f in fields(value))
    return value


def _member(name: str, value: Any) -> tuple[str, Any]:
    if name in _DIGESTED and value is not None:
        data = value.encode() if isinstance(value, str) else value
        return _DIGESTED[name], hashlib.sha256(data).hexdigest()
    return name, _plain(value)
