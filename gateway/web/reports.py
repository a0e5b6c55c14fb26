"""What has been signed, who may open it, and how is it taken back, withdrawn or replaced?"""

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from gateway.assemble import Parts
from gateway.web import center, values
from gateway.web.auth import Hand, Who, is_hospital
from gateway.web.values import Json
from storage.index import IndexUnit
from storage.search import OUT, ReportRow, Search
from worklist import delivery, signing
from worklist.errors import Code, Refusal
from worklist.person import Caller
from worklist.report import Report

MOST = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reason(BaseModel):
    """Why a report in force is withdrawn or replaced."""

    reason: str = Field(max_length=1000)


def routes(parts: Parts) -> APIRouter:
    """Signed reports."""
    router = APIRouter(prefix="/api/reports", tags=["reports"])

    @router.get("")
    def mine(
        who: Who,
        after: Annotated[str | None, Query(max_length=256)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    ) -> Json:
        """What the caller has signed, newest first."""
        with parts.view() as unit:
            search = Search(unit.connection)
            rows = search.signed_by(who.name, who.sites, _after(after), limit + 1)
        shown = rows[:limit]
        return {
            "reports": [values.report(row) for row in shown],
            "next": _next(shown[-1]) if len(rows) > limit else None,
        }

    @router.get("/{report_id}")
    def one(report_id: str, who: Who) -> Json:
        """One version with its text and the versions beside it. Reading it is a fact."""
        with parts.new_unit() as unit:
            row, report = visible(unit, report_id, who)
            delivery.looked_at(unit, report, who, parts.now())
            versions = Search(unit.connection).versions(report.study_id)
            shown = [one for one in versions if _is_inside(who, report) or one.state in OUT]
        return {
            **values.report(row),
            "findings": report.findings,
            "versions": [values.report_version(one) for one in shown],
            "verify_path": f"/verify/{report.verify_id}",
            "reason": report.reason,
            "replaced_by": report.replaced_by,
        }

    @router.get("/{report_id}/pdf", response_class=Response)
    def document(report_id: str, who: Who) -> Response:
        """The signed document. At a center this marks the delivery as opened."""
        with parts.new_unit() as unit:
            _, report = visible(unit, report_id, who)
            delivery.open_by(unit, report, who, parts.now())
        return Response(
            parts.objects.get(report.pdf),
            media_type="application/pdf",
            headers={
                "Content-Disposition": f'inline; filename="report-{report.id}.pdf"',
                "ETag": f'"{report.pdf_digest}"',
            },
        )

    @router.post("/{report_id}/take-back")
    def take_back(report_id: str, hand: Hand) -> Json:
        """Within the grace time: the version never goes out, the case is open again."""
        with parts.new_unit() as unit:
            task = signing.take_back(unit, report_id, hand.caller, parts.now(), parts.policy)
        return {"task_id": task.id}

    @router.post("/{report_id}/withdraw")
    def withdraw(report_id: str, given: Reason, hand: Hand) -> Json:
        """Entered in error. Everyone who opened it is told."""
        with parts.new_unit() as unit:
            signing.withdraw(unit, report_id, hand.caller, given.reason, parts.now(), parts.policy)
            row, _ = visible(unit, report_id, hand.caller)
        return values.report(row)

    @router.post("/{report_id}/replace")
    def replace(report_id: str, given: Reason, hand: Hand) -> Json:
        """Open a correction, already in the caller's hands, with the old text as its draft."""
        with parts.new_unit() as unit:
            task = signing.begin_replacement(
                unit, report_id, hand.caller, given.reason, parts.now(), parts.policy
            )
        return {"task_id": task.id}

    @router.post("/{report_id}/acknowledge")
    def acknowledge(report_id: str, hand: Hand) -> Json:
        """The center's doctor confirms receipt."""
        with parts.new_unit() as unit:
            delivery.acknowledge(unit, report_id, hand.caller, parts.now())
            report = unit.reports.get(report_id)
            study = unit.studies.get(report.study_id) if report else None
            if study is None:
                raise Refusal(Code.NOT_FOUND, "There is no such report.")
            row = Search(unit.connection).center_study(study)
            people = unit.people.people()
        return center.center_study(row, people)

    return router


def visible(unit: IndexUnit, report_id: str, who: Caller) -> tuple[ReportRow, Report]:
    """The version if it exists for the caller: only the hospital that signed it sees one that has
    not gone out. (A center may have an administrator too: the role alone says nothing.)"""
    row = Search(unit.connection).report(report_id, who.sites)
    report = unit.reports.get(report_id) if row is not None else None
    if row is None or report is None or not (_is_inside(who, report) or report.state in OUT):
        raise Refusal(Code.NOT_FOUND, "There is no such report.")
    return row, report


def _is_inside(who: Caller, report: Report) -> bool:
    return is_hospital(who) and who.site == report.hospital


def _next(row: ReportRow) -> str:
    signed = (row.report.signed_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(json.dumps([signed, row.report.id]).encode()).decode()


def _after(text: str | None) -> tuple[datetime, str] | None:
    if not text:
        return None
    try:
        signed, report_id = json.loads(base64.urlsafe_b64decode(text))
        return _EPOCH + timedelta(microseconds=int(signed)), str(report_id)
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        raise Refusal(Code.INVALID, "There is no such page of the list.") from error
