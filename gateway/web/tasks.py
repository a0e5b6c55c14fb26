"""Which cases wait, who reads them, and what has been written so far?"""

import base64
import binascii
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from gateway import sealing
from gateway.assemble import Parts
from gateway.web import cases, values
from gateway.web.auth import Hand, Hospital
from gateway.web.errors import refusal_answer
from gateway.web.values import Json
from storage.search import Filter, Search, TaskRow
from worklist import reading
from worklist.errors import Code, Refusal
from worklist.ports import VERSION_DIGITS
from worklist.priority import Priority
from worklist.report import Draft, Result
from worklist.signing import SignRequest

MOST = 200
LONGEST_TEXT = 100_000
# of a study with more instances than this not every one can be named in a request
MOST_INSTANCES = 50_000
MOST_VERSIONS = 2**31 - 1
MOST_ID = 2**53

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Tab = Literal["all", "ecg", "images", "mine"]
Uid = Annotated[str, Field(pattern=r"^[0-9.]{1,64}$")]
# the first digits of a content's digest, in hex
Version = Annotated[str, Field(pattern=rf"^[0-9a-f]{{{VERSION_DIGITS}}}$")]


class TaskFilter(BaseModel):
    """What a worklist is limited to, and where its page begins."""

    tab: Tab = "all"
    priority: Priority | None = None
    site: str | None = Field(None, max_length=32)
    after: str | None = Field(None, max_length=256)
    limit: int = Field(100, ge=1, le=MOST)


class TaskQuery(TaskFilter):
    """The same with part of a name or number, which must never stand in a URL."""

    q: str | None = Field(None, max_length=64)


class Window(BaseModel):
    """Window Center and Width (PS3.3 C.11.2)."""

    center: float = Field(allow_inf_nan=False)
    width: float = Field(allow_inf_nan=False)


class KeyImage(BaseModel):
    """The picture the report shows; frames count from 1."""

    sop_uid: Uid
    frame: int = Field(ge=1, le=MOST_VERSIONS)
    window: Window | None = None


class DraftChange(BaseModel):
    """What the reader has written, on which version of the draft."""

    draft_version: int = Field(ge=0, lt=MOST_VERSIONS)
    findings: str = Field(max_length=LONGEST_TEXT)
    impression: str = Field(max_length=LONGEST_TEXT)
    result: Result | None = None
    key_image: KeyImage | None = None


class Seen(BaseModel):
    """Late instances that the reader has seen."""

    sop_uids: list[Uid] = Field(max_length=MOST_INSTANCES)


class Painted(BaseModel):
    """An instance that stood on the screen, in the content that `v` of the Case names."""

    sop_uid: Uid
    v: Version


class Signing(BaseModel):
    """What the reader's hand signs. `request_id` is made once for each key press.

    `painted` names what was on the screen. What is missing in it, or was painted in a content that
    is no longer the current one, is refused as `not_painted` with its UIDs in `missing`.
    """

    request_id: UUID
    study_id: int = Field(ge=0, le=MOST_ID)
    draft_version: int = Field(ge=0, le=MOST_VERSIONS)
    painted: list[Painted] = Field(max_length=MOST_INSTANCES)


class Return(BaseModel):
    """Why the center is asked to repeat."""

    reason_code: str = Field(max_length=32)
    note: str | None = Field(None, max_length=1000)


def routes(parts: Parts) -> APIRouter:
    """The worklist and what one does with its tasks."""
    router = APIRouter(prefix="/api/tasks", tags=["tasks"])

    @router.get("")
    def tasks(asked: Annotated[TaskFilter, Query()], who: Hospital) -> Json:
        """Open and claimed tasks, by priority, then time left."""
        return _page(parts, TaskQuery(**asked.model_dump()), who)

    @router.post("/find")
    def find(asked: TaskQuery, who: Hospital) -> Json:
        """The same with the question in the body, so that a name never stands in a URL."""
        return _page(parts, asked, who)

    @router.get("/{task_id}")
    def task(task_id: str, who: Hospital) -> Json:
        """One task with its story."""
        with parts.view() as unit:
            return cases.detail(unit, cases.task_row(unit, task_id, who), who)

    @router.post("/{task_id}/claim")
    def claim(task_id: str, hand: Hand) -> Json:
        """Take it. Of those who click at once one wins; the others are told who."""
        with parts.new_unit() as unit:
            reading.claim(unit, task_id, hand.caller, parts.now(), parts.policy)
            row = cases.task_row(unit, task_id, hand.caller)
            return cases.opened(parts, unit, row, hand.caller, hand.person)

    @router.get("/{task_id}/case")
    def case(task_id: str, who: Hospital) -> Json:
        """The case as it stands now; editable for its holder."""
        with parts.new_unit() as unit:
            row = cases.task_row(unit, task_id, who)
            reader = unit.people.person(who.name)
            return cases.opened(parts, unit, row, who, reader)

    @router.post("/{task_id}/release", status_code=204)
    def release(task_id: str, hand: Hand) -> None:
        """Put it back. The draft stays with its author."""
        with parts.new_unit() as unit:
            reading.release(unit, task_id, hand.caller, parts.now())

    @router.post("/{task_id}/extend")
    def extend(task_id: str, hand: Hand) -> Json:
        """Working on a case keeps it."""
        with parts.new_unit() as unit:
            task = reading.extend(unit, task_id, hand.caller, parts.now(), parts.policy)
        return {"lease_until": values.maybe(task.lease_until)}

    @router.put("/{task_id}/draft")
    def save_draft(task_id: str, given: DraftChange, hand: Hand) -> Response:
        """Keep what was written. The same change sent again is a success that changes nothing."""
        return _save_draft(parts, _draft(task_id, given), hand)

    @router.post("/{task_id}/seen")
    def seen(task_id: str, given: Seen, hand: Hand) -> list[str]:
        """The reader has seen what came late. Answers what is still unseen."""
        with parts.new_unit() as unit:
            return reading.acknowledge_late(
                unit, task_id, hand.caller, frozenset(given.sop_uids), parts.now()
            )

    @router.post("/{task_id}/sign")
    def sign(task_id: str, given: Signing, hand: Hand) -> Json:
        """Sign exactly what stands on the screen. The same request again: the first result."""
        request = SignRequest(
            str(given.request_id),
            given.study_id,
            given.draft_version,
            frozenset((one.sop_uid, one.v) for one in given.painted),
        )
        report = sealing.sign(parts, hand, task_id, request)
        return {
            "report_id": report.id,
            "version": report.version,
            "signed_at": values.instant(report.signed_at),
            "effective_at": values.instant(report.effective_at),
            "grace_seconds": int(parts.policy.grace.total_seconds())
            if report.effective_at > report.signed_at
            else 0,
            "verify_path": f"/verify/{report.verify_id}",
        }

    @router.post("/{task_id}/return", status_code=204)
    def give_back(task_id: str, given: Return, hand: Hand) -> None:
        """Ask the center to repeat the study."""
        with parts.new_unit() as unit:
            reading.give_back(
                unit, task_id, hand.caller, given.reason_code, given.note, parts.now()
            )

    return router


