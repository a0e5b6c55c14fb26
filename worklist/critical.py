"""Who must know a critical result, by when, and has a named person read it back?"""

import hashlib
import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.person import Caller, Role
from worklist.policy import Policy
from worklist.ports import Unit
from worklist.report import Report

WHERE = frozenset({"here", "called", "not_reached"})

# What a read-back offers beside the true finding, so that answering needs reading it.
_OTHERS = {
    True: {
        "ECG": ("急性前壁心肌梗死", "三度房室传导阻滞", "室性心动过速", "急性下壁心肌梗死"),
        "": ("张力性气胸", "急性脑出血", "主动脉夹层", "消化道穿孔"),
    },
    False: {
        "ECG": (
            "Acute anterior infarction",
            "Complete AV block",
            "Ventricular tachycardia",
            "Acute inferior infarction",
        ),
        "": (
            "Tension pneumothorax",
            "Acute intracranial haemorrhage",
            "Aortic dissection",
            "Perforated bowel",
        ),
    },
}


@dataclass(frozen=True)
class CriticalResult:
    """The clock of one critical report, running until a named person at the center has read it
    back."""

    id: str
    report_id: str
    study_id: int
    site: str
    told_at: datetime
    escalated_at: datetime | None = None
    confirmed_at: datetime | None = None
    confirmed_by: str | None = None
    patient_is: str | None = None
    closed_at: datetime | None = None
    closed_because: str | None = None

    @property
    def open(self) -> bool:
        """Whether nobody has confirmed it yet."""
        return self.confirmed_at is None and self.closed_at is None


@dataclass(frozen=True)
class ReadBack:
    """What the person at the center answers."""

    last_four: str
    finding: str
    patient_is: str


def raise_for(unit: Unit, report: Report, now: datetime, policy: Policy) -> CriticalResult:
    """Start the clock of a critical report that has just taken effect."""
    result = CriticalResult(uuid.uuid4().hex, report.id, report.study_id, report.site, told_at=now)
    unit.criticals.add(result)
    due = now + policy.critical_escalation
    unit.jobs.put("escalate", f"escalate:{result.id}", due, {"critical_id": result.id})
    unit.facts.add(_fact(Happened.CRITICAL_RAISED, result, None, now))
    return result


def escalate(unit: Unit, critical_id: str, now: datetime) -> None:
    """Nobody confirmed in time: say so on the coordinator's page."""
    result = unit.criticals.lock(critical_id)
    if result is not None and result.open and result.escalated_at is None:
        unit.criticals.save(replace(result, escalated_at=now))
        unit.facts.add(_fact(Happened.CRITICAL_ESCALATED, result, None, now))


def confirm(
    unit: Unit, critical_id: str, caller: Caller, answer: ReadBack, now: datetime
) -> CriticalResult:
    """A named person at the center reads the result back. A wrong answer says which part was
    wrong."""
    caller.require(Role.DOCTOR)
    result = unit.criticals.lock(critical_id)
    if result is None or result.site != caller.site:
        raise Refusal(Code.NOT_FOUND, "There is no such critical result.")
    if not result.open:
        return result
    report = unit.reports.get(result.report_id)
    study = unit.studies.get(result.study_id)
    if report is None or study is None:
        raise Refusal(Code.NOT_FOUND, "There is no such critical result.")
    if answer.last_four.casefold() != last_four(study.patient.patient_id).casefold():
        raise Refusal(
            Code.READ_BACK_WRONG,
            "These are not the last four of the patient's ID.",
            field="last_four",
        )
    if answer.finding != headline(report):
        raise Refusal(Code.READ_BACK_WRONG, "That is not the finding.", field="finding")
    if answer.patient_is not in WHERE:
        raise Refusal(Code.READ_BACK_WRONG, "Please say where the patient is.", field="patient_is")
    result = replace(
        result, confirmed_at=now, confirmed_by=caller.name, patient_is=answer.patient_is
    )
    unit.criticals.save(result)
    unit.jobs.drop(f"escalate:{result.id}")
    unit.facts.add(_fact(Happened.CRITICAL_CONFIRMED, result, caller.name, now))
    return result


def close(unit: Unit, report: Report, now: datetime, because: str) -> None:
    """The report of a critical result was withdrawn or replaced: its clock ends, and every doctor
    of the center, whose pages it stood on, is told."""
    result = unit.criticals.of_report(report.id)
    if result is not None and result.open:
        unit.criticals.save(replace(result, closed_at=now, closed_because=because))
        unit.jobs.drop(f"escalate:{result.id}")
        unit.notices.tell_doctors(report, because, now)
        unit.facts.add(_fact(Happened.CRITICAL_CLOSED, result, None, now))


def rings_for(who: Caller) -> bool:
    """Whether an open critical result calls this person until it is confirmed: a center's doctors
    and the hospital's coordinators must act, a reader has done so."""
    return bool(who.roles & {Role.DOCTOR, Role.COORDINATOR})


def last_four(patient_id: str | None) -> str:
    """The end of the Patient ID, without punctuation; empty where the patient has none."""
    return "".join(c for c in patient_id or "" if c.isalnum())[-4:]


def headline(report: Report) -> str:
    """The first line of the impression."""
    return report.impression.strip().splitlines()[0].strip()[:80]


def choices(result: CriticalResult, report: Report, kind: str) -> list[str]:
    """The finding among three, in an order that is the same at each look but not guessable from
    the place."""
    truth = headline(report)
    chinese = any("\u4e00" <= character <= "\u9fff" for character in truth)
    others = _OTHERS[chinese]["ECG" if kind == "ECG" else ""]
    seed = hashlib.sha256(result.id.encode()).digest()
    start = seed[0] % len(others)
    false = [one for one in others[start:] + others[:start] if not _alike(one, truth)][:2]
    place = seed[1] % 3
    return [*false[:place], truth, *false[place:]]


def _alike(one: str, other: str) -> bool:
    """Whether one finding says the other too: "infarction" beside "possible infarction" asks
    nothing."""
    one, other = one.casefold(), other.casefold()
    return one in other or other in one


def _fact(what: Happened, result: CriticalResult, who: str | None, now: datetime) -> Fact:
    return Fact(
        what,
        now,
        result.site,
        who=who,
        study_id=result.study_id,
        report_id=result.report_id,
        data={"critical_id": result.id},
    )
