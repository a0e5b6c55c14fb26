"""Which addresses does the DICOMweb service have (PS3.18 chapter 10)?

Everything stands below `/dicom-web/sites/{site}` and again below `/dicom-web`, where a study's UID
must then be of one Site only. What the caller may not see does not exist.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian
from sqlalchemy import Row

from gateway.assemble import Parts
from gateway.imaging import (
    Images,
    Openings,
    instance_row,
    instance_rows,
    readable_metadata,
    study_of_uid,
)
from gateway.web import qido, stow
from gateway.web.accept import accepted, not_acceptable, takes_json
from gateway.web.auth import Who
from gateway.web.frames import (
    ASK_AGAIN,
    MOST_FRAMES,
    VARY,
    compressed,
    frames_answer,
    lasting,
    named_version,
    pixels_answer,
    rendered_answer,
    unchanged,
)
from gateway.web.multipart import CHUNK_BYTES, Part, one_part, related, related_length, related_one
from storage.query import Level, Query
from viewers.image.frames import OCTETS
from viewers.image.instance import Instance
from viewers.image.rendered import THUMBNAIL_EDGE
from viewers.image.unreadable import refusing
from worklist.arrival import Study
from worklist.errors import Code, Refusal
from worklist.person import Caller
from worklist.repair import MARK, Decision

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
PIXELS = frozenset({"7FE00008", "7FE00009", "7FE00010"})

_INSTANCE = "/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}"
_DEEPEST = 64
# bytes of one value, of those that depend on the byte order
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


@dataclass(frozen=True)
class Scope:
    """Who asks, at which Sites, and where the service stands: its address without the Site."""

    who: Caller
    sites: frozenset[str]
    service: str

    def below(self, site: str) -> str:
        """The address of the service of one Site."""
        return f"{self.service}/sites/{site}"


@dataclass(frozen=True)
class Found:
    """One version of one instance, as an address named it, and the address of its current form."""

    study: Study
    row: Row[Any]
    address: str


def scope_of(request: Request, who: Who) -> Scope:
    """The Sites of a request: the one in its address, else all that the caller may see."""
    site = request.path_params.get("site")
    if site is None:
        return Scope(who, who.sites, _service(request))
    who.require_site(site)
    return Scope(who, frozenset({site}), _service(request))


def _names_site(site: Annotated[str, Path(max_length=32)]) -> None:
    """The Site whose studies are meant, by its key."""


Asking = Annotated[Scope, Depends(scope_of)]


def routes(parts: Parts) -> APIRouter:
    """QIDO-RS, WADO-RS and STOW-RS."""
    images, openings = Images(parts), Openings(parts)
    inner = APIRouter()
    for add in (_add_queries, _add_stores):
        add(inner, parts)
    for add_reading in (_add_metadata, _add_instances, _add_frames, _add_pictures):
        add_reading(inner, _Reading(parts, images, openings))
    router = APIRouter(prefix="/dicom-web", tags=["dicomweb"])
    router.include_router(inner, prefix="/sites/{site}", dependencies=[Depends(_names_site)])
    router.include_router(inner)
    return router


class _Reading:
    """What the addresses below a study have in common."""

    def __init__(self, parts: Parts, images: Images, openings: Openings) -> None:
        self.images = images
        self._parts = parts
        self._openings = openings

    def instances(
        self, scope: Scope, study_uid: str, series_uid: str | None
    ) -> tuple[Study, Sequence[Row[Any]]]:
        """The current instances of a study or series; opening them is a fact."""
        with self._parts.view() as unit:
            study = study_of_uid(unit, study_uid, scope.sites)
            rows = instance_rows(unit, study, series_uid)
        self._openings.tell(scope.who, study)
        return study, rows

    def instance(self, scope: Scope, request: Request, *, opens: bool = True) -> Found:
        """The instance that the address names; opening it is a fact unless it is for a list."""
        named = request.path_params
        version = named_version(request)
        with self._parts.view() as unit:
            study = study_of_uid(unit, named["study_uid"], scope.sites)
            row = instance_row(unit, study, named["series_uid"], named["sop_uid"], version)
        if opens:
            self._openings.tell(scope.who, study)
        return Found(study, row, _address(scope, study, row))

    def as_labelled(self, study: Study) -> bool:
        """Whether a person has said that the study's text is what its label says."""
        if MARK not in study.marks:
            return False
        with self._parts.view() as unit:
            repair = unit.repairs.get(study.id)
        return repair is not None and repair.state is Decision.REJECTED


# --- queries -----------------------------------------------------------------------------------


