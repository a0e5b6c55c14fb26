"""Which rows does one instance make?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Literal

from storage.header import Header
from storage.index import IndexUnit
from storage.repairs import GUESSED
from worklist.arrival import Arrival, Study, clock_is_off, instance_arrived, only_counts
from worklist.events import Fact, Happened
from worklist.policy import Policy
from worklist.priority import from_dicom
from worklist.repair import TextRepair, propose
from worklist.site import Device

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
    and `sop_instance` are what the command said (None where the protocol says nothing). `digest` is
    the SHA-256 of `data` where the edge has made it while the bytes came."""

    device: Device
    called: str
    data: bytes | memoryview
    transfer_syntax: str
    sop_class: str | None
    sop_instance: str | None
    association: str
    digest: bytes | None = None


@dataclass(frozen=True)
class Stored:
    """What became of it: a new instance, the same content again, or another content under a known
    UID. `settles` says that its study waits for quiet before it becomes a task."""

    study_id: int
    sop_uid: str
    what: Literal["new", "same", "version"]
    settles: bool = False


@dataclass(frozen=True)
class Kept:
    """What the index needs to know of the object."""

    locator: str
    offset: int
    length: int
    digest: str


@dataclass(frozen=True)
class Arriving:
    """One instance whose bytes are kept, before the index knows of it."""

    received: Received
    header: Header
    kept: Kept
    now: datetime

    @property
    def site(self) -> str:
        """The Site it belongs to."""
        return self.received.device.site

    @property
    def kind(self) -> str:
        """The kind of reading task it asks for."""
        return _kind(self.received.device, self.header)


def enter(unit: IndexUnit, one: Arriving, policy: Policy) -> Stored:
    """Write rows, facts and jobs of an instance, whatever came before."""
    uid = one.header.sop_uid
    if one.header.charset_guessed:
        one = replace(one, header=unit.repairs.as_decided(one.site, one.header))
    study = _study(unit, one, policy)
    versions = unit.studies.versions(one.site, uid)
    same = same_content(versions, one.kept.digest, one.received.transfer_syntax)
    if same is not None:
        return Stored(same.study_id, uid, "same")
    study = _with_instance(unit, study, one, versions)
    if one.header.charset_guessed:
        study = propose(unit, study, _repair(study, one))
    study = instance_arrived(unit, study, uid, one.now, policy)
    unit.studies.save(study)
    what: Literal["new", "version"] = "version" if versions else "new"
    return Stored(study.id, uid, what, settles=study.kind != "ECG")


def enter_one_more(unit: IndexUnit, one: Arriving, policy: Policy) -> Stored | None:
    """The same for the next instance of a series that is arriving, in four statements.

    None, and nothing written, where there is more to decide. An instance that has come before
    breaks the unique key of its row: the transaction must be given up, and `enter` decides.
    """
    header, kind = one.header, one.kind
    if not only_counts(kind):
        return None
    series = (header.series_uid, header.modality)
    times = (one.now, one.now - policy.quiet_alone)
    counted = unit.studies.one_more(one.site, header.study_uid, kind, header.patient, series, times)
    if counted is None:
        return None
    study_id, series_id, number = counted
    _add_instance(unit, one, study_id, series_id, number, version=1)
    return Stored(study_id, header.sop_uid, "new", settles=True)


def same_content(versions: Sequence[Any], digest: str, transfer_syntax: str) -> Any:
    """The version with this very content, if it has come before; a retry may come late."""
    content = (digest, transfer_syntax)
    return next((one for one in versions if (one.digest, one.transfer_syntax) == content), None)


def _study(unit: IndexUnit, one: Arriving, policy: Policy) -> Study:
    """The study of this UID at this Site, locked; a new one if it is the first we hear of it."""
    header, kind = one.header, one.kind
    known = unit.studies.by_uid(one.site, header.study_uid)
    if known is not None:
        marks = known.marks | _marks_of_patient(known, header)
        # what says nothing (a report, a screen copy) may come first; after that the kind stays
        return replace(known, marks=marks, kind=kind if known.kind == "OT" else known.kind)
    acquired_at = header.acquired_at(unit.studies.zone(one.site))
    study = Study(
        id=0,
        site=one.site,
        uid=header.study_uid,
        kind=kind,
        patient=header.patient,
        priority=from_dicom(header.priority),
        arrival=Arrival.RECEIVING,
        received_at=one.now,
        last_received_at=one.now,
        description=header.study_description or header.series_description or "",
        accession=header.accession,
        question=header.question,
        requester=header.requester,
        acquired_at=acquired_at,
        study_date=_date(header.study_date),
        marks=_marks(unit, one, acquired_at, policy),
    )
    return unit.studies.add(study, header.study_time, header.attributes)


