"""How do values of the house read as JSON?"""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from storage.search import EarlierRow, ReportBrief, ReportRow, SiteName, TaskRow
from worklist.arrival import Study
from worklist.patient import Patient, age
from worklist.report import Draft, Report
from worklist.site import Site
from worklist.task import ReadingTask, TaskState

Json = dict[str, Any]


def instant(value: datetime) -> str:
    """ISO 8601 in UTC with Z, to the millisecond."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def maybe(value: datetime | None) -> str | None:
    """An instant, or null."""
    return None if value is None else instant(value)


def day(value: date | None) -> str | None:
    """YYYY-MM-DD, or null."""
    return None if value is None else value.isoformat()


def patient(one: Patient, on: date) -> Json:
    """A patient with the age on the day of the study."""
    return {
        "name": one.name,
        "name_latin": one.name_latin,
        "id": one.patient_id,
        "sex": one.sex,
        "birth_date": day(one.birth_date),
        "age": age(one.birth_date, on),
    }


def study_day(one: Study) -> date:
    """The day of the study: as the device said, else when it came."""
    return one.study_date or (one.acquired_at or one.received_at).date()


def patient_of(one: Study) -> Json:
    """The study's patient."""
    return patient(one.patient, study_day(one))


def site_name(one: SiteName | Site) -> Json:
    """A Site as lists name it."""
    return {"key": one.key, "name": one.name, "name_en": one.name_en}


def institution(one: Site) -> Json:
    """A Site as a report names it."""
    return {"name": one.name, "name_en": one.name_en, "phone": one.phone}


def study_brief(one: Study) -> Json:
    """What a list says of a study."""
    return {
        "id": str(one.id),
        "uid": one.uid,
        "description": one.description,
        "date": day(one.study_date),
        "accession": one.accession,
        "modalities": sorted(one.modalities),
        "series_count": one.series_count,
        "instance_count": one.instance_count,
        "received_at": instant(one.received_at),
        "acquired_at": maybe(one.acquired_at),
    }


def task(row: TaskRow, me: str, target_seconds: int) -> Json:
    """A row of the worklist as `me` sees it."""
    one, study = row.task, row.study
    held = one.state is TaskState.CLAIMED
    return {
        "id": one.id,
        "version": one.version,
        "kind": one.kind,
        "specialty": "ecg" if one.kind == "ECG" else "images",
        "priority": one.priority,
        "state": one.state,
        "due_at": instant(one.due_at),
        "target_seconds": target_seconds,
        "received_at": instant(one.received_at),
        "lease_until": maybe(one.lease_until),
        "claimed_by": _holder(row, row.holder) if held and row.holder else None,
        "mine": held and one.claimed_by == me,
        "draft_saved_at": maybe(row.drafts.get(me)),
        "patient": patient_of(study),
        "site": site_name(row.site),
        "study": study_brief(study),
        "question": study.question,
        "marks": marks(study, one),
        "follows": _follows(one),
    }


def _holder(row: TaskRow, names: tuple[str, str]) -> Json:
    since = row.task.claimed_at or row.task.received_at
    display, display_en = names
    return {
        "name": row.task.claimed_by,
        "display": display,
        "display_en": display_en,
        "since": instant(since),
    }


def _follows(one: ReadingTask) -> Json | None:
    if one.follows_task is None or one.follows_report is None:
        return None
    return {"task_id": one.follows_task, "report_id": one.follows_report}


def marks(study: Study, one: ReadingTask | None) -> list[str]:
    """What the reader or the center must know."""
    found = set(study.marks)
    if one is not None:
        if one.state is TaskState.CLAIMED and study.newest_instance > one.seen_up_to:
            found.add("late_instances")
        if one.follows_report is not None:
            found.add("follows_report")
    return sorted(found)


def target_seconds(one: ReadingTask) -> int:
    """How long the task might wait when it was opened."""
    return int((one.due_at - one.received_at).total_seconds())


def draft(one: Draft | None) -> Json:
    """What an author has written so far; version 0 where nothing is."""
    if one is None:
        one = Draft("", "")
    return {
        "draft_version": one.version,
        "findings": one.findings,
        "impression": one.impression,
        "result": one.result,
        "key_image": one.key_image,
        "saved_at": maybe(one.saved_at),
        "author": one.author or None,
    }


def earlier(rows: list[EarlierRow]) -> list[Json]:
    """Earlier studies with what was reported."""
    return [
        {
            "study_id": str(row.study.id),
            "report_id": row.report.id if row.report else None,
            "date": study_day(row.study).isoformat(),
            "kind": row.study.kind,
            "impression": row.report.impression if row.report else None,
            "result": row.report.result if row.report else None,
        }
        for row in rows
    ]


def report(row: ReportRow) -> Json:
    """A row of a list of reports."""
    one, delivery = row.report, row.delivery
    return {
        "id": one.id,
        "version": one.version,
        "task_id": one.task_id,
        "study_id": str(one.study_id),
        "patient": patient_of(row.study),
        "kind": row.study.kind,
        "study_description": row.study.description,
        "site": site_name(row.site),
        "result": one.result,
        "state": one.state,
        "signed_at": instant(one.signed_at),
        "effective_at": instant(one.effective_at),
        "author": row.author,
        "impression": one.impression,
        "opened_at": maybe(delivery.opened_at) if delivery else None,
        "acknowledged_at": maybe(delivery.acknowledged_at) if delivery else None,
        "study_newer": one.study_newer,
    }


def report_version(one: ReportBrief | Report) -> Json:
    """One signed version among others."""
    return {
        "id": one.id,
        "version": one.version,
        "state": one.state,
        "signed_at": instant(one.signed_at),
    }


def local_day(value: datetime, zone: ZoneInfo) -> date:
    """The calendar day of an instant on a Site's wall."""
    return value.astimezone(zone).date()
