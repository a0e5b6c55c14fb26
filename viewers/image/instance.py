"""Where in the bytes of an instance are its attributes, and where its pixels?"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from viewers.image.unreadable import Unreadable, refusing

#: A deflated data set may not grow beyond this: small files that inflate to gigabytes exist.
MAX_INFLATED_BYTES = 256 * 1024 * 1024

_PIXEL_KEYWORDS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
_LONG_LENGTH = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
_UNDEFINED = 0xFFFFFFFF
_PREAMBLE = 128


@dataclass(frozen=True, slots=True)
class PixelElement:
    """The place of the pixel data element: `length` bytes from `offset` of the stream.

    `encapsulated` is true for undefined length, that is, for a sequence of fragments (PS3.5 A.4);
    `length` then runs to the end of the stream.
    """

    keyword: str
    vr: str
    offset: int
    length: int
    encapsulated: bool


@dataclass(frozen=True, slots=True)
class Instance:
    """An opened instance: attributes before the pixels, the place of the pixels, the stream.

    The stream is moved by every read: one `Instance` belongs to one thread at a time.
    """

    header: Dataset
    transfer_syntax: UID
    pixels: PixelElement | None
    stream: BinaryIO

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes of the stream from `offset`; raises `Unreadable` when they are not there.

        For a deflated object the offsets count in the inflated data set.
        """
        self.stream.seek(offset)
        data = self.stream.read(length)
        if len(data) != length:
            raise Unreadable("truncated", f"{length} bytes asked for, {len(data)} are there")
        return data


def open_instance(
    source: bytes | BinaryIO,
    *,
    transfer_syntax: str | None = None,
    tags: Iterable[int] | None = None,
) -> Instance:
    """Open a file as received (PS3.10), or a bare data set, without reading its pixels.

    `transfer_syntax` is for bare data sets whose syntax was negotiated; without one it is taken
    from the file meta information, else guessed from the first element. `tags` limits what is kept
    of the header (large functional groups are then skipped). The stream must allow seeking and is
    not closed. Raises `Unreadable` (``not_dicom``, ``too_large``) only.
    """
    stream: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source
    with refusing("not_dicom", "the data set cannot be parsed"):
        stream.seek(0)
        syntax = _read_meta(stream)
        if syntax is None:
            syntax = UID(transfer_syntax) if transfer_syntax else _guess_syntax(stream)
        if syntax == DeflatedExplicitVRLittleEndian:
            stream = _inflate(stream)
        header = _read_header(stream, syntax, tags)
        if not len(header):
            raise Unreadable("not_dicom", "no data element found")
        return Instance(header, syntax, _locate_pixels(stream, header), stream)


def _read_meta(stream: BinaryIO) -> UID | None:
    """Transfer Syntax UID of the file meta group; leaves the stream at the data set (PS3.10 7)."""
    start = _PREAMBLE if stream.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM" else None
    stream.seek(0 if start is None else start + 4)
    probe = stream.read(2)
    stream.seek(-len(probe), io.SEEK_CUR)
    if probe != b"\x02\x00":
        return None

    def beyond_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag.group != 2

    meta = read_dataset(stream, False, True, stop_when=beyond_meta)
    syntax = meta.get("TransferSyntaxUID")
    return UID(str(syntax).strip(" \0")) if syntax else None


def _guess_syntax(stream: BinaryIO) -> UID:
    """Syntax of a data set nobody labelled, from the shape of its first element."""
    start = stream.tell()
    first = stream.read(6)
    stream.seek(start)
    if len(first) < 6:
        raise Unreadable("not_dicom", "shorter than one data element")
    if not (first[4:6].isalpha() and first[4:6].isupper()):
        return ImplicitVRLittleEndian
    group = struct.unpack("<H", first[:2])[0]
    # A data set starts with a low group: 0x0800 read little endian is group 0008 in big endian.
    return ExplicitVRBigEndian if group >= 0x0100 and not group & 0xFF else ExplicitVRLittleEndian


def _inflate(stream: BinaryIO) -> BinaryIO:
    """The inflated data set of a deflated stream (PS3.5 A.5), within `MAX_INFLATED_BYTES`."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    out = io.BytesIO()
    while chunk := stream.read(1 << 16):
        while chunk:
            out.write(inflater.decompress(chunk, 1 << 20))
            if out.tell() > MAX_INFLATED_BYTES:
                raise Unreadable("too_large", f"inflates beyond {MAX_INFLATED_BYTES} bytes")
            chunk = inflater.unconsumed_tail
    out.seek(0)
    return out


def _read_header(stream: BinaryIO, syntax: UID, tags: Iterable[int] | None) -> Dataset:
    # Private syntaxes are explicit little endian in all cases seen; PS3.5 A.4 asks it of
    # every encapsulated one.
    implicit = syntax == ImplicitVRLittleEndian
    little = syntax != ExplicitVRBigEndian

    def at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return int(tag) in _PIXEL_KEYWORDS

    keep: list[BaseTag | int] | None = None if tags is None else [Tag(tag) for tag in tags]
    return read_dataset(stream, implicit, little, stop_when=at_pixels, specific_tags=keep)


def _locate_pixels(stream: BinaryIO, header: Dataset) -> PixelElement | None:
    implicit, little = header.original_encoding
    head = stream.read(8)
    if len(head) < 8:
        return None
    order = "<" if little else ">"
    group, element, length = struct.unpack(f"{order}HHL", head)
    keyword = _PIXEL_KEYWORDS.get(group << 16 | element)
    if keyword is None:
        return None
    vr = "OW"
    if not implicit:
        vr = head[4:6].decode("ascii", "replace")
        if vr in _LONG_LENGTH:
            length = struct.unpack(f"{order}L", stream.read(4))[0]
        else:
            length = struct.unpack(f"{order}H", head[6:8])[0]
    offset = stream.tell()
    available = stream.seek(0, io.SEEK_END) - offset
    encapsulated = length == _UNDEFINED
    return PixelElement(
        keyword, vr, offset, available if encapsulated else min(length, available), encapsulated
    )
