"""How does a program store instances over the web (STOW-RS, PS3.18 section 10.5)?"""

import logging
import struct
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gateway.assemble import Parts
from gateway.dicom.status import SUCCESS, status_of
from gateway.dicom.store import StoreRequest, store
from gateway.web.accept import media_type
from gateway.web.multipart import Splitter
from storage.header import Header, read_header
from storage.scan import TRANSFER_SYNTAXES
from worklist.errors import Code, Refusal
from worklist.person import Caller, Role
from worklist.site import Device

log = logging.getLogger("teleread.dicom")

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
MOST_INSTANCE_BYTES = 1 << 30
MOST_PARTS = 20_000
MAY_STORE = (Role.DOCTOR, Role.COORDINATOR, Role.ADMIN)

_PREAMBLE = 128
_LONGEST_META = 64 * 1024
_LONG_LENGTH = frozenset({b"OB", b"OW", b"UN", b"UT", b"SQ"})
_LONGEST_BOUNDARY = 200
_LONGEST_AE_TITLE = 16


@dataclass(frozen=True)
class File:
    """A DICOM file as it came: what its File Meta Information says, and the data set."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data: memoryview


@dataclass
class _Outcome:
    """What became of the parts of one request, as items of the answer's sequences."""

    address: str
    stored: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    studies: set[str] = field(default_factory=set)

    def keep(self, header: Header) -> None:
        study = f"{self.address}/studies/{header.study_uid}"
        own = f"{study}/series/{header.series_uid}/instances/{header.sop_uid}"
        self.studies.add(study)
        item = _references(header.sop_class, header.sop_uid)
        self.stored.append(item | {"00081190": {"vr": "UR", "Value": [own]}})

    def fail(self, sop_class: str, sop_uid: str, status: int) -> None:
        item = _references(sop_class, sop_uid)
        self.failed.append(item | {"00081197": {"vr": "US", "Value": [status]}})

    def answer(self) -> JSONResponse:
        body: dict[str, Any] = {}
        if len(self.studies) == 1:
            body["00081190"] = {"vr": "UR", "Value": list(self.studies)}
        if self.failed:
            body["00081198"] = {"vr": "SQ", "Value": self.failed}
        if self.stored:
            body["00081199"] = {"vr": "SQ", "Value": self.stored}
        status = 200 if not self.failed else 202 if self.stored else 409
        return JSONResponse(body, status, media_type=DICOM_JSON)


def may_store(who: Caller, site: str) -> None:
    """Refuse unless the caller is of this Site and trusted with sending."""
    who.require_site(site)
    if who.site != site:
        raise Refusal(Code.NOT_ALLOWED, "Instances are stored by the site's own people only.")
    who.require(*MAY_STORE)


async def store_instances(
    request: Request, parts: Parts, who: Caller, address: str, study_uid: str | None
) -> JSONResponse:
    """Store each part as it comes; 200 all, 202 some, 409 none of them (PS3.18 table 10.5.3-1).

    `address` is that of the DICOMweb service below which the caller's study will be found.
    """
    splitter = _splitter(request)
    association = f"stow-{uuid.uuid4().hex[:12]}"
    device = Device(0, who.site, who.name.removeprefix("token:")[:_LONGEST_AE_TITLE])
    outcome = _Outcome(address)
    try:
        async for content_type, body in _parts(request, splitter):
            if len(outcome.stored) + len(outcome.failed) >= MOST_PARTS:
                raise Refusal(Code.INVALID, f"At most {MOST_PARTS} instances in one request.")
            await run_in_threadpool(
                _store_one, parts, device, association, content_type, body, study_uid, outcome
            )
    except ClientDisconnect:
        log.warning("a request to store has broken off (association %s)", association)
    finally:
        await run_in_threadpool(parts.ingest.association_ended, device, association)
    if not splitter.ended:  # the last part was cut
        outcome.fail("", "", status_of(Code.TRUNCATED))
    if not outcome.stored and not outcome.failed:
        raise Refusal(Code.INVALID, "The body holds no instance.")
    return outcome.answer()


