"""The one door for an instance: how does it become durable before anyone says Success?

1. Read the header: what is missing or broken is refused here, nothing has been written.
2. The object: bytes as received behind file meta of ours, synced.
3. The index: rows, facts and jobs in one committed transaction.
A failure before the end leaves at most an object without a row, which is deleted here or swept by
`check`.
"""

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Literal

from storage.header import Header, read_header
from storage.index import Index, IndexUnit
from storage.objects import Objects
from storage.part10 import file_meta
from worklist.arrival import (
    Arrival,
    Study,
    association_released,
    clock_is_off,
    instance_arrived,
    opens_one_per_image,
)
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.policy import Policy
from worklist.priority import from_dicom
from worklist.site import Device, Site, device_of

# (0008,0060) Modality to the kind of reading task; everything else is "OT"
_KINDS = {
    "ECG": "ECG",
    "CT": "CT",
    "MR": "MR",
    "US": "US",
    "IVUS": "US",
    "CR": "DX",
    "DX": "DX",
    "RG": "DX",
    "MG": "DX",
    "IO": "DX",
    "PX": "DX",
    "RF": "DX",
}


@dataclass(frozen=True)
class Received:
    """One instance as an edge got it. `data` is the data set's bytes, file meta aside; `sop_class`
    and `sop_instance` are what the command said (None where the protocol says nothing)."""

    device: Device
    called: str
    data: bytes | memoryview
    transfer_syntax: str
    sop_class: str | None
    sop_instance: str | None
    association: str


@dataclass(frozen=True)
class Stored:
    """What became of it: a new instance, the same content again, or another content under a known
    UID. `settles` says that its study waits for quiet before it becomes a task."""

    study_id: int
    sop_uid: str
    what: Literal["new", "same", "version"]
    settles: bool = False


