"""What exactly is signed, and by whom?"""

from dataclasses import dataclass, replace
from datetime import datetime

from worklist import critical, delivery
from worklist.arrival import Study, new_task, open_again
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.person import Caller, Role
from worklist.policy import Policy
from worklist.ports import Instance, Unit
from worklist.reading import late_instances, lease_key, locked_task
from worklist.report import Draft, Report, ReportState, Result, reasoned
from worklist.task import ReadingTask, TaskState


@dataclass(frozen=True)
class SignRequest:
    """What the reader's hand says: this study, this version of the text, these painted instances.

    `request_id` is made per key press; the same one again returns the first result. `painted` holds
    pairs of SOP Instance UID and version (`worklist.ports.version_of`): another content under the
    same UID was not painted with the former one.
    """

    request_id: str
    study_id: int
    draft_version: int
    painted: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class ToSign:
    """Everything a signature covers, taken in one transaction and checked again in the one that
    keeps it."""

    study: Study
    task: ReadingTask
    draft: Draft
    result: Result
    instances: tuple[Instance, ...]
    version: int
    replaces: Report | None


@dataclass(frozen=True)
class Sealed:
    """The signed bytes as kept: their locator, SHA-256 digests in hex, the public id, the
    certificate's serial."""

    pdf: str
    pdf_digest: str
    content_digest: str
    verify_id: str
    certificate_serial: str


def repeated(unit: Unit, reader: Caller, request: SignRequest) -> Report | None:
    """The report this very request has already made, if any. The same number for another study is
    no repeat, and refused."""
    first = unit.reports.of_request(reader.name, request.request_id)
    if first is not None and first.study_id != request.study_id:
        raise Refusal(Code.WRONG_STUDY, "This request has signed another study already.")
    return first


def check(unit: Unit, task_id: str, reader: Caller, request: SignRequest, now: datetime) -> ToSign:
    """What would be signed now, or why nothing is: the study shown, the text written and the
    instances painted must be the newest ones there are."""
    reader.require(Role.READER, Role.REVIEWER)
    study, task = locked_task(unit, task_id, reader)
    if request.study_id != study.id:
        raise Refusal(Code.WRONG_STUDY, "The study on the screen is not the one of this case.")
    task = task.held_by(reader.name, now)
    draft = unit.drafts.get(task.id, reader.name)
    if draft is None or draft.version != request.draft_version:
        raise Refusal(Code.DRAFT_CHANGED, "The text on the screen is not the last one saved.")
    if missing := draft.missing():
        raise Refusal(Code.REPORT_INCOMPLETE, "The report is not complete.", fields=missing)
    if blank := draft.unfilled():
        raise Refusal(Code.REPORT_INCOMPLETE, "A blank in the text is not filled.", fields=blank)
    if late := late_instances(unit, study, task):
        raise Refusal(Code.STUDY_CHANGED, "Pictures came after you opened the study.", unseen=late)
    instances = tuple(unit.studies.instances(study.id))
    if draft.key_image and draft.key_image["sop_uid"] not in {one.sop_uid for one in instances}:
        raise Refusal(
            Code.REPORT_INCOMPLETE, "The key image is not of this study.", fields=["key_image"]
        )
    unpainted = [
        one.sop_uid for one in instances if one.viewable and one.seen_as not in request.painted
    ]
    if unpainted:
        raise Refusal(Code.NOT_PAINTED, "Not everything was on the screen yet.", missing=unpainted)
    if draft.result is None:  # excluded by missing() above; said once more for the type
        raise Refusal(Code.REPORT_INCOMPLETE, "The report is not complete.", fields=["result"])
    replaces = unit.reports.get(task.follows_report) if task.follows_report else None
    if replaces is not None and replaces.state not in (ReportState.SIGNED, ReportState.FINAL):
        replaces = None
    went_out = [
        one for one in unit.reports.of_study(study.id) if one.state is not ReportState.TAKEN_BACK
    ]
    return ToSign(
        study=study,
        task=task,
        draft=draft,
        result=draft.result,
        instances=instances,
        version=max((one.version for one in went_out), default=0) + 1,
        replaces=replaces,
    )


