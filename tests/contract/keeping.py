"""A house whose objects and index a command can be run over, and hands that damage it."""

from datetime import timedelta
from pathlib import Path

from gateway.settings import Settings
from storage.ingest import Ingest, Received
from storage.objects import LocalObjects
from storage.s3 import S3Objects
from tests.contract.conftest import NOW
from tests.contract.test_review_arrival import EXPLICIT, encoded
from worklist.policy import Policy


def settings_of(data_dir, index_url, place=None, **more):
    """Settings over an index and, where a place is named, an S3 store."""
    s3 = {}
    if place is not None:
        names = ("endpoint", "bucket", "access_key", "secret_key", "prefix")
        s3 = {"objects": "s3", **{f"s3_{name}": getattr(place, name) for name in names}}
    url = index_url if index_url.startswith("postgres") else None
    return Settings(data_dir=data_dir, database_url=url, min_free_bytes=0, **s3, **more)


class Kept:
    """The door with two devices before it, over an open index and an open object store."""

    def __init__(self, index, objects, settings):
        self.index, self.objects, self.settings = index, objects, settings
        self.now = NOW - timedelta(hours=1)
        with index.unit() as unit:
            for site, title, modality in (
                ("east", "EAST", None),
                ("west", "WEST", None),
                ("east", "CART", "ECG"),
            ):
                unit.people.add_device(
                    site=site, ae_title=title, called=None, host=None, port=None, modality=modality
                )
        self.ingest = Ingest(index, objects, Policy(), lambda: self.now)

    def receive(self, study, sop, series=None, calling="EAST", **changes):
        self.now += timedelta(seconds=1)
        data = encoded(study, series or f"{study}.1", sop, **changes)
        return self.give(data, calling)

    def give(self, data, calling="EAST"):
        device = self.ingest.caller(calling, "TELEREAD", "127.0.0.1")
        received = Received(device, "TELEREAD", data, EXPLICIT, None, None, "a")
        return self.ingest.receive(received)

    def rows(self, table):
        with self.index.view() as unit:
            key = list(table.primary_key.columns)
            found = unit.connection.execute(table.select().order_by(*key)).mappings()
            return [dict(row) for row in found]

    def locator(self, sop_uid, version=1):
        with self.index.view() as unit:
            found = unit.studies.versions("east", sop_uid) or unit.studies.versions("west", sop_uid)
            return next(one.locator for one in found if one.version == version)

    def flip(self, locator, at=-1):
        """Change one byte of an object where it lies."""
        if isinstance(self.objects, S3Objects):
            data = bytearray(self.objects.get(locator))
            data[at] ^= 1
            self.put_as(locator, bytes(data))
            return
        path, begin = place_of(self.objects, locator)
        size = self.objects.length(locator)
        where = begin + (at if at >= 0 else size + at)
        with path.open("r+b") as file:
            file.seek(where)
            byte = file.read(1)[0]
            file.seek(where)
            file.write(bytes((byte ^ 1,)))

    def put_as(self, locator, data):
        import io

        assert isinstance(self.objects, S3Objects)
        self.objects._upload(locator, io.BytesIO(data), len(data))


def place_of(objects: LocalObjects, locator: str) -> tuple[Path, int]:
    """The file of a local object, and where its bytes begin in it."""
    words = locator.split("/")
    if len(words) == 4:
        return objects._root / "/".join(words[:3]), int(words[3]) + 32
    return objects._root / locator, 0
