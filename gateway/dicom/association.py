"""How do messages come in and go out on one association's own thread?

pynetdicom negotiates and serves everything that is small. Its reactor (two polling threads for each
association, a 4 KiB receive loop, no bound on what a peer may send or on how long it may take) is
replaced: one thread reads PDUs as they come, straight into the buffer that is stored. Whatever
breaks PS3.8, is too slow or too large ends this association and no other.
"""

import logging
import select
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pynetdicom import _config
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA
from pynetdicom.transport import AddressInformation

from gateway.dicom.contexts import contexts_for
from gateway.dicom.status import Rejection
from gateway.dicom.store import Answer, StoreRequest, where
from worklist.site import Device

log = logging.getLogger("teleread.dicom")

_config.LOG_HANDLER_LEVEL = "none"  # its handlers format every message, debugging or not
for _name in ("association", "acse", "dimse", "dsutils", "service_class"):
    # They log values of the peer. What is worth a line is said here, with ids only.
    logging.getLogger(f"pynetdicom.{_name}").setLevel(logging.CRITICAL)

# PDU types, PS3.8 section 9.3
_ASSOCIATE_RQ, _P_DATA, _RELEASE_RQ, _ABORT = 1, 4, 5, 7
_PDU = struct.Struct(">BxI")
_PDV = struct.Struct(">IBB")
_ELEMENT = struct.Struct("<HHI")
_RELEASED = b"\x06\x00\x00\x00\x00\x04\x00\x00\x00\x00"
_ABORTED = (
    b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x00"  # by the service provider, reason not specified
)
_MOST_CONTROL: Final = 1 << 20
_MOST_PDU: Final = 64 << 20
_MOST_COMMAND: Final = 1 << 16
_C_STORE_RQ: Final = b"\x01\x00"
_NO_DATA_SET: Final = b"\x01\x01"
_FIRST_BUFFER: Final = 1 << 18
_MOST_GROWTH: Final = 16 << 20
_FAREWELL: Final = 2.0  # seconds a peer has to close after our last PDU


@dataclass(frozen=True)
class Limits:
    """How much and how long a peer may take. Seconds, bytes, counts."""

    associations: int = 200
    per_device: int = 32
    waiting: int = 64  # connections that have not yet asked for an association
    request_seconds: float = 10.0
    pdu_seconds: float = 60.0
    idle_seconds: float = 1800.0  # some devices keep their association open all day
    object_bytes: int = 1 << 30
    pdu_bytes: int = 1 << 18  # what we offer to receive at once


class Owner(Protocol):
    """Who decides for an association: the edge it came in by."""

    limits: Limits

    def admit(self, association: "DeviceAssociation") -> Device | Rejection:
        """The calling device, or why it is rejected."""

    def store(self, request: StoreRequest) -> Answer:
        """Keep an instance."""

    def released(self, association: "DeviceAssociation") -> None:
        """The device will send nothing more. Called once."""

    def gone(self, association: "DeviceAssociation") -> None:
        """The connection is closed. Called once."""


class PeerGoneError(Exception):
    """The connection is of no use any more: closed, broken, or too slow."""


class ProtocolError(Exception):
    """The peer sent what PS3.7 or PS3.8 do not allow here, or more than we take."""


class _Provider(DULServiceProvider):
    """Sends in the caller's thread; the thread this class wants to be is never started."""

    transmit: Callable[[bytes], None]

    def is_alive(self) -> bool:
        return False

    def stop_dul(self) -> bool:
        return True

    def send_pdu(self, primitive: Any) -> None:
        if isinstance(primitive, P_DATA):
            self.transmit(P_DATA_TF(primitive).encode())
        elif isinstance(primitive, A_ASSOCIATE):
            accepted = primitive.result == 0
            pdu = A_ASSOCIATE_AC(primitive) if accepted else A_ASSOCIATE_RJ(primitive)
            self.transmit(pdu.encode())
        else:  # an abort from inside of pynetdicom
            self.transmit(_ABORTED)


@dataclass
class _Incoming:
    """A C-STORE whose data set is on its way."""

    context: int
    command: dict[int, bytes]
    buffer: bytearray = field(default_factory=lambda: bytearray(_FIRST_BUFFER))
    size: int = 0


