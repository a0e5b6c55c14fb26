"""What was done for an order, and is everything here that it made?"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from worklist.arrival import Study, settle_key
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.order import Order, OrderState, after_steps
from worklist.policy import Policy
from worklist.ports import Unit

WRONG_ENTRY = ("110514", "DCM")
"""Incorrect worklist entry selected (PS3.16 CID 9300): such a step says nothing of its order."""

_SOONEST, _LATEST = timedelta(seconds=2), timedelta(seconds=15)


class StepState(StrEnum):
    """Performed Procedure Step Status (0040,0252), PS3.3 table C.4-14."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


_TOLD = {
    StepState.IN_PROGRESS: Happened.PROCEDURE_STARTED,
    StepState.COMPLETED: Happened.PROCEDURE_COMPLETED,
    StepState.DISCONTINUED: Happened.PROCEDURE_DISCONTINUED,
}
_ORDER = {
    StepState.IN_PROGRESS: OrderState.IN_PROGRESS,
    StepState.COMPLETED: OrderState.COMPLETED,
    StepState.DISCONTINUED: OrderState.DISCONTINUED,
}


@dataclass(frozen=True)
class Scheduled:
    """One item of the Scheduled Step Attributes Sequence (0040,0270): for which order it was."""

    study_uid: str | None
    accession: str | None
    order_id: str | None = None


@dataclass(frozen=True)
class ProcedureStep:
    """One Modality Performed Procedure Step (PS3.4 annex F) of one Site's device.

    `attributes` is the whole object as a DICOM JSON model, `instances` the SOP Instance UIDs that
    it says were made, `why` the code (value, scheme) of why it was discontinued.
    """

    id: str
    site: str
    sop_uid: str
    state: StepState
    station: str
    modality: str
    scheduled: tuple[Scheduled, ...]
    started_at: datetime
    created_at: datetime
    changed_at: datetime
    ended_at: datetime | None = None
    instances: frozenset[str] = frozenset()
    why: tuple[str, str] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1

    @property
    def study_uids(self) -> frozenset[str]:
        """The studies it was done for."""
        return frozenset(one.study_uid for one in self.scheduled if one.study_uid)

    @property
    def order_ids(self) -> list[str]:
        """The orders it answers."""
        return sorted({one.order_id for one in self.scheduled if one.order_id})

    @property
    def open(self) -> bool:
        """Whether the device is still at it."""
        return self.state is StepState.IN_PROGRESS

    def changed(
        self,
        state: StepState,
        at: datetime,
        *,
        attributes: Mapping[str, Any],
        instances: frozenset[str],
        ended_at: datetime | None,
        why: tuple[str, str] | None,
    ) -> "ProcedureStep":
        """The step as its device now tells it. One that has ended stays as it is."""
        if not self.open:
            raise Refusal(Code.WRONG_STATE, "This procedure step may no longer be updated.")
        return replace(
            self,
            state=state,
            changed_at=at,
            attributes=attributes,
            instances=instances,
            ended_at=ended_at,
            why=why,
            version=self.version + 1,
        )


def expect_key(step_id: str) -> str:
    """The one job that looks whether everything has come that this step made."""
    return f"expect:{step_id}"


def begin(unit: Unit, step: ProcedureStep, sites: frozenset[str], who: str) -> ProcedureStep:
    """A device has begun. `sites` are those whose orders exist for it."""
    if unit.procedure_steps.get(step.site, step.sop_uid) is not None:
        raise Refusal(Code.ALREADY_EXISTS, "There is a procedure step of this UID already.")
    step = replace(
        step, scheduled=tuple(_for_order(unit, step.site, one, sites) for one in step.scheduled)
    )
    unit.procedure_steps.add(step)
    _tell(unit, step, who, step.created_at)
    return step


def keep(unit: Unit, step: ProcedureStep, who: str, now: datetime) -> None:
    """Write a changed step; one that has ended moves its orders, and what it made is expected."""
    unit.procedure_steps.save(step)
    if step.open:
        return
    _tell(unit, step, who, now)
    unit.jobs.put("expect", expect_key(step.id), now, {"step_id": step.id})


def look(unit: Unit, step_id: str, now: datetime, policy: Policy) -> datetime | None:
    """Settle the studies of a step that has ended once every instance it names is here.

    Returns when to look again: while they keep coming, and not after the quiet time alone has
    settled the study anyway. A step that names no instance, or one of several of which another is
    still in progress, settles nothing.
    """
    step = unit.procedure_steps.by_id(step_id)
    if step is None:
        return None
    steps = unit.procedure_steps.of_studies(step.site, step.study_uids)
    expected = frozenset[str]().union(*(one.instances for one in steps))
    if not expected or any(one.open for one in steps):
        return None
    studies = [
        study
        for uid in sorted(step.study_uids)
        if (study := unit.studies.by_uid(step.site, uid)) is not None
    ]
    here = {one.sop_uid for study in studies for one in unit.studies.instances(study.id)}
    if expected <= here:
        for study in studies:
            whole = {"study_id": study.id, "released_at": study.newest_instance}
            unit.jobs.move(settle_key(study.id), now, whole)
        return None
    return _next_look(step, studies, now, policy)


def _next_look(
    step: ProcedureStep, studies: list[Study], now: datetime, policy: Policy
) -> datetime | None:
    newest = max([step.changed_at, *(study.last_received_at for study in studies)])
    quiet = now - newest
    if quiet >= policy.quiet_alone:
        return None
    return now + min(max(quiet / 2, _SOONEST), _LATEST)


def _for_order(unit: Unit, site: str, one: Scheduled, sites: frozenset[str]) -> Scheduled:
    """By the Study Instance UID that was issued with the order, else by the Accession Number
    within the device's own Site."""
    order = unit.orders.of_study_uid(one.study_uid) if one.study_uid else None
    if order is not None and order.site not in sites:
        order = None
    if order is None and one.accession:
        order = unit.orders.of_accession(site, one.accession)
    return replace(one, order_id=order.id if order else None)


def _tell(unit: Unit, step: ProcedureStep, who: str, now: datetime) -> None:
    """The fact, at the Site of each order it answers, and the orders' new states."""
    what = _TOLD[step.state]
    data = {"sop_uid": step.sop_uid}
    orders = [unit.orders.lock(order_id) for order_id in step.order_ids]
    for order in orders:
        _move(unit, order, who, now)
        told = {**data, "order_id": order.id}
        unit.facts.add(Fact(what, now, order.site, who=who, data=told))
    if not orders:
        unit.facts.add(Fact(what, now, step.site, who=who, data=data))


def _move(unit: Unit, order: Order, who: str, now: datetime) -> None:
    """An order follows its steps; one that was cancelled stays so, whatever a device does."""
    if order.state is OrderState.CANCELLED:
        return
    steps = unit.procedure_steps.of_order(order.id)
    state = after_steps(_ORDER[one.state] for one in steps if one.why != WRONG_ENTRY)
    if state is order.state:
        return
    unit.orders.save(order.moved(state, who, now))
