"""Has one version reached one place? Sent, delivered, opened, acknowledged: separate facts,
separate times."""

from dataclasses import dataclass, replace
from datetime import datetime

from worklist import critical, returning
from worklist.errors import Code, Refusal
from worklist.events import Happened
from worklist.person import Caller, Role
from worklist.policy import Policy
from worklist.ports import Unit
from worklist.report import Report, ReportState, Result


@dataclass(frozen=True)
class Delivery:
    """One version on its way to one Site. The first opening and the confirmation keep time and
    person."""

    report_id: str
    site: str
    sent_at: datetime
    delivered_at: datetime | None = None
    opened_at: datetime | None = None
    opened_by: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None


def take_effect(unit: Unit, report_id: str, now: datetime, policy: Policy) -> Report:
    """The version becomes final and is sent to its center; what it corrects becomes replaced.

    Doing it twice is doing it once.
    """
    found = unit.reports.get(report_id)
    if found is None:
        raise Refusal(Code.NOT_FOUND, "There is no such report.")
    study = unit.studies.lock(found.study_id)
    report = unit.reports.lock(report_id)
    if report.state is not ReportState.SIGNED:
        return report
    report = report.final()
    if study.newest_instance > report.newest_instance:
        report = report.outdated()
    unit.reports.save(report)
    unit.deliveries.add(Delivery(report.id, report.site, sent_at=now, delivered_at=now))
    _replace_older(unit, report, now)
    returning.send_out(unit, report, now)
    for what in (Happened.REPORT_BECAME_FINAL, Happened.REPORT_SENT):
        unit.facts.add(report.fact(what, None, now))
    if report.result is Result.CRITICAL:
        critical.raise_for(unit, report, now, policy)
    return report


def open_by(unit: Unit, report: Report, caller: Caller, now: datetime) -> None:
    """Somebody has the signed document on the screen: a fact; at its center the first doctor
    counts. A program that fetched it has opened nothing."""
    first = False
    if caller.site == report.site and Role.DOCTOR in caller.roles and not caller.is_program:
        delivery = unit.deliveries.lock(report.id)
        if delivery is not None and delivery.opened_at is None:
            unit.deliveries.save(replace(delivery, opened_at=now, opened_by=caller.name))
            first = True
    looked_at(unit, report, caller, now, first=first)


def looked_at(
    unit: Unit, report: Report, caller: Caller, now: datetime, *, first: bool = False
) -> None:
    """Somebody has read the text: a fact. `first` says that the delivery became opened by it."""
    fact = report.fact(Happened.REPORT_OPENED, caller.name, now)
    unit.facts.add(replace(fact, data={"first": True}) if first else fact)


def acknowledge(unit: Unit, report_id: str, caller: Caller, now: datetime) -> Delivery:
    """The center's doctor confirms receipt. A second confirmation changes nothing."""
    caller.require(Role.DOCTOR)
    report = unit.reports.get(report_id)
    if report is None or report.site != caller.site:
        raise Refusal(Code.NOT_FOUND, "There is no such report.")
    delivery = unit.deliveries.lock(report_id)
    if delivery is None:
        raise Refusal(Code.NOT_FOUND, "There is no such report.")
    if delivery.opened_at is None:
        raise Refusal(Code.WRONG_STATE, "Please open the report before confirming it.")
    if delivery.acknowledged_at is None:
        delivery = replace(delivery, acknowledged_at=now, acknowledged_by=caller.name)
        unit.deliveries.save(delivery)
        unit.facts.add(report.fact(Happened.REPORT_ACKNOWLEDGED, caller.name, now))
    return delivery


def _replace_older(unit: Unit, report: Report, now: datetime) -> None:
    if report.replaces is None:
        return
    older = unit.reports.lock(report.replaces)
    if older.state is not ReportState.FINAL:
        return
    task = unit.tasks.get(report.task_id)
    reason = (task.return_note if task else None) or "The study has grown."
    older = older.replaced(report.id, reason)
    unit.reports.save(older)
    unit.notices.tell_openers(older, "replaced", now)
    critical.close(unit, older, now, "replaced")
    unit.facts.add(older.fact(Happened.REPORT_REPLACED, report.author, now))
