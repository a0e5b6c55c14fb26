"""What does a page get to show of a study besides its images: leads, previews, papers, phrases?"""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from sqlalchemy import Row

from gateway.assemble import Parts
from gateway.imaging import DECODING, Bytes, Images, Openings, version_of
from gateway.objectfile import object_file
from gateway.phrases import Group, Normal, Phrase, PhraseSet, Words, phrase_set
from gateway.web.auth import Who
from gateway.web.frames import ASK_AGAIN, lasting, unchanged
from gateway.web.values import Json
from storage import query
from storage.index import IndexUnit
from viewers.ecg.dicom import read_recordings
from viewers.ecg.page import preview_svg
from viewers.ecg.recording import Recording
from viewers.ecg.wire import ecg_answer
from viewers.image.document import encapsulated_pdf
from viewers.image.unreadable import Unreadable
from worklist.arrival import Study
from worklist.errors import Code, Refusal
from worklist.person import Caller

PREVIEW_EDGE = 432
PREVIEW_BYTES = 16 * 1024 * 1024

_VARY = "Accept-Encoding, Cookie, Authorization"
_MOST_ID = 2**53

StudyId = Annotated[int, Path(ge=1, le=_MOST_ID)]
Kind = Literal["ECG", "CT", "MR", "DX", "US", "OT"]


def routes(parts: Parts) -> APIRouter:
    """ECG leads, previews, encapsulated documents, phrases."""
    router = APIRouter(prefix="/api", tags=["viewing"])
    images, openings, previews = Images(parts), Openings(parts), Bytes(PREVIEW_BYTES)

    @router.get("/studies/{study_id}/ecg", response_class=Response)
    def ecg(study_id: StudyId, who: Who, request: Request) -> Response:
        """The recordings of a study, in microvolts; `v` names the content each was read from."""
        with parts.view() as unit:
            study, rows = _rows(unit, study_id, who, "ecg")
            zone = unit.people.site(study.site).zone
        openings.tell(who, study)
        return _kept(
            request,
            rows,
            "application/json",
            lambda: _json(_with_versions(ecg_answer(_recordings(parts, rows, zone)), rows)),
        )

    @router.get("/studies/{study_id}/preview.svg", response_class=Response)
    def preview_of_ecg(
        study_id: StudyId, who: Who, request: Request, dark: bool = False
    ) -> Response:
        """Three leads to recognise an ECG by. Looking at a list opens no study."""
        with parts.view() as unit:
            study, rows = _rows(unit, study_id, who, "ecg")
            zone = unit.people.site(study.site).zone
        key = (*(row.locator for row in rows), str(dark))

        def drawn() -> bytes:
            first = _recordings(parts, rows, zone)[0]
            return preview_svg(first, dark=dark).encode()

        return _kept(request, rows, "image/svg+xml", lambda: previews.of(key, drawn), str(dark))

    @router.get("/studies/{study_id}/preview.jpg", response_class=Response)
    def preview_of_image(study_id: StudyId, who: Who, request: Request) -> Response:
        """The middle image of the first series of images."""
        with parts.view() as unit:
            _, rows = _rows(unit, study_id, who, "image")
        middle = _middle(rows)
        return _kept(
            request, [middle], "image/jpeg", lambda: images.thumbnail(middle, PREVIEW_EDGE)
        )

    @router.get("/studies/{study_id}/documents/{sop_uid}", response_class=Response)
    def document(
        study_id: StudyId, sop_uid: str, who: Who, request: Request, v: str | None = None
    ) -> Response:
        """The PDF that an Encapsulated PDF object carries; with `v` only of this content."""
        with parts.view() as unit:
            study, rows = _rows(unit, study_id, who, "pdf")
        row = next((one for one in rows if one.sop_uid == sop_uid), None)
        if row is None or v not in (None, version_of(row)):
            raise Refusal(Code.NOT_FOUND, "There is no such document.")
        openings.tell(who, study)

        def read() -> bytes:
            with DECODING:
                return encapsulated_pdf(images.whole(row))

        headers = lasting(request, row, "document")
        if unchanged(request, headers):
            return Response(status_code=304, headers=headers)
        headers["Content-Disposition"] = f'inline; filename="document-{row.sop_uid}.pdf"'
        return Response(read(), media_type="application/pdf", headers=headers)

    @router.get("/phrases")
    def phrases(
        kind: Kind,
        who: Who,
        study_id: Annotated[int | None, Query(ge=1, le=_MOST_ID)] = None,
    ) -> Json:
        """Phrases and normal reports of a kind; with a study, those of its part of the body."""
        found = phrase_set(kind)
        group = found.group_of()
        if study_id is not None:
            with parts.view() as unit:
                study = _study(unit, study_id, who)
                rows = unit.studies.series_rows(study.id)
            said = [text for row in rows for text in (row.body_part, row.description)]
            group = found.group_of(study.description, *said)
        return phrases_answer(found, group)

    return router


