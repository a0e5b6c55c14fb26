"""The one door for an instance: how does it become durable before anyone says Success?

1. Read the header: what is missing or broken is refused here, nothing has been written.
2. The object: bytes as received behind file meta of ours, synced.
3. The index: rows, facts and jobs in one committed transaction.
What is too large for memory is spooled before its header is read; the rest is the same. A failure
before the end leaves at most an object without a row, which is deleted here or swept by `check`.
"""

import hashlib
import mmap
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy.exc import DBAPIError

from storage.conflict import Undecided, overtaken
from storage.entering import (
    Arriving,
    Kept,
    Received,
    Stored,
    enter,
    enter_one_more,
    same_content,
)
from storage.header import Header, checked_uid, read_header
from storage.index import Index
from storage.objects import Objects
from storage.part10 import file_meta
from storage.scan import TRANSFER_SYNTAXES
from storage.studies import versions_of
from storage.upkeep import known_fault
from worklist.arrival import association_released, opens_one_per_image
from worklist.errors import Code, Refusal
from worklist.policy import Policy
from worklist.site import Device, device_of

__all__ = ["MOST_IN_MEMORY", "Incoming", "Ingest", "Received", "Stored"]

MOST_IN_MEMORY: Final = 4 << 20
"""An edge that holds more bytes of an instance than this hands them over by `Ingest.open`."""
LATE: Final = 10.0
"""A commit that comes this many seconds after its object was begun is believed only when the object
is still there: what has no row for longer than that may be swept (`storage.mending`)."""
TRIES: Final = 5
"""How often the rows of an instance are tried where others make the same study or patient."""


class Ingest:
    """The door. One for the whole gateway; every edge that receives instances calls it, from any
    thread."""

    def __init__(
        self, index: Index, objects: Objects, policy: Policy, now: Callable[[], datetime]
    ) -> None:
        self._index = index
        self._objects = objects
        self._policy = policy
        self._now = now
        self._mutex = threading.Lock()
        # association → study id → new instances
        self._brought: dict[str, dict[int, int]] = {}
        # associations whose last instance was new: the next one will be, too
        self._brings_new: set[str] = set()

    def caller(self, calling: str, called: str, address: str) -> Device:
        """The registered device behind a calling AE Title, or a refusal."""
        with self._index.view() as unit:
            return device_of(unit.people.callers(calling.strip()), called.strip(), address)

    def receive(self, received: Received) -> Stored:
        """Keep one instance for good. Returning means: object synced, index committed and
        synced."""
        now = self._now()
        header = read_header(received.data, received.transfer_syntax)
        _agree(received, header)
        digest = received.digest or hashlib.sha256(received.data).digest()
        # nothing is written for content that is here already, unless it comes as a surprise
        expected_new = received.association in self._brings_new and self._has_room()
        versions = () if expected_new else self._versions(received, header)
        if versions and (same := self._same(versions, received, header, digest)):
            return same
        self._objects.require_room()
        meta = _meta(received, header.sop_class, header.sop_uid, now)
        put_at = _clock()
        locator = self._objects.put("dicom", (meta, received.data), digest=digest)
        kept = Kept(locator, len(meta), len(meta) + len(received.data), digest.hex())
        arriving = Arriving(received, header, kept, now)
        return self._entered(arriving, put_at, is_first=not versions)

    def open(self, received: Received) -> "Incoming":
        """Begin to keep an instance of any size. `received.data` is the beginning of its data set,
        and the command must have named it."""
        if received.transfer_syntax not in TRANSFER_SYNTAXES:
            raise Refusal(Code.UNREADABLE, "This transfer syntax is not taken here.")
        self._objects.require_room()
        return Incoming(self, self._objects, received, self._now())

    def association_ended(self, device: Device, association: str) -> None:
        """The device has hung up, released or not: what it brought may settle soon."""
        with self._mutex:
            self._brings_new.discard(association)
            brought = self._brought.pop(association, {})
        if not brought:
            return
        now = self._now()
        with self._index.unit() as unit:
            studies = [unit.studies.lock(study_id) for study_id in sorted(brought)]
            totals = {one.id: (brought[one.id], one.instance_count) for one in studies}
            one_per_image = opens_one_per_image(device.one_per_image, totals)
            unit.people.learn_device(device.id, one_per_image, now)
            newest = {one.id: one.newest_instance for one in studies}
            association_released(unit, newest, one_per_image, now, self._policy)

    # --- inside --------------------------------------------------------------------------------

    def _keep(self, incoming: "Incoming", header: Header, digest: bytes) -> Stored:
        """An instance that has been spooled whole."""
        received = incoming.received
        _agree(received, header)
        versions = self._versions(received, header)
        if versions and (same := self._same(versions, received, header, digest)):
            return same
        put_at = _clock()
        kept = Kept(incoming.commit(), incoming.offset, incoming.size, digest.hex())
        arriving = Arriving(received, header, kept, incoming.began)
        return self._entered(arriving, put_at, is_first=not versions)

    def _has_room(self) -> bool:
        try:
            self._objects.require_room()
        except Refusal:  # what is here already needs none
            return False
        return True

    def _versions(self, received: Received, header: Header) -> Sequence[Any]:
        """What is here already under this UID."""
        with self._index.glance() as connection:
            return versions_of(connection, received.device.site, header.sop_uid)

    def _entered(self, one: Arriving, put_at: float, *, is_first: bool) -> Stored:
        """Make the rows of an object that is kept; where that fails or is not needed, forget it."""
        stored: Stored | None = None
        for left in reversed(range(TRIES)):
            try:
                with self._index.unit() as unit:
                    stored = enter_one_more(unit, one, self._policy) if is_first else None
                    stored = stored or enter(unit, one, self._policy)
                break
            except BaseException as error:
                # it, its study or its patient came twice at once: now that is there
                if left and isinstance(error, DBAPIError) and overtaken(error):
                    stored, is_first = None, False
                    continue
                # Otherwise it was the commit that failed, and its row may yet be there. A full
                # disk leaves no doubt: SQLite has written no commit.
                no_doubt = isinstance(error, Refusal) and not isinstance(error, Undecided)
                if stored is None or no_doubt:
                    self._forget(one.kept.locator)
                raise
        assert stored is not None  # noqa: S101 - the last try broke off or raised
        self._count(one.received.association, stored)
        if stored.what == "same":  # it comes again, or another association was faster
            self._instead_of_lost(one)
            return stored
        if _clock() - put_at > LATE:
            self._require_still_there(one.kept.locator)
        return stored

    def _same(
        self, versions: Sequence[Any], received: Received, header: Header, digest: bytes
    ) -> Stored | None:
        """The answer for content that is here already, and whose object has not been lost."""
        same = same_content(versions, digest.hex(), received.transfer_syntax)
        if same is None or self._is_lost(same.locator):
            return None
        return Stored(same.study_id, header.sop_uid, "same")

    def _is_lost(self, locator: str) -> bool:
        """Whether the object is gone, or has been found to have changed."""
        with self._index.glance() as connection:
            if known_fault(connection, locator):
                return True
        try:
            self._objects.length(locator)
        except FileNotFoundError:
            return True
        return False

    def _instead_of_lost(self, one: Arriving) -> None:
        """The same content has come again: its object takes the place of a lost one, or goes."""
        versions = self._versions(one.received, one.header)
        row = same_content(versions, one.kept.digest, one.received.transfer_syntax)
        if row is None or not self._is_lost(row.locator):
            self._forget(one.kept.locator)
            return
        kept, came = one.kept, (one.received.device.ae_title, one.now)
        with self._index.unit() as unit:
            columns = {"offset": kept.offset, "length": kept.length}
            is_ours = unit.studies.keep_anew(row.locator, kept.locator, came, **columns)
            unit.upkeep.is_whole(row.locator)
        self._forget(row.locator if is_ours else kept.locator)

    def _require_still_there(self, locator: str) -> None:
        """This process stood still between object and commit: was the object swept meanwhile?"""
        try:
            self._objects.length(locator)
        except FileNotFoundError as error:
            raise Refusal(Code.OUT_OF_RESOURCES, "The commit came too late.") from error

    def _forget(self, locator: str) -> None:
        """Delete an object that no row names; one that stays is swept by `check`."""
        with suppress(Exception):
            self._objects.delete(locator)

    def _count(self, association: str, stored: Stored) -> None:
        with self._mutex:
            if stored.what == "new":
                self._brings_new.add(association)
            else:
                self._brings_new.discard(association)
            if stored.settles and stored.what != "same":
                studies = self._brought.setdefault(association, {})
                studies[stored.study_id] = studies.get(stored.study_id, 0) + 1


