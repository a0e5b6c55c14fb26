"""What needs someone now? The coordinator's page."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, time, timedelta

from fastapi import APIRouter

from gateway.assemble import Parts
from gateway.web import values
from gateway.web.auth import Hospital
from gateway.web.critical import open_criticals
from gateway.web.values import Json
from storage.index import IndexUnit
from storage.search import GivenUp, ReportRow, Search, TaskRow
from worklist.person import Caller, Person, Role
from worklist.site import Site

# a report that nobody at the center has opened after this time needs a call
UNOPENED = timedelta(minutes=30)
# longer than any target: the share that is left is judged row by row
LOOK_AHEAD = timedelta(hours=24)


def routes(parts: Parts) -> APIRouter:
    """The board."""
    router = APIRouter(prefix="/api/board", tags=["board"])

    @router.get("")
    def board(who: Hospital) -> Json:
        """Figures, what needs attention, who reads what, and open critical results."""
        now = parts.now()
        with parts.view() as unit:
            return _board(parts, unit, who, now)

    return router


def _board(parts: Parts, unit: IndexUnit, who: Caller, now: datetime) -> Json:
    search = Search(unit.connection)
    people = unit.people.people()
    zone = unit.people.site(who.site).zone
    midnight = datetime.combine(now.astimezone(zone).date(), time(), zone)
    queue = search.queue(who.sites)
    signed = search.signed_since(who.sites, midnight)
    held = search.held(who.sites)
    criticals = open_criticals(unit, who)
    share = parts.policy.at_risk_share
    late = sum(row.due_at <= now for row in queue)
    at_risk = sum(_at_risk(row.received_at, row.due_at, now, share) for row in queue)
    first = [row for row in signed if row.replaces is None]
    in_time = [row for row in first if row.signed_at <= row.due_at]
    reading = {row.claimed_by: row for row in held}
    today = Counter(row.author for row in signed)
    return {
        "figures": {
            "open": len(queue),
            "at_risk": at_risk,
            "late": late,
            "critical_open": len(criticals),
            "readers_active": len(reading),
            "in_time_percent": round(100 * len(in_time) / len(first)) if first else None,
        },
        "attention": [
            *(_of_critical(one) for one in criticals),
            *(_of_jobs(one, unit.people.site(who.site)) for one in search.given_up(who.sites)),
            *_attention(parts, unit, who, people, now),
        ],
        "readers": [
            {
                "name": one.name,
                "display": one.display,
                "display_en": one.display_en,
                "reading": {
                    "kind": reading[one.name].kind,
                    "since": values.instant(reading[one.name].claimed_at),
                }
                if one.name in reading
                else None,
                "today": today[one.name],
            }
            for one in _readers(people.values(), who)
        ],
        "critical": criticals,
    }


def _readers(people: Iterable[Person], who: Caller) -> list[Person]:
    signers = {Role.READER, Role.REVIEWER}
    return [one for one in people if one.site == who.site and one.roles & signers]


def _at_risk(received: datetime, due: datetime, now: datetime, share: float) -> bool:
    """Not late yet, and less than the policy's share of the target is left."""
    return due > now and (due - now) < (due - received) * share


def _attention(
    parts: Parts,
    unit: IndexUnit,
    who: Caller,
    people: dict[str, Person],
    now: datetime,
) -> list[Json]:
    """Late tasks, unopened reports, tasks at risk; the oldest first in each."""
    search = Search(unit.connection)
    phones = {one.key: one.phone for one in unit.people.sites().values()}
    share = parts.policy.at_risk_share
    rows = search.due_before(who.sites, now + LOOK_AHEAD)
    late = [row for row in rows if row.task.due_at <= now]
    risky = [row for row in rows if _at_risk(row.task.received_at, row.task.due_at, now, share)]
    unopened = search.unopened_since(who.sites, now - UNOPENED)
    return [
        *(_of_task("late", row, people, phones) for row in late),
        *(_of_report(row, phones) for row in unopened),
        *(_of_task("at_risk", row, people, phones) for row in risky),
    ]


def _of_critical(one: Json) -> Json:
    return {
        "kind": "critical",
        "task_id": None,
        "report_id": one["report_id"],
        "patient": one["patient"],
        "site": one["site"],
        "since": one["told_at"],
        "owner": one["signed_by"]["display"],
        "phone": one["call"]["phone"],
    }


def _of_jobs(one: GivenUp, site: Site) -> Json:
    """Work the gateway has given up: a person must see to it. No ids: they help nobody here."""
    return {
        "kind": "job",
        "task_id": None,
        "report_id": None,
        "patient": None,
        "site": values.site_name(site),
        "since": values.instant(one.since),
        "owner": None,
        "phone": None,
        "job": one.kind,
        "count": one.count,
    }


def _of_task(
    kind: str, row: TaskRow, people: dict[str, Person], phones: dict[str, str | None]
) -> Json:
    holder = people.get(row.task.claimed_by or "")
    return {
        "kind": kind,
        "task_id": row.task.id,
        "report_id": None,
        "patient": values.patient_of(row.study),
        "site": values.site_name(row.site),
        "since": values.instant(row.task.due_at if kind == "late" else row.task.received_at),
        "owner": holder.display if holder else None,
        "phone": holder.phone if holder else phones.get(row.site.key),
    }


def _of_report(row: ReportRow, phones: dict[str, str | None]) -> Json:
    sent = row.delivery.sent_at if row.delivery else row.report.effective_at
    return {
        "kind": "unopened",
        "task_id": None,
        "report_id": row.report.id,
        "patient": values.patient_of(row.study),
        "site": values.site_name(row.site),
        "since": values.instant(sent),
        "owner": row.author,
        "phone": phones.get(row.site.key),
    }