@dataclass(frozen=True)
class _Kept:
    """What the index needs to know of the object."""

    locator: str
    offset: int
    length: int
    digest: str


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
        self._brought: dict[str, dict[int, int]] = {}  # association → study id → new instances

    def caller(self, calling: str, called: str, address: str) -> Device:
        """The registered device behind a calling AE Title, or a refusal."""
        with self._index.view() as unit:
            return device_of(unit.people.callers(calling.strip()), called.strip(), address)

    def receive(self, received: Received) -> Stored:
        """Keep one instance for good. Returning means: object synced, index committed and
        synced."""
        header = read_header(received.data, received.transfer_syntax)
        _agree(received, header)
        now = self._now()
        digest = hashlib.sha256(received.data).hexdigest()
        known = self._known(received, header, digest)
        if known is not None:
            return known
        self._objects.require_room()
        meta = file_meta(
            sop_class=header.sop_class,
            sop_uid=header.sop_uid,
            transfer_syntax=received.transfer_syntax,
            calling=received.device.ae_title,
            called=received.called,
            site=received.device.site,
            received_at=now,
        )
        locator = self._objects.put("dicom", (meta, received.data))
        kept = _Kept(locator, len(meta), len(meta) + len(received.data), digest)
        stored: Stored | None = None
        try:
            with self._index.unit() as unit:
                stored = self._enter(unit, received, header, kept, now)
        except BaseException as error:
            # Otherwise it was the commit that failed, and its row may yet be there. A full disk
            # leaves no doubt: SQLite has written no commit.
            if stored is None or isinstance(error, Refusal):
                self._forget(locator)
            raise
        if stored.what == "same":  # another association was faster
            self._forget(locator)
        elif stored.settles:
            self._count(received.association, stored.study_id)
        return stored

    def association_ended(self, device: Device, association: str) -> None:
        """The device has hung up, released or not: what it brought may settle soon."""
        with self._mutex:
            brought = self._brought.pop(association, {})
        if not brought:
            return
        now = self._now()
        with self._index.unit() as unit:
            totals = {
                study_id: (count, unit.studies.lock(study_id).instance_count)
                for study_id, count in sorted(brought.items())
            }
            one_per_image = opens_one_per_image(device.one_per_image, totals)
            unit.people.learn_device(device.id, one_per_image, now)
            association_released(unit, brought, one_per_image, now, self._policy)

    def _forget(self, locator: str) -> None:
        """Delete an object that no row names; one that stays is swept by `check`."""
        with suppress(Exception):
            self._objects.delete(locator)

    def _known(self, received: Received, header: Header, digest: str) -> Stored | None:
        """The answer for content that is here already: nothing is written for it."""
        with self._index.view() as unit:
            versions = unit.studies.versions(received.device.site, header.sop_uid)
        same = _same(versions, digest, received)
        return None if same is None else Stored(same.study_id, header.sop_uid, "same")

    def _enter(
        self, unit: IndexUnit, received: Received, header: Header, kept: _Kept, now: datetime
    ) -> Stored:
        site = unit.people.site(received.device.site)
        study = self._study(unit, site, received.device, header, now)
        versions = unit.studies.versions(site.key, header.sop_uid)
        same = _same(versions, kept.digest, received)
        if same is not None:
            return Stored(same.study_id, header.sop_uid, "same")
        study = self._with_instance(unit, study, received, header, kept, versions, now)
        study = instance_arrived(unit, study, header.sop_uid, now, self._policy)
        unit.studies.save(study)
        what: Literal["new", "version"] = "version" if versions else "new"
        return Stored(study.id, header.sop_uid, what, settles=study.kind != "ECG")

    def _study(
        self, unit: IndexUnit, site: Site, device: Device, header: Header, now: datetime
    ) -> Study:
        """The study of this UID at this Site, locked; a new one if it is the first we hear of
        it."""
        kind = _kind(device, header)
        known = unit.studies.by_uid(site.key, header.study_uid)
        if known is not None:
            marks = known.marks | _marks_of_patient(known, header)
            # what says nothing (a report, a screen copy) may come first; after that the kind stays
            return replace(known, marks=marks, kind=kind if known.kind == "OT" else known.kind)
        acquired_at = header.acquired_at(site.zone)
        marks = self._marks(unit, site, header, acquired_at, now)
        study = Study(
            id=0,
            site=site.key,
            uid=header.study_uid,
            kind=kind,
            patient=header.patient,
            priority=from_dicom(header.priority),
            arrival=Arrival.RECEIVING,
            received_at=now,
            last_received_at=now,
            description=header.study_description or header.series_description or "",
            accession=header.accession,
            question=header.question,
            requester=header.requester,
            acquired_at=acquired_at,
            study_date=_date(header.study_date),
            marks=marks,
        )
        return unit.studies.add(study, header.study_time, header.attributes)

    def _marks(
        self,
        unit: IndexUnit,
        site: Site,
        header: Header,
        acquired_at: datetime | None,
        now: datetime,
    ) -> frozenset[str]:
        """What a reader must know of a study that has just begun to arrive."""
        first = unit.studies.known_patient(site.key, header.patient)
        tolerance = self._policy.clock_tolerance
        found = {
            "no_patient_id": header.patient.patient_id is None,
            "charset_guessed": header.charset_guessed,
            "identity_conflict": first is not None and bool(first.differs_from(header.patient)),
            "uid_conflict": unit.studies.elsewhere(site.key, header.study_uid),
            "clock_off": clock_is_off(acquired_at, now, tolerance),
        }
        return frozenset(mark for mark, holds in found.items() if holds)

    def _with_instance(
        self,
        unit: IndexUnit,
        study: Study,
        received: Received,
        header: Header,
        kept: _Kept,
        versions: Any,
        now: datetime,
    ) -> Study:
        """Write the instance's row (and its series'); returns the study with its new counts.

        It takes the place of what the same UID named in this study. In another study it stays: a
        device that uses a UID twice must not make one patient's image vanish for another's.
        """
        series = unit.studies.series_of(study.id, header.series_uid)
        before = next((one for one in versions if one.study_id == study.id and one.current), None)
        added = 0 if before is not None and series and before.series_id == series.id else 1
        if before is not None and added:
            unit.studies.leave_series(before.series_id)
        if series is None:
            series_id = unit.studies.add_series(
                study_id=study.id,
                series_uid=header.series_uid,
                modality=header.modality,
                number=header.series_number,
                description=header.series_description,
                body_part=header.body_part,
                instance_count=added,
                attributes={},
            )
        else:
            series_id = series.id
            unit.studies.count_series(series_id, series.instance_count + added)
        number = study.newest_instance + 1
        unit.studies.add_instance(
            series_id=series_id,
            study_id=study.id,
            site=study.site,
            sop_uid=header.sop_uid,
            sop_class=header.sop_class,
            version=len(versions) + 1,
            current=True,
            number_in_study=number,
            kind=header.kind,
            number=header.instance_number,
            frames=header.frames,
            rows=header.rows,
            columns=header.columns,
            frame_time_ms=header.frame_time_ms,
            transfer_syntax=received.transfer_syntax,
            digest=kept.digest,
            locator=kept.locator,
            offset=kept.offset,
            length=kept.length,
            calling_ae_title=received.device.ae_title,
            received_at=now,
        )
        unit.facts.add(
            Fact(
                Happened.INSTANCE_STORED,
                now,
                study.site,
                who=received.device.ae_title,
                study_id=study.id,
                data={"sop_uid": header.sop_uid, "version": len(versions) + 1},
            )
        )
        return replace(
            study,
            last_received_at=now,
            newest_instance=number,
            instance_count=study.instance_count + (before is None),
            series_count=study.series_count + (series is None),
            modalities=study.modalities | {header.modality},
            marks=study.marks | ({"uid_conflict"} if versions else set()),
        )

    def _count(self, association: str, study_id: int) -> None:
        with self._mutex:
            studies = self._brought.setdefault(association, {})
            studies[study_id] = studies.get(study_id, 0) + 1


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


def _same(versions: Any, digest: str, received: Received) -> Any:
    """The version with this very content, if it has come before; a retry may come late."""
    content = (digest, received.transfer_syntax)
    return next((one for one in versions if (one.digest, one.transfer_syntax) == content), None)


def _kind(device: Device, header: Header) -> str:
    """The kind of reading task. A cart that wraps its ECG as PDF or Secondary Capture still sends
    an ECG."""
    if header.kind == "ecg" or header.modality == "ECG" or device.modality == "ECG":
        return "ECG"
    if header.about_ecg and (header.kind == "pdf" or header.modality in ("OT", "DOC", "SC", "")):
        return "ECG"
    return _KINDS.get(header.modality, "OT")


def _marks_of_patient(study: Study, header: Header) -> set[str]:
    """A study whose instances name different people is marked."""
    other = header.patient
    differs = study.patient.differs_from(other) or study.patient.patient_id != other.patient_id
    return {"identity_conflict"} if differs else set()


def _date(text: str | None) -> date | None:
    try:
        return datetime.strptime(text or "", "%Y%m%d").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None
