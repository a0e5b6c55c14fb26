"""How do bytes of instances go out on an association, and how is the answer read?

Whichever association it is: the caller's own (C-GET), or one that was opened for it (C-MOVE). Of
the latter pynetdicom's two threads, which poll, are ended once it stands; from then on the socket
is written and read in the caller's thread.
"""

import socket
import ssl
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from gateway.dicom.messages import (
    ANSWERED_ID,
    COMMAND_FIELD,
    P_DATA_TF,
    PDU,
    PDV,
    RESPONSE,
    STATUS,
    ProtocolError,
    command_elements,
    number,
)
from gateway.dicom.scu import ACSE_WITHIN, hang_up

_C_STORE_RSP: Final = 0x0001 | RESPONSE
_RELEASE_RQ, _RELEASE_RP = 5, 6
_RELEASE: Final = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"
_RELEASED: Final = b"\x06\x00\x00\x00\x00\x04\x00\x00\x00\x00"
_ABORT: Final = b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"
_MOST_PDU: Final = 1 << 18  # what we send at once, whatever a peer takes
_LEAST_PDU: Final = 128
_MOST_PIECES: Final = 512  # that the kernel takes in one call
_MOST_ANSWER: Final = 1 << 16
_STUCK: Final = 60.0  # seconds in which not one byte goes out, or no answer comes
_ESTABLISHED: Final = "Sta6"

Piece = bytes | memoryview


class LostError(Exception):
    """The association is of no use any more."""


class Line(Protocol):
    """An association that takes instances."""

    contexts: list[PresentationContext]
    most: int

    def send(self, pieces: Sequence[Piece]) -> None:
        """Send PDUs, whole or in pieces."""

    def answer(self, message_id: int) -> int:
        """The status that answers a C-STORE. Raises `LostError` when none comes."""

    def abort(self) -> None:
        """End it at once."""


def fragments(context: int, part: Piece, most: int, *, last: bool) -> list[Piece]:
    """Bytes of a data set as P-DATA-TF PDUs of at most `most` bytes: heads, and views between them.
    `last`: nothing of the data set follows (PS3.8 annex E.2)."""
    size, view = most - 6, memoryview(part)
    pieces: list[Piece] = []
    for at in range(0, max(len(view), 1), size):
        chunk = view[at : at + size]
        control = 2 if last and at + size >= len(view) else 0
        length = len(chunk)
        head = PDU.pack(P_DATA_TF, length + 6) + PDV.pack(length + 2, context, control)
        pieces += (head, chunk)
    return pieces


class Caller:
    """The association of the device that asks."""

    def __init__(self, association: Any) -> None:
        self.contexts = association.accepted_contexts
        self.most = int(association.dimse.maximum_pdu_size)
        self._association = association

    def send(self, pieces: Sequence[Piece]) -> None:
        """`PeerGoneError` of the connection where it breaks."""
        if not self._association.is_established:
            raise LostError
        self._association.dul.send_encoded(b"".join(pieces))

    def answer(self, message_id: int) -> int:
        """The status. A peer that does not answer, or not to this, has lost count: what it said
        next would be taken for the answer to something else."""
        _, found = self._association.dimse.get_msg(block=True)
        status = getattr(found, "Status", None)
        if status is None or found.MessageIDBeingRespondedTo != message_id:
            self.abort()
            raise LostError
        return int(status)

    def abort(self) -> None:
        """End the caller's association."""
        self._association.abort()


