"""Do we answer for what a device has sent? Storage Commitment, Push Model (PS3.4 annex J).

A request is kept before it is answered. An instance is committed to only after its object has been
read back and its digest found right. The report goes out on the same association to a device
without address, else on a new one; what cannot be told now is told later.
"""

import hashlib
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from sqlalchemy import Row

from gateway.assemble import Parts
from gateway.dicom import scu
from gateway.dicom.status import SUCCESS
from storage.commitments import Commitment
from storage.index import IndexUnit
from storage.objects import Objects
from worklist.errors import Code, Refusal
from worklist.site import Device

log = logging.getLogger("teleread.dicom")

PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
SOP_CLASSES: Final = frozenset({PUSH_MODEL})
REQUEST_COMMITMENT: Final = 1  # action type
ALL_COMMITTED, SOME_FAILED = 1, 2  # event types
MOST_INSTANCES: Final = 10_000

# statuses of the N-ACTION response (PS3.7 annex C)
NO_SUCH_INSTANCE: Final = 0x0112
INVALID_ARGUMENT: Final = 0x0115
NO_SUCH_ACTION: Final = 0x0123
TOO_MANY: Final = 0x0213  # resource limitation
STATUSES: Mapping[int, str] = {
    SUCCESS: "the request is kept; its report follows",
    NO_SUCH_INSTANCE: "not the well-known SOP Instance",
    INVALID_ARGUMENT: "Transaction UID or Referenced SOP Sequence missing or invalid",
    NO_SUCH_ACTION: "not action type 1",
    TOO_MANY: f"more than {MOST_INSTANCES} instances",
}

# failure reasons (0008,1197), PS3.3 section C.14.1.1
PROCESSING_FAILURE: Final = 0x0110
NOT_HERE: Final = 0x0112
CLASS_CONFLICT: Final = 0x0119
DUPLICATE_TRANSACTION: Final = 0x0131
REASONS: Mapping[int, str] = {
    NOT_HERE: "no such instance at the device's site",
    CLASS_CONFLICT: "the instance is of another SOP class",
    PROCESSING_FAILURE: "the object could not be read back as it was received",
    DUPLICATE_TRANSACTION: "the Transaction UID was used for another request",
}

# how long an answer waits for a device that we cannot call
KEPT_FOR: Final = timedelta(days=7)
# a device that waits on its association is answered there first
_ITS_OWN_ASSOCIATION_FIRST: Final = timedelta(seconds=30)
# seconds of reading back in one go: on the device's own association, in a job
_BRIEFLY, _AT_LENGTH = 1.0, 20.0
_BLOCK: Final = 1 << 20
_SYNTAXES: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_IS_UID = re.compile(r"[0-9][0-9.]{0,63}")


class Caller(Protocol):
    """What is asked of the association a device has opened."""

    device: Device | None

    def later(self, work: Callable[[], None]) -> None:
        """Do this on the association's own thread when it is idle."""


def handlers(parts: Parts) -> list[tuple[evt.EventType, Callable[..., Any], list[Any]]]:
    """The event of this service."""
    return [(evt.EVT_N_ACTION, request_commitment, [parts])]


# -- the request ----------------------------------------------------------------------------------


def request_commitment(event: evt.Event, parts: Parts) -> tuple[int, Dataset | None]:
    """Answer an N-ACTION: Success means that the request is kept, with the job that will see to
    its report."""
    device: Device = event.assoc.device  # type: ignore[attr-defined]
    request = event.request
    if str(request.RequestedSOPInstanceUID) != PUSH_MODEL_INSTANCE:  # type: ignore[union-attr]
        return NO_SUCH_INSTANCE, None
    if event.action_type != REQUEST_COMMITMENT:
        return NO_SUCH_ACTION, None
    transaction, asked = _asked(event)
    if transaction is None or not asked:
        return INVALID_ARGUMENT, None
    if len(asked) > MOST_INSTANCES:
        return TOO_MANY, None
    with parts.new_unit() as unit:
        kept = _keep(unit, device, transaction, asked, parts.now())
    if not _has_address(device):
        _later(event.assoc, parts, kept.id)
    return SUCCESS, None


