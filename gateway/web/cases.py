"""What does a reader get who opens a case?"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from gateway.assemble import Parts
from gateway.imaging import version_of
from gateway.web import values
from gateway.web.repairs import text_repair
from gateway.web.values import Json
from storage.index import IndexUnit
from storage.search import Search, TaskRow
from worklist.arrival import Study
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.person import Caller, Person
from worklist.reading import late_instances
from worklist.repair import MARK
from worklist.report import Draft
from worklist.site import SiteKind
from worklist.task import TaskState

_WORDS = {
    Happened.STUDY_SETTLED: "settled",
    Happened.TASK_OPENED: "queued",
    Happened.TASK_CLAIMED: "claimed",
    Happened.TASK_RELEASED: "released",
    Happened.TASK_RETURNED: "returned",
    Happened.LEASE_EXPIRED: "lease_lost",
    Happened.INSTANCE_CAME_LATE: "late_instances",
    Happened.REPORT_SIGNED: "signed",
    Happened.REPORT_TAKEN_BACK: "taken_back",
}


def task_row(unit: IndexUnit, task_id: str, who: Caller) -> TaskRow:
    """The task with all a list shows of it; NOT_FOUND outside the caller's Sites."""
    found = Search(unit.connection).tasks_by_id([task_id])
    if not found or not who.may_see(found[0].task.site):
        raise Refusal(Code.NOT_FOUND, "There is no such task.")
    return found[0]


def opened(parts: Parts, unit: IndexUnit, row: TaskRow, who: Caller, reader: Person | None) -> Json:
    """The whole case, and the fact that it was opened. Only its holder may write in it."""
    now = parts.now()
    unit.facts.add(
        Fact(
            Happened.STUDY_OPENED,
            now,
            row.study.site,
            who=who.name,
            study_id=row.study.id,
            task_id=row.task.id,
        )
    )
    task, lease = row.task, row.task.lease_until
    mine = task.state is TaskState.CLAIMED and task.claimed_by == who.name
    draft = unit.drafts.get(task.id, who.name) or Draft(task.id, who.name)
    sites = unit.people.sites()
    hospital = sites[who.site]
    if hospital.kind is not SiteKind.HOSPITAL:
        raise Refusal(Code.NOT_ALLOWED, "Cases are opened by people of a hospital.")
    return {
        "task": values.task(row, who.name, values.target_seconds(task)),
        "editable": mine and lease is not None and lease > now,
        "study": {
            "id": str(row.study.id),
            "uid": row.study.uid,
            "site": row.study.site,
            "series": series(unit, row.study.id),
            "text_repair": _text_repair(unit, row.study),
        },
        "draft": values.draft(draft),
        "late": late_instances(unit, row.study, task),
        "earlier": values.earlier(Search(unit.connection).earlier(row.study)),
        "institution": {
            "hospital": values.institution(hospital),
            "center": values.institution(sites[row.study.site]),
        },
        "grace_seconds": int(parts.policy.grace.total_seconds()),
        "reader": {
            "name": who.name,
            "display": reader.display if reader else who.name,
            "licence_number": reader.licence_number if reader else None,
        },
    }


def detail(unit: IndexUnit, row: TaskRow, who: Caller) -> Json:
    """A row of the worklist with its story, for the peek beside the list."""
    search = Search(unit.connection)
    kinds = search.kinds(row.study.id)
    preview = "ecg" if "ecg" in kinds else "image" if "image" in kinds else "none"
    sites = unit.people.sites()
    return {
        **values.task(row, who.name, values.target_seconds(row.task)),
        "timeline": _timeline(unit, row, who),
        "earlier": values.earlier(search.earlier(row.study)),
        "contacts": {
            "requester": row.study.requester,
            "site_phone": sites[row.study.site].phone,
        },
        "preview": {"kind": preview},
        "text_repair": _text_repair(unit, row.study),
    }


def _text_repair(unit: IndexUnit, study: Study) -> Json | None:
    """What is proposed for the study's text; only a marked study is asked for."""
    found = unit.repairs.get(study.id) if MARK in study.marks else None
    return None if found is None else text_repair(found)


def series(unit: IndexUnit, study_id: int) -> list[Json]:
    """Series and instances in the order of their numbers; `v` names an instance's content."""
    instances: dict[int, list[Row[Any]]] = {}
    for row in unit.studies.instance_rows(study_id):
        instances.setdefault(row.series_id, []).append(row)
    found = sorted(unit.studies.series_rows(study_id), key=lambda row: (_last(row.number), row.id))
    return [
        {
            "uid": row.series_uid,
            "modality": row.modality,
            "number": row.number,
            "description": row.description,
            "body_part": row.body_part,
            "instances": _instances(instances[row.id]),
        }
        for row in found
        if row.id in instances
    ]


def _instances(rows: Sequence[Row[Any]]) -> list[Json]:
    return [
        {
            "uid": row.sop_uid,
            "v": version_of(row),
            "number": row.number,
            "sop_class": row.sop_class,
            "frames": row.frames,
            "rows": row.rows,
            "columns": row.columns,
            "kind": row.kind,
            "frame_time_ms": row.frame_time_ms,
        }
        for row in sorted(rows, key=lambda row: (_last(row.number), row.number_in_study))
    ]


def _last(number: int | None) -> float:
    return float("inf") if number is None else number


def _timeline(unit: IndexUnit, row: TaskRow, who: Caller) -> list[Json]:
    people = unit.people.people()
    story: list[tuple[datetime, str, str | None]] = [(row.study.received_at, "received", None)]
    if row.study.acquired_at is not None:
        story.append((row.study.acquired_at, "acquired", None))
    saved = row.drafts.get(who.name)
    if saved is not None:
        story.append((saved, "draft_saved", who.name))
    for fact in unit.facts.of_study(row.study.id):
        word = _WORDS.get(Happened(fact.what))
        if word is not None and fact.task_id in (None, row.task.id):
            story.append((fact.at, word, fact.who))
    return [
        {
            "at": values.instant(at),
            "what": what,
            "who": people[name].display if name in people else None,
        }
        for at, what, name in sorted(story, key=lambda one: one[0])
    ]