class DeviceAssociation(Association):
    """One connection of a device, from its first byte to its last."""

    def __init__(
        self, ae: ApplicationEntity, client: socket.socket, address: Any, owner: Owner
    ) -> None:
        super().__init__(ae, "acceptor")
        self.id = uuid.uuid4().hex
        self.name = f"dicom-{self.id[:8]}"
        self.device: Device | None = None
        self.peer_address: str = address[0]
        self._client = client
        self._owner = owner
        self._limits = owner.limits
        self._deadline = time.monotonic() + self._limits.request_seconds
        self._poll = select.poll()
        self._poll.register(client, select.POLLIN)
        self._command = bytearray()
        self._incoming: _Incoming | None = None
        self._other_bytes = (
            0  # data set bytes of a message that pynetdicom serves; 0 when there is none
        )
        self._quiet = False
        self._stopping = threading.Event()
        self._told = False
        self._mutex = threading.Lock()
        self.dul = _Provider(self)
        self.dul.transmit = self._send
        self.acceptor.ae_title = ae.ae_title
        self.acceptor.maximum_length = self._limits.pdu_bytes
        self.acceptor.implementation_class_uid = ae.implementation_class_uid
        self.acceptor.implementation_version_name = ae.implementation_version_name
        self.acceptor.address_info = AddressInformation.from_tuple(client.getsockname())
        self.requestor.address_info = AddressInformation.from_tuple(address)

    @property
    def calling(self) -> str:
        """The calling AE Title as sent."""
        return str(self._request().calling_ae_title or "").strip()

    @property
    def called(self) -> str:
        """The called AE Title as sent."""
        return str(self._request().called_ae_title or "").strip()

    @property
    def application_context(self) -> str:
        """The application context name as sent."""
        return str(self._request().application_context_name or "")

    def stop(self, *, now: bool = False) -> None:
        """End after the object in flight; `now`: at once."""
        with self._mutex:
            self._stopping.set()
            how = socket.SHUT_RDWR if now else socket.SHUT_RD
            if now or self._quiet:
                _shut(self._client, how)

    # --- the thread ----------------------------------------------------------------------------

    def run_reactor(self) -> None:
        """Negotiate, serve, close. Says in one line why it ended, unless it ended well."""
        failure = ""
        said_last = True
        try:
            self._client.settimeout(self._limits.request_seconds)
            if self._negotiate():
                self._client.settimeout(self._limits.pdu_seconds)
                self._serve()
        except PeerGoneError as gone:
            failure = str(gone)
            said_last = False
        except ProtocolError as error:
            failure = str(error)
            self._abort_quietly()
        except Exception as error:  # the thread's last resort: this association ends, no other
            failure = where(error)
            self._abort_quietly()
        finally:
            self.is_established = False
            self._tell_released()
            self._close(said_last and not self._stopping.is_set())
        if failure and not self._stopping.is_set():
            who = self.device.ae_title if self.device else self.peer_address
            log.warning("association %s with %s ended: %s", self.id, who, failure)

    def _negotiate(self) -> bool:
        kind, length = _PDU.unpack(self._exact(6))
        if kind != _ASSOCIATE_RQ or length > _MOST_CONTROL:
            raise ProtocolError("no association request")
        raw = _PDU.pack(kind, length) + self._exact(length)
        try:
            pdu = A_ASSOCIATE_RQ()
            pdu.decode(raw)
            self.requestor.primitive = pdu.to_primitive()
        except Exception as error:
            raise ProtocolError(
                f"an association request nobody can read ({where(error)})"
            ) from None
        decision = self._owner.admit(self)
        if isinstance(decision, Rejection):
            self.acse.send_reject(*decision)
            return False
        self.device = decision
        proposed = self._request().presentation_context_definition_list
        self.acceptor.supported_contexts = contexts_for(proposed)
        self.acse.negotiate_association()
        return self.is_established

    def _request(self) -> A_ASSOCIATE:
        assert isinstance(self.requestor.primitive, A_ASSOCIATE)  # noqa: S101 - set before anybody asks
        return self.requestor.primitive

    def _serve(self) -> None:
        while self.is_established:
            if not self._wait():
                self._abort_quietly()
                return
            self._deadline = time.monotonic() + self._limits.pdu_seconds
            kind, length = _PDU.unpack(self._exact(6))
            if kind == _P_DATA and length <= _MOST_PDU:
                self._data(length)
            elif kind == _RELEASE_RQ:
                self._exact(length if length <= _MOST_CONTROL else 4)
                self._tell_released()
                self._send(_RELEASED)
                return
            elif kind == _ABORT:
                raise PeerGoneError("aborted by the device")
            else:
                raise ProtocolError("a PDU that does not belong here")

    def _wait(self) -> bool:
        """Until the next PDU begins; false when none will, because we stop or the device sleeps."""
        if self._incoming is not None or self._other_bytes or self._command:
            return True
        with self._mutex:
            if self._stopping.is_set():
                return False
            self._quiet = True
        ready = self._poll.poll(self._limits.idle_seconds * 1000)
        with self._mutex:
            self._quiet = False
            if self._stopping.is_set():
                return False
        if not ready:
            log.info("association %s was idle too long", self.id)
        return bool(ready)

    # --- messages (PS3.8 annex E) --------------------------------------------------------------

    def _data(self, left: int) -> None:
        """One P-DATA-TF PDU."""
        while left > 0:
            size, context, control = _PDV.unpack(self._exact(6))
            size -= 2
            left -= size + 6
            if size < 0 or left < 0:
                raise ProtocolError("a presentation data value longer than its PDU")
            if control & 1:
                self._command_fragment(context, size, last=bool(control & 2))
            elif self._incoming is not None:
                self._data_fragment(self._incoming, context, size, last=bool(control & 2))
            elif self._other_bytes:
                self._other_fragment(context, size, control)
            else:
                raise ProtocolError("a data set without a command")

    def _command_fragment(self, context: int, size: int, *, last: bool) -> None:
        if self._incoming is not None or self._other_bytes:
            raise ProtocolError("a command inside of a data set")
        if len(self._command) + size > _MOST_COMMAND:
            raise ProtocolError("a command without end")
        self._command += self._exact(size)
        if not last:
            return
        raw = bytes(self._command)
        self._command.clear()
        command = command_elements(raw)
        has_data = command.get(0x0800) != _NO_DATA_SET
        if command.get(0x0100) == _C_STORE_RQ:
            self._incoming = _Incoming(context, command)
            if not has_data:
                self._store(self._incoming)
            return
        self._other_bytes = 1 if has_data else 0
        self._hand_over(context, b"\x03" + raw)

    def _data_fragment(self, incoming: _Incoming, context: int, size: int, *, last: bool) -> None:
        if context != incoming.context:
            raise ProtocolError("a data set in another context than its command")
        needed = incoming.size + size
        if needed > self._limits.object_bytes:
            raise ProtocolError(f"an object larger than {self._limits.object_bytes} bytes")
        buffer = incoming.buffer
        if needed > len(buffer):
            buffer.extend(bytes(max(needed - len(buffer), min(len(buffer), _MOST_GROWTH))))
        with memoryview(buffer) as whole, whole[incoming.size : needed] as part:
            self._into(part)
        incoming.size = needed
        if last:
            self._store(incoming)

    def _store(self, incoming: _Incoming) -> None:
        self._incoming = None
        context = self._accepted_cx.get(incoming.context)
        if context is None or self.device is None:
            raise ProtocolError("a message in a context that was not accepted")
        command = incoming.command
        answer = self._owner.store(
            StoreRequest(
                device=self.device,
                called=self.called,
                association=self.id,
                abstract_syntax=str(context.abstract_syntax),
                transfer_syntax=str(context.transfer_syntax[0]),
                sop_class=_uid(command, 0x0002),
                sop_instance=_uid(command, 0x1000),
                data=memoryview(incoming.buffer)[: incoming.size],
            )
        )
        self._send(store_response(incoming.context, command, answer))

    def _other_fragment(self, context: int, size: int, control: int) -> None:
        self._other_bytes += size
        if self._other_bytes > _MOST_CONTROL:
            raise ProtocolError("a query larger than anybody asks")
        if control & 2:
            self._other_bytes = 0
        self._hand_over(context, bytes((control,)) + self._exact(size))

    def _hand_over(self, context: int, fragment: bytes) -> None:
        """Let pynetdicom decode and serve every message that is not a C-STORE."""
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context, fragment))
        self.dimse.receive_primitive(primitive)
        if "Evt19" in self.dul.event_queue.queue:
            raise ProtocolError("a message nobody can read")
        number, message = self.dimse.get_msg()
        if message is not None and number is not None:
            self._serve_request(message, number)
        if self.is_aborted:
            raise PeerGoneError("it asked for a service that is not offered")

    # --- the socket ----------------------------------------------------------------------------

    def _exact(self, size: int) -> bytes:
        buffer = bytearray(size)
        with memoryview(buffer) as view:
            self._into(view)
        return bytes(buffer)

    def _into(self, view: memoryview) -> None:
        """Fill the view before the deadline of the current PDU."""
        got = 0
        try:
            while got < len(view):
                count = self._client.recv_into(view[got:], 0, socket.MSG_WAITALL)
                if not count:
                    raise PeerGoneError("closed by the device without release")
                got += count
                if got < len(view) and time.monotonic() > self._deadline:
                    raise PeerGoneError("the device is too slow")
        except TimeoutError:
            raise PeerGoneError("the device has fallen silent inside of a message") from None
        except OSError as error:
            raise PeerGoneError(f"the connection broke ({error.errno})") from None

    def _send(self, raw: bytes) -> None:
        try:
            self._client.sendall(raw)
        except OSError as error:
            raise PeerGoneError(f"the device takes no answer ({error.errno})") from None

    def _abort_quietly(self) -> None:
        try:
            self._send(_ABORTED)
        except PeerGoneError:
            return

    def _tell_released(self) -> None:
        if self.device is not None and not self._told:
            self._told = True
            self._owner.released(self)

    def _close(self, said_last: bool) -> None:
        """Close; after a last word of ours the peer should do so first (PS3.8 section 9.2, Sta13).

        A close with unread bytes, or one that overtakes the last PDU, would destroy that PDU.
        """
        end = time.monotonic() + _FAREWELL
        try:
            while said_last and (left := end - time.monotonic()) > 0:
                self._client.settimeout(left)
                said_last = bool(self._client.recv(65536))
        except OSError:
            pass
        finally:
            self._client.close()
            self._owner.gone(self)


