"""Is the study whole, and when does it become a task?"""

import uuid
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from worklist.events import Fact, Happened
from worklist.patient import Patient
from worklist.policy import Policy
from worklist.ports import Unit
from worklist.priority import Priority
from worklist.task import ReadingTask, TaskState


class Arrival(StrEnum):
    """How far a study has come."""

    RECEIVING = "RECEIVING"
    COMPLETE = "COMPLETE"
    REOPENED = "REOPENED"


@dataclass(frozen=True)
class Study:
    """A study of one Site. `newest_instance` numbers its instances in the order in which they were
    committed.

    `marks` are codes of what a reader must know (no_patient_id, charset_guessed, identity_conflict,
    uid_conflict, clock_off, late_instances).
    """

    id: int
    site: str
    uid: str
    kind: str
    patient: Patient
    priority: Priority
    arrival: Arrival
    received_at: datetime
    last_received_at: datetime
    description: str = ""
    accession: str | None = None
    question: str | None = None
    requester: str | None = None
    acquired_at: datetime | None = None
    study_date: date | None = None
    modalities: frozenset[str] = frozenset()
    series_count: int = 0
    instance_count: int = 0
    newest_instance: int = 0
    marks: frozenset[str] = field(default_factory=frozenset)

    def marked(self, mark: str) -> "Study":
        """The study with one more mark."""
        return replace(self, marks=self.marks | {mark})


def settle_key(study_id: int) -> str:
    """The one job that asks whether this study has settled."""
    return f"settle:{study_id}"


def instance_arrived(
    unit: Unit, study: Study, sop_uid: str, now: datetime, policy: Policy
) -> Study:
    """What a newly committed instance means, in the transaction that stored it.

    An ECG is one file and one test: its task opens here and now. Images wait until the study has
    settled. Whoever is reading is told at once; a report that was signed before is marked as older
    than its study.
    """
    tasks = unit.tasks.of_study(study.id)
    if tasks and study.arrival is Arrival.COMPLETE:
        study = replace(study, arrival=Arrival.REOPENED)
    if tasks and tasks[0].state is TaskState.CLAIMED:
        unit.facts.add(
            Fact(
                Happened.INSTANCE_CAME_LATE,
                now,
                study.site,
                study_id=study.id,
                task_id=tasks[0].id,
                data={"sop_uids": [sop_uid]},
            )
        )
    if tasks:  # also while a correction is being written: what it corrects is still in force
        _outdate_reports(unit, study, now)
    if study.kind == "ECG":
        return open_if_due(unit, replace(study, arrival=Arrival.COMPLETE), now, policy)
    unit.jobs.put("settle", settle_key(study.id), now + policy.quiet_alone, {"study_id": study.id})
    return study


def only_counts(kind: str) -> bool:
    """Whether one more instance of a study of this kind means nothing while the study is RECEIVING:
    no task can be open and no report signed, and the job that is due looks at the last instance by
    itself."""
    return kind != "ECG"


def association_released(
    unit: Unit, studies: dict[int, int], one_per_image: bool, now: datetime, policy: Policy
) -> None:
    """The device has hung up: each study it sent settles after a short quiet time.

    `studies` maps study id to the number of its newest instance. A device known to open one
    association per image says nothing by hanging up; its studies wait for the quiet time alone.
    """
    if one_per_image:
        return
    for study_id, newest in sorted(studies.items()):
        payload = {"study_id": study_id, "released_at": newest}
        unit.jobs.move(settle_key(study_id), now + policy.quiet_after_release, payload)


def opens_one_per_image(before: bool, studies: dict[int, tuple[int, int]]) -> bool:
    """What one finished association teaches about its device.

    `studies` maps study id to (instances this association brought, instances the study has now).
    Two or more in one association: the device sends whole studies. A single one added to a study
    that had some already: it opens one association per image.
    """
    if any(brought > 1 for brought, _ in studies.values()):
        return False
    if any(brought == 1 and total > 1 for brought, total in studies.values()):
        return True
    return before


def settle_if_quiet(
    unit: Unit, study_id: int, released_at: int | None, now: datetime, policy: Policy
) -> datetime | None:
    """Settle the study, or say when to ask again. `released_at` is the number of its newest
    instance when a device last hung up: the short quiet time was for that one only."""
    study = unit.studies.lock(study_id)
    if study.arrival is Arrival.COMPLETE:
        return None
    quiet_at = study.last_received_at + policy.quiet_alone
    if released_at != study.newest_instance and now < quiet_at:
        return quiet_at
    settle(unit, study_id, now, policy)
    return None


def settle(unit: Unit, study_id: int, now: datetime, policy: Policy) -> None:
    """The quiet time is over: the study is complete and, unless somebody is at it, becomes a
    task."""
    study = unit.studies.lock(study_id)
    study = replace(study, arrival=Arrival.COMPLETE)
    unit.facts.add(Fact(Happened.STUDY_SETTLED, now, study.site, study_id=study.id))
    unit.studies.save(open_if_due(unit, study, now, policy))


def open_if_due(unit: Unit, study: Study, now: datetime, policy: Policy) -> Study:
    """Open a task unless one is active or the last one has already seen everything. Returns the
    study."""
    tasks = unit.tasks.of_study(study.id)
    last = tasks[0] if tasks else None
    if last is not None and (last.active or last.seen_up_to >= study.newest_instance):
        return study
    # one whose grace time still runs counts: it is in force when the task is read
    reports = unit.reports.in_force_of_study(study.id) if last else []
    report = reports[-1].id if reports else None
    _open(unit, study, last, report, now, policy)
    return study.marked("late_instances") if last else study


def open_again(unit: Unit, study: Study, report_id: str, now: datetime, policy: Policy) -> None:
    """The report of a study must not be used any more: unless somebody is at it already, it is
    read again."""
    tasks = unit.tasks.of_study(study.id)
    if not any(task.active for task in tasks):
        _open(unit, study, tasks[0] if tasks else None, report_id, now, policy)


def _open(
    unit: Unit,
    study: Study,
    last: ReadingTask | None,
    report_id: str | None,
    now: datetime,
    policy: Policy,
) -> None:
    task = new_task(study, now if last else study.received_at, policy)
    task = replace(task, follows_task=last.id if last else None, follows_report=report_id)
    unit.tasks.add(task)
    unit.facts.add(Fact(Happened.TASK_OPENED, now, study.site, study_id=study.id, task_id=task.id))


def new_task(study: Study, received_at: datetime, policy: Policy) -> ReadingTask:
    """An open task for a study, due by the policy from the instant it was received."""
    return ReadingTask(
        id=uuid.uuid4().hex,
        study_id=study.id,
        site=study.site,
        kind=study.kind,
        priority=study.priority,
        state=TaskState.OPEN,
        received_at=received_at,
        due_at=received_at + policy.target(study.kind, study.priority),
    )


def clock_is_off(acquired_at: datetime | None, received_at: datetime, tolerance: timedelta) -> bool:
    """Whether the device's clock runs ahead of ours. (Behind cannot be told from a study sent
    late.)"""
    return acquired_at is not None and acquired_at - received_at > tolerance


def _outdate_reports(unit: Unit, study: Study, now: datetime) -> None:
    for report in unit.reports.in_force_of_study(study.id):
        if not report.study_newer:
            unit.reports.save(report.outdated())
            unit.facts.add(
                Fact(
                    Happened.REPORT_OUTDATED,
                    now,
                    study.site,
                    study_id=study.id,
                    report_id=report.id,
                    task_id=report.task_id,
                )
            )
