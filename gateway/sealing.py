"""How does a checked signature become a sealed document?

The one place that signs: check (one transaction) → print, seal, keep the object (no transaction) →
keep the report (one transaction that checks again). A refusal in between leaves nothing behind.
"""

import base64
import hashlib
import secrets
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast, get_args
from zoneinfo import ZoneInfo

from sqlalchemy import Row

from gateway import people
from gateway.assemble import Parts
from gateway.people import Seat
from storage.conflict import Undecided
from storage.index import IndexUnit
from viewers.ecg.dicom import read_recordings
from viewers.ecg.page import page_svg
from viewers.image.instance import open_instance
from viewers.image.rendered import Window, key_image
from viewers.report.authority import UnlockedKey
from viewers.report.content import (
    EcgSheet,
    InstanceRead,
    Institution,
    Kind,
    Mark,
    Patient,
    Picture,
    Reader,
    Replacement,
    ReportContent,
    Study,
    content_digest,
)
from viewers.report.content import KeyImage as KeyPicture
from viewers.report.page import MissingGlyph, report_pdf
from viewers.report.seal import SealRefused, seal
from worklist import signing
from worklist.errors import Code, Refusal
from worklist.patient import age
from worklist.person import Caller, Person, Role
from worklist.report import Report
from worklist.signing import Sealed, SignRequest, ToSign
from worklist.site import Site

REASON = "签发报告 Report signed"
# an ECG study of many recordings does not become a book
MOST_SHEETS = 6


@dataclass(frozen=True)
class _Ready:
    """Everything the document needs, read in the transaction that checked the signature."""

    to_sign: ToSign
    reader: Person
    hospital: Site
    center: Site
    key: UnlockedKey
    serial: str
    authority: Row[Any]
    revoked: list[tuple[str, datetime]]
    instances: list[Row[Any]]
    replaced_by_name: str | None


def sign(parts: Parts, seat: Seat, task_id: str, request: SignRequest) -> Report:
    """Sign and keep one report. The same request again returns the first result.

    Raises:
        Refusal: what `worklist.signing.check` refuses; SIGNING_LOCKED; NOT_PRINTABLE;
            CERTIFICATE_ENDED.
    """
    now = parts.now()
    with parts.new_unit() as unit:  # the check holds the rows it looks at
        first = signing.repeated(unit, seat.caller, request)
        if first is not None:
            return first
        seat.caller.require(Role.READER, Role.REVIEWER)
        ready = _ready(unit, seat, task_id, request, now)
    verify_id = new_verify_id()
    report_id = uuid.uuid4().hex
    content = _content(parts, ready, report_id, verify_id, now)
    pdf = _sealed_pdf(parts, ready, content, now)
    locator = parts.objects.put("report", (pdf,))
    sealed = Sealed(
        pdf=locator,
        pdf_digest=hashlib.sha256(pdf).hexdigest(),
        content_digest=content_digest(content),
        verify_id=verify_id,
        certificate_serial=ready.serial,
    )
    try:
        report = _keep(parts, seat.caller, request, ready, sealed, report_id, now)
    except Undecided:  # the report may be there, and then it needs its document
        raise
    except BaseException:
        _forget(parts, locator)
        raise
    if report.pdf != locator:  # the same request was faster on another thread
        _forget(parts, locator)
    return report


def new_verify_id() -> str:
    """The unguessable public id of one version: 120 random bits in lower-case base32."""
    return base64.b32encode(secrets.token_bytes(15)).decode().lower()


def verify_code(verify_id: str) -> str:
    """The id as it is printed, in groups of four."""
    return "-".join(verify_id[at : at + 4] for at in range(0, len(verify_id), 4)).upper()


def _ready(
    unit: IndexUnit, seat: Seat, task_id: str, request: SignRequest, now: datetime
) -> _Ready:
    key, serial = people.signing_key(unit, seat, now)
    to_sign = signing.check(unit, task_id, seat.caller, request, now)
    sites = unit.people.sites()
    authority = unit.people.authority(seat.person.site)
    if authority is None:
        raise Refusal(Code.SIGNING_LOCKED, "This hospital has no certificate authority.")
    replaces = to_sign.replaces
    author = unit.people.person(replaces.author) if replaces else None
    return _Ready(
        to_sign=to_sign,
        reader=seat.person,
        hospital=sites[seat.person.site],
        center=sites[to_sign.study.site],
        key=key,
        serial=serial,
        authority=authority,
        revoked=unit.people.revoked(seat.person.site),
        instances=list(unit.studies.instance_rows(to_sign.study.id)),
        replaced_by_name=author.display if author else None,
    )


def _keep(
    parts: Parts,
    reader: Caller,
    request: SignRequest,
    ready: _Ready,
    sealed: Sealed,
    report_id: str,
    now: datetime,
) -> Report:
    with parts.new_unit() as unit:
        in_force = unit.people.certificate(reader.name)
        if in_force is None or in_force.serial != ready.serial:
            raise Refusal(Code.SIGNING_LOCKED, "Please enter your password to sign.")
        return signing.keep(
            unit, reader, request, ready.to_sign, sealed, report_id, now, parts.policy, parts.now()
        )


def _forget(parts: Parts, locator: str) -> None:
    with suppress(OSError):  # `check` sweeps what could not be deleted
        parts.objects.delete(locator)


