"""What does a C-MOVE or C-GET of a device send, and where (PS3.4 sections C.4.2 and C.4.3)?"""

import logging
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.dsutils import encode
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import QueryRetrieveServiceClass
from sqlalchemy import Row

from gateway.assemble import Parts
from gateway.dicom.identifier import MODELS, WrongIdentifier, keys_to_retrieve, read_identifier
from gateway.dicom.messages import NO_DATA_SET, command_set, data_pdus
from gateway.dicom.outgoing import Called, Caller, LostError
from gateway.dicom.query import RELATIONAL, is_negotiated
from gateway.dicom.scu import connect
from gateway.dicom.store import where
from gateway.dicom.transfer import (
    FIELDS,
    Originator,
    is_warning,
    proposed,
    send,
)
from gateway.dicom.wire import PeerGoneError
from storage.index import IndexUnit
from storage.query import Query
from viewers.image.unreadable import Unreadable
from worklist.errors import Refusal
from worklist.events import Fact, Happened
from worklist.site import Device

log = logging.getLogger("teleread.dicom")

SOP_CLASSES: frozenset[str] = frozenset(name for name in MODELS if name[-2:] in (".2", ".3"))

SUCCESS, PENDING, CANCELLED = 0x0000, 0xFF00, 0xFE00
NOTHING_DONE: Final = 0xA702  # Refused: out of resources, unable to perform sub-operations
_C_GET_RSP, _C_MOVE_RSP = 0x8010, 0x8021
DESTINATION_UNKNOWN: Final = 0xA801
SOME_FAILED: Final = 0xB000
_PIECE: Final = 200
_MOST_COUNT: Final = 0xFFFF  # the counts are US
_MOST_LISTED: Final = 1000  # the value of a UI ends at 65,534 bytes
_TRIES: Final = 3  # associations in a row that may fail before the rest is given up


class GivenUpError(LostError):
    """The destination is not tried any more; that was said once."""


@dataclass(frozen=True)
class Progress:
    """One response: status, sub-operations by outcome (PS3.7 tables 9.3-7 and 9.3-9), the UIDs of
    what was not sent, a comment."""

    status: int
    remaining: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0
    failed_uids: tuple[str, ...] = ()
    comment: str = ""
    element: int | None = None

    def after(self, outcome: str, sop_uid: str) -> "Progress":
        """One sub-operation later."""
        one = replace(self, remaining=max(self.remaining - 1, 0))
        if outcome == "completed":
            return replace(one, completed=one.completed + 1)
        if outcome == "warning":
            return replace(one, warning=one.warning + 1)
        listed = (*one.failed_uids, sop_uid)[:_MOST_LISTED]
        return replace(one, failed=one.failed + 1, failed_uids=listed)

    def final(self) -> "Progress":
        """The last response, when everything was tried."""
        if not self.failed and not self.warning:
            return replace(self, status=SUCCESS)
        nothing = self.failed and not self.completed and not self.warning
        return replace(self, status=NOTHING_DONE if nothing else SOME_FAILED)


def handlers(parts: Parts) -> list[tuple[evt.EventType, Callable[..., Any], list[Any]]]:
    """What `Retrieval` calls; both generators give the responses of one request."""
    return [(evt.EVT_C_GET, get, [parts]), (evt.EVT_C_MOVE, move, [parts])]


class Retrieval(QueryRetrieveServiceClass):
    """pynetdicom's service class, with sub-operations that send bytes as they are kept.

    Its own decode, hold and encode each instance whole, and need one association for all.
    """

    def SCP(self, req: Any, context: PresentationContext) -> None:
        """Serve one request."""
        is_get = str(req.AffectedSOPClassUID).endswith(".3")
        if not isinstance(req, C_GET if is_get else C_MOVE):
            raise ValueError("not a retrieval of this SOP class")
        event = evt.EVT_C_GET if is_get else evt.EVT_C_MOVE
        attributes = {
            "request": req,
            "context": context.as_tuple,
            "_is_cancelled": self.is_cancelled,
        }
        try:
            responses: Any = evt.trigger(self.assoc, event, attributes)
            for progress in responses:
                self._respond(req, context, progress)
        except PeerGoneError:
            raise
        except Exception:  # one line was written where it broke
            self._respond(req, context, Progress(0xC000, comment="The gateway failed."))

    def _respond(self, req: Any, context: PresentationContext, progress: Progress) -> None:
        status = progress.status
        raw = b""
        if status in (NOTHING_DONE, SOME_FAILED, CANCELLED) and progress.failed_uids:
            raw = _failed_list(progress.failed_uids, context)
        number, most = int(context.context_id or 0), int(self.dimse.maximum_pdu_size or 0)
        command = data_pdus(number, _response(req, progress, has_data=bool(raw)), most, 1)
        data = data_pdus(number, raw, most, 0) if raw else b""
        self.assoc.dul.send_encoded(command + data)  # type: ignore[attr-defined]


