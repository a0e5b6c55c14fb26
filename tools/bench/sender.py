"""How does a device send so fast that only the receiver is measured?

A Storage SCU of PS3.8 over a plain socket. It replays one data set with new UIDs, made ready before
the clock runs. As a process of its own (`python -m tools.bench.sender`) it reads a job (JSON, one
line), says "ready", waits for a line, sends, and prints what it saw. Standard library only.
"""

import json
import os
import random
import socket
import ssl
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PATIENCE = 60.0
EXPLICIT, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
# what stands in a template where each instance has its own; all values keep their length
STUDY, SERIES, INSTANCE = (f"2.25.1{number:038d}" for number in (1, 2, 3))
PATIENT = "P0000000000X"

_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
_IMPLEMENTATION = b"2.25.299792458"
_CONTEXT = 1
_RELEASE_RQ = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"
_ASSOCIATE_AC, _P_DATA, _RELEASE_RP = 2, 4, 6
_OWN_MOST = 1 << 18
_UNLIMITED = 1 << 18
_MOST_PIECES = 512  # that the kernel takes in one call
_FIXED_PART = 68  # of an association request or answer, PS3.8 tables 9-11 and 9-17


class NotStored(Exception):
    """The receiver did not do what a receiver does; the message says what it did."""


@dataclass(frozen=True)
class Instance:
    """One instance: bytes of its data set, as (changed head, shared rest)."""

    head: bytes
    rest: memoryview
    uid: str
    study: str
    patient: str

    @property
    def size(self) -> int:
        """Bytes of the data set."""
        return len(self.head) + len(self.rest)


class Template:
    """A data set in Explicit VR Little Endian that holds the placeholders of this file."""

    def __init__(self, raw: bytes, sop_class: str) -> None:
        marks = (STUDY, SERIES, INSTANCE, PATIENT)
        cut = max(raw.rfind(mark.encode()) + len(mark) for mark in marks)
        self.sop_class = sop_class
        self._head, self._rest = raw[:cut], memoryview(raw)[cut:]

    def study(self, chance: random.Random, count: int) -> list[Instance]:
        """So many instances of one new series of one new study of one new patient."""
        study, series = _new_uid(chance), _new_uid(chance)
        patient = f"P{chance.randrange(10**10):010d}X"
        return [self._instance(study, series, _new_uid(chance), patient) for _ in range(count)]

    def _instance(self, study: str, series: str, uid: str, patient: str) -> Instance:
        head = self._head
        values = {STUDY: study, SERIES: series, INSTANCE: uid, PATIENT: patient}
        for mark, value in values.items():
            head = head.replace(mark.encode(), value.encode())
        return Instance(head, self._rest, uid, study, patient)