def _add_queries(router: APIRouter, parts: Parts) -> None:
    def answer(
        level: Level, scope: Scope, request: Request, within: dict[str, str] | None = None
    ) -> Response:
        if not takes_json(request):
            return not_acceptable(DICOM_JSON)
        parameters = [*request.query_params.multi_items(), *(within or {}).items()]
        asked = qido.asked(level, parameters)
        with parts.view() as unit:
            if within is not None:
                study_of_uid(unit, within["StudyInstanceUID"], scope.sites)
            rows = Query(unit.connection).find(
                level, scope.sites, asked.keys, asked.limit + 1, asked.offset
            )
        shown, more = rows[: asked.limit], len(rows) > asked.limit
        made = [
            qido.ANSWERS[level](row, f"{scope.below(row.site)}/studies/{row.study_uid}")
            for row in shown
        ]
        body = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
        result = compressed(request, body, DICOM_JSON, {"Cache-Control": "no-store"})
        agent = urlsplit(scope.service).netloc
        for warning in qido.warning_headers(asked, more=more, agent=agent):
            result.headers.append("Warning", warning)
        return result

    @router.get("/studies", response_class=Response)
    def studies(scope: Asking, request: Request) -> Response:
        """Studies by their attributes, newest first."""
        return answer("studies", scope, request)

    @router.get("/series", response_class=Response)
    def series(scope: Asking, request: Request) -> Response:
        """Series by their attributes and those of their study."""
        return answer("series", scope, request)

    @router.get("/instances", response_class=Response)
    def instances(scope: Asking, request: Request) -> Response:
        """Instances by their attributes and those of their series and study."""
        return answer("instances", scope, request)

    @router.get("/studies/{study_uid}/series", response_class=Response)
    def series_of_study(study_uid: str, scope: Asking, request: Request) -> Response:
        """The series of a study."""
        return answer("series", scope, request, {"StudyInstanceUID": study_uid})

    @router.get("/studies/{study_uid}/instances", response_class=Response)
    def instances_of_study(study_uid: str, scope: Asking, request: Request) -> Response:
        """The instances of a study."""
        return answer("instances", scope, request, {"StudyInstanceUID": study_uid})

    @router.get("/studies/{study_uid}/series/{series_uid}/instances", response_class=Response)
    def instances_of_series(
        study_uid: str, series_uid: str, scope: Asking, request: Request
    ) -> Response:
        """The instances of a series."""
        within = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
        return answer("instances", scope, request, within)


# --- storing -----------------------------------------------------------------------------------


def _add_stores(router: APIRouter, parts: Parts) -> None:
    async def stored(scope: Scope, request: Request, study_uid: str | None) -> JSONResponse:
        site = request.path_params.get("site", scope.who.site)
        stow.may_store(scope.who, site)
        return await stow.store_instances(request, parts, scope.who, scope.below(site), study_uid)

    @router.post("/studies", response_class=JSONResponse)
    async def store(scope: Asking, request: Request) -> Response:
        """Store instances of any studies."""
        return await stored(scope, request, None)

    @router.post("/studies/{study_uid}", response_class=JSONResponse)
    async def store_in_study(study_uid: str, scope: Asking, request: Request) -> Response:
        """Store instances of this study."""
        return await stored(scope, request, study_uid)


# --- metadata ----------------------------------------------------------------------------------


def _add_metadata(router: APIRouter, reading: _Reading) -> None:
    def several(scope: Scope, request: Request, study_uid: str, series_uid: str | None) -> Response:
        if not takes_json(request):
            return not_acceptable(DICOM_JSON)
        study, rows = reading.instances(scope, study_uid, series_uid)
        labelled = reading.as_labelled(study)
        headers = _fresh(rows, scope.service, labelled)
        if unchanged(request, headers):
            return Response(status_code=304, headers=headers)
        made = (
            readable_metadata(reading.images, row, study, _address(scope, study, row), labelled)
            for row in rows
        )
        return compressed(request, b"[" + b",".join(made) + b"]", DICOM_JSON, headers)

    @router.get("/studies/{study_uid}/metadata", response_class=Response)
    def of_study(study_uid: str, scope: Asking, request: Request) -> Response:
        """The attributes of every instance of a study."""
        return several(scope, request, study_uid, None)

    @router.get("/studies/{study_uid}/series/{series_uid}/metadata", response_class=Response)
    def of_series(study_uid: str, series_uid: str, scope: Asking, request: Request) -> Response:
        """The attributes of every instance of a series."""
        return several(scope, request, study_uid, series_uid)

    @router.get(f"{_INSTANCE}/metadata", response_class=Response)
    def of_instance(
        study_uid: str, series_uid: str, sop_uid: str, scope: Asking, request: Request
    ) -> Response:
        """The attributes of one instance."""
        if not takes_json(request):
            return not_acceptable(DICOM_JSON)
        found = reading.instance(scope, request)
        labelled = reading.as_labelled(found.study)
        headers = _fresh([found.row], scope.service, labelled)
        if unchanged(request, headers):
            return Response(status_code=304, headers=headers)
        body = reading.images.metadata(found.row, found.address, labelled)
        return compressed(request, b"[" + body + b"]", DICOM_JSON, headers)


