"""How does a device tell what it is doing (Modality Performed Procedure Step, PS3.4 annex F.7)?"""

import logging
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import evt

from gateway.assemble import Parts
from gateway.dicom import performed
from gateway.dicom.performed import WrongStep
from gateway.dicom.status import SUCCESS, status_of
from storage.index import IndexUnit
from worklist import procedure
from worklist.errors import Code, Refusal
from worklist.procedure import ProcedureStep, StepState
from worklist.site import Device

log = logging.getLogger("teleread.dicom")

SOP_CLASSES: frozenset[str] = frozenset({"1.2.840.10008.3.1.2.3.3"})

# Performed Procedure Step Object may no longer be updated: Error ID (0000,0903), beside 0110
_NO_LONGER: Final = 0xA710
_NOT_A_UID: Final = 0x0117  # Invalid object instance

Answer = tuple[int | Dataset, Dataset | None]


def handlers(parts: Parts) -> list[tuple[evt.EventType, Callable[..., Any], list[Any]]]:
    """What pynetdicom calls for this service."""
    return [(evt.EVT_N_CREATE, create, [parts]), (evt.EVT_N_SET, change, [parts])]


def create(event: evt.Event, parts: Parts) -> Answer:
    """N-CREATE: a device has begun."""
    request: Any = event.request
    given = request.AffectedSOPInstanceUID
    sop_uid = str(given or f"2.25.{uuid.uuid4().int}")
    try:
        _begin(parts, event, sop_uid, _bytes(request.AttributeList))
    except (WrongStep, Refusal) as error:
        return _failed(event, error), None
    reply = Dataset()
    if given is None:  # pynetdicom takes it from here into the response's command
        reply.AffectedSOPInstanceUID = sop_uid
    return SUCCESS, reply


def change(event: evt.Event, parts: Parts) -> Answer:
    """N-SET: it goes on, or has ended."""
    request: Any = event.request
    try:
        sop_uid = str(request.RequestedSOPInstanceUID)
        _change(parts, event, sop_uid, _bytes(request.ModificationList))
    except (WrongStep, Refusal) as error:
        return _failed(event, error), None
    return SUCCESS, None


def _begin(parts: Parts, event: evt.Event, sop_uid: str, raw: bytes) -> None:
    _check_uid(sop_uid)
    told = performed.read(raw, str(event.context.transfer_syntax))
    device = _device(event)
    now = parts.now()
    with parts.new_unit() as unit:
        if unit.procedure_steps.get(device.site, sop_uid) is not None:
            raise Refusal(Code.ALREADY_EXISTS, "There is a procedure step of this UID already.")
        performed.check_begin(told)
        zone = unit.people.site(device.site).zone
        step = ProcedureStep(
            id=uuid.uuid4().hex,
            site=device.site,
            sop_uid=sop_uid,
            state=StepState.IN_PROGRESS,
            station=told.value(performed.STATION)[:16],
            modality=told.value(performed.MODALITY)[:16],
            scheduled=performed.scheduled_of(told),
            started_at=performed.instant_of(told.model, performed.START, zone) or now,
            created_at=now,
            changed_at=now,
            instances=performed.instances_of(told) or frozenset(),
            attributes=dict(told.model),
        )
        procedure.begin(unit, step, unit.people.visible_from(device.site), device.ae_title)


def _change(parts: Parts, event: evt.Event, sop_uid: str, raw: bytes) -> None:
    told = performed.read(raw, str(event.context.transfer_syntax))
    device = _device(event)
    now = parts.now()
    with parts.new_unit() as unit:
        before = unit.procedure_steps.lock(device.site, sop_uid)
        step = _changed(unit, before, told, now)
        procedure.keep(unit, step, device.ae_title, now)


def _changed(
    unit: IndexUnit, before: ProcedureStep, told: performed.Told, now: datetime
) -> ProcedureStep:
    if not before.open:
        raise Refusal(Code.WRONG_STATE, "This procedure step may no longer be updated.")
    state = performed.state_of(told) or before.state
    model = performed.merged(before.attributes, told)
    if state is not StepState.IN_PROGRESS:
        performed.check_end(model, state)
    instances = performed.instances_of(told)
    return before.changed(
        state,
        now,
        attributes=model,
        instances=before.instances if instances is None else instances,
        ended_at=performed.instant_of(model, performed.END, unit.people.site(before.site).zone),
        why=performed.why_of(model),
    )


def _bytes(given: Any) -> bytes:
    if given is None:
        raise WrongStep(performed.MISSING)
    return bytes(given.getvalue())


def _check_uid(sop_uid: str) -> None:
    if not performed.is_uid(sop_uid):
        raise WrongStep(_NOT_A_UID)


def _device(event: evt.Event) -> Device:
    device: Device = event.assoc.device  # type: ignore[attr-defined]
    return device


def _failed(event: evt.Event, error: WrongStep | Refusal) -> Dataset:
    """The status of a request that was not done, and one log line that names no value."""
    status = Dataset()
    if isinstance(error, WrongStep):
        status.Status = error.status
        about = f" ({error.tag >> 16:04X},{error.tag & 0xFFFF:04X})" if error.tag else ""
        comment = f"{_COMMENTS.get(error.status, 'The request cannot be read.')}{about}"
    else:
        status.Status = status_of(error.code)
        comment = error.message
        if error.code is Code.WRONG_STATE:
            status.ErrorID = _NO_LONGER
    status.ErrorComment = comment[:64]
    log.warning(
        "procedure step from %s not kept, status %04X: %s (association %s)",
        _device(event).ae_title,
        status.Status,
        comment,
        event.assoc.id,  # type: ignore[attr-defined]
    )
    return status


_COMMENTS = {
    performed.MISSING: "An attribute is missing.",
    performed.EMPTY: "An attribute has no value.",
    performed.INVALID: "An attribute has an invalid value.",
    _NOT_A_UID: "The SOP Instance UID is none.",
}
