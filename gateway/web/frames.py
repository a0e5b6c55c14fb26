"""In which form do frames and pictures of an instance go out (PS3.18 sections 8.7.3 and 10.4)?"""

import gzip
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from sqlalchemy import Row

from gateway.imaging import DECODING, Images, version_of
from gateway.web.accept import MediaRange, accepted, not_acceptable
from gateway.web.multipart import Part, one_part, pieces, related, related_one
from viewers.image.frames import OCTETS, Frame, FramePlan, Way, frame, native_frame
from viewers.image.instance import Instance
from viewers.image.rendered import MAX_RENDERED_EDGE, Window, render
from worklist.errors import Code, Refusal

EXPLICIT = "1.2.840.10008.1.2.1"
MOST_FRAMES = 10_000

# An address that names a version of an instance is of bytes that never change.
IMMUTABLE = "private, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"
VARY = "Accept, Accept-Encoding, Cookie, Authorization"

_ENOUGH = 1024  # smaller answers are not worth compressing
_GZIP_LEVEL = 3
_JPEG_QUALITY = 90
_RENDERED = ("image/jpeg", "image/png")


@dataclass(frozen=True)
class Form:
    """How frames are sent: in parts or one alone, decoded or as planned, under which type."""

    multipart: bool
    native: bool
    content_type: str


def frames_answer(
    request: Request, images: Images, row: Row[Any], numbers: Sequence[int]
) -> Response:
    """These frames (from 1) as the client wants them. Raises `Unreadable`, answers 304 and 406."""
    plan = images.plan(row)
    form = form_of(accepted(request), plan, len(numbers))
    if form is None:
        return not_acceptable(f"multipart/related with parts of {plan.media_type} or {OCTETS}")
    missing = [number for number in numbers if not 1 <= number <= plan.frames]
    if missing:
        raise Refusal(Code.NOT_FOUND, f"There is no frame {missing[0]} of {plan.frames}.")
    listed = ",".join(map(str, numbers))
    headers = lasting(request, row, f"{listed}{form.multipart}{form.native}{form.content_type}")
    if unchanged(request, headers):
        return Response(status_code=304, headers=headers)
    instance = images.pixels(row)
    if len(numbers) > 1:
        parts = _each(instance, numbers, plan, form)
        first = next(parts)  # what cannot be shown is refused before the answer begins
        return related(_chained(first, parts), part_type=form.content_type, headers=headers)
    one = _frame(instance, numbers[0], plan, form)
    content_type = f"{form.content_type}; transfer-syntax={one.transfer_syntax}"
    if not form.multipart:
        return one_part(one.body, content_type, headers)
    boundary = str(row.digest[:40])
    return related_one(one.body, content_type, form.content_type, boundary, headers)


def form_of(ranges: Sequence[MediaRange], plan: FramePlan, count: int) -> Form | None:
    """The best form the client takes, None where it takes none that can be given."""
    for wanted in ranges:
        if not wanted.multipart and wanted.media_type != "*/*" and count > 1:
            continue
        found = _form(wanted, plan)
        if found is not None:
            return found
    return None


def rendered_answer(
    request: Request, images: Images, row: Row[Any], number: int | None
) -> Response:
    """A frame as an ordinary picture; the middle one where none is named. Raises `Unreadable`."""
    media_type = next(
        (kind for one in accepted(request) for kind in _RENDERED if one.takes(kind)), None
    )
    if media_type is None:
        return not_acceptable("image/jpeg or image/png")
    window, edge = _window(request), _edge(request, row)
    headers = lasting(request, row, f"{number}{window}{edge}{media_type}")
    if unchanged(request, headers):
        return Response(status_code=304, headers=headers)
    with DECODING:
        instance = images.whole(row)
        shown = number or (images.plan(row, instance).frames + 1) // 2
        picture = render(instance, shown, window=window, max_edge=edge)
    out = io.BytesIO()
    picture.save(out, media_type.partition("/")[2].upper(), quality=_JPEG_QUALITY)
    return one_part(out.getvalue(), media_type, headers)


def pixels_answer(request: Request, images: Images, row: Row[Any]) -> Response:
    """All frames as bulk data: in parts as they are stored, or decoded one after another."""
    plan = images.plan(row)
    numbers = range(1, min(plan.frames, MOST_FRAMES) + 1)
    if any(one.multipart for one in accepted(request)) and plan.media_type != OCTETS:
        return frames_answer(request, images, row, numbers)
    instance = images.pixels(row)
    form = Form(False, plan.media_type != OCTETS, OCTETS)
    found = _each(instance, numbers, plan, form)
    first = next(found)
    headers = lasting(request, row, "pixels")
    whole = (piece for part in _chained(first, found) for piece in part.pieces)
    length = first.length * len(numbers)
    if any(one.multipart for one in accepted(request)):
        part = Part(f"{OCTETS}; transfer-syntax={EXPLICIT}", length, whole)
        return related([part], part_type=OCTETS, headers=headers)
    return StreamingResponse(whole, media_type=OCTETS, headers=headers)