def _marks(
    unit: IndexUnit, one: Arriving, acquired_at: datetime | None, policy: Policy
) -> frozenset[str]:
    """What a reader must know of a study that has just begun to arrive."""
    header = one.header
    first = unit.studies.known_patient(one.site, header.patient)
    found = {
        "no_patient_id": header.patient.patient_id is None,
        "charset_guessed": header.charset_guessed,
        "identity_conflict": first is not None and bool(first.differs_from(header.patient)),
        "uid_conflict": unit.studies.elsewhere(one.site, header.study_uid),
        "clock_off": clock_is_off(acquired_at, one.now, policy.clock_tolerance),
    }
    return frozenset(mark for mark, holds in found.items() if holds)


def _with_instance(unit: IndexUnit, study: Study, one: Arriving, versions: Sequence[Any]) -> Study:
    """Write the instance's row (and its series'); returns the study with its new counts.

    It takes the place of what the same UID named in this study. In another study it stays: a device
    that uses a UID twice must not make one patient's image vanish for another's.
    """
    header = one.header
    series = unit.studies.series_of(study.id, header.series_uid)
    before = next((row for row in versions if row.study_id == study.id and row.current), None)
    added = 0 if before is not None and series and before.series_id == series.id else 1
    if before is not None and added:
        unit.studies.leave_series(before.series_id)
    guessed = {GUESSED: list(header.character_set)} if header.charset_guessed else {}
    if series is None:
        series_id = unit.studies.add_series(
            study_id=study.id,
            series_uid=header.series_uid,
            modality=header.modality,
            number=header.series_number,
            description=header.series_description,
            body_part=header.body_part,
            instance_count=added,
            attributes={**header.series_attributes, **guessed},
        )
    else:
        series_id = series.id
        unit.studies.count_series(series_id, series.instance_count + added)
    number = study.newest_instance + 1
    _add_instance(unit, one, study.id, series_id, number, version=len(versions) + 1)
    return replace(
        study,
        last_received_at=one.now,
        newest_instance=number,
        instance_count=study.instance_count + (before is None),
        series_count=study.series_count + (series is None),
        modalities=study.modalities | {header.modality},
        marks=study.marks | ({"uid_conflict"} if versions else set()),
    )


def _repair(study: Study, one: Arriving) -> TextRepair:
    """What is proposed where the instance's text contradicts its label."""
    header = one.header
    return TextRepair(
        study_id=study.id,
        site=study.site,
        labelled=header.labelled,
        proposed=header.character_set[0],
        confidence=header.charset_confidence,
        of_study=study.newest_instance == 1,
        proposed_at=one.now,
    )


def _add_instance(
    unit: IndexUnit, one: Arriving, study_id: int, series_id: int, number: int, *, version: int
) -> None:
    """The instance's row, and the fact that it has come."""
    header, kept, device = one.header, one.kept, one.received.device
    unit.studies.add_instance(
        series_id=series_id,
        study_id=study_id,
        site=one.site,
        sop_uid=header.sop_uid,
        sop_class=header.sop_class,
        version=version,
        current=True,
        number_in_study=number,
        kind=header.kind,
        number=header.instance_number,
        frames=header.frames,
        rows=header.rows,
        columns=header.columns,
        frame_time_ms=header.frame_time_ms,
        transfer_syntax=one.received.transfer_syntax,
        digest=kept.digest,
        locator=kept.locator,
        offset=kept.offset,
        length=kept.length,
        calling_ae_title=device.ae_title,
        received_at=one.now,
    )
    unit.facts.add(
        Fact(
            Happened.INSTANCE_STORED,
            one.now,
            one.site,
            who=device.ae_title,
            study_id=study_id,
            data={"sop_uid": header.sop_uid, "version": version},
        )
    )


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
