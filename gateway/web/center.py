"""How far is each study of a center, in words a doctor there uses?"""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gateway.assemble import Parts
from gateway.web import values
from gateway.web.auth import Who
from gateway.web.repairs import text_repair
from gateway.web.values import Json
from storage.index import IndexUnit
from storage.search import CenterRow, Search
from worklist.arrival import Arrival
from worklist.delivery import Delivery
from worklist.errors import Code, Refusal
from worklist.person import Caller, Person
from worklist.repair import MARK, TextRepair
from worklist.report import ReportState
from worklist.task import TaskState

MOST = 500
_MOST_ID = 2**53
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_BY_TASK = {
    TaskState.OPEN: (2, "waiting"),
    TaskState.CLAIMED: (3, "reading"),
    TaskState.COMPLETED: (3, "reading"),  # signed, and its grace time runs
    TaskState.RETURNED: (3, "please_repeat"),
    TaskState.CANCELLED: (2, "waiting"),
}


class Words(BaseModel):
    """Part of a name or number: it comes in a body, never in a URL."""

    q: str = Field(max_length=64)
    after: str | None = Field(None, max_length=256)


def routes(parts: Parts) -> APIRouter:
    """The center's own page."""
    router = APIRouter(prefix="/api/center", tags=["center"])

    @router.get("/studies")
    def studies(who: Who, day: date | None = None) -> Json:
        """The studies of a day (or today): those that came, and those whose report came."""
        return _of_day(parts, day, who)

    @router.post("/studies/find")
    def find(asked: Words, who: Who) -> Json:
        """The studies of a patient, by name or number, newest first."""
        return _found(parts, asked, who)

    return router


def center_study(
    row: CenterRow, people: Mapping[str, Person], repair: TextRepair | None = None
) -> Json:
    """One study as its center follows it; `repair` is what is proposed for its text."""
    study, task, report = row.study, row.task, row.report
    step, state = progress(row)
    return {
        "study_id": str(study.id),
        "task_id": task.id if task else None,
        "patient": values.patient_of(study),
        "kind": study.kind,
        "description": study.description,
        "acquired_at": values.maybe(study.acquired_at),
        "received_at": values.instant(study.received_at),
        "step": step,
        "state": state,
        "reader": row.reader if task and task.state is not TaskState.OPEN else None,
        "due_at": values.instant(task.due_at) if task and task.active else None,
        "result": report.result if report else None,
        "report": {
            **values.report_version(report),
            "impression": report.impression,
            "study_newer": report.study_newer,
            "replaced_by": report.replaced_by,
        }
        if report
        else None,
        "delivery": _delivery(row.delivery, people) if row.delivery else None,
        "repeat": {"reason_code": task.return_reason, "note": task.return_note}
        if task and state == "please_repeat"
        else None,
        "marks": values.marks(study, task),
        "text_repair": text_repair(repair) if repair else None,
    }


def progress(row: CenterRow) -> tuple[int, str]:
    """Step 1 to 5 and the state's word. A report in force counts before what is read after it."""
    delivery, task = row.delivery, row.task
    if row.report is not None and row.report.state is ReportState.FINAL:
        if row.critical is not None and row.critical.open:
            return 4, "critical"
        if delivery is not None and delivery.acknowledged_at is not None:
            return 5, "confirmed"
        opened = delivery is not None and delivery.opened_at is not None
        return 4, "opened" if opened else "report_ready"
    if task is None:
        return (1, "receiving") if row.study.arrival is Arrival.RECEIVING else (2, "waiting")
    if task.state is TaskState.COMPLETED and row.report is not None and not row.in_grace:
        return 4, "opened"  # withdrawn: the version that was read must not be used any more
    return _BY_TASK[task.state]


def _of_day(parts: Parts, asked: date | None, who: Caller) -> Json:
    with parts.view() as unit:
        zone = unit.people.site(who.site).zone
        day = asked or values.local_day(parts.now(), zone)
        begin = datetime.combine(day, time(), zone)
        try:
            end = datetime.combine(day + timedelta(days=1), time(), zone)
        except OverflowError as error:
            raise Refusal(Code.INVALID, "There is no such day.") from error
        rows = Search(unit.connection).center_day(who.sites, begin, end, MOST)
        people = unit.people.people()
        repairs = _repairs(unit, rows)
    return {"day": day.isoformat(), **_page(parts, rows, people, repairs)}


def _found(parts: Parts, asked: Words, who: Caller) -> Json:
    text = asked.q.strip()
    with parts.view() as unit:
        search = Search(unit.connection)
        rows = search.center_found(who.sites, text, _after(asked.after), MOST + 1) if text else []
        people = unit.people.people()
        repairs = _repairs(unit, rows)
    shown = rows[:MOST]
    page = _page(parts, shown, people, repairs)
    return {**page, "next": _next(shown[-1]) if len(rows) > MOST else None}


def _repairs(unit: IndexUnit, rows: list[CenterRow]) -> dict[int, TextRepair]:
    """What is proposed for the text of these studies, by their ids."""
    marked = [row.study.id for row in rows if MARK in row.study.marks]
    return unit.repairs.of_studies(marked) if marked else {}


def _page(
    parts: Parts,
    rows: list[CenterRow],
    people: Mapping[str, Person],
    repairs: Mapping[int, TextRepair],
) -> Json:
    studies = [center_study(row, people, repairs.get(row.study.id)) for row in rows]
    return {
        "studies": studies,
        "counts": dict(Counter(one["state"] for one in studies)),
        "next": None,
        "as_of": values.instant(parts.now()),
    }


def _delivery(one: Delivery, people: Mapping[str, Person]) -> Json:
    return {
        "sent_at": values.instant(one.sent_at),
        "opened_at": values.maybe(one.opened_at),
        "opened_by": display(people, one.opened_by),
        "acknowledged_at": values.maybe(one.acknowledged_at),
        "acknowledged_by": display(people, one.acknowledged_by),
    }


def display(people: Mapping[str, Person], name: str | None) -> str | None:
    """An account by the name people read."""
    person = people.get(name) if name else None
    return person.display if person else name


def _next(row: CenterRow) -> str:
    received = (row.study.received_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(json.dumps([received, row.study.id]).encode()).decode()


def _after(text: str | None) -> tuple[datetime, int] | None:
    if not text:
        return None
    try:
        received, study_id = json.loads(base64.urlsafe_b64decode(text))
        if not 0 <= int(study_id) <= _MOST_ID:
            raise ValueError(study_id)
        return _EPOCH + timedelta(microseconds=int(received)), int(study_id)
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        raise Refusal(Code.INVALID, "There is no such page of the list.") from error
