"""How does a test say to a gateway what no honest device says, and see that nothing broke?"""

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from gateway.dicom.ae import DicomEdge
from gateway.dicom.limits import Limits
from tests.unit.web_house import Browser, House

CT = "1.2.840.10008.5.1.4.1.1.2"
ECG = "1.2.840.10008.5.1.4.1.1.9.1.1"
EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG, RLE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5"
VERIFICATION = "1.2.840.10008.1.1"
FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
WORKLIST, MPPS = "1.2.840.10008.5.1.4.31", "1.2.840.10008.3.1.2.3.3"
COMMITMENT, COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
CONTEXT_NAME = b"1.2.840.10008.3.1.1.1"
CALLER, HONEST = "CART", "HONEST"
C_STORE, C_FIND, C_MOVE, C_GET, C_ECHO = 0x0001, 0x0020, 0x0021, 0x0010, 0x0030
N_SET, N_ACTION, N_CREATE = 0x0120, 0x0130, 0x0140

# --- PDUs (PS3.8 section 9.3) --------------------------------------------------------------------


def item(kind: int, value: bytes, length: int | None = None) -> bytes:
    """A variable item; `length` may lie."""
    return struct.pack(">BxH", kind, len(value) if length is None else length) + value


def presentation(number: int, abstract: str | None, syntaxes: tuple[str, ...]) -> bytes:
    """A presentation context; without abstract syntax when None."""
    inside = b"" if abstract is None else item(0x30, abstract.encode())
    inside += b"".join(item(0x40, one.encode()) for one in syntaxes)
    return item(0x20, struct.pack(">B3x", number) + inside)


def user_information(*more: bytes, most: int = 16384) -> bytes:
    """Maximum length, implementation class, and what else there is."""
    return item(0x50, item(0x51, struct.pack(">I", most)) + item(0x52, b"1.2.3") + b"".join(more))


def associate_rq(
    *items: bytes,
    calling: bytes = CALLER.encode(),
    called: bytes = b"TELEREAD",
    version: int = 1,
    name: bytes = CONTEXT_NAME,
    length: int | None = None,
) -> bytes:
    """An A-ASSOCIATE-RQ; `length` may lie."""
    head = struct.pack(">H2x", version) + called.ljust(16)[:16] + calling.ljust(16)[:16]
    body = head + bytes(32) + item(0x10, name) + b"".join(items)
    return struct.pack(">BxI", 1, len(body) if length is None else length) + body


def proposing(
    *contexts: tuple[str, str], calling: bytes = CALLER.encode(), most: int = 16384
) -> bytes:
    """The request for these (abstract, transfer syntax), as contexts 1, 3, 5 …"""
    proposed = [
        presentation(2 * at + 1, abstract, (syntax,))
        for at, (abstract, syntax) in enumerate(contexts)
    ]
    return associate_rq(*proposed, user_information(most=most), calling=calling)


def pdv(context: int, control: int, data: bytes, length: int | None = None) -> bytes:
    """A presentation data value; `length` may lie."""
    size = len(data) + 2 if length is None else length
    return struct.pack(">IBB", size, context, control) + data


def pdu(*values: bytes, kind: int = 4, length: int | None = None) -> bytes:
    """A PDU; `length` may lie."""
    body = b"".join(values)
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


ABORTED, RELEASED = b"\x07\0\0\0\0\x04\0\0\x02\0", b"\x06\0\0\0\0\x04\0\0\0\0"
RELEASE, ABORT = pdu(bytes(4), kind=5), pdu(bytes(4), kind=7)

# --- messages (PS3.7 section 9) ------------------------------------------------------------------


def element(number: int, value: bytes) -> bytes:
    """An element of a command set, made even."""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, number, len(value)) + value


def title(number: int, value: bytes) -> bytes:
    """An AE element of a command set."""
    return element(number, even(value))


def short(number: int, value: int) -> bytes:
    """A US element."""
    return element(number, struct.pack("<H", value))


def command(
    kind: int, sop_class: str, *more: bytes, data: bool = True, message: int = 7, at: int = 0x0002
) -> bytes:
    """A command set; its SOP Class stands at 0002 (Affected) or 0003 (Requested)."""
    body = element(at, sop_class.encode()) + short(0x0100, kind) + short(0x0110, message)
    if kind < 0x0100:
        body += short(0x0700, 0)
    body += short(0x0800, 0 if data else 0x0101) + b"".join(more)
    return element(0, struct.pack("<I", len(body))) + body