def lasting(request: Request, row: Row[Any], form: str) -> dict[str, str]:
    """Headers of what is made of one version of an instance; `form` tells its forms apart.

    For ever where the address names the version (`v`), else to be asked for again: another
    content may come under the same UID, and must be seen then.
    """
    named = named_version(request) == version_of(row)
    mark = hashlib.sha256(form.encode()).hexdigest()[:12]
    return {
        "Cache-Control": IMMUTABLE if named else ASK_AGAIN,
        "ETag": f'"{row.digest[:32]}-{mark}"',
        "Vary": VARY,
    }


def named_version(request: Request) -> str | None:
    """The version of the instance that an address names: `versions/…` in its path, or `?v=`."""
    return request.path_params.get("v") or request.query_params.get("v")


def unchanged(request: Request, headers: dict[str, str]) -> bool:
    """Whether the client has just this already."""
    known = request.headers.get("If-None-Match", "")
    return headers["ETag"] in (one.strip().removeprefix("W/") for one in known.split(","))


def compressed(request: Request, body: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """Text of some length, compressed for clients that take it."""
    if len(body) >= _ENOUGH and "gzip" in request.headers.get("Accept-Encoding", ""):
        headers = {**headers, "Content-Encoding": "gzip"}
        body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
    return Response(body, media_type=media_type, headers=headers)


def _form(wanted: MediaRange, plan: FramePlan) -> Form | None:
    syntax = wanted.parameters.get("transfer-syntax")
    planned = syntax in (None, "*", plan.transfer_syntax)
    if wanted.content == "*/*":
        return Form(True, False, plan.media_type) if planned else None
    if wanted.content == OCTETS:
        # PS3.18 table 8.7.3-2: octets are explicit little endian where nothing else is asked for
        plain = syntax in (None, EXPLICIT) and plan.media_type != OCTETS
        return Form(wanted.multipart, plain, OCTETS) if planned or syntax == EXPLICIT else None
    if wanted.takes(plan.media_type) and planned:
        return Form(wanted.multipart, False, plan.media_type)
    return None


def _frame(instance: Instance, number: int, plan: FramePlan, form: Form) -> Frame:
    if not form.native and plan.way is Way.UNTOUCHED:
        return frame(instance, number, plan=plan)
    with DECODING:
        if form.native:
            return native_frame(instance, number)
        return frame(instance, number, plan=plan)


def _each(
    instance: Instance, numbers: Sequence[int], plan: FramePlan, form: Form
) -> Iterator[Part]:
    for number in numbers:
        found = _frame(instance, number, plan, form)
        content_type = f"{form.content_type}; transfer-syntax={found.transfer_syntax}"
        yield Part(content_type, len(found.body), pieces(found.body))


def _chained(first: Part, others: Iterator[Part]) -> Iterator[Part]:
    yield first
    yield from others


def _window(request: Request) -> Window | None:
    """`window=center,width,function` (PS3.18 section 8.3.5.1.4), of the functions `linear`."""
    given = request.query_params.get("window")
    if not given:
        return None
    center, width, *function = given.split(",")[:3] if "," in given else (given, "")
    try:
        window = Window(float(center), float(width))
    except ValueError as error:
        raise Refusal(Code.INVALID, "A window is center,width,linear.") from error
    limit = 1e9
    if not (abs(window.center) < limit and 0 < window.width < limit):
        raise Refusal(Code.INVALID, "A window is center,width,linear.")
    if function and function[0].lower() != "linear":
        raise Refusal(Code.INVALID, "Windows are linear here.")
    return window


def _edge(request: Request, row: Row[Any]) -> int:
    """The longest edge that fits `viewport=width,height` (PS3.18 section 8.3.5.1.3)."""
    given = request.query_params.get("viewport")
    if not given:
        return MAX_RENDERED_EDGE
    try:
        width, height = (min(max(int(part), 1), MAX_RENDERED_EDGE) for part in given.split(",")[:2])
    except ValueError as error:
        raise Refusal(Code.INVALID, "A viewport is width,height in pixels.") from error
    rows, columns = row.rows or 1, row.columns or 1
    scale = min(width / columns, height / rows)
    return max(1, min(round(max(rows, columns) * scale), MAX_RENDERED_EDGE))
