"""What does a reader get of a study's images, and what is remembered of it?"""

import io
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from gateway.assemble import Parts
from gateway.objectfile import object_file
from storage.index import IndexUnit
from storage.query import Query
from storage.studies import study_of
from viewers.image.frames import FramePlan, frame_plan
from viewers.image.instance import Instance, open_instance
from viewers.image.metadata import metadata
from viewers.image.pixelformat import PIXEL_TAGS
from viewers.image.rendered import render
from viewers.image.unreadable import Unreadable
from worklist import ports
from worklist.arrival import Study
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.person import Caller

METADATA_BYTES = 64 * 1024 * 1024
PICTURES_BYTES = 32 * 1024 * 1024
PLANS = 4096
OPENED_AGAIN_AFTER = timedelta(minutes=10)
# A decoded frame may take 256 MB: only so many of them at a time.
DECODING = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))

_JPEG_QUALITY = 85
_MANY = 20_000


class Bytes:
    """Bytes made once and kept while there is room; the least recently used go first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._mutex = threading.Lock()

    def of(self, key: tuple[str, ...], make: Callable[[], bytes]) -> bytes:
        """The bytes under this key, made on the caller's thread where they are not kept."""
        with self._mutex:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
                return known
        made = make()
        with self._mutex:
            if key not in self._kept:
                self._kept[key] = made
                self._size += len(made)
            while self._size > self._most:
                _, gone = self._kept.popitem(last=False)
                self._size -= len(gone)
        return made


class Openings:
    """The facts that somebody opened a study's images: one for each person, study and while."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._told: dict[tuple[str, int], datetime] = {}
        self._mutex = threading.Lock()

    def tell(self, who: Caller, study: Study) -> None:
        """Write the fact, unless it was written for this person within the last ten minutes."""
        now = self._parts.now()
        key = who.name, study.id
        with self._mutex:
            last = self._told.get(key)
            if last is not None and now - last < OPENED_AGAIN_AFTER:
                return
            self._told[key] = now
            if len(self._told) > _MANY:
                self._forget(now)
        with self._parts.new_unit() as unit:
            unit.facts.add(
                Fact(Happened.STUDY_OPENED, now, study.site, who=who.name, study_id=study.id)
            )

    def _forget(self, now: datetime) -> None:
        fresh = {key: at for key, at in self._told.items() if now - at < OPENED_AGAIN_AFTER}
        self._told = fresh


class Images:
    """Opens kept instances. Rows are those of `storage.query.Query`; any thread may call."""

    def __init__(self, parts: Parts) -> None:
        self._objects = parts.objects
        self._metadata = Bytes(METADATA_BYTES)
        self._pictures = Bytes(PICTURES_BYTES)
        self._plans: OrderedDict[str, FramePlan] = OrderedDict()
        self._mutex = threading.Lock()

    def whole(self, row: Row[Any]) -> Instance:
        """The instance with all attributes before its pixels."""
        return open_instance(object_file(self._objects, row.locator, row.length))

    def pixels(self, row: Row[Any]) -> Instance:
        """The instance with those attributes only that its frames need."""
        source = object_file(self._objects, row.locator, row.length)
        return open_instance(source, tags=PIXEL_TAGS)

    def plan(self, row: Row[Any], instance: Instance | None = None) -> FramePlan:
        """How the instance's frames are sent; remembered. Raises `Unreadable`."""
        with self._mutex:
            known = self._plans.get(row.locator)
        if known is not None:
            return known
        made = frame_plan(instance or self.pixels(row))
        with self._mutex:
            self._plans[row.locator] = made
            while len(self._plans) > PLANS:
                self._plans.popitem(last=False)
        return made

    def metadata(self, row: Row[Any], address: str, as_labelled: bool = False) -> bytes:
        """The attributes as one DICOM JSON object (PS3.18 F), its bulk data below `address`;
        `as_labelled`: its text as the label says, not as what the bytes are."""

        def make() -> bytes:
            def bulk(path: str) -> str:
                return f"{address}/bulkdata/{path}?v={version_of(row)}"

            return _json(metadata(self.whole(row), bulk=bulk, as_labelled=as_labelled))

        return self._metadata.of((row.locator, address, str(as_labelled)), make)

    def thumbnail(self, row: Row[Any], edge: int) -> bytes:
        """The middle frame as JPEG, no edge longer than `edge`. Raises `Unreadable`."""

        def make() -> bytes:
            with DECODING:
                instance = self.whole(row)
                number = (self.plan(row, instance).frames + 1) // 2
                return jpeg(instance, number, edge)

        return self._pictures.of((row.locator, str(edge)), make)

    def kept(self, row: Row[Any], chunk: int) -> Iterable[bytes]:
        """The bytes of the kept file, a chunk at a time."""
        for start in range(0, row.length, chunk):
            yield self._objects.read(row.locator, start, min(chunk, row.length - start))


def jpeg(instance: Instance, number: int, edge: int) -> bytes:
    """Frame `number` as a JPEG for recognising, not for reading. Raises `Unreadable`."""
    out = io.BytesIO()
    render(instance, number, max_edge=edge).save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()


def version_of(row: Row[Any]) -> str:
    """What names this version of the instance in an address: the beginning of its digest."""
    return ports.version_of(row.digest)


def study_of_uid(unit: IndexUnit, study_uid: str, sites: Iterable[str]) -> Study:
    """The one study of this UID at these Sites. Refuses none (404) and several (409)."""
    rows = Query(unit.connection).studies_of_uid(study_uid, sites)
    if not rows:
        raise Refusal(Code.NOT_FOUND, "There is no such study.")
    if len(rows) > 1:
        raise Refusal(
            Code.WRONG_STUDY,
            "Several sites have a study of this UID: ask below /dicom-web/sites/ for one of them.",
            sites=sorted(row.site for row in rows),
        )
    return study_of(rows[0])


def instance_rows(
    unit: IndexUnit, study: Study, series_uid: str | None = None
) -> Sequence[Row[Any]]:
    """The current instances of a study or series, at least one; NOT_FOUND where there is none."""
    rows = Query(unit.connection).instances(study.id, series_uid)
    if not rows:
        raise Refusal(Code.NOT_FOUND, "There is no such series.")
    return rows


def instance_row(
    unit: IndexUnit, study: Study, series_uid: str, sop_uid: str, version: str | None = None
) -> Row[Any]:
    """The instance as it is now, or the version of it that an address named."""
    for row in Query(unit.connection).versions(study.id, series_uid, sop_uid):
        if row.current if version is None else version_of(row) == version:
            return row
    raise Refusal(Code.NOT_FOUND, "There is no such instance.")


def identity(row: Row[Any], study: Study) -> bytes:
    """What the index knows of an instance whose attributes cannot be read, as DICOM JSON."""
    values = {
        "00080016": row.sop_class,
        "00080018": row.sop_uid,
        "0020000D": study.uid,
        "0020000E": row.series_uid,
    }
    return _json({tag: {"vr": "UI", "Value": [value]} for tag, value in values.items()})


def readable_metadata(
    images: Images, row: Row[Any], study: Study, address: str, as_labelled: bool = False
) -> bytes:
    """The metadata of one instance among others: a broken one must not hide the rest."""
    try:
        return images.metadata(row, address, as_labelled)
    except Unreadable:
        return identity(row, study)


def _json(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace")