# -- the document ---------------------------------------------------------------------------------


def _sealed_pdf(parts: Parts, ready: _Ready, content: ReportContent, now: datetime) -> bytes:
    try:
        page = report_pdf(content)
    except MissingGlyph as error:
        raise Refusal(
            Code.NOT_PRINTABLE,
            "The text has a character that cannot be printed.",
            field=error.field,
            fields=[error.field] if error.field else [],
        ) from error
    authority = people.opened_authority(parts, ready.authority)
    try:
        return seal(
            page,
            ready.key,
            authority.chain,
            # a little older than the signature: X.509 times have no fractions
            people.revocation_lists(authority, ready.revoked, now - timedelta(seconds=1)),
            now,
            reason=REASON,
            location=ready.hospital.name,
        )
    except SealRefused as error:
        raise Refusal(
            Code.CERTIFICATE_ENDED,
            "Your certificate cannot sign any more. Please ask for a new one.",
        ) from error


def _content(
    parts: Parts, ready: _Ready, report_id: str, verify_id: str, now: datetime
) -> ReportContent:
    to_sign, study = ready.to_sign, ready.to_sign.study
    marks = study.marks | ({"follows_report"} if to_sign.task.follows_report else set())
    return ReportContent(
        report_id=report_id,
        version=to_sign.version,
        kind=cast(Kind, study.kind),
        hospital=_institution(ready.hospital),
        center=_institution(ready.center),
        patient=_patient(ready),
        study=Study(
            uid=study.uid,
            description=study.description,
            accession=study.accession,
            acquired_at=study.acquired_at,
            received_at=study.received_at,
        ),
        findings=to_sign.draft.findings,
        impression=to_sign.draft.impression,
        result=to_sign.result.value,
        reader=Reader(
            display=ready.reader.display,
            display_en=ready.reader.display_en,
            licence_number=ready.reader.licence_number,
        ),
        signed_at=now.replace(microsecond=0),  # as printed, and as /M says
        time_zone=ready.hospital.timezone,
        call_back=ready.reader.phone or ready.hospital.phone or "",
        verify_url=f"{parts.settings.address}/verify/{verify_id}",
        verify_code=verify_code(verify_id),
        requester=study.requester,
        question=study.question,
        marks=tuple(cast(Mark, mark) for mark in get_args(Mark) if mark in marks),
        replaces=_replacement(parts, ready),
        pictures=tuple(_pictures(parts, ready)),
        instances=tuple(
            InstanceRead(sop_uid=i.sop_uid, sha256=i.digest) for i in to_sign.instances
        ),
    )


def _institution(site: Site) -> Institution:
    return Institution(name=site.name, name_en=site.name_en, phone=site.phone)


def _patient(ready: _Ready) -> Patient:
    study = ready.to_sign.study
    one = study.patient
    on = study.study_date or (study.acquired_at or study.received_at).date()
    sex = one.sex if one.sex in ("M", "F", "O") else None
    return Patient(
        name=one.name,
        name_latin=one.name_latin,
        id=one.patient_id,
        sex=cast(Any, sex),
        age=age(one.birth_date, on),
        birth_date=one.birth_date,
    )


def _replacement(parts: Parts, ready: _Ready) -> Replacement | None:
    older = ready.to_sign.replaces
    if older is None:
        return None
    return Replacement(
        kind="correction",
        version=older.version,
        signed_at=older.signed_at,
        signed_by=ready.replaced_by_name or older.author,
        reason=ready.to_sign.task.return_note or "检查有新到数据 The study has grown.",
        sha256=older.pdf_digest,
        original=parts.objects.get(older.pdf),
    )


# -- its pictures ---------------------------------------------------------------------------------


def _pictures(parts: Parts, ready: _Ready) -> list[Picture]:
    """The ECG to scale, and the picture the reader chose."""
    pictures: list[Picture] = []
    for row in ready.instances:
        if row.kind == "ecg" and len(pictures) < MOST_SHEETS:
            pictures += _sheets(parts.objects.get(row.locator), ready.center.zone)
    chosen = ready.to_sign.draft.key_image
    found = next(
        (row for row in ready.instances if chosen and row.sop_uid == chosen["sop_uid"]), None
    )
    if chosen is not None and found is not None and found.kind == "image":
        pictures.append(_key_image(parts.objects.get(found.locator), chosen))
    return pictures[:MOST_SHEETS]


def _sheets(data: bytes, zone: ZoneInfo) -> list[Picture]:
    """One sheet for each recording. What cannot be drawn was not shown to the reader either."""
    try:
        recordings = read_recordings(data, zone=zone)
    except Refusal:
        return []
    return [
        EcgSheet(svg=page_svg(one), band=_band(one.filters.low_hz, one.filters.high_hz))
        for one in recordings
        if not one.derived
    ]


def _band(low: float | None, high: float | None) -> str | None:
    if low and high:
        return f"{low:g}–{high:g} Hz"
    return None


def _key_image(data: bytes, chosen: dict[str, Any]) -> KeyPicture:
    given = chosen.get("window")
    window = Window(given["center"], given["width"]) if given else None
    return KeyPicture(png=key_image(open_instance(data), int(chosen["frame"]), window=window))
