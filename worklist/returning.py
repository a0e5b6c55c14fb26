"""To which devices of its center does a report go back, and does it still go?"""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from worklist.events import Happened
from worklist.ports import Unit
from worklist.report import Report, ReportState
from worklist.site import Device


class Transmitted(StrEnum):
    """States of one version on its way to one device."""

    DUE = "due"
    SENT = "sent"  # the device has answered Success or a warning
    FAILED = "failed"  # given up after the last attempt; goes out again when the device is back
    DROPPED = "dropped"  # no longer to be sent


@dataclass(frozen=True)
class Transmission:
    """One report version on its way to one device. `sop_uid` names the document there, in every
    attempt the same: twice is once. `status` is the device's answer, `reason` why it did not
    arrive."""

    id: str
    report_id: str
    site: str
    device_id: int
    sop_uid: str
    due_at: datetime
    state: Transmitted = Transmitted.DUE
    attempts: int = 0
    tried_at: datetime | None = None
    sent_at: datetime | None = None
    status: int | None = None
    reason: str | None = None

    @property
    def job_key(self) -> str:
        """The key of its job."""
        return f"send:{self.id}"


@dataclass(frozen=True)
class ToSend:
    """What goes out now, to where: looked up anew before each attempt."""

    transmission: Transmission
    report: Report
    device: Device


def document_uid(report_id: str) -> str:
    """The SOP Instance UID of a version's document: made from its id (PS3.5 annex B.2)."""
    return f"2.25.{uuid.uuid5(uuid.UUID(report_id), 'document').int}"


def send_out(unit: Unit, report: Report, now: datetime) -> None:
    """The version has taken effect: it is due at each device of its Site that takes reports."""
    for device in unit.transmissions.receivers(report.site):
        one = Transmission(
            id=uuid.uuid4().hex,
            report_id=report.id,
            site=report.site,
            device_id=device.id,
            sop_uid=document_uid(report.id),
            due_at=now,
        )
        unit.transmissions.add(one)
        _due(unit, one, now)


def still_due(unit: Unit, transmission_id: str) -> ToSend | None:
    """What is to be sent, or None when that is over: the version must be in force, and the device
    still one of its Site that takes reports."""
    one = unit.transmissions.get(transmission_id)
    if one is None or one.state in (Transmitted.SENT, Transmitted.DROPPED):
        return None
    report, device = unit.reports.get(one.report_id), unit.transmissions.device(one.device_id)
    if report is None or device is None or _why_not(report, device):
        return None
    return ToSend(one, report, device)


def drop(unit: Unit, transmission_id: str, now: datetime) -> None:
    """It is not to be sent any more. One that has arrived stays as it is."""
    one = unit.transmissions.lock(transmission_id)
    if one is None or one.state in (Transmitted.SENT, Transmitted.DROPPED):
        return
    report, device = unit.reports.get(one.report_id), unit.transmissions.device(one.device_id)
    reason = _why_not(report, device) if report and device else "the device is gone"
    if not reason:  # it came back while we looked: its job asks again
        _due(unit, one, now)
        return
    unit.transmissions.save(replace(one, state=Transmitted.DROPPED, tried_at=now, reason=reason))


def sent(unit: Unit, transmission_id: str, status: int, now: datetime) -> None:
    """The device has kept it. What was given up on its way to the same device goes out again."""
    one = unit.transmissions.lock(transmission_id)
    if one is None or one.state is Transmitted.SENT:
        return
    one = replace(one, attempts=one.attempts + 1, tried_at=now)
    one = replace(one, state=Transmitted.SENT, sent_at=now, status=status, reason=None)
    unit.transmissions.save(one)
    _tell(unit, one, Happened.REPORT_TRANSMITTED, now)
    again(unit, one.device_id, now)


def not_sent(unit: Unit, transmission_id: str, reason: str, now: datetime, *, last: bool) -> None:
    """One attempt has failed; `last`: no other one comes by itself."""
    one = unit.transmissions.lock(transmission_id)
    if one is None or one.state is Transmitted.SENT:
        return
    state = Transmitted.FAILED if last else Transmitted.DUE
    one = replace(one, state=state, attempts=one.attempts + 1, tried_at=now, reason=reason)
    unit.transmissions.save(one)
    if last:
        _tell(unit, one, Happened.REPORT_NOT_TRANSMITTED, now)


def again(unit: Unit, device_id: int, now: datetime) -> int:
    """The device is back: what was given up on its way there is due anew. How many."""
    failed = unit.transmissions.failed_to(device_id)
    for one in failed:
        unit.transmissions.save(replace(one, state=Transmitted.DUE, due_at=now))
        _due(unit, one, now)
    return len(failed)


def _due(unit: Unit, one: Transmission, now: datetime) -> None:
    unit.jobs.put("send", one.job_key, now, {"transmission_id": one.id})


def _why_not(report: Report, device: Device) -> str | None:
    if report.state is not ReportState.FINAL:
        return f"the version is {report.state}"
    if device.site != report.site:
        return "the device is another site's"
    if not (device.returns_reports and device.host and device.port):
        return "the device takes no reports any more"
    return None


def _tell(unit: Unit, one: Transmission, what: Happened, now: datetime) -> None:
    report = unit.reports.get(one.report_id)
    if report is not None:
        fact = report.fact(what, None, now)
        unit.facts.add(replace(fact, data={"device": one.device_id}))