def store_rq(sop_class: str, sop_uid: str) -> bytes:
    """A C-STORE-RQ."""
    return command(C_STORE, sop_class, element(0x1000, sop_uid.encode()))


def message(context: int, said: bytes, data: bytes | None = None) -> bytes:
    """A whole message, its data set in pieces of 16 KB."""
    whole = pdu(pdv(context, 3, said))
    if data is None:
        return whole
    pieces = [data[at : at + 16000] for at in range(0, len(data), 16000)] or [b""]
    return whole + b"".join(
        pdu(pdv(context, 2 * (at == len(pieces) - 1), piece)) for at, piece in enumerate(pieces)
    )


# --- data sets -----------------------------------------------------------------------------------

_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"})


def el(tag: int, vr: bytes, value: bytes, length: int | None = None, order: str = "<") -> bytes:
    """An explicit element, its value as it is; `length` may lie."""
    size = len(value) if length is None else length
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in _LONG:
        return head + struct.pack(f"{order}2xI", size) + value
    return head + struct.pack(f"{order}H", size & 0xFFFF) + value


def im(tag: int, value: bytes, length: int | None = None) -> bytes:
    """An implicit element."""
    size = len(value) if length is None else length
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, size) + value


def even(value: bytes, pad: bytes = b" ") -> bytes:
    return value + pad * (len(value) % 2)


@dataclass(frozen=True)
class Named:
    """The identifiers of one instance."""

    sop: str = field(default_factory=lambda: str(generate_uid()))
    series: str = field(default_factory=lambda: str(generate_uid()))
    study: str = field(default_factory=lambda: str(generate_uid()))
    sop_class: str = CT

    def elements(self, **changes: bytes | None) -> dict[int, bytes]:
        """Elements of a small image by tag, explicit little endian; hex tags change them."""
        found = {
            0x00080005: el(0x00080005, b"CS", b"ISO_IR 192"),
            0x00080016: el(0x00080016, b"UI", even(self.sop_class.encode(), b"\0")),
            0x00080018: el(0x00080018, b"UI", even(self.sop.encode(), b"\0")),
            0x00080020: el(0x00080020, b"DA", b"20261122"),
            0x00080060: el(0x00080060, b"CS", b"CT"),
            0x00100010: el(0x00100010, b"PN", b"Ruan^Meilin "),
            0x00100020: el(0x00100020, b"LO", b"PID-7731"),
            0x0020000D: el(0x0020000D, b"UI", even(self.study.encode(), b"\0")),
            0x0020000E: el(0x0020000E, b"UI", even(self.series.encode(), b"\0")),
            0x00280002: el(0x00280002, b"US", b"\x01\0"),
            0x00280004: el(0x00280004, b"CS", b"MONOCHROME2 "),
            0x00280010: el(0x00280010, b"US", b"\x08\0"),
            0x00280011: el(0x00280011, b"US", b"\x08\0"),
            0x00280100: el(0x00280100, b"US", b"\x10\0"),
            0x00280101: el(0x00280101, b"US", b"\x10\0"),
            0x00280102: el(0x00280102, b"US", b"\x0f\0"),
            0x00280103: el(0x00280103, b"US", b"\0\0"),
            0x7FE00010: el(0x7FE00010, b"OW", bytes(range(128))),
        }
        for name, value in changes.items():
            tag = int(name.removeprefix("x"), 16)
            found.pop(tag, None)
            if value is not None:
                found[tag] = value
        return found

    def encoded(self, **changes: bytes | None) -> bytes:
        """The data set; a change is the whole element's bytes, or None to leave it out."""
        return b"".join(value for _, value in sorted(self.elements(**changes).items()))


# --- one peer ------------------------------------------------------------------------------------


class Closed(Exception):
    """The gateway has closed the connection, or aborted."""


