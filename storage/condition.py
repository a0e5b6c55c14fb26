"""Is an object what its row says it is?

Every byte is read, a mebibyte at a time: the length, our file meta in front of the data set, and
the SHA-256 of what follows it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row

from storage.objects import Objects
from storage.part10 import read_meta

BLOCK: Final = 1 << 20
MISSING, CORRUPT, LENGTH, META = "missing", "corrupt", "length", "meta"


@dataclass(frozen=True)
class Named:
    """An object as a row names it: of an instance, or of a report (`offset` 0, no length, no
    meta). `digest` is the SHA-256 (hex) of what follows `offset`."""

    locator: str
    offset: int
    length: int | None
    digest: str
    site: str
    study_id: int
    instance_id: int | None = None
    report_id: str | None = None
    meta: tuple[str, str, str, str | None, datetime] | None = None

    @property
    def row(self) -> str:
        """Which row it is, by its id."""
        if self.instance_id is not None:
            return f"instance {self.instance_id} of study {self.study_id}"
        return f"report {self.report_id} of study {self.study_id}"


def of_instance(row: Row[Any]) -> Named:
    """What an instance's row names."""
    meta = (row.site, row.sop_uid, row.transfer_syntax, row.calling_ae_title, row.received_at)
    return Named(
        locator=row.locator,
        offset=row.offset,
        length=row.length,
        digest=row.digest,
        site=row.site,
        study_id=row.study_id,
        instance_id=row.id,
        meta=meta,
    )


def of_report(row: Row[Any]) -> Named:
    """What a report's row names."""
    return Named(row.pdf, 0, None, row.pdf_digest, row.site, row.study_id, report_id=row.id)


def blocks(objects: Objects, locator: str) -> Iterator[bytes]:
    """The object's bytes; FileNotFoundError where there is none."""
    at = 0
    while block := objects.read(locator, at, BLOCK):
        yield block
        at += len(block)
        if len(block) < BLOCK:
            return


class Reading:
    """Digests an object while its blocks pass by."""

    def __init__(self, one: Named) -> None:
        self._one = one
        self._sha = hashlib.sha256()
        self._head = b""
        self.size = 0

    def feed(self, block: bytes) -> None:
        """The next bytes."""
        before = max(self._one.offset - self.size, 0)
        if before:
            self._head += block[:before]
        self._sha.update(memoryview(block)[before:])
        self.size += len(block)

    def fault(self) -> str | None:
        """What is wrong with the whole; None where it is as its row says."""
        one = self._one
        if one.length is not None and self.size != one.length:
            return LENGTH
        if self._sha.hexdigest() != one.digest:
            return CORRUPT
        return None if one.meta is None or self._says(one.meta) else META

    def _says(self, expected: tuple[Any, ...]) -> bool:
        try:
            found = read_meta(self._head)
        except ValueError:
            return False
        said = (found.site, found.sop_uid, found.transfer_syntax, found.calling, found.received_at)
        return said == expected and found.offset == self._one.offset


def look(objects: Objects, one: Named) -> tuple[str | None, int]:
    """(what is wrong, or None; bytes read). What the store itself refuses is no fault of the
    object: the refusal passes through."""
    reading = Reading(one)
    try:
        for block in blocks(objects, one.locator):
            reading.feed(block)
    except FileNotFoundError:
        return MISSING, reading.size
    except OSError:  # the disk cannot read it
        return CORRUPT, reading.size
    return reading.fault(), reading.size