class Association:
    """One association with a receiver on this machine, for one SOP Class in one syntax."""

    def __init__(
        self,
        port: int,
        calling: str,
        called: str,
        sop_class: str,
        syntax: str = EXPLICIT,
        *,
        tls: bool = False,
    ) -> None:
        self._sop_class = sop_class
        self._messages = 0
        self._cut: tuple[int, memoryview, list[bytes | memoryview]] | None = None
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self._socket = _unverified().wrap_socket(self._socket)
        self._socket.sendall(_request(calling, called, sop_class, syntax))
        kind, body = self._pdu()
        if kind != _ASSOCIATE_AC:
            self._socket.close()
            raise NotStored("the association was rejected")
        self._most = _accepted(body)

    def store(self, one: Instance) -> None:
        """Send one and wait for its success."""
        self._messages += 1
        command = _command(self._sop_class, one.uid, self._messages)
        self._send([pdv(command, 3), *self._fragments(one)])
        self._expect_success()

    def store_piecewise(self, uid: str, pieces: Iterator[bytes]) -> None:
        """Send one whose data set is made on the way, and wait for its success."""
        self._messages += 1
        self._socket.sendall(pdv(_command(self._sop_class, uid, self._messages), 3))
        most = self._most - 6
        for piece in pieces:
            whole = memoryview(piece)
            chunks = [whole[at : at + most] for at in range(0, len(whole), most)]
            self._send([part for chunk in chunks for part in (_head(len(chunk), 0), chunk)])
        self._socket.sendall(_head(0, 2))
        self._expect_success()

    def _fragments(self, one: Instance) -> list[bytes | memoryview]:
        """The data set in PDUs; the first holds the head and what fits behind it. What instances
        of one template share is cut once."""
        most = self._most - 6
        fits = most - len(one.head)
        if fits <= 0:
            return _cut(memoryview(one.head + one.rest), most)
        if self._cut is None or self._cut[0] != fits or self._cut[1] is not one.rest:
            self._cut = (fits, one.rest, _cut(one.rest[fits:], most))
        first = one.rest[:fits]
        is_all = len(one.rest) <= fits
        head = _head(len(one.head) + len(first), 2 if is_all else 0)
        return [head, one.head, first, *([] if is_all else self._cut[2])]

    def _send(self, pieces: list[bytes | memoryview]) -> None:
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.sendall(b"".join(pieces))
            return
        for at in range(0, len(pieces), _MOST_PIECES):
            left = [memoryview(one) for one in pieces[at : at + _MOST_PIECES]]
            while left:
                sent = self._socket.sendmsg(left)
                while left and sent >= len(left[0]):
                    sent -= len(left.pop(0))
                if left:
                    left[0] = left[0][sent:]

    def _expect_success(self) -> None:
        kind, body = self._pdu()
        status = _status(body[6:]) if kind == _P_DATA else None
        if status != 0:
            said = f"PDU {kind}" if status is None else f"status {status:04X}"
            raise NotStored(f"{said} in answer to a C-STORE")

    def release(self) -> None:
        """Say that all has been sent, and wait for the answer."""
        self._socket.sendall(_RELEASE_RQ)
        kind, _ = self._pdu()
        self._socket.close()
        if kind != _RELEASE_RP:
            raise NotStored(f"PDU {kind} in answer to a release")

    def _pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._exactly(6))
        return kind, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        buffer = bytearray()
        while len(buffer) < size:
            part = self._socket.recv(size - len(buffer))
            if not part:
                raise NotStored("the connection was closed")
            buffer += part
        return bytes(buffer)


@dataclass(frozen=True)
class Job:
    """What one sending process does: `studies` associations with one study of `count` instances
    each."""

    template: str
    sop_class: str
    port: int
    calling: str
    called: str
    studies: int
    count: int
    tls: bool = False


@dataclass(frozen=True)
class Sent:
    """What one sending process saw. Instants are those of the machine's monotonic clock."""

    began: float
    ended: float
    instances: int
    size: int
    cpu_seconds: float
    wrong: str = ""


def main() -> int:
    """Do the job that stands on standard input."""
    job = Job(**json.loads(sys.stdin.readline()))
    template = Template(Path(job.template).read_bytes(), job.sop_class)
    chance = random.SystemRandom()
    studies = [template.study(chance, job.count) for _ in range(job.studies)]
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asdict(_sent(job, studies))), flush=True)
    return 0


def _sent(job: Job, studies: Sequence[Sequence[Instance]]) -> Sent:
    wrong, done, size = "", 0, 0
    before, began = os.times(), time.monotonic()
    try:
        for study in studies:
            association = Association(job.port, job.calling, job.called, job.sop_class, tls=job.tls)
            for one in study:
                association.store(one)
                done, size = done + 1, size + one.size
            association.release()
    except (OSError, NotStored) as error:
        wrong = str(error) or type(error).__name__
    ended, after = time.monotonic(), os.times()
    cpu = after.user + after.system - before.user - before.system
    return Sent(began, ended, done, size, cpu, wrong)


