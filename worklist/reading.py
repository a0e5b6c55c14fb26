"""Who is reading what? Claim, extend, release, return for repeat, and the draft that goes with
it."""

from dataclasses import replace
from datetime import datetime

from worklist.arrival import Study
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.person import Caller, Role
from worklist.policy import Policy
from worklist.ports import Unit
from worklist.report import Draft
from worklist.task import ReadingTask, TaskState


def lease_key(task_id: str) -> str:
    """The one job that ends an abandoned claim."""
    return f"lease:{task_id}"


def locked_task(unit: Unit, task_id: str, caller: Caller) -> tuple[Study, ReadingTask]:
    """Study and task, both locked for this transaction (study first: every writer takes them in
    this order)."""
    found = unit.tasks.get(task_id)
    if found is None or not caller.may_see(found.site):
        raise Refusal(Code.NOT_FOUND, "There is no such task.")
    study = unit.studies.lock(found.study_id)
    return study, unit.tasks.lock(task_id)


def claim(unit: Unit, task_id: str, reader: Caller, now: datetime, policy: Policy) -> ReadingTask:
    """Take an open task, one winner; the others are told who has it. Claiming one's own again
    extends it."""
    reader.require(Role.READER, Role.REVIEWER)
    study, task = locked_task(unit, task_id, reader)
    alive = (
        task.state is TaskState.CLAIMED and task.lease_until is not None and task.lease_until > now
    )
    if alive and task.claimed_by == reader.name:
        return _keep(unit, task.extended(now + policy.lease))
    if alive:
        raise Refusal(
            Code.ALREADY_CLAIMED,
            "Somebody else is reading this case.",
            who=task.claimed_by,
            since=task.claimed_at.isoformat() if task.claimed_at else None,
        )
    if not task.active:
        raise Refusal(Code.NOT_OPEN, "This case is no longer open.")
    if task.state is TaskState.CLAIMED:  # a dead lease the job has not ended yet
        task = task.released()
    task = task.claimed(reader.name, now, now + policy.lease, study.newest_instance)
    unit.jobs.put("lease", lease_key(task.id), now + policy.lease, {"task_id": task.id})
    unit.facts.add(_fact(Happened.TASK_CLAIMED, task, reader.name, now))
    return _keep(unit, task)


def extend(unit: Unit, task_id: str, reader: Caller, now: datetime, policy: Policy) -> ReadingTask:
    """Working on a case keeps it."""
    _, task = locked_task(unit, task_id, reader)
    return _keep(unit, task.held_by(reader.name, now).extended(now + policy.lease))


def release(unit: Unit, task_id: str, reader: Caller, now: datetime) -> ReadingTask:
    """Put a case back. The draft stays with its author."""
    _, task = locked_task(unit, task_id, reader)
    if Role.COORDINATOR not in reader.roles:
        task = task.held_by(reader.name, now)
    task = task.released()
    unit.jobs.drop(lease_key(task.id))
    unit.facts.add(_fact(Happened.TASK_RELEASED, task, reader.name, now))
    return _keep(unit, task)


def expire(unit: Unit, task_id: str, now: datetime) -> datetime | None:
    """End the claim if its lease is over. Otherwise the instant at which to ask again."""
    found = unit.tasks.get(task_id)
    if found is None:
        return None
    unit.studies.lock(found.study_id)
    task = unit.tasks.lock(task_id)
    if task.state is not TaskState.CLAIMED or task.lease_until is None:
        return None
    if task.lease_until > now:
        return task.lease_until
    who = task.claimed_by
    unit.facts.add(_fact(Happened.LEASE_EXPIRED, task, who, now))
    _keep(unit, task.released())
    return None


def give_back(
    unit: Unit, task_id: str, reader: Caller, reason: str, note: str | None, now: datetime
) -> ReadingTask:
    """Return a study to its center for a repeat."""
    _, task = locked_task(unit, task_id, reader)
    task = task.held_by(reader.name, now).returned(reason, note)
    unit.jobs.drop(lease_key(task.id))
    unit.facts.add(_fact(Happened.TASK_RETURNED, task, reader.name, now, reason=reason))
    return _keep(unit, task)


def acknowledge_late(
    unit: Unit, task_id: str, reader: Caller, sop_uids: frozenset[str], now: datetime
) -> list[str]:
    """The reader has seen these late instances. Returns the UIDs that are still unseen."""
    study, task = locked_task(unit, task_id, reader)
    task = task.held_by(reader.name, now)
    late = late_instances(unit, study, task)
    unseen = [uid for uid in late if uid not in sop_uids]
    if not unseen:
        _keep(unit, task.having_seen(study.newest_instance))
    return unseen


def late_instances(unit: Unit, study: Study, task: ReadingTask) -> list[str]:
    """SOP Instance UIDs that came after the reader opened the study, oldest first."""
    if task.state is not TaskState.CLAIMED or study.newest_instance <= task.seen_up_to:
        return []
    return [one.sop_uid for one in unit.studies.instances(study.id) if one.number > task.seen_up_to]


def save_draft(
    unit: Unit, draft: Draft, reader: Caller, now: datetime, policy: Policy
) -> tuple[Draft, ReadingTask]:
    """Keep what the reader wrote; `draft.version` is the version it was written on. Working
    extends the lease."""
    _, task = locked_task(unit, draft.task_id, reader)
    task = task.held_by(reader.name, now).extended(now + policy.lease)
    kept = unit.drafts.get(draft.task_id, reader.name)
    if kept is not None and kept.version != draft.version:
        raise Refusal(Code.DRAFT_CONFLICT, "This draft was changed in another window.")
    draft = replace(draft, author=reader.name, version=draft.version + 1, saved_at=now)
    unit.drafts.save(draft)
    return draft, _keep(unit, task)


def _keep(unit: Unit, task: ReadingTask) -> ReadingTask:
    unit.tasks.save(task)
    return task


def _fact(what: Happened, task: ReadingTask, who: str | None, now: datetime, **data: str) -> Fact:
    return Fact(
        what, now, task.site, who=who, study_id=task.study_id, task_id=task.id, data=dict(data)
    )
