"""Which message is this, and who serves it?

Instances go straight into the buffer they are stored from; everything else is small, and served by
pynetdicom's service classes. These may wait for answers to requests of their own and look for a
C-CANCEL: that, too, is read here, by the same thread.
"""

import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from pynetdicom.presentation import PresentationContext

from gateway.dicom.arriving import Arriving
from gateway.dicom.association import DeviceAssociation
from gateway.dicom.contexts import is_storage
from gateway.dicom.messages import (
    AFFECTED_CLASS,
    AFFECTED_INSTANCE,
    ANSWERED_ID,
    C_CANCEL_RQ,
    C_STORE_RQ,
    COMMAND_FIELD,
    DATA_SET_TYPE,
    MESSAGE_ID,
    NO_DATA_SET,
    P_DATA_TF,
    PDU,
    PDV,
    REQUESTED_CLASS,
    RESPONSE,
    Command,
    ProtocolError,
    command_elements,
    number,
    primitive_of,
    response,
    store_response,
    uid,
)
from gateway.dicom.negotiation import Agreement
from gateway.dicom.provider import ABORTED
from gateway.dicom.services import C_FIND_RQ, FIRST_N_SERVICE, name_of
from gateway.dicom.status import (
    INVALID_ARGUMENT,
    NO_SUCH_CLASS,
    SUCCESS,
    UNABLE,
    UNKNOWN_CLASS,
    UNKNOWN_OPERATION,
)
from gateway.dicom.store import StoreRequest
from gateway.dicom.wire import PeerGoneError
from worklist.site import Device

if TYPE_CHECKING:
    from gateway.dicom.connection import Connection

# PDU types, PS3.8 section 9.3
_RELEASE_RQ, _ABORT = 5, 7
_RELEASED: Final = b"\x06\x00\x00\x00\x00\x04\x00\x00\x00\x00"
_MOST_CONTROL: Final = 1 << 20  # a PDU that is no P-DATA-TF
_MOST_PDU: Final = 64 << 20
_MOST_COMMAND: Final = 1 << 16
_MOST_DATA: Final = 2 << 20  # a data set that is no instance
_MOST_WAITING: Final = 4  # requests that come while another one is served
_GATHERED: Final = 1 << 16  # bytes of responses that go out together
_PROMPTLY: Final = 0.02  # seconds that responses wait for each other


class Servants(Protocol):
    """Who does what the messages ask for."""

    def serves(self, command_field: int, sop_class: str) -> bool:
        """Whether a kind of request is served at all."""

    def association(self, dialogue: "Dialogue", agreed: Agreement) -> DeviceAssociation:
        """pynetdicom's side of the connection."""

    def arriving(self, context: int, command: Command, request: StoreRequest) -> Arriving:
        """A place for an instance."""


@dataclass
class _Message:
    """A message that is no instance, on its way."""

    context: int
    command: Command
    raw: bytes
    kind: int
    data: bytearray = field(default_factory=bytearray)