class Called:
    """An association that `gateway.dicom.scu` has opened; it is taken over."""

    def __init__(self, association: Association) -> None:
        self.contexts = association.accepted_contexts
        asked = int(association.dimse.maximum_pdu_size or _MOST_PDU)
        self.most = max(min(asked, _MOST_PDU), _LEAST_PDU)
        self._association = association
        self._stands = _still(association)
        wire: Any = association.dul.socket
        self._socket: socket.socket = wire.socket
        if not self._stands:
            raise LostError

    def send(self, pieces: Sequence[Piece]) -> None:
        """`LostError` where it breaks, or nothing moves."""
        try:
            self._socket.settimeout(_STUCK)
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.sendall(b"".join(pieces))
                return
            for at in range(0, len(pieces), _MOST_PIECES):
                _send_all(self._socket, pieces[at : at + _MOST_PIECES])
        except (OSError, ValueError) as error:
            self._stands = False
            raise LostError from error

    def answer(self, message_id: int) -> int:
        """The status."""
        try:
            return self._status(message_id, time.monotonic() + _STUCK)
        except (OSError, ValueError, struct.error, ProtocolError, LostError) as error:
            self._stands = False
            raise LostError from error

    def abort(self) -> None:
        """End it; what was sent of an instance must not be kept."""
        with suppress(OSError, ValueError):
            self._socket.sendall(_ABORT)
        self._stands = False
        self.close()

    def close(self) -> None:
        """Release it where it still stands, and close the connection."""
        try:
            if self._stands:
                self._release()
        finally:
            self._stands = False
            hang_up(self._association)

    def _release(self) -> None:
        end = time.monotonic() + ACSE_WITHIN
        with suppress(OSError, ValueError, LostError):
            self._socket.sendall(_RELEASE)
            while (kind := self._pdu(end)[0]) != _RELEASE_RP:
                if kind == _RELEASE_RQ:  # both at once: PS3.8 section 7.2.2.7
                    self._socket.sendall(_RELEASED)

    def _status(self, message_id: int, end: float) -> int:
        command = bytearray()
        while True:
            kind, body = self._pdu(end)
            if kind == _RELEASE_RQ:
                self._socket.sendall(_RELEASED)
            if kind != P_DATA_TF:
                raise LostError
            at = 0
            while at < len(body):
                length, _, control = PDV.unpack_from(body, at)
                if length < PDV.size - 4 or not control & 1:
                    raise LostError
                command += body[at + PDV.size : at + 4 + length]
                at += 4 + length
                if control & 2:
                    return _status_of(bytes(command), message_id)
            if len(command) > _MOST_ANSWER:
                raise LostError

    def _pdu(self, end: float) -> tuple[int, bytes]:
        kind, length = PDU.unpack(self._exact(PDU.size, end))
        if length > _MOST_ANSWER:
            raise LostError
        return kind, self._exact(length, end)

    def _exact(self, size: int, end: float) -> bytes:
        found = bytearray()
        while len(found) < size:
            left = end - time.monotonic()
            if left <= 0:
                raise LostError
            self._socket.settimeout(left)
            part = self._socket.recv(size - len(found))
            if not part:
                raise LostError
            found += part
        return bytes(found)


def _still(association: Association) -> bool:
    """End pynetdicom's threads; whether the association stands and the connection is ours."""
    association._reactor_checkpoint.clear()
    association.dul._kill_thread = True
    association.dul.join(ACSE_WITHIN)
    stands = association.dul.state_machine.current_state == _ESTABLISHED
    if association.dul.is_alive():  # it holds the connection
        return False
    association.kill()
    association.join(ACSE_WITHIN)
    return stands


def _send_all(to: socket.socket, pieces: Sequence[Piece]) -> None:
    left = [memoryview(one) for one in pieces]
    while left:
        sent = to.sendmsg(left)
        done = 0
        while done < len(left) and sent >= len(left[done]):
            sent -= len(left[done])
            done += 1
        del left[:done]
        if left:
            left[0] = left[0][sent:]


def _status_of(raw: bytes, message_id: int) -> int:
    """The status of the response to this message; anything else does not belong here."""
    command = command_elements(raw)
    if number(command, COMMAND_FIELD) != _C_STORE_RSP or STATUS not in command:
        raise LostError
    if number(command, ANSWERED_ID) != message_id:
        raise LostError
    return number(command, STATUS)