SERVICE_CLASSES: Mapping[str, type[Retrieval]] = MappingProxyType(
    dict.fromkeys(SOP_CLASSES, Retrieval)
)
"""The service class of each SOP class, in place of pynetdicom's."""


def _response(req: Any, progress: Progress, *, has_data: bool) -> bytes:
    """The command set of a C-GET-RSP or C-MOVE-RSP (PS3.7 tables 9.3-7 and 9.3-10)."""
    short = struct.Struct("<H").pack
    counts = (progress.completed, progress.failed, progress.warning)
    is_on_its_way = progress.status in (PENDING, CANCELLED)
    about = progress.element
    return command_set(
        (
            (0x0002, str(req.AffectedSOPClassUID).encode("ascii")),
            (0x0100, short(_C_GET_RSP if isinstance(req, C_GET) else _C_MOVE_RSP)),
            (0x0120, short(req.MessageID)),
            (0x0800, b"\0\0" if has_data else NO_DATA_SET),
            (0x0900, short(progress.status)),
            (0x0901, b"" if about is None else struct.pack("<HH", about >> 16, about & 0xFFFF)),
            (0x0902, progress.comment[:64].encode("ascii", "replace")),
            (0x1020, short(min(progress.remaining, _MOST_COUNT)) if is_on_its_way else b""),
            *(
                (0x1021 + place, short(min(count, _MOST_COUNT)))
                for place, count in enumerate(counts)
            ),
        )
    )