# --- phrases -----------------------------------------------------------------------------------


def phrases_answer(found: PhraseSet, group: Group | None) -> Json:
    """The set with one group first: its favourites have the number keys, its normal report stands.

    Without a group nothing is taken for granted: the normal report names no part of the body, and
    the favourites are those of the first group.
    """
    leading = group or next(iter(found.groups), None)
    ordered = sorted(found.groups, key=lambda one: one is not leading)
    return {
        "kind": found.kind,
        "group": group.code if group else None,
        "phrases": [
            _phrase(found.kind, one, phrase, keys=one is leading)
            for one in ordered
            for phrase in one.phrases
        ],
        "normal": _normal(group.normal if group else found.normal),
        "groups": [
            {"code": one.code, "zh": one.name.zh, "en": one.name.en, "normal": _normal(one.normal)}
            for one in ordered
        ],
    }


def _phrase(kind: str, group: Group, one: Phrase, *, keys: bool) -> Json:
    return {
        "code": one.code,
        "kind": kind,
        "group": group.code,
        **_words(one.text),
        "part": one.part,
        "key": one.key if keys else None,
        "pinyin": one.pinyin,
    }


def _normal(one: Normal) -> Json:
    return {"findings": _words(one.findings), "impression": _words(one.impression)}


def _words(one: Words) -> Json:
    return {"zh": one.zh, "en": one.en}


# --- studies -----------------------------------------------------------------------------------


def _study(unit: IndexUnit, study_id: int, who: Caller) -> Study:
    study = unit.studies.get(study_id)
    if study is None or not who.may_see(study.site):
        raise Refusal(Code.NOT_FOUND, "There is no such study.")
    return study


def _rows(
    unit: IndexUnit, study_id: int, who: Caller, kind: str
) -> tuple[Study, Sequence[Row[Any]]]:
    """The study and its instances of this kind, at least one."""
    study = _study(unit, study_id, who)
    rows = query.Query(unit.connection).instances(study.id)
    found = [row for row in rows if row.kind == kind]
    if not found:
        raise Refusal(Code.NOT_FOUND, "The study holds nothing of that kind.")
    return study, found


def _middle(rows: Sequence[Row[Any]]) -> Row[Any]:
    first = [row for row in rows if row.series_id == rows[0].series_id]
    return first[len(first) // 2]


def _recordings(parts: Parts, rows: Sequence[Row[Any]], zone: tzinfo) -> list[Recording]:
    """The recordings of these objects; `Unreadable` only where none of them can be read."""
    found: list[Recording] = []
    refusal: Unreadable | None = None
    for row in rows:
        try:
            source = object_file(parts.objects, row.locator, row.length)
            found += read_recordings(source, zone=zone)
        except Unreadable as error:
            refusal = refusal or error
    if not found:
        raise refusal or Refusal(Code.NOT_FOUND, "The study holds no recording.")
    return found


def _with_versions(answer: Json, rows: Sequence[Row[Any]]) -> Json:
    """Each recording with the version of the object it was read from."""
    versions = {row.sop_uid: version_of(row) for row in rows}
    for one in answer["recordings"]:
        one["v"] = versions.get(one["sop_uid"])
    return answer


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _kept(
    request: Request,
    rows: Sequence[Row[Any]],
    media_type: str,
    make: Callable[[], bytes],
    form: str = "",
) -> Response:
    """What is made of these objects: asked for again each time, sent only where they changed."""
    seen = hashlib.sha256(form.encode())
    for row in rows:
        seen.update(row.locator.encode())
    etag = f'"{seen.hexdigest()[:32]}"'
    headers = {"Cache-Control": ASK_AGAIN, "ETag": etag, "Vary": _VARY}
    if unchanged(request, headers):
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type=media_type, headers=headers)