def keep(
    unit: Unit,
    reader: Caller,
    request: SignRequest,
    seen: ToSign,
    sealed: Sealed,
    report_id: str,
    now: datetime,
    policy: Policy,
    stands_at: datetime | None = None,
) -> Report:
    """Check once more that nothing moved while the page was made, then the signature stands.

    A critical result takes effect at once; everything else after the grace time, which runs from
    `stands_at`: the making of the page (since `now`) must not eat it up.
    """
    stands_at = stands_at or now
    if (first := repeated(unit, reader, request)) is not None:
        return first
    checked = check(unit, seen.task.id, reader, request, now)
    if checked.instances != seen.instances or checked.version != seen.version:
        raise Refusal(Code.STUDY_CHANGED, "The study changed while it was being signed.", unseen=[])
    if _id(checked.replaces) != _id(seen.replaces):
        raise Refusal(Code.STUDY_CHANGED, "The report to be replaced has changed.", unseen=[])
    if checked.replaces is not None and checked.replaces.state is ReportState.SIGNED:
        # what a newer version builds upon can no longer be taken back
        unit.jobs.drop(f"deliver:{checked.replaces.id}")
        delivery.take_effect(unit, checked.replaces.id, stands_at, policy)
    at_once = seen.result is Result.CRITICAL
    report = Report(
        id=report_id,
        task_id=seen.task.id,
        study_id=seen.study.id,
        site=seen.study.site,
        hospital=reader.site,
        version=seen.version,
        state=ReportState.SIGNED,
        result=seen.result,
        findings=seen.draft.findings,
        impression=seen.draft.impression,
        key_image=seen.draft.key_image,
        author=reader.name,
        signed_at=now,
        effective_at=now if at_once else stands_at + policy.grace,
        verify_id=sealed.verify_id,
        request_id=request.request_id,
        pdf=sealed.pdf,
        pdf_digest=sealed.pdf_digest,
        content_digest=sealed.content_digest,
        certificate_serial=sealed.certificate_serial,
        instances=tuple((one.sop_uid, one.digest) for one in seen.instances),
        newest_instance=seen.study.newest_instance,
        replaces=_id(seen.replaces),
        reason=None,
    )
    unit.reports.add(report)
    unit.tasks.save(checked.task.completed())
    unit.jobs.drop(lease_key(seen.task.id))
    unit.facts.add(report.fact(Happened.REPORT_SIGNED, reader.name, now))
    if at_once:
        return delivery.take_effect(unit, report.id, stands_at, policy)
    unit.jobs.put("deliver", f"deliver:{report.id}", report.effective_at, {"report_id": report.id})
    return report


def take_back(
    unit: Unit, report_id: str, reader: Caller, now: datetime, policy: Policy
) -> ReadingTask:
    """One key within the grace time: the version never goes out, and its reader has the case
    again.

    Where the study grew meanwhile a newer task is there already: the reader goes on in that one,
    or, if somebody else has it, leaves it to them. A study is never in two hands.
    """
    report, task = _own(unit, report_id, reader)
    if now >= report.effective_at:
        raise Refusal(
            Code.GRACE_OVER,
            "The report has gone out. It can be withdrawn or replaced with a reason.",
        )
    unit.reports.save(report.taken_back())
    unit.jobs.drop(f"deliver:{report.id}")
    unit.facts.add(report.fact(Happened.REPORT_TAKEN_BACK, reader.name, now))
    newest = unit.tasks.lock(unit.tasks.of_study(task.study_id)[0].id)
    if newest.id == task.id:
        return _again(unit, task, report, now, policy)
    if newest.follows_report == report.id:
        newest = replace(newest, follows_report=report.replaces)
        unit.tasks.save(newest)
    if newest.state is not TaskState.OPEN:
        return newest
    if unit.drafts.get(newest.id, reader.name) is None:
        unit.drafts.save(_text_of(report, newest.id, reader.name, now))
    unit.facts.add(replace(report.fact(Happened.TASK_CLAIMED, reader.name, now), task_id=newest.id))
    return _again(unit, newest, report, now, policy)


