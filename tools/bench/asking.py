"""How does a workstation ask so fast that only the one who answers is measured?

A Query/Retrieve SCU of PS3.4 annex C over the plain socket of `tools.bench.sender`; answers are
counted, not decoded.
"""

import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tools.bench.sender import Association, NotStored, command_of, pdv

STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
_C_FIND_RQ, _C_MOVE_RQ = 0x0020, 0x0021
_P_DATA = 4
_PENDING = (0xFF00, 0xFF01)
_LEVEL, _UID = "00080052", "0020000D"
_VRS = {
    "00080020": b"DA",
    "00080050": b"SH",
    _LEVEL: b"CS",
    "00080061": b"CS",
    "00081030": b"LO",
    "00100010": b"PN",
    "00100020": b"LO",
    _UID: b"UI",
    "00201206": b"IS",
    "00201208": b"IS",
}


@dataclass(frozen=True)
class Answered:
    """What came of a request: the answers before the last one, and how long it all took."""

    answers: int
    seconds: float


class Workstation(Association):
    """One association that asks for studies."""

    def find(self, keys: Mapping[str, str]) -> Answered:
        """C-FIND studies: eight hex digits of a tag, and the value, for each key."""
        return self._asked(_C_FIND_RQ, STUDY_FIND, keys, b"")

    def move(self, study: str, destination: str) -> Answered:
        """C-MOVE one study."""
        return self._asked(_C_MOVE_RQ, STUDY_MOVE, {_UID: study}, destination.encode())

    def ask(self, keys: Mapping[str, str]) -> None:
        """C-FIND studies, and wait for nothing."""
        self._say(_C_FIND_RQ, STUDY_FIND, keys, b"")

    def _asked(
        self, kind: int, sop_class: str, keys: Mapping[str, str], destination: bytes
    ) -> Answered:
        began = time.monotonic()
        self._say(kind, sop_class, keys, destination)
        count = self._pending()
        return Answered(count, time.monotonic() - began)

    def _say(self, kind: int, sop_class: str, keys: Mapping[str, str], destination: bytes) -> None:
        self._messages += 1
        command = command_of(
            (
                (0x0002, sop_class.encode()),
                (0x0100, struct.pack("<H", kind)),
                (0x0110, struct.pack("<H", self._messages)),
                *([(0x0600, destination)] if destination else []),
                (0x0700, struct.pack("<H", 0)),
                (0x0800, struct.pack("<H", 1)),
            )
        )
        self._socket.sendall(pdv(command, 3) + pdv(_identifier(keys), 2))

    def _pending(self) -> int:
        """Read until the last answer; how many came before."""
        known: dict[bytes, int] = {}
        count, left = 0, b""
        while True:
            part = self._socket.recv(1 << 18)
            if not part:
                raise NotStored("the connection was closed")
            left += part
            at = 0
            while len(left) - at >= 6:
                kind, length = struct.unpack_from(">BxI", left, at)
                if len(left) - at - 6 < length:
                    break
                if kind != _P_DATA:
                    raise NotStored(f"PDU {kind} in answer to a request")
                for command in _commands(left[at + 6 : at + 6 + length]):
                    status = known.get(command)
                    if status is None:
                        status = known[command] = _status(command)
                    if status == 0:
                        return count
                    if status not in _PENDING:
                        raise NotStored(f"status {status:04X} in answer to a request")
                    count += 1
                at += 6 + length
            left = left[at:]


def _commands(body: bytes) -> list[bytes]:
    """The command fragments of a P-DATA-TF; none is cut, so small are they."""
    found, at = [], 0
    while at < len(body):
        length, control = struct.unpack_from(">IxB", body, at)
        if control & 1:
            found.append(body[at + 6 : at + 4 + length])
        at += 4 + length
    return found


def _status(command: bytes) -> int:
    at = 0
    while at + 8 <= len(command):
        _, number, length = struct.unpack_from("<HHI", command, at)
        if number == 0x0900:
            return int(struct.unpack_from("<H", command, at + 8)[0])
        at += 8 + length
    raise NotStored("an answer without a status")


def _identifier(keys: Mapping[str, str]) -> bytes:
    """In Explicit VR Little Endian; values are ASCII."""
    written = []
    for tag, text in sorted({_LEVEL: "STUDY", **keys}.items()):
        vr = _VRS[tag]
        value = text.encode() + (b"\0" if vr == b"UI" else b" ") * (len(text) % 2)
        number = int(tag, 16)
        head = struct.pack("<HH2sH", number >> 16, number & 0xFFFF, vr, len(value))
        written.append(head + value)
    return b"".join(written)
