"""How does a data set become one of another transfer syntax, with nothing else changed?

Element by element: headers are written anew, values stay the bytes they are (their order swapped
where the byte order changes), compressed frames are decoded. Nothing large is held: values pass in
pieces, frames one by one.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from viewers.image.decode import NATIVE, Pixels, stored_frame
from viewers.image.encapsulated import fragment_count
from viewers.image.instance import Instance, open_instance
from viewers.image.pixelformat import PixelFormat, pixel_format
from viewers.image.unreadable import Unreadable

TARGETS: Final = (
    str(ExplicitVRLittleEndian),
    str(ImplicitVRLittleEndian),
    str(ExplicitVRBigEndian),
)
"""What can be made of every readable object, best first."""

_PIECE: Final = 1 << 18
_KEPT_FRAMES: Final = 64 << 20  # decoded bytes up to which frames are decoded once
_MOST_DEPTH: Final = 64
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_DATA: Final = 0x7FE00010
_OFFSET_TABLES = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003})
_BITS_ALLOCATED, _SIGNED, _WAVEFORM_BITS = 0x00280100, 0x00280103, 0x54001004
_LOSSY: Final = 0x00282110
_LOSSY_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 81, 91, 93, 203))
_LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
# bytes of one word, of the VRs whose words turn round (PS3.5 section 7.3)
_WORDS: Mapping[str, int] = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}


class _Coding(NamedTuple):
    """How a transfer syntax writes elements."""

    implicit: bool
    order: str  # of `struct`


class _Element(NamedTuple):
    tag: int
    vr: str  # "" where it is not written
    length: int
    start: int


@dataclass
class _Known:
    """What decides on VRs that an implicit data set does not write (PS3.5 annex A)."""

    bits: int = 16
    signed: bool = False
    waveform_bits: int = 16


@dataclass(frozen=True)
class _Pixels:
    """Decoded frames, and the attributes that describe them: values in little endian."""

    length: int
    vr: str
    width: int  # bytes of one value
    frames: "_Frames"
    attributes: Mapping[int, tuple[str, bytes]] = field(default_factory=dict)


def transcoded(source: BinaryIO, *, start: int, transfer_syntax: str, to: str) -> Iterator[bytes]:
    """The data set that begins at `start` of `source` and ends with it, in the transfer syntax
    `to` (one of `TARGETS`), in parts.

    Compressed frames are decoded; colour becomes RGB. Everything that may fail fails before the
    first part: raises `Unreadable` where the pixels or the data set cannot be decoded. The stream
    must allow seeking; it belongs to one thread until the last part.
    """
    if to not in TARGETS:
        raise Unreadable("transfer_syntax", f"nothing is compressed to {to}")
    pixels: _Pixels | None = None
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        source.seek(start)
        source, start = open_instance(source).stream, 0
    elif transfer_syntax not in NATIVE:
        pixels = _decoded(source, transfer_syntax)
    end = source.seek(0, 2)
    writer = _Writer(source, _coding(transfer_syntax), _coding(to), pixels)
    return writer.dataset(start, end)


def _coding(syntax: str) -> _Coding:
    return _Coding(syntax == ImplicitVRLittleEndian, ">" if syntax == ExplicitVRBigEndian else "<")


class _Writer:
    """Reads elements of one coding and writes them in another."""

    def __init__(
        self, source: BinaryIO, read: _Coding, write: _Coding, pixels: _Pixels | None
    ) -> None:
        self._source = source
        self._read = read
        self._write = write
        self._pixels = pixels
        self._at = self._end = 0
        self._swaps = read.order != write.order

    def dataset(self, start: int, end: int) -> Iterator[bytes]:
        """The whole data set; small parts joined."""
        waiting, size, self._end = [], 0, end
        for part in self._elements(start, end, self._read, _Known(), 0):
            waiting.append(part)
            size += len(part)
            if size >= _PIECE:
                yield b"".join(waiting)
                waiting, size = [], 0
        if waiting:
            yield b"".join(waiting)

    def _elements(
        self, at: int, end: int, read: _Coding, known: _Known, depth: int
    ) -> Iterator[bytes]:
        """Elements until `end`, or until the end of their item."""
        if depth > _MOST_DEPTH:
            raise Unreadable("not_dicom", "sequences nested too deep")
        changed = dict(self._pixels.attributes) if self._pixels and not depth else {}
        while at + 8 <= end:
            element = self._element(at, read)
            if element.tag in (_ITEM_END, _SEQUENCE_END):
                at += 8
                break
            if element.tag >> 16 >= 0xFFFC:  # padding after the last element
                at = end
                break
            for tag in sorted(tag for tag in changed if tag <= element.tag):
                vr, value = changed.pop(tag)
                yield self._header(tag, vr, len(value)) + self._turned(vr, value, True)
                if tag == element.tag:
                    at = element.start + element.length
                    element = element._replace(vr="gone")
            if element.vr != "gone":
                yield from self._converted(element, end, read, known, depth)
                at = self._at
        self._at = at

    def _converted(
        self, element: _Element, end: int, read: _Coding, known: _Known, depth: int
    ) -> Iterator[bytes]:
        tag, _, length, start = element
        self._at = start + length
        if not tag & 0xFFFF:  # the length of a group: it may not be so any more
            return
        if self._pixels and not depth and tag in _OFFSET_TABLES:
            return
        vr = element.vr or _vr(tag, known)
        if tag == _PIXEL_DATA and length == _UNDEFINED:
            yield from self._decoded_pixels(start, depth)
        elif vr == "SQ" or length == _UNDEFINED:
            inner = read if vr != "UN" else _Coding(True, "<")
            yield from self._sequence(tag, start, length, end, inner, known, depth)
        else:
            self._note(tag, length, start, read, known)
            yield from self._value(tag, vr, length, start, known)

    def _sequence(
        self, tag: int, at: int, length: int, end: int, read: _Coding, known: _Known, depth: int
    ) -> Iterator[bytes]:
        """A sequence, with delimiters in place of lengths."""
        stop = end if length == _UNDEFINED else at + length
        yield self._header(tag, "SQ", _UNDEFINED)
        while at + 8 <= stop:
            item, size = self._delimiter(at, read)
            at += 8
            if item != _ITEM:
                break
            yield struct.pack(f"{self._write.order}HHI", 0xFFFE, 0xE000, _UNDEFINED)
            inside = stop if size == _UNDEFINED else at + size
            yield from self._elements(at, inside, read, replace(known), depth + 1)
            at = self._at if size == _UNDEFINED else inside
            yield struct.pack(f"{self._write.order}HHI", 0xFFFE, 0xE00D, 0)
        yield struct.pack(f"{self._write.order}HHI", 0xFFFE, 0xE0DD, 0)
        self._at = at if length == _UNDEFINED else stop

    def _value(self, tag: int, vr: str, length: int, start: int, known: _Known) -> Iterator[bytes]:
        if not self._write.implicit and vr not in _LONG and length > 0xFFFE:
            vr = "UN"
        yield self._header(tag, vr, length + length % 2)
        width = 4 if vr == "OW" and tag == _PIXEL_DATA and known.bits == 32 else 0
        for at in range(start, start + length, _PIECE):
            yield self._turned(vr, self._bytes(at, min(_PIECE, start + length - at)), width=width)
        if length % 2:
            yield b"\0"

    def _decoded_pixels(self, start: int, depth: int) -> Iterator[bytes]:
        if self._pixels is None or depth:
            raise Unreadable("transfer_syntax", "compressed pixels inside of a sequence")
        pixels = self._pixels
        yield self._header(_PIXEL_DATA, pixels.vr, pixels.length + pixels.length % 2)
        for frame in pixels.frames:
            yield self._turned(pixels.vr, frame, True, width=pixels.width)
        if pixels.length % 2:
            yield b"\0"
        at = start
        while at + 8 <= self._end:  # what stands behind the fragments, if it is there at all
            item, size = self._delimiter(at, self._read)
            at += 8
            if item != _ITEM:
                break
            at += size
        self._at = at

    def _note(self, tag: int, length: int, start: int, read: _Coding, known: _Known) -> None:
        if tag not in (_BITS_ALLOCATED, _SIGNED, _WAVEFORM_BITS) or length != 2:
            return
        number = struct.unpack(f"{read.order}H", self._bytes(start, 2))[0]
        if tag == _BITS_ALLOCATED:
            known.bits = number
        elif tag == _SIGNED:
            known.signed = number == 1
        else:
            known.waveform_bits = number

    # --- bytes ---------------------------------------------------------------------------------

    def _element(self, at: int, read: _Coding) -> _Element:
        head = self._bytes(at, 8)
        group, number = struct.unpack_from(f"{read.order}HH", head)
        tag = group << 16 | number
        if read.implicit or group == 0xFFFE:
            return _Element(tag, "", struct.unpack_from(f"{read.order}I", head, 4)[0], at + 8)
        vr = head[4:6].decode("latin-1")
        if vr in _LONG or not (vr.isalpha() and vr.isupper()):
            length = struct.unpack(f"{read.order}I", self._bytes(at + 8, 4))[0]
            return _Element(tag, vr if vr in _LONG else "UN", length, at + 12)
        return _Element(tag, vr, struct.unpack_from(f"{read.order}H", head, 6)[0], at + 8)

    def _delimiter(self, at: int, read: _Coding) -> tuple[int, int]:
        group, number, length = struct.unpack(f"{read.order}HHI", self._bytes(at, 8))
        return group << 16 | number, length

    def _header(self, tag: int, vr: str, length: int) -> bytes:
        order, group, number = self._write.order, tag >> 16, tag & 0xFFFF
        if self._write.implicit:
            return struct.pack(f"{order}HHI", group, number, length)
        if vr in _LONG:
            return struct.pack(f"{order}HH2sHI", group, number, vr.encode(), 0, length)
        return struct.pack(f"{order}HH2sH", group, number, vr.encode(), length)

    def _turned(self, vr: str, value: bytes, made: bool = False, *, width: int = 0) -> bytes:
        """The value in the order that is written; what is `made` here is little endian."""
        if not (self._write.order == ">" if made else self._swaps):
            return value
        words = width or _WORDS.get(vr, 0)
        if not words or len(value) % words:
            return value
        return np.frombuffer(value, f"<u{words}").byteswap().tobytes()

    def _bytes(self, at: int, length: int) -> bytes:
        self._source.seek(at)
        found = self._source.read(length)
        if len(found) != length:
            raise Unreadable("truncated", "an element is longer than the data set")
        return found


def _vr(tag: int, known: _Known) -> str:
    """The VR of an element that an implicit data set does not write (PS3.5 annex A.1, PS3.6)."""
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return "LO" if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    if len(vr) == 2:
        return vr
    if vr == "US or SS":
        return "SS" if known.signed else "US"
    if tag == _PIXEL_DATA:
        return "OB" if known.bits <= 8 else "OW"
    if tag >> 16 == 0x5400:
        return "OB" if known.waveform_bits <= 8 else "OW"
    return "OW"


# --- compressed frames -------------------------------------------------------------------------


class _Frames:
    """Decoded frames in little endian, all of them known to decode."""

    def __init__(self, instance: Instance, form: PixelFormat, first: Pixels) -> None:
        self._instance = instance
        self._form = form
        self._size = first.nbytes
        self._kept: list[bytes] = []
        keep = self._size * form.frames <= _KEPT_FRAMES
        for number in range(1, form.frames + 1):
            frame = self._frame(number)
            if len(frame) != self._size:
                raise Unreadable("frame_mismatch", f"frame {number} differs from the first")
            if keep:
                self._kept.append(frame)

    def __iter__(self) -> Iterator[bytes]:
        if self._kept:
            return iter(self._kept)
        return (self._frame(number) for number in range(1, self._form.frames + 1))

    def _frame(self, number: int) -> bytes:
        pixels, _ = stored_frame(self._instance, self._form, number)
        return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()


def _decoded(source: BinaryIO, transfer_syntax: str) -> _Pixels | None:
    """The decoded pixels of a compressed object; None for one without any."""
    instance = open_instance(source, transfer_syntax=transfer_syntax)
    if instance.pixels is None or not instance.pixels.encapsulated:
        return None
    form = pixel_format(instance)
    if form.frames > 1 and fragment_count(instance, instance.pixels) < form.frames:
        raise Unreadable("no_such_frame", f"fewer than {form.frames} frames are there")
    first, photometric = stored_frame(instance, form, 1)
    frames = _Frames(instance, form, first)
    return _Pixels(
        length=first.nbytes * form.frames,
        vr="OB" if first.itemsize == 1 else "OW",
        width=first.itemsize if first.itemsize > 1 else 0,
        frames=frames,
        attributes=_described(instance, form, first, photometric, transfer_syntax),
    )


def _described(
    instance: Instance, form: PixelFormat, first: Pixels, photometric: str, transfer_syntax: str
) -> dict[int, tuple[str, bytes]]:
    """What decoding changes in the Image Pixel module (PS3.3 C.7.6.3), nothing else."""
    changed: dict[int, tuple[str, bytes]] = {}
    header: Any = instance.header
    if photometric != str(header.get("PhotometricInterpretation", "")):
        text = photometric.encode()
        changed[0x00280004] = ("CS", text + b" " * (len(text) % 2))
    if first.ndim == 3:
        changed[0x00280006] = ("US", b"\0\0")
    if first.itemsize * 8 != form.bits_allocated:
        bits = struct.pack("<H", first.itemsize * 8)
        changed[_BITS_ALLOCATED] = ("US", bits)
    if transfer_syntax in _LOSSY_SYNTAXES and header.get("LossyImageCompression") != "01":
        changed[_LOSSY] = ("CS", b"01")
    return changed