def _new_uid(chance: random.Random) -> str:
    """A UID below 2.25 (PS3.5 B.2), always as long as the placeholders."""
    return f"2.25.{chance.randrange(10**38, 2**127)}"


# --- bytes of PS3.8 section 9.3 and PS3.7 section 6.3 ------------------------------------------


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _unverified() -> ssl.SSLContext:
    """Encrypted, to whomever: the receiver is one of this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _request(calling: str, called: str, sop_class: str, syntax: str) -> bytes:
    syntaxes = _item(0x30, sop_class.encode()) + _item(0x40, syntax.encode())
    user = _item(0x51, struct.pack(">I", _OWN_MOST)) + _item(0x52, _IMPLEMENTATION)
    body = b"".join(
        (
            b"\x00\x01\x00\x00",
            called.encode().ljust(16),
            calling.encode().ljust(16),
            bytes(32),
            _item(0x10, _APPLICATION_CONTEXT),
            _item(0x20, bytes((_CONTEXT, 0, 0, 0)) + syntaxes),
            _item(0x50, user),
        )
    )
    return struct.pack(">BxI", 1, len(body)) + body


def _accepted(body: bytes) -> int:
    """The longest PDU the receiver takes; NotStored when it took no context."""
    most, taken = _UNLIMITED, False
    for kind, value in _items(body, _FIXED_PART):
        if kind == 0x21:
            taken = value[2] == 0
        elif kind == 0x50:
            lengths = [inner for sub, inner in _items(value, 0) if sub == 0x51]
            most = struct.unpack(">I", lengths[0])[0] if lengths else most
    if not taken:
        raise NotStored("the presentation context was not accepted")
    return min(most or _UNLIMITED, _UNLIMITED)


def _items(body: bytes, at: int) -> list[tuple[int, bytes]]:
    found = []
    while at + 4 <= len(body):
        kind, length = struct.unpack_from(">BxH", body, at)
        found.append((kind, body[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


def _head(size: int, control: int) -> bytes:
    return struct.pack(">BxIIBB", _P_DATA, size + 6, size + 2, _CONTEXT, control)


def pdv(fragment: bytes, control: int) -> bytes:
    """A P-DATA-TF that carries this whole command (control 3) or data set (2)."""
    return _head(len(fragment), control) + fragment


def _cut(data: memoryview, most: int) -> list[bytes | memoryview]:
    """Heads and bytes of the PDUs that carry these and then nothing more."""
    chunks = [data[at : at + most] for at in range(0, len(data), most)]
    last = len(chunks) - 1
    heads = (_head(len(chunk), 2 if at == last else 0) for at, chunk in enumerate(chunks))
    return [part for pair in zip(heads, chunks, strict=True) for part in pair]


def _command(sop_class: str, uid: str, message: int) -> bytes:
    return command_of(
        (
            (0x0002, sop_class.encode()),
            (0x0100, struct.pack("<H", 1)),
            (0x0110, struct.pack("<H", message % 65535 + 1)),
            (0x0700, struct.pack("<H", 0)),
            (0x0800, struct.pack("<H", 1)),
            (0x1000, uid.encode()),
        )
    )


def command_of(elements: Sequence[tuple[int, bytes]]) -> bytes:
    """A command set (PS3.7 section 6.3)."""
    body = b"".join(_element(number, value) for number, value in elements)
    return _element(0x0000, struct.pack("<I", len(body))) + body


def _element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, number, len(value)) + value


def _status(command: bytes) -> int | None:
    at = 0
    while at + 8 <= len(command):
        _, number, length = struct.unpack_from("<HHI", command, at)
        if number == 0x0900:
            return int(struct.unpack_from("<H", command, at + 8)[0])
        at += 8 + length
    return None


def read_sent(text: str) -> Sent:
    """What a sending process printed."""
    given: dict[str, Any] = json.loads(text)
    return Sent(**given)


if __name__ == "__main__":
    sys.exit(main())