# --- instances as they are kept ----------------------------------------------------------------


def _add_instances(router: APIRouter, reading: _Reading) -> None:
    @router.get("/studies/{study_uid}", response_class=Response)
    def study(study_uid: str, scope: Asking, request: Request) -> Response:
        """The files of a study."""
        _, rows = reading.instances(scope, study_uid, None)
        return _files(request, reading.images, rows)

    @router.get("/studies/{study_uid}/series/{series_uid}", response_class=Response)
    def series(study_uid: str, series_uid: str, scope: Asking, request: Request) -> Response:
        """The files of a series."""
        _, rows = reading.instances(scope, study_uid, series_uid)
        return _files(request, reading.images, rows)

    @router.get(_INSTANCE, response_class=Response)
    def instance(
        study_uid: str, series_uid: str, sop_uid: str, scope: Asking, request: Request
    ) -> Response:
        """The file of one instance, as it is kept."""
        found = reading.instance(scope, request)
        return _files(request, reading.images, [found.row])

    @router.get(f"{_INSTANCE}/bulkdata/{{path:path}}", response_class=Response)
    def bulkdata(
        study_uid: str,
        series_uid: str,
        sop_uid: str,
        path: Annotated[str, Path(max_length=1024)],
        scope: Asking,
        request: Request,
    ) -> Response:
        """One large value of an instance, by the path that its metadata gave."""
        found = reading.instance(scope, request)
        if path.upper() in PIXELS:
            return pixels_answer(request, reading.images, found.row)
        body = bulk_value(reading.images.whole(found.row), path)
        headers = lasting(request, found.row, path)
        if any(one.multipart for one in accepted(request)):
            return related_one(body, OCTETS, OCTETS, str(found.row.digest[:40]), headers)
        return one_part(body, OCTETS, headers)


def bulk_value(instance: Instance, path: str) -> bytes:
    """The bytes at a path of tags and item numbers, little endian; NOT_FOUND where none are."""
    steps = path.split("/")
    dataset: Dataset = instance.header
    if len(steps) > _DEEPEST or len(steps) % 2 == 0:
        raise Refusal(Code.NOT_FOUND, "There is no such value.")
    with refusing("not_dicom", "the value cannot be read"):
        try:
            for tag, item in zip(steps[:-1:2], steps[1::2], strict=True):
                dataset = dataset[int(tag, 16)].value[int(item)]
            element = dataset[int(steps[-1], 16)]
        except (KeyError, IndexError, ValueError, TypeError, OverflowError):
            element = None
        value = None if element is None else element.value
    if element is None or not isinstance(value, bytes) or element.tag.is_private:
        raise Refusal(Code.NOT_FOUND, "There is no such value.")
    width = _WORDS.get(str(element.VR), 1)
    if instance.transfer_syntax == ExplicitVRBigEndian and width > 1:
        return b"".join(value[at : at + width][::-1] for at in range(0, len(value), width))
    return value


def _files(request: Request, images: Images, rows: Sequence[Row[Any]]) -> Response:
    """Kept files in parts, or one alone for clients that ask so."""
    for wanted in accepted(request):
        if not wanted.takes(DICOM):
            continue
        syntax = wanted.parameters.get("transfer-syntax", "*")
        if syntax != "*" and any(row.transfer_syntax != syntax for row in rows):
            continue
        if wanted.multipart or wanted.media_type == "*/*":
            return _in_parts(images, rows)
        if len(rows) == 1:
            return _alone(images, rows[0])
    return not_acceptable("multipart/related; type=application/dicom; transfer-syntax=*")


def _in_parts(images: Images, rows: Sequence[Row[Any]]) -> Response:
    kinds = [f"{DICOM}; transfer-syntax={row.transfer_syntax}" for row in rows]
    boundary = hashlib.sha256("".join(row.digest for row in rows).encode()).hexdigest()[:40]
    length = related_length(kinds, [row.length for row in rows], boundary)

    def parts() -> Iterator[Part]:
        for kind, row in zip(kinds, rows, strict=True):
            yield Part(kind, row.length, images.kept(row, CHUNK_BYTES))

    headers = {"Cache-Control": ASK_AGAIN, "Vary": VARY}
    return related(parts(), part_type=DICOM, headers=headers, length=length, boundary=boundary)


