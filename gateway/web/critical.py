"""Which critical results wait, whom does one call, and who has read one back?"""

from collections.abc import Mapping
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gateway.assemble import Parts
from gateway.web import values
from gateway.web.auth import Hand, Who
from gateway.web.values import Json
from storage.index import IndexUnit
from storage.search import Search
from worklist import critical
from worklist.critical import CriticalResult, ReadBack
from worklist.person import Caller, Person
from worklist.site import Site


class Answer(BaseModel):
    """What the person at the center reads back."""

    last_four: str = Field(max_length=16)
    finding: str = Field(max_length=200)
    patient_is: Literal["here", "called", "not_reached"]


def routes(parts: Parts) -> APIRouter:
    """Critical results."""
    router = APIRouter(prefix="/api/critical", tags=["critical"])

    @router.get("")
    def waiting(who: Who) -> Json:
        """Those that no named person has confirmed yet, oldest first."""
        with parts.view() as unit:
            return {"open": open_criticals(unit, who)}

    @router.post("/{critical_id}/confirm")
    def confirm(critical_id: str, given: Answer, hand: Hand) -> Json:
        """A named person at the center reads the result back."""
        answer = ReadBack(given.last_four, given.finding, given.patient_is)
        with parts.new_unit() as unit:
            result = critical.confirm(unit, critical_id, hand.caller, answer, parts.now())
            person = unit.people.person(result.confirmed_by) if result.confirmed_by else None
        return {
            "confirmed_at": values.maybe(result.confirmed_at),
            "confirmed_by": person.display if person else result.confirmed_by,
        }

    return router


def open_criticals(unit: IndexUnit, who: Caller) -> list[Json]:
    """Every open critical result that exists for the caller."""
    results = unit.criticals.open_at(who.sites)
    if not results:
        return []
    sites, people = unit.people.sites(), unit.people.people()
    found = (_critical(unit, one, who, sites, people) for one in results)
    return [one for one in found if one is not None]


def _critical(
    unit: IndexUnit,
    one: CriticalResult,
    who: Caller,
    sites: Mapping[str, Site],
    people: Mapping[str, Person],
) -> Json | None:
    report = unit.reports.get(one.report_id)
    study = unit.studies.get(one.study_id)
    if report is None or study is None:
        return None
    author = people[report.author]
    kinds = Search(unit.connection).kinds(study.id)
    return {
        "id": one.id,
        "report_id": one.report_id,
        "patient": values.patient_of(study),
        "kind": study.kind,
        "site": values.site_name(sites[one.site]),
        "impression": report.impression,
        "told_at": values.instant(one.told_at),
        "escalated_at": values.maybe(one.escalated_at),
        "signed_by": {
            "display": author.display,
            "display_en": author.display_en,
            "phone": author.phone or sites[report.hospital].phone,
        },
        "call": _whom(one, who, author, sites, report.hospital),
        "choices": critical.choices(one, report, study.kind),
        "ecg_study_id": str(study.id) if "ecg" in kinds else None,
    }


def _whom(
    one: CriticalResult, who: Caller, author: Person, sites: Mapping[str, Site], hospital: str
) -> Json:
    """The center calls who signed; the hospital calls the center."""
    if who.site == one.site:
        return {"name": author.display, "phone": author.phone or sites[hospital].phone}
    return {"name": sites[one.site].name, "phone": sites[one.site].phone}