def withdraw(
    unit: Unit, report_id: str, caller: Caller, reason: str, now: datetime, policy: Policy
) -> Report:
    """Entered in error. Everyone who opened it is told; an open critical result of it is closed.
    Where no other version is in force the study waits for a reader again."""
    report = _signed_here(unit, report_id, caller).withdrawn(reason)
    unit.reports.save(report)
    unit.notices.tell_openers(report, "withdrawn", now)
    critical.close(unit, report, now, "withdrawn")
    unit.facts.add(report.fact(Happened.REPORT_WITHDRAWN, caller.name, now))
    if not unit.reports.in_force_of_study(report.study_id):
        open_again(unit, unit.studies.lock(report.study_id), report.id, now, policy)
    return report


def begin_replacement(
    unit: Unit, report_id: str, caller: Caller, reason: str, now: datetime, policy: Policy
) -> ReadingTask:
    """Open a correction, already in its reader's hands, with the old text as draft. The old
    version stands until the new one takes effect."""
    caller.require(Role.READER, Role.REVIEWER)
    report = _signed_here(unit, report_id, caller)
    if report.state is not ReportState.FINAL:
        raise Refusal(Code.WRONG_STATE, "Only a report in force can be replaced.")
    study = unit.studies.lock(report.study_id)
    if any(task.active for task in unit.tasks.of_study(study.id)):
        raise Refusal(
            Code.ALREADY_CLAIMED, "This study is already on the worklist.", who=None, since=None
        )
    task = replace(
        new_task(study, now, policy),
        follows_task=report.task_id,
        follows_report=report.id,
        return_note=reasoned(reason),
    ).claimed(caller.name, now, now + policy.lease, study.newest_instance)
    unit.tasks.add(task)
    unit.drafts.save(_text_of(report, task.id, caller.name, now))
    unit.jobs.put("lease", lease_key(task.id), now + policy.lease, {"task_id": task.id})
    unit.facts.add(
        Fact(Happened.TASK_OPENED, now, task.site, caller.name, study_id=study.id, task_id=task.id)
    )
    return task


def _again(
    unit: Unit, task: ReadingTask, report: Report, now: datetime, policy: Policy
) -> ReadingTask:
    """The task in the hands of the report's author, who has seen what the report has seen."""
    until = now + policy.lease
    task = task.claimed(report.author, now, until, report.newest_instance)
    unit.tasks.save(task)
    unit.jobs.put("lease", lease_key(task.id), until, {"task_id": task.id})
    return task


def _text_of(report: Report, task_id: str, author: str, now: datetime) -> Draft:
    """What a signed version says, as a draft to go on with."""
    text = (report.findings, report.impression, report.result, report.key_image)
    return Draft(task_id, author, 1, *text, now)


def _id(report: Report | None) -> str | None:
    return None if report is None else report.id


def _own(unit: Unit, report_id: str, reader: Caller) -> tuple[Report, ReadingTask]:
    found = unit.reports.get(report_id)
    if found is None or found.author != reader.name:
        raise Refusal(Code.NOT_FOUND, "There is no such report of yours.")
    _, task = locked_task(unit, found.task_id, reader)
    return unit.reports.lock(report_id), task


def _signed_here(unit: Unit, report_id: str, caller: Caller) -> Report:
    found = unit.reports.get(report_id)
    if found is None or found.hospital != caller.site or not caller.may_see(found.site):
        raise Refusal(Code.NOT_FOUND, "There is no such report.")
    if found.author != caller.name:
        caller.require(Role.REVIEWER, Role.COORDINATOR)
    unit.studies.lock(found.study_id)
    return unit.reports.lock(report_id)
