"""What must someone be told about a report that was opened before?"""

from typing import Annotated

from fastapi import APIRouter, Path

from gateway.assemble import Parts
from gateway.web import values
from gateway.web.auth import Hand
from gateway.web.values import Json
from storage.search import Search
from worklist.errors import Code, Refusal

MOST_ID = 2**53


def routes(parts: Parts) -> APIRouter:
    """Notices of withdrawn and replaced reports."""
    router = APIRouter(prefix="/api/notices", tags=["notices"])

    @router.get("")
    def unseen(hand: Hand) -> Json:
        """What this person has opened and was then withdrawn or replaced, until put away."""
        found = []
        with parts.view() as unit:
            search = Search(unit.connection)
            for row in unit.notices.unseen(hand.person.name):
                report = unit.reports.get(row.report_id)
                shown = search.report(row.report_id, hand.caller.sites)
                if report is None or shown is None:
                    continue
                found.append(
                    {
                        "id": row.id,
                        "what": row.what,
                        "report_id": report.id,
                        "replaced_by": report.replaced_by,
                        "patient": values.patient_of(shown.study),
                        "reason": report.reason,
                        "told_at": values.instant(row.told_at),
                    }
                )
        return {"notices": found}

    @router.post("/{notice_id}/seen", status_code=204)
    def seen(notice_id: Annotated[int, Path(ge=1, le=MOST_ID)], hand: Hand) -> None:
        """The person has read it."""
        with parts.new_unit() as unit:
            if not unit.notices.saw(notice_id, hand.person.name, parts.now()):
                raise Refusal(Code.NOT_FOUND, "There is no such notice.")

    return router