def _asked(event: evt.Event) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """Transaction UID and what is asked about; nothing where the argument is not as it must be."""
    try:
        information = event.action_information
        transaction = str(information.TransactionUID)
        asked = tuple(
            dict.fromkeys(
                (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
                for item in information.ReferencedSOPSequence
            )
        )
    except Exception:  # whatever the parser makes of it, it is no list of instances
        return None, ()
    names = [transaction, *(name for pair in asked for name in pair)]
    return (transaction, asked) if all(map(_IS_UID.fullmatch, names)) else (None, ())


def _keep(
    unit: IndexUnit,
    device: Device,
    transaction: str,
    asked: tuple[tuple[str, str], ...],
    now: datetime,
) -> Commitment:
    """Row and job of a request. The same request again is answered again, with the same answer;
    another one under the same Transaction UID fails as a whole."""
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    known = unit.commitments.of_transaction(device.id, transaction)
    one = next((each for each in known if each.request_digest == digest), None)
    if one is not None:
        one = replace(one, reported_at=None, given_up_at=None, expires_at=now + KEPT_FOR)
        unit.commitments.save(one)
    else:
        one = Commitment(
            id=uuid.uuid4().hex,
            site=device.site,
            device_id=device.id,
            transaction_uid=transaction,
            request_digest=digest,
            asked=asked,
            requested_at=now,
            expires_at=now + KEPT_FOR,
        )
        if known:
            failed = tuple((*pair, DUPLICATE_TRANSACTION) for pair in asked)
            one = replace(one, checked=len(asked), failed=failed, checked_at=now)
        unit.commitments.add(one)
    _due(unit, one, now if _has_address(device) else now + _ITS_OWN_ASSOCIATION_FIRST)
    for other in unit.commitments.waiting(device.id):  # it is there again: try those, too
        if other.id != one.id and _has_address(device):
            _due(unit, other, now)
    return one


def _due(unit: IndexUnit, one: Commitment, at: datetime) -> None:
    unit.jobs.put("commit", f"commit:{one.id}", at, {"commitment_id": one.id})


def _has_address(device: Device) -> bool:
    return bool(device.host and device.port)


# -- reading back ---------------------------------------------------------------------------------


def check(parts: Parts, commitment_id: str, seconds: float) -> Commitment | None:
    """Look at what is asked for, for about this long, and keep how far that came."""
    with parts.view() as unit:
        one = unit.commitments.get(commitment_id)
    if one is None or one.checked_at is not None:
        return one
    end = time.monotonic() + seconds
    at, failed = one.checked, list(one.failed)
    while at < len(one.asked):
        sop_class, uid = one.asked[at]
        reason = _reason(parts, one.site, sop_class, uid)
        if reason is not None:
            failed.append((sop_class, uid, reason))
        at += 1
        if time.monotonic() > end:
            break
    with parts.new_unit() as unit:
        now = unit.commitments.lock(commitment_id)
        if now is None or now.checked != one.checked or now.checked_at is not None:
            return now  # somebody else went on with it
        done = parts.now() if at == len(one.asked) else None
        now = replace(now, checked=at, failed=tuple(failed), checked_at=done)
        unit.commitments.save(now)
    return now


def _reason(parts: Parts, site: str, sop_class: str, uid: str) -> int | None:
    """Why we do not answer for this instance; None: we do. Every content that came under its UID
    must be there."""
    with parts.view() as unit:
        versions = unit.studies.versions(site, uid)
    if not versions:
        return NOT_HERE
    of_class = [row for row in versions if row.sop_class == sop_class]
    if not of_class:
        return CLASS_CONFLICT
    if all(_reads_back(parts.objects, row) for row in of_class):
        return None
    return PROCESSING_FAILURE


def _reads_back(objects: Objects, row: Row[Any]) -> bool:
    """Whether the data set's bytes are those of its digest, read in bounded memory."""
    digest, at = hashlib.sha256(), row.offset
    try:
        while at < row.length:
            part = objects.read(row.locator, at, min(_BLOCK, row.length - at))
            if not part:
                break
            digest.update(part)
            at += len(part)
    except FileNotFoundError:
        at = -1
    if at == row.length and digest.hexdigest() == row.digest:
        return True
    log.error("instance %s cannot be read back as it was received", row.sop_uid)
    return False


# -- the report -----------------------------------------------------------------------------------


def established(association: Association, parts: Parts) -> None:
    """A device has opened an association: if it can hear reports on it, it gets those that wait."""
    device: Device | None = association.device  # type: ignore[attr-defined]
    names = {str(context.abstract_syntax) for context in association.accepted_contexts}
    if device is None or PUSH_MODEL not in names:
        return
    with parts.view() as unit:
        waiting = unit.commitments.waiting(device.id)
    for one in waiting:
        if not _has_address(device):
            _later(association, parts, one.id)


def commit(parts: Parts, payload: Mapping[str, Any], now: datetime) -> datetime | None:
    """Job: go on reading back; then call the device, or wait until it calls."""
    one = check(parts, payload["commitment_id"], _AT_LENGTH)
    if one is None or one.reported_at is not None or one.given_up_at is not None:
        return None
    if one.checked_at is None:
        return now
    with parts.view() as unit:
        device = unit.transmissions.device(one.device_id)
    if device is None or device.site != one.site:
        _given_up(parts, one, "the device is gone")
        return None
    if _has_address(device):
        with scu.calling(
            device, [build_context(PUSH_MODEL, _SYNTAXES)], parts, scp_of=[PUSH_MODEL]
        ) as association:
            _report(association, parts, one, device)
        return None
    if now < one.expires_at:
        return one.expires_at
    _given_up(parts, one, "the device did not call again")
    return None


def event_information(one: Commitment, retrieve_from: str) -> Dataset:
    """Event Information of the report (PS3.4 table J.3-2)."""
    information = Dataset()
    information.TransactionUID = one.transaction_uid
    information.RetrieveAETitle = retrieve_from
    if one.committed:
        information.ReferencedSOPSequence = [_reference(pair) for pair in one.committed]
    if one.failed:
        information.FailedSOPSequence = [_failure(each) for each in one.failed]
    return information


def _later(association: Any, parts: Parts, commitment_id: str) -> None:
    association.later(partial(_answer_here, association, parts, commitment_id))


def _answer_here(association: Association, parts: Parts, commitment_id: str) -> None:
    """On the association's own thread, a little at a time: the device may go on meanwhile."""
    one = check(parts, commitment_id, _BRIEFLY)
    if one is None or one.reported_at is not None:
        return
    if one.checked_at is None:
        _later(association, parts, commitment_id)
        return
    device: Device = association.device  # type: ignore[attr-defined]
    _report(association, parts, one, device)


def _report(association: Association, parts: Parts, one: Commitment, device: Device) -> None:
    """Send the N-EVENT-REPORT; the device's Success is noted.

    Raises:
        Refusal: UNREACHABLE, the device did not take it.
    """
    status, _ = association.send_n_event_report(
        event_information(one, device.called or parts.settings.ae_title),
        SOME_FAILED if one.failed else ALL_COMMITTED,
        PUSH_MODEL,
        PUSH_MODEL_INSTANCE,
    )
    answer = status.get("Status")
    if answer != SUCCESS:
        said = "does not answer" if answer is None else f"answers {answer:04X}"
        raise Refusal(Code.UNREACHABLE, f"{device.ae_title} {said} to the commitment report.")
    with parts.new_unit() as unit:
        now = unit.commitments.lock(one.id)
        if now is not None:
            unit.commitments.save(replace(now, reported_at=parts.now()))
        unit.jobs.drop(f"commit:{one.id}")
    log.info(
        "commitment %s told to %s: %d of %d instances committed",
        one.id,
        device.ae_title,
        len(one.committed),
        len(one.asked),
    )


def _given_up(parts: Parts, one: Commitment, why: str) -> None:
    with parts.new_unit() as unit:
        now = unit.commitments.lock(one.id)
        if now is not None and now.reported_at is None:
            unit.commitments.save(replace(now, given_up_at=parts.now()))
    log.error("commitment %s was never told to device %d: %s", one.id, one.device_id, why)


def _reference(pair: Sequence[str]) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = pair
    return item


def _failure(each: tuple[str, str, int]) -> Dataset:
    item = _reference(each[:2])
    item.FailureReason = each[2]
    return item