class Peer:
    """A socket, and what is said and heard on it."""

    def __init__(self, port: int, seconds: float = 30) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def exactly(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            try:
                part = self.socket.recv(size - len(found))
            except ConnectionError as error:
                raise Closed from error
            if not part:
                raise Closed
            found += part
        return bytes(found)

    def hear(self) -> tuple[int, bytes]:
        """The next PDU."""
        kind, length = struct.unpack(">BxI", self.exactly(6))
        body = self.exactly(length)
        if kind == 7:
            raise Closed
        return kind, body

    def command(self) -> dict[int, bytes]:
        """The next command set; data sets that come before are passed over."""
        raw = bytearray()
        while True:
            _, body = self.hear()
            at = 0
            while at < len(body):
                size, _, control = struct.unpack_from(">IBB", body, at)
                if control & 1:
                    raw += body[at + 6 : at + 4 + size]
                at += 4 + size
                if control == 3:
                    return elements_of(bytes(raw))

    def status(self) -> int:
        """The status of the next response. What the gateway reports meanwhile of commitments asked
        for before is no response."""
        while 0x0900 not in (command := self.command()):
            pass
        return int.from_bytes(command[0x0900], "little")

    def statuses(self) -> list[int]:
        """The statuses of the responses up to the last."""
        found = [self.status()]
        while found[-1] in (0xFF00, 0xFF01):
            found.append(self.status())
        return found

    def rest(self) -> bytes:
        """What comes until it is closed; TimeoutError when it is not."""
        found = bytearray()
        with suppress(ConnectionError):
            while part := self.socket.recv(65536):
                found += part
        return bytes(found)

    def closed(self) -> bool:
        """Wait for the end, an abort or a release's answer; whether it came."""
        found = b""
        try:
            while not found.endswith((ABORTED, RELEASED)) and (part := self.socket.recv(65536)):
                found = found[-10:] + part
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True


def elements_of(raw: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(raw):
        _, number, length = struct.unpack_from("<HHI", raw, at)
        found[number] = raw[at + 8 : at + 8 + length]
        at += 8 + length
    return found


@contextmanager
def associated(
    port: int, *contexts: tuple[str, str], calling: str = CALLER, most: int = 16384
) -> Iterator[Peer]:
    """An association with these contexts (1, 3, 5 …)."""
    with Peer(port) as peer:
        peer.say(proposing(*contexts, calling=calling.encode(), most=most))
        kind, _ = peer.hear()
        assert kind == 2, "not accepted"
        yield peer


def store(port: int, raw: bytes, syntax: str, sop_class: str, sop_uid: str) -> int:
    """One instance, sent as it is; the status."""
    with associated(port, (sop_class, syntax)) as peer:
        peer.say(message(1, store_rq(sop_class, sop_uid), raw))
        status = peer.status()
        peer.say(RELEASE)
        assert peer.hear()[0] == 6
        return status


# --- the gateway ---------------------------------------------------------------------------------


class Place(House):
    """A gateway with both edges in this process, and people who look at what was stored."""

    def __init__(self, folder: Path, limits: Limits | None = None, **settings: object) -> None:
        super().__init__(folder, **settings)
        self.folder = folder
        with self.parts.new_unit() as unit:
            for title, modality in ((CALLER, "ECG"), (HONEST, None)):
                unit.people.add_device(
                    site="c1",
                    ae_title=title,
                    called=None,
                    host=None,
                    port=None,
                    modality=modality,
                    one_per_image=False,
                )
        self.dicom = DicomEdge(self.parts, limits)
        self.dicom.start()
        self.port = self.dicom.port
        self.reader: Browser = self.browser("chen")
        self.doctor: Browser = self.browser("su")
        self.coordinator: Browser = self.browser("gao")

    def has_nobody(self) -> bool:
        return self.dicom.associations == 0 and self.dicom.waiting == 0

    def settled(self) -> None:
        """Wait until every connection is gone."""
        until(self.has_nobody)

    def greets(self) -> None:
        """An honest device is let in and verifies."""
        with associated(self.port, (VERIFICATION, IMPLICIT), calling=HONEST) as peer:
            peer.say(message(1, command(C_ECHO, VERIFICATION, data=False)), RELEASE)
            assert peer.status() == 0x0000
            assert peer.hear()[0] == 6

    def works(self) -> None:
        """An honest device verifies, stores, and everybody finds what it stored."""
        one = Named()
        with associated(
            self.port, (VERIFICATION, IMPLICIT), (CT, EXPLICIT), (FIND, IMPLICIT), calling=HONEST
        ) as peer:
            peer.say(message(1, command(C_ECHO, VERIFICATION, data=False)))
            assert peer.status() == 0x0000
            peer.say(message(3, store_rq(CT, one.sop), one.encoded()))
            assert peer.status() == 0x0000
            peer.say(message(5, command(C_FIND, FIND), identifier("STUDY", one)))
            assert peer.statuses() == [0xFF00, 0x0000]
            peer.say(RELEASE)
            assert peer.hear()[0] == 6
        seen = self.seen(one)
        assert seen["metadata"] == seen["frames/1"] == seen["rendered"] == 200, seen

    def seen(self, one: Named) -> dict[str, int]:
        """Look at an instance through every view; each answers, and none with an error of ours."""
        below = f"/dicom-web/studies/{one.study}"
        series = f"{below}/series/{one.series}"
        instance = f"{series}/instances/{one.sop}"
        found: dict[str, int] = {}

        def look(name: str, path: str, who: Browser | None = None) -> object:
            answer = (who or self.reader).get(path)
            assert answer.status_code < 500, (name, answer.status_code, answer.text[:300])
            found[name] = answer.status_code
            return answer

        for level in ("studies", "series", "instances"):
            answer = look(f"qido {level}", f"/dicom-web/{level}?StudyInstanceUID={one.study}")
            assert answer.status_code == 200 and len(answer.json()) >= 1, (level, answer.text)
        look("qido of study", f"{below}/instances")
        look("metadata of study", f"{below}/metadata")
        for name in ("metadata", "frames/1", "frames/2", "frames/1/rendered", "rendered"):
            look(name, f"{instance}/{name}")
        for name in ("thumbnail", "bulkdata/7FE00010"):
            look(name, f"{instance}/{name}")
        look("absurd viewport", f"{instance}/rendered?viewport=99999999,99999999")
        kept = self.reader.http.get(instance, headers={"Accept": "application/dicom"})
        assert kept.status_code == 200
        assert kept.content[:132] == bytes(128) + b"DICM"
        with self.parts.view() as unit:
            study = unit.studies.by_uid("c1", one.study)
        assert study is not None
        for name in ("ecg", "preview.svg", "preview.jpg", f"documents/{one.sop}", "text-repair"):
            look(name, f"/api/studies/{study.id}/{name}")
        look("worklist", "/api/tasks?limit=200")
        look("board", "/api/board", self.coordinator)
        look("center", "/api/center/studies", self.doctor)
        self._found(one)
        return found

    def _found(self, one: Named) -> None:
        """C-FIND at every level finds it, and C-GET answers."""
        levels = ("STUDY", "SERIES", "IMAGE")
        with associated(self.port, (FIND, IMPLICIT), calling=HONEST) as peer:
            for level in levels:
                asked = command(C_FIND, FIND)
                peer.say(message(1, asked, identifier(level, one)))
                said = peer.statuses()
                assert said[-1] == 0 and len(said) >= 2, (level, said)


def identifier(level: str, one: Named) -> bytes:
    """The keys of a C-FIND for one instance, implicit little endian, and more to be answered."""
    uids = {0x0020000D: one.study, 0x0020000E: one.series, 0x00080018: one.sop}
    many = {"STUDY": 1, "SERIES": 2, "IMAGE": 3}[level]
    keys = {tag: b"" for tag in _ASKED}
    keys |= {tag: even(uid.encode(), b"\0") for tag, uid in list(uids.items())[:many]}
    keys[0x00080052] = even(level.encode())
    return b"".join(im(tag, value) for tag, value in sorted(keys.items()))


_ASKED = (0x00080020, 0x00080030, 0x00080050, 0x00080061, 0x00080062, 0x00080090, 0x00081030)
_ASKED += (0x0008103E, 0x00100010, 0x00100030, 0x00100040, 0x00180015, 0x00200010, 0x00200011)
_ASKED += (0x00200013, 0x00201206, 0x00201208, 0x00201209, 0x00280008, 0x00280010)

# --- facts ---------------------------------------------------------------------------------------


def until(holds, seconds: float = 60) -> None:
    """Wait for a fact."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def descriptors(pid: int | None = None) -> int:
    """Open descriptors of a process."""
    return sum(1 for _ in Path(f"/proc/{pid or os.getpid()}/fd").iterdir())


def memory(pid: int, name: str = "VmHWM") -> int:
    """Bytes: VmHWM (the most there ever was) or VmRSS (now)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


def threads(pid: int) -> int:
    """Threads of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


def file_of(one: Named, preamble: bytes = bytes(128), **changes: bytes | None) -> bytes:
    """The instance as a DICOM file."""
    syntax = el(0x00020010, b"UI", even(EXPLICIT.encode(), b"\0"))
    meta = el(0x00020002, b"UI", even(one.sop_class.encode(), b"\0"))
    meta += el(0x00020003, b"UI", even(one.sop.encode(), b"\0")) + syntax
    group = el(0x00020000, b"UL", struct.pack("<I", len(meta)))
    return preamble.ljust(128, b"\0") + b"DICM" + group + meta + one.encoded(**changes)


def as_named(dataset: Dataset) -> Named:
    """The identifiers of a data set."""
    return Named(
        str(dataset.SOPInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.StudyInstanceUID),
        str(dataset.SOPClassUID),
    )
