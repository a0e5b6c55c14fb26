"""How does a device of a test speak DICOM, byte by byte and as fast as the wire takes it?

A Storage SCU of PS3.8 over a plain socket: it knows at every moment whether a request is without
its answer, it can stop in the middle of an object, and it costs no processor time to speak of.
"""

import hashlib
import io
import random
import socket
import struct
from dataclasses import dataclass

from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from tests.recovery.house import AE_TITLE, PATIENCE, ROOT

KEPT = ROOT / "sample_studies" / "kept"
EXPLICIT = "1.2.840.10008.1.2.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
ECG = "1.2.840.10008.5.1.4.1.1.9.1.1"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
SUCCESS = 0x0000

_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
_IMPLEMENTATION = b"2.25.299792458"
_STUDY, _SERIES, _INSTANCE = (f"2.25.1{number:038d}" for number in (1, 2, 3))
_PATIENT = "P0000000000X"


class HungUp(Exception):
    """The gateway has closed the connection. `asked` says that a request is without an answer."""

    def __init__(self, asked: bool) -> None:
        super().__init__("a request is without an answer" if asked else "nothing was asked")
        self.asked = asked


class Rejected(Exception):
    """The association was rejected."""


@dataclass(frozen=True)
class Instance:
    """One instance ready to be sent: the data set's bytes and what the command says of them."""

    raw: bytes
    sop_class: str
    uid: str
    study: str
    series: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()


class Sample:
    """A data set encoded once; each instance of it has other UIDs and, if wanted, Patient ID."""

    def __init__(self, dataset: Dataset) -> None:
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _STUDY, _SERIES
        dataset.SOPInstanceUID = _INSTANCE
        dataset.PatientID = _PATIENT
        self._sop_class = str(dataset.SOPClassUID)
        self._raw = encoded(dataset)

    def instance(self, chance: random.Random, study: str = "", series: str = "") -> Instance:
        """A new instance; of a new study and series where none are named."""
        study, series, uid = study or new_uid(chance), series or new_uid(chance), new_uid(chance)
        raw = self._raw
        patient = f"P{int(study[-9:]):010d}X"
        for mark, value in (
            (_STUDY, study),
            (_SERIES, series),
            (_INSTANCE, uid),
            (_PATIENT, patient),
        ):
            assert len(mark) == len(value)
            raw = raw.replace(mark.encode(), value.encode())
        return Instance(raw, self._sop_class, uid, study, series)


def new_uid(chance: random.Random) -> str:
    """A UID below 2.25, always 44 characters."""
    return f"2.25.{chance.randrange(10**38, 2**127)}"


def encoded(dataset: Dataset) -> bytes:
    """A data set's bytes in Explicit VR Little Endian, without file meta."""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, dataset)
    return stream.getvalue()


def kept(name: str) -> Dataset:
    """One of the sample files that are kept in the house."""
    with config.disable_value_validation():
        return dcmread(KEPT / f"{name}.dcm")


def ecg_sample() -> Sample:
    """A 12-lead ECG of ten seconds, 65 kB."""
    return Sample(kept("ecg-sinus-72"))


def image_sample(side: int = 16) -> Sample:
    """A CT image of few pixels."""
    dataset = kept("ct-one-slice-128")
    dataset.Rows = dataset.Columns = side
    dataset.PixelData = bytes(2 * side * side)
    return Sample(dataset)


class Device:
    """One association of a device with the gateway."""

    def __init__(
        self,
        port: int,
        calling: str,
        called: str = AE_TITLE,
        classes: tuple[str, ...] = (CT, ECG, PDF),
    ) -> None:
        self._classes = {uid: 2 * number + 1 for number, uid in enumerate(classes)}
        self._messages = 0
        self._asked = False
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        except OSError as error:
            raise HungUp(False) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._send(_associate(calling, called, self._classes))
            if self._pdu()[0] != 2:
                raise Rejected(calling)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ended(self) -> bool:
        """Whether the gateway has ended this association; waits for what it says next."""
        try:
            kind, _ = self._pdu()
        except HungUp:
            return True
        return kind in (6, 7)

    def store(self, one: Instance) -> int:
        """Send an instance; the status it was answered with."""
        self.begin(one, len(one.raw))
        return self.answer()

    def begin(self, one: Instance, size: int) -> None:
        """Send the command and the first `size` bytes of an instance, as one fragment."""
        self._messages += 1
        context = self._classes[one.sop_class]
        command = _command(one, self._messages)
        self._asked = True
        self._send(_data(context, 3, command) + self._part(one, 0, size))

    def finish(self, one: Instance, size: int) -> None:
        """Send what is left after the first `size` bytes."""
        self._send(self._part(one, size, len(one.raw)))

    def _part(self, one: Instance, start: int, end: int) -> bytes:
        last = 2 if end == len(one.raw) else 0
        return _data(self._classes[one.sop_class], last, one.raw[start:end])

    def answer(self) -> int:
        """The status of the response."""
        kind, body = self._pdu()
        if kind != 4:
            raise HungUp(True)
        self._asked = False
        return _status(body[6:])

    def release(self) -> None:
        """Say that all has been sent, and wait for the answer."""
        self._send(b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00")
        self._pdu()
        self.close()

    def close(self) -> None:
        """Hang up without a word, if it still stands."""
        self._socket.close()

    def _send(self, raw: bytes) -> None:
        try:
            self._socket.sendall(raw)
        except OSError as error:
            raise HungUp(self._asked) from error

    def _pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._exactly(6))
        return kind, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        buffer = io.BytesIO()
        while (left := size - buffer.tell()) > 0:
            try:
                part = self._socket.recv(left)
            except TimeoutError:
                raise
            except OSError as error:
                raise HungUp(self._asked) from error
            if not part:
                raise HungUp(self._asked)
            buffer.write(part)
        return buffer.getvalue()


# --- bytes of PS3.8 section 9.3 and PS3.7 section 6.3 ------------------------------------------


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _associate(calling: str, called: str, classes: dict[str, int]) -> bytes:
    contexts = b"".join(
        _item(
            0x20,
            bytes((number, 0, 0, 0)) + _item(0x30, uid.encode()) + _item(0x40, EXPLICIT.encode()),
        )
        for uid, number in classes.items()
    )
    user = _item(0x51, struct.pack(">I", 1 << 18)) + _item(0x52, _IMPLEMENTATION)
    body = (
        b"\x00\x01\x00\x00"
        + called.encode().ljust(16)
        + calling.encode().ljust(16)
        + bytes(32)
        + _item(0x10, _APPLICATION_CONTEXT)
        + contexts
        + _item(0x50, user)
    )
    return struct.pack(">BxI", 1, len(body)) + body


def _data(context: int, control: int, fragment: bytes) -> bytes:
    size = len(fragment)
    return struct.pack(">BxIIBB", 4, size + 6, size + 2, context, control) + fragment


def _command(one: Instance, message: int) -> bytes:
    values = (
        (0x0002, _even(one.sop_class)),
        (0x0100, b"\x01\x00"),
        (0x0110, struct.pack("<H", message)),
        (0x0700, b"\x02\x00"),
        (0x0800, b"\x00\x00"),
        (0x1000, _even(one.uid)),
    )
    body = b"".join(struct.pack("<HHI", 0, tag, len(value)) + value for tag, value in values)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _even(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


def _status(command: bytes) -> int:
    at = 0
    while at < len(command):
        _, tag, length = struct.unpack_from("<HHI", command, at)
        if tag == 0x0900:
            return int(struct.unpack_from("<H", command, at + 8)[0])
        at += 8 + length
    raise AssertionError("a response without a status")