class Incoming:
    """One large instance on its way: spooled by the object store while it is digested."""

    def __init__(self, door: Ingest, objects: Objects, received: Received, began: datetime) -> None:
        self.received = replace(received, data=b"")  # the edge's buffer is not held
        self.began = began
        self._door = door
        sop_class = checked_uid(received.sop_class or "", "SOP Class UID")
        sop_uid = checked_uid(received.sop_instance or "", "SOP Instance UID")
        meta = _meta(received, sop_class, sop_uid, began)
        self.offset = self.size = len(meta)
        self._writing = objects.begin("dicom")
        try:
            self._writing.write(meta)
            self.write(received.data)
        except BaseException:
            self.abandon()
            raise

    def write(self, part: bytes | memoryview) -> None:
        """The next bytes of the data set. They are the caller's own again when this returns."""
        self._writing.write(part)
        self.size += len(part)

    def keep(self, digest: bytes) -> Stored:
        """All has come: keep it for good, or refuse it and leave nothing. `digest` is the SHA-256
        of the data set, made while its bytes came."""
        try:
            return self._door._keep(self, self._header(), digest)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Leave nothing behind. After `keep` there is nothing to do."""
        self._writing.abandon()

    def commit(self) -> str:
        """Make the object durable; returns its locator."""
        return self._writing.commit()

    def _header(self) -> Header:
        """Read from the system's own copy of the file: nothing of it is taken into memory."""
        with self._writing.whole() as descriptor:
            mapped = mmap.mmap(descriptor, self.size, prot=mmap.PROT_READ)
        return read_header(memoryview(mapped)[self.offset :], self.received.transfer_syntax)


def _clock() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _meta(received: Received, sop_class: str, sop_uid: str, now: datetime) -> bytes:
    return file_meta(
        sop_class=sop_class,
        sop_uid=sop_uid,
        transfer_syntax=received.transfer_syntax,
        calling=received.device.ae_title,
        called=received.called,
        site=received.device.site,
        received_at=now,
    )


def _agree(received: Received, header: Header) -> None:
    """The command and the data set must speak of the same instance (PS3.4 B.2.3, status A9xx)."""
    for said, is_so in (
        (received.sop_class, header.sop_class),
        (received.sop_instance, header.sop_uid),
    ):
        if said is not None and said.rstrip("\0 ") != is_so:
            raise Refusal(
                Code.COMMAND_DISAGREES, "The command names another instance than the data set."
            )