def _page(parts: Parts, asked: TaskQuery, who: Hospital) -> Json:
    wanted = Filter(
        specialty=asked.tab if asked.tab in ("ecg", "images") else None,
        holder=who.name if asked.tab == "mine" else None,
        priority=asked.priority,
        site=asked.site or None,
        text=(asked.q or "").strip() or None,
    )
    now = parts.now()
    with parts.view() as unit:
        search = Search(unit.connection)
        rows = search.tasks(who.sites, wanted, _after(asked.after), asked.limit + 1)
        counts = search.counts(who.sites, who.name)
        centers = search.centers(who.sites)
    shown = rows[: asked.limit]
    return {
        "tasks": [values.task(row, who.name, values.target_seconds(row.task)) for row in shown],
        "counts": counts,
        "sites": [values.site_name(one) for one in centers],
        "next": _next(shown[-1]) if len(rows) > asked.limit else None,
        "as_of": values.instant(now),
    }


def _next(row: TaskRow) -> str:
    """The place of a row in the order of the list, opaque to clients."""
    due = (row.task.due_at - _EPOCH) // timedelta(microseconds=1)
    key = json.dumps([row.task.priority.rank, due, row.task.id])
    return base64.urlsafe_b64encode(key.encode()).decode()


def _after(text: str | None) -> tuple[int, datetime, str] | None:
    if not text:
        return None
    try:
        rank, due, task_id = json.loads(base64.urlsafe_b64decode(text))
        if not 0 <= int(rank) < len(Priority):
            raise ValueError(rank)
        return int(rank), _EPOCH + timedelta(microseconds=int(due)), str(task_id)
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        raise Refusal(Code.INVALID, "There is no such page of the list.") from error


def _draft(task_id: str, given: DraftChange) -> Draft:
    return Draft(
        task_id=task_id,
        author="",
        version=given.draft_version,
        findings=given.findings,
        impression=given.impression,
        result=given.result,
        key_image=given.key_image.model_dump() if given.key_image else None,
    )


def _save_draft(parts: Parts, draft: Draft, hand: Hand) -> Response:
    try:
        with parts.new_unit() as unit:
            saved, task = reading.save_draft(unit, draft, hand.caller, parts.now(), parts.policy)
    except Refusal as refusal:
        if refusal.code is not Code.DRAFT_CONFLICT:
            raise
        return _conflict(parts, draft, hand, refusal)
    return JSONResponse(_saved(saved, task.lease_until))


def _conflict(parts: Parts, draft: Draft, hand: Hand, refusal: Refusal) -> Response:
    """A repeat of a save whose answer was lost is no conflict; else the kept draft goes along."""
    with parts.view() as unit:
        kept = unit.drafts.get(draft.task_id, hand.caller.name)
        task = unit.tasks.get(draft.task_id)
    if kept is None or task is None:
        raise refusal
    repeated = replace(draft, author=kept.author, version=draft.version + 1, saved_at=kept.saved_at)
    if repeated == kept:
        return JSONResponse(_saved(kept, task.lease_until))
    return refusal_answer(refusal, {"draft": values.draft(kept)})


def _saved(draft: Draft, lease_until: datetime | None) -> dict[str, Any]:
    return {
        "draft_version": draft.version,
        "saved_at": values.maybe(draft.saved_at),
        "lease_until": values.maybe(lease_until),
    }