def _shut(client: socket.socket, how: int) -> None:
    try:
        client.shutdown(how)
    except OSError:
        return


# --- command sets (PS3.7 section 6.3, always implicit little endian) ---------------------------


def command_elements(raw: bytes) -> dict[int, bytes]:
    """The values of a command set by element number; all are of group 0000."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(raw):
        if at + 8 > len(raw):
            raise ProtocolError("a command that was cut")
        group, number, length = _ELEMENT.unpack_from(raw, at)
        if group or at + 8 + length > len(raw):
            raise ProtocolError("a command nobody can read")
        found[number] = raw[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def store_response(context: int, command: dict[int, bytes], answer: Answer) -> bytes:
    """A C-STORE-RSP (PS3.7 table 9.3-2) as one P-DATA-TF PDU."""
    values = [
        (0x0002, command.get(0x0002, b"")[:64]),
        (0x0100, b"\x01\x80"),
        (0x0120, command.get(0x0110, b"\x00\x00")[:2]),
        (0x0800, _NO_DATA_SET),
        (0x0900, struct.pack("<H", answer.status)),
        (0x0902, answer.comment[:64].encode("ascii", "replace")),
        (0x1000, command.get(0x1000, b"")[:64]),
    ]
    body = b"".join(_command_element(number, value) for number, value in values if value)
    body = _command_element(0x0000, struct.pack("<I", len(body))) + body
    return _PDU.pack(_P_DATA, len(body) + 6) + _PDV.pack(len(body) + 2, context, 3) + body


def _command_element(number: int, value: bytes) -> bytes:
    if len(value) % 2:
        value += b" " if number == 0x0902 else b"\x00"
    return _ELEMENT.pack(0, number, len(value)) + value


def _uid(command: dict[int, bytes], number: int) -> str:
    return command.get(number, b"").strip(b"\0 ").decode("ascii", "replace")