def read_file(body: bytes | bytearray) -> File:
    """A DICOM file (PS3.10 section 7.1) taken apart; UNREADABLE where it is none."""
    view = memoryview(body)
    if bytes(view[_PREAMBLE : _PREAMBLE + 4]) != b"DICM":
        raise Refusal(Code.UNREADABLE, "A part of the body is not a DICOM file.")
    values: dict[int, str] = {}
    at = _PREAMBLE + 4
    try:
        while bytes(view[at : at + 2]) == b"\x02\x00":
            element, vr = struct.unpack_from("<H2s", view, at + 2)
            long = vr in _LONG_LENGTH
            length = struct.unpack_from("<I" if long else "<H", view, at + (8 if long else 6))[0]
            start = at + (12 if long else 8)
            if length > _LONGEST_META:
                raise Refusal(Code.UNREADABLE, "The file meta information cannot be read.")
            values[element] = bytes(view[start : start + length]).decode("ascii", "replace")
            at = start + length
    except struct.error as error:
        raise Refusal(Code.TRUNCATED, "The file meta information is cut.") from error
    meta = {element: value.strip("\0 ") for element, value in values.items()}
    return File(meta.get(0x0002, ""), meta.get(0x0003, ""), meta.get(0x0010, ""), view[at:])


def _splitter(request: Request) -> Splitter:
    content = media_type(request.headers.get("Content-Type", ""))
    boundary = content.parameters.get("boundary", "")
    encoded = request.headers.get("Content-Encoding", "identity").lower() != "identity"
    if not content.multipart or content.content not in (DICOM, "*/*") or encoded:
        raise HTTPException(415)
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise Refusal(Code.INVALID, "The content type names no boundary.")
    return Splitter(boundary, MOST_INSTANCE_BYTES)


async def _parts(request: Request, splitter: Splitter) -> AsyncIterator[tuple[str, bytearray]]:
    async for chunk in request.stream():
        for part in splitter.feed(chunk):
            yield part


def _store_one(
    parts: Parts,
    device: Device,
    association: str,
    content_type: str,
    body: bytearray,
    study_uid: str | None,
    outcome: _Outcome,
) -> None:
    file = File("", "", "", memoryview(b""))
    try:
        if content_type not in (DICOM, ""):
            raise Refusal(Code.UNREADABLE, "A part of the body is of another type.")
        file = read_file(body)
        if file.transfer_syntax not in TRANSFER_SYNTAXES:
            raise Refusal(Code.UNREADABLE, "This transfer syntax is not taken.")
        header = read_header(file.data, file.transfer_syntax)
        if study_uid is not None and header.study_uid != study_uid:
            raise Refusal(Code.COMMAND_DISAGREES, "The instance is of another study.")
    except Refusal as refusal:
        log.warning(
            "a part of %s from %s not stored: %s", association, device.ae_title, refusal.code
        )
        outcome.fail(file.sop_class, file.sop_instance, status_of(refusal.code))
        return
    answer = store(
        parts.ingest,
        StoreRequest(
            device=device,
            called=parts.settings.ae_title,
            association=association,
            abstract_syntax=file.sop_class,
            transfer_syntax=file.transfer_syntax,
            sop_class=file.sop_class,
            sop_instance=file.sop_instance,
            data=file.data,
        ),
    )
    if answer.status == SUCCESS:
        outcome.keep(header)
    else:
        outcome.fail(header.sop_class, header.sop_uid, answer.status)


def _references(sop_class: str, sop_uid: str) -> dict[str, Any]:
    """Referenced SOP Class and Instance UID; empty where the part did not say."""
    pairs = (("00081150", sop_class), ("00081155", sop_uid))
    return {tag: {"vr": "UI", **({"Value": [uid[:64]]} if uid else {})} for tag, uid in pairs}