def _alone(images: Images, row: Row[Any]) -> Response:
    headers = {
        "Cache-Control": ASK_AGAIN,
        "Vary": VARY,
        "Content-Length": str(row.length),
        "Content-Disposition": f'attachment; filename="{row.sop_uid}.dcm"',
    }
    return StreamingResponse(images.kept(row, CHUNK_BYTES), media_type=DICOM, headers=headers)


# --- frames and pictures -----------------------------------------------------------------------


def _add_frames(router: APIRouter, reading: _Reading) -> None:
    @router.get(f"{_INSTANCE}/frames/{{listed}}", response_class=Response)
    def frames(
        study_uid: str,
        series_uid: str,
        sop_uid: str,
        listed: str,
        scope: Asking,
        request: Request,
    ) -> Response:
        """Frames by their numbers from 1, with commas between."""
        found = reading.instance(scope, request)
        return frames_answer(request, reading.images, found.row, _numbers(listed))

    # ours: viewers that take the frame's number for the end of its address cannot use `?v=`
    @router.get(f"{_INSTANCE}/versions/{{v}}/frames/{{listed}}", response_class=Response)
    def frames_of_version(
        study_uid: str,
        series_uid: str,
        sop_uid: str,
        v: str,
        listed: str,
        scope: Asking,
        request: Request,
    ) -> Response:
        """The same of the content that `v` names: cached for ever, 404 where there was none."""
        found = reading.instance(scope, request)
        return frames_answer(request, reading.images, found.row, _numbers(listed))


def _add_pictures(router: APIRouter, reading: _Reading) -> None:
    @router.get(f"{_INSTANCE}/rendered", response_class=Response)
    def rendered(
        study_uid: str, series_uid: str, sop_uid: str, scope: Asking, request: Request
    ) -> Response:
        """The middle frame as an ordinary picture."""
        found = reading.instance(scope, request)
        return rendered_answer(request, reading.images, found.row, None)

    @router.get(f"{_INSTANCE}/frames/{{listed}}/rendered", response_class=Response)
    def rendered_frame(
        study_uid: str,
        series_uid: str,
        sop_uid: str,
        listed: str,
        scope: Asking,
        request: Request,
    ) -> Response:
        """One frame as an ordinary picture."""
        numbers = _numbers(listed)
        if len(numbers) != 1:
            raise Refusal(Code.INVALID, "One frame at a time is rendered.")
        found = reading.instance(scope, request)
        return rendered_answer(request, reading.images, found.row, numbers[0])

    @router.get(f"{_INSTANCE}/thumbnail", response_class=Response)
    def thumbnail(
        study_uid: str, series_uid: str, sop_uid: str, scope: Asking, request: Request
    ) -> Response:
        """The middle frame as a small JPEG, for lists of series."""
        found = reading.instance(scope, request, opens=False)
        headers = lasting(request, found.row, "thumbnail")
        if unchanged(request, headers):
            return Response(status_code=304, headers=headers)
        return one_part(reading.images.thumbnail(found.row, THUMBNAIL_EDGE), "image/jpeg", headers)


def _numbers(listed: str) -> list[int]:
    parts = listed.split(",")
    if len(parts) > MOST_FRAMES or not all(
        part.isascii() and part.isdigit() and len(part) < 10 for part in parts
    ):
        raise Refusal(Code.INVALID, "Frames are numbers from 1 with commas between.")
    return [int(part) for part in parts]


# --- addresses ---------------------------------------------------------------------------------


def _service(request: Request) -> str:
    """The address of `/dicom-web` as the client reaches it (TLS may end at a proxy before us)."""
    public: str | None = request.app.state.door.parts.settings.public_url
    if public and urlsplit(public).hostname == request.url.hostname:
        return f"{public.rstrip('/')}/dicom-web"
    return f"{str(request.base_url).rstrip('/')}/dicom-web"


def _address(scope: Scope, study: Study, row: Row[Any]) -> str:
    below = f"{scope.below(study.site)}/studies/{study.uid}"
    return f"{below}/series/{row.series_uid}/instances/{row.sop_uid}"


def _fresh(rows: Sequence[Row[Any]], service: str, labelled: bool) -> dict[str, str]:
    """Headers of what changes when instances come: asked for again each time, sent only then."""
    seen = hashlib.sha256(f"{service} {labelled}".encode())
    for row in rows:
        seen.update(row.locator.encode())
    return {"Cache-Control": ASK_AGAIN, "ETag": f'"{seen.hexdigest()[:32]}"', "Vary": VARY}