class Dialogue:
    """The messages of one association, in order."""

    def __init__(
        self, connection: "Connection", device: Device, agreed: Agreement, servants: Servants
    ) -> None:
        self.connection = connection
        self.device = device
        self.open = True
        self.ended = ""
        self.stored = self.refused = 0
        self.statuses: Counter[int] = Counter()
        self.served: Counter[str] = Counter()
        self._wire = connection.wire
        self._limits = connection.wire.limits
        self._agreed = agreed
        self._servants = servants
        self._association: DeviceAssociation | None = None
        self._command = bytearray()
        self._arriving: Arriving | None = None
        self._message: _Message | None = None
        self._usual_size = 0
        self._waiting: deque[_Message] = deque()
        self._responses: deque[tuple[int, Any]] = deque()
        self._broken: PeerGoneError | ProtocolError | None = None
        self._serving: int | None = None
        self._answered = False
        self._out: bytearray | None = None
        self._sent_at = 0.0

    @property
    def state(self) -> str:
        """receiving or serving."""
        return "receiving" if self._serving is None else "serving"

    @property
    def unfinished(self) -> bool:
        """Whether a message is on its way, or one waits to be served."""
        return bool(self._arriving or self._message or self._command or self._waiting)

    def go_on(self) -> None:
        """Serve what waits, or read the next PDU and act on it."""
        if self._waiting:
            self._request(self._waiting.popleft())
        else:
            self._pdu()
        if self._broken is not None:
            raise self._broken

    def answer_release(self) -> None:
        """Our last word (PS3.8 table 9-24)."""
        self._wire.send(_RELEASED)

    def close(self) -> None:
        """Nothing more is served; what has not been kept is forgotten."""
        self.finish("closed")
        if self._arriving is not None:
            self._arriving.close()
            self._arriving = None

    def finish(self, why: str) -> None:
        """The association is over for whoever serves it."""
        if self.open:
            self.open = False
            self.ended = why
        if self._association is not None:
            self._association.is_established = False
            if self._serving is not None:
                self._association.messages.cancel(self._serving)

    def abort(self) -> None:
        """End it from here."""
        if self.open:
            self._flush()
            self._wire.send(ABORTED)
            self.finish("aborted here")

    # --- what pynetdicom asks for ----------------------------------------------------------------

    def transmit(self, raw: bytes) -> None:
        """Send a PDU. The responses of a C-FIND go out together, as many as come at once."""
        self._answered = True
        if not self.open:
            return
        if self._out is None:
            self._wire.send(raw)
            return
        self._out += raw
        if len(self._out) >= _GATHERED or time.monotonic() - self._sent_at > _PROMPTLY:
            self._flush()

    def respond(self) -> tuple[int, Any] | None:
        """The device's answer to a request of ours; None when none will come."""
        self._flush()
        end = time.monotonic() + self._limits.response_seconds
        while not self._responses and self.open:
            if not self.unfinished_message and not self._wire.ready(end - time.monotonic()):
                return None
            self._quietly_read()
        return self._responses.popleft() if self._responses else None

    def look(self) -> None:
        """Read what the device has said meanwhile."""
        while self.open and self._wire.ready(0):
            self._quietly_read()

    @property
    def unfinished_message(self) -> bool:
        """Whether a message is on its way."""
        return bool(self._arriving or self._message or self._command)

    def _quietly_read(self) -> None:
        """Inside of a service: what breaks is told when the service has ended."""
        try:
            self._pdu()
        except (PeerGoneError, ProtocolError) as broken:
            self._broken = broken
            self.finish(str(broken))

    def _flush(self) -> None:
        if self._out:
            raw, self._out = self._out, bytearray()
            self._sent_at = time.monotonic()
            self._wire.send(raw)

    # --- PDUs (PS3.8 section 9.3, annex E) -------------------------------------------------------

    def _pdu(self) -> None:
        if not self.unfinished_message:
            self._wire.begin()
        kind, length = self._wire.unpack(PDU)
        if kind == P_DATA_TF and 0 < length <= _MOST_PDU:
            self._data(length)
        elif kind == _RELEASE_RQ:
            self._wire.exact(length if length <= _MOST_CONTROL else 4)
            self.finish("released")
        elif kind == _ABORT:
            raise PeerGoneError("aborted by the device")
        else:
            raise ProtocolError("a PDU that does not belong here")

    def _data(self, left: int) -> None:
        while left > 0:
            if left < PDV.size:
                raise ProtocolError("a PDU that ends inside of a value's header")
            size, context, control = self._wire.unpack(PDV)
            size -= 2
            left -= size + 6
            if size < 0 or left < 0:
                raise ProtocolError("a presentation data value longer than its PDU")
            if control & 1:
                self._command_fragment(context, size, last=bool(control & 2))
            elif self._arriving is not None:
                self._instance_fragment(self._arriving, context, size, last=bool(control & 2))
            elif self._message is not None:
                self._data_fragment(self._message, context, size, last=bool(control & 2))
            else:
                raise ProtocolError("a data set without a command")

    def _command_fragment(self, context: int, size: int, *, last: bool) -> None:
        if self._arriving is not None or self._message is not None:
            raise ProtocolError("a command inside of a data set")
        if len(self._command) + size > _MOST_COMMAND:
            raise ProtocolError("a command without end")
        self._command += self._wire.exact(size)
        if last:
            raw = bytes(self._command)
            self._command.clear()
            self._commanded(context, raw)

    def _commanded(self, context: int, raw: bytes) -> None:
        agreed = self._agreed.contexts.get(context)
        if agreed is None:
            raise ProtocolError("a message in a context that was not accepted")
        command = command_elements(raw)
        kind = number(command, COMMAND_FIELD)
        has_data = command.get(DATA_SET_TYPE) != NO_DATA_SET
        if kind == C_STORE_RQ and is_storage(str(agreed.abstract_syntax)):
            self._arriving = self._place(agreed, context, command)
            if not has_data:
                self._arrived(self._arriving)
            return
        message = _Message(context, command, raw, kind)
        if has_data:
            self._message = message
        else:
            self._complete(message)

    def _instance_fragment(
        self, arriving: Arriving, context: int, size: int, *, last: bool
    ) -> None:
        if context != arriving.context:
            raise ProtocolError("a data set in another context than its command")
        arriving.read(self._wire, size, self._limits.object_bytes)
        if last:
            self._arrived(arriving)

    def _data_fragment(self, message: _Message, context: int, size: int, *, last: bool) -> None:
        if context != message.context:
            raise ProtocolError("a data set in another context than its command")
        if len(message.data) + size > _MOST_DATA:
            raise ProtocolError("a query larger than anybody asks")
        message.data += self._wire.exact(size)
        if last:
            self._message = None
            self._complete(message)

    # --- instances -------------------------------------------------------------------------------

    def _place(self, agreed: PresentationContext, context: int, command: Command) -> Arriving:
        request = StoreRequest(
            device=self.device,
            called=self.connection.called,
            association=self.connection.id,
            abstract_syntax=str(agreed.abstract_syntax),
            transfer_syntax=str(agreed.transfer_syntax[0]),
            sop_class=uid(command, AFFECTED_CLASS),
            sop_instance=uid(command, AFFECTED_INSTANCE),
            data=memoryview(b""),
        )
        arriving = self._servants.arriving(context, command, request)
        arriving.expect(self._usual_size)
        return arriving

    def _arrived(self, arriving: Arriving) -> None:
        try:
            answer = arriving.finish()
        finally:
            self._arriving = None
            arriving.close()
        self._usual_size = arriving.size
        self.statuses[answer.status] += 1
        if answer.status == SUCCESS:
            self.stored += 1
        else:
            self.refused += 1
        self._flush()
        self._wire.send(store_response(arriving.context, arriving.command, answer))

    # --- everything else -------------------------------------------------------------------------

    def _complete(self, message: _Message) -> None:
        if message.kind == C_CANCEL_RQ:
            self._cancel(number(message.command, ANSWERED_ID))
        elif message.kind & RESPONSE:
            if len(self._responses) < _MOST_WAITING:  # nobody asks twice at a time
                primitive = primitive_of(message.context, message.raw, bytes(message.data))
                self._responses.append((message.context, primitive))
        elif self._serving is None:
            self._request(message)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting.append(message)
        else:
            raise ProtocolError("more requests at once than were agreed on")

    def _cancel(self, message_id: int) -> None:
        if self._association is not None and message_id == self._serving:
            self._association.messages.cancel(message_id)

    def _request(self, message: _Message) -> None:
        context = self._agreed.contexts[message.context]
        refused = self._refusal(message, context)
        if refused is None:
            self._serve(message, context)
        else:
            self._refuse(message, refused)

    def _refuse(self, message: _Message, status: int) -> None:
        self.served["refused"] += 1
        self._wire.send(response(message.context, message.command, status))

    def _refusal(self, message: _Message, context: PresentationContext) -> int | None:
        """The status for what is not served here (PS3.7 annex C)."""
        agreed = str(context.abstract_syntax)
        named = uid(message.command, AFFECTED_CLASS) or uid(message.command, REQUESTED_CLASS)
        if named != agreed:
            return NO_SUCH_CLASS if message.kind >= FIRST_N_SERVICE else UNKNOWN_CLASS
        return None if self._servants.serves(message.kind, agreed) else UNKNOWN_OPERATION

    def association(self) -> DeviceAssociation:
        """pynetdicom's side of it, made when it is first needed."""
        if self._association is None:
            self._association = self._servants.association(self, self._agreed)
        return self._association

    def _read(self, message: _Message) -> Any:
        """pynetdicom's primitive of a request; None where a value is missing or is none."""
        try:
            primitive = primitive_of(message.context, message.raw, bytes(message.data))
        except ProtocolError:
            return None
        return primitive if primitive.is_valid_request else None

    def _serve(self, message: _Message, context: PresentationContext) -> None:
        primitive = self._read(message)
        if primitive is None:
            n_service = message.kind >= FIRST_N_SERVICE
            self._refuse(message, INVALID_ARGUMENT if n_service else UNABLE)
            return
        association = self.association()
        self.served[name_of(message.kind)] += 1
        self._serving, self._answered = number(message.command, MESSAGE_ID), False
        self._out = bytearray() if message.kind == C_FIND_RQ else None
        self._responses.clear()
        try:
            association.serve(primitive, context)
        except (ValueError, NotImplementedError):
            if self._answered:
                raise
            self._refuse(message, UNKNOWN_OPERATION)  # not this operation of that SOP class
        finally:
            self._serving = None
            with suppress(PeerGoneError):
                if self.open:
                    self._flush()
            self._out = None