def _failed_list(uids: Sequence[str], context: PresentationContext) -> bytes:
    syntax = context.transfer_syntax[0]
    listed = Dataset()
    listed.FailedSOPInstanceUIDList = list(uids)
    raw = encode(listed, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    return raw or b""


# --- C-GET -------------------------------------------------------------------------------------


def get(event: evt.Event, parts: Parts) -> Iterator[Progress]:
    """Send on the association that asks."""
    association: Any = event.assoc
    try:
        with parts.view() as unit:
            sites = unit.people.visible_from(association.device.site)
            ids = _asked_for(event, unit, sites)
    except WrongIdentifier as wrong:
        yield _refused(wrong)
        return
    yield from _sub_operations(event, parts, ids, _Here(parts, association))


class _Here:
    """The caller's own association."""

    def __init__(self, parts: Parts, association: Any) -> None:
        self._objects = parts.objects
        self._line = Caller(association)

    def look_ahead(self, rows: Sequence[Row[Any]]) -> None:
        """Nothing can be negotiated any more."""

    def send(self, row: Row[Any], message_id: int) -> int:
        return send(self._line, row, self._objects, message_id, None)

    def close(self) -> None:
        """It is the caller's."""


# --- C-MOVE ------------------------------------------------------------------------------------


def move(event: evt.Event, parts: Parts) -> Iterator[Progress]:
    """Send to a registered device: only what its own Site may see, too."""
    association: Any = event.assoc
    request: Any = event.request
    try:
        with parts.view() as unit:
            sites = unit.people.visible_from(association.device.site)
            to = _destination(unit, str(request.MoveDestination or "").strip(), sites)
            ids = _asked_for(event, unit, sites & unit.people.visible_from(to.site))
    except WrongIdentifier as wrong:
        yield _refused(wrong)
        return
    originator = Originator(association.calling, request.MessageID)
    there = _There(parts, to, originator)
    try:
        yield from _sub_operations(event, parts, ids, there)
    finally:
        there.close()


def _destination(unit: IndexUnit, title: str, sites: frozenset[str]) -> Device:
    """The one registered device of this AE Title with an address, at a Site the caller sees."""
    found = [
        one for one in unit.people.callers(title) if one.host and one.port and one.site in sites
    ]
    if len({(one.site, one.host, one.port) for one in found}) != 1:
        raise WrongIdentifier(DESTINATION_UNKNOWN, "The move destination is not known here.")
    return found[0]


class _There:
    """Associations with a destination: one at a time, a new one where contexts are missing or the
    last one broke."""

    def __init__(self, parts: Parts, to: Device, originator: Originator) -> None:
        self._parts = parts
        self._to = to
        self._originator = originator
        self._line: Called | None = None
        self._proposed: set[tuple[str, str]] = set()
        self._ahead: Sequence[Row[Any]] = ()
        self._failures = 0

    def look_ahead(self, rows: Sequence[Row[Any]]) -> None:
        """These come next: what is negotiated should do for them all."""
        self._ahead = rows

    def send(self, row: Row[Any], message_id: int) -> int:
        line = self._ready(row)
        try:
            status = send(line, row, self._parts.objects, message_id, self._originator)
        except LostError:
            self._failures += 1
            self.close()
            raise
        self._failures = 0
        return status

    def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            with suppress(Exception):
                line.close()

    def _ready(self, row: Row[Any]) -> Called:
        pair = (row.sop_class, row.transfer_syntax)
        if self._line is not None and pair not in self._proposed:
            self.close()
        if self._line is None:
            if self._failures >= _TRIES:
                raise GivenUpError
            self._line = self._opened([row, *self._ahead])
        return self._line

    def _opened(self, rows: Sequence[Row[Any]]) -> Called:
        contexts = proposed(rows)
        try:
            association = connect(self._to, contexts, self._parts)
        except Refusal as refusal:
            self._failures = _TRIES
            log.warning("%s not reached for a C-MOVE: %s", self._to.ae_title, refusal.message)
            raise GivenUpError from refusal
        self._proposed = {
            (str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in contexts
        }
        return Called(association)


# --- both --------------------------------------------------------------------------------------


def _asked_for(event: evt.Event, unit: IndexUnit, sites: frozenset[str]) -> Sequence[int]:
    """The numbers of the current instances of what is asked for, within these Sites."""
    request: Any = event.request
    sop_class = str(request.AffectedSOPClassUID)
    syntax = str(event.context.transfer_syntax)
    identifier = read_identifier(request.Identifier.getvalue(), syntax, sop_class)
    relational = is_negotiated(event.assoc, sop_class, RELATIONAL)
    keys = keys_to_retrieve(identifier, sop_class, relational=relational)
    return Query(unit.connection).matching("instances", sites, keys)


def _refused(wrong: WrongIdentifier) -> Progress:
    return Progress(wrong.status, comment=wrong.comment, element=wrong.element)


def _sub_operations(
    event: evt.Event, parts: Parts, ids: Sequence[int], peer: "_Here | _There"
) -> Iterator[Progress]:
    """One C-STORE for each instance, a response after each, and the last one."""
    association: Any = event.assoc
    progress = Progress(PENDING, remaining=len(ids))
    for start in range(0, len(ids), _PIECE):
        rows = _rows(parts, association.device, ids[start : start + _PIECE])
        for place, row in enumerate(rows):
            if event.is_cancelled:
                yield replace(progress, status=CANCELLED)
                return
            if not association.is_established:
                return
            peer.look_ahead(rows[place + 1 :])
            number = (start + place) % _MOST_COUNT + 1
            progress = progress.after(_outcome(peer, row, number, association), row.sop_uid)
            if progress.remaining:
                yield progress
    if association.is_established:
        yield replace(progress.final(), remaining=0)


def _rows(parts: Parts, device: Device, ids: Sequence[int]) -> Sequence[Row[Any]]:
    """The instances of these numbers; that a device had them is a fact of each study."""
    with parts.view() as unit:
        rows = Query(unit.connection).fields("instances", ids, FIELDS)
    now = parts.now()
    with parts.new_unit() as unit:
        for study_id, site in dict.fromkeys((row.study_key, row.site) for row in rows):
            unit.facts.add(
                Fact(Happened.STUDY_OPENED, now, site, who=device.ae_title, study_id=study_id)
            )
    return rows


def _outcome(peer: "_Here | _There", row: Row[Any], number: int, association: Any) -> str:
    """completed, warning or failed; a failure is one log line."""
    try:
        status = peer.send(row, number)
    except GivenUpError:
        return "failed"
    except PeerGoneError:  # the caller's own
        raise
    except LostError:
        why = "the association was lost"
    except Unreadable as unreadable:
        why = unreadable.message
    except Exception as error:
        why = where(error)
    else:
        if status == SUCCESS:
            return "completed"
        if is_warning(status):
            return "warning"
        why = f"refused with status {status:04X}"
    log.warning("instance %s not sent: %s (association %s)", row.sop_uid, why, association.id)
    return "failed"
