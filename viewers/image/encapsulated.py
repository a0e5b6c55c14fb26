"""Which bytes of an encapsulated pixel data element are frame n?"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom.encaps import parse_basic_offsets, parse_fragments

from viewers.image.instance import Instance, PixelElement
from viewers.image.unreadable import Unreadable, refusing

_END_OF_IMAGE = b"\xff\xd9"
_MAX_FRAGMENTS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Fragment:
    offset: int
    length: int


def encapsulated_frame(instance: Instance, place: PixelElement, index: int, frames: int) -> bytes:
    """Bytes of frame `index` (from 0) of `frames`, without reading the others (PS3.5 A.4).

    An Extended Offset Table wins over a Basic Offset Table; one that does not point at fragments
    is ignored. Without tables frames are found by count, else by the end-of-image marker.
    """
    with refusing("decode_failed", "the fragments of the pixel data cannot be parsed"):
        extended = _extended(instance, place, index)
        if extended is not None:
            return extended
        fragments, basic, base = _fragments(instance, place)
        pieces = _pieces(instance, fragments, basic, base, index, frames)
        return b"".join(instance.read(piece.offset, piece.length) for piece in pieces)


def fragment_count(instance: Instance, place: PixelElement) -> int:
    """How many fragments there are: no more frames than these can be shown."""
    with refusing("decode_failed", "the fragments of the pixel data cannot be parsed"):
        fragments, _, _ = _fragments(instance, place)
        return len(fragments)


def _extended(instance: Instance, place: PixelElement, index: int) -> bytes | None:
    """The frame by Extended Offset Table (7FE0,0001), None when there is none that fits."""
    header = instance.header
    offsets, lengths = header.get("ExtendedOffsetTable"), header.get("ExtendedOffsetTableLengths")
    if not (isinstance(offsets, bytes) and isinstance(lengths, bytes)):
        return None
    if len(offsets) < 8 * (index + 1) or len(lengths) < 8 * (index + 1):
        return None
    offset = struct.unpack_from("<Q", offsets, 8 * index)[0]
    length = struct.unpack_from("<Q", lengths, 8 * index)[0]
    start = place.offset + 8 + offset
    if offset + length + 16 > place.length or instance.read(start, 4) != b"\xfe\xff\x00\xe0":
        return None
    return instance.read(start + 8, length)


def _fragments(instance: Instance, place: PixelElement) -> tuple[list[_Fragment], list[int], int]:
    """All fragments, the Basic Offset Table, and the place its offsets count from."""
    stream = instance.stream
    stream.seek(place.offset)
    basic = parse_basic_offsets(stream)
    base = stream.tell()
    _, starts = parse_fragments(stream)
    if len(starts) > _MAX_FRAGMENTS:
        raise Unreadable("too_large", f"{len(starts)} fragments")
    fragments = []
    end = place.offset + place.length
    for start in starts:
        length = struct.unpack("<L", instance.read(start + 4, 4))[0]
        fragments.append(_Fragment(start + 8, min(length, max(end - start - 8, 0))))
    return fragments, basic, base


def _pieces(
    instance: Instance,
    fragments: list[_Fragment],
    basic: list[int],
    base: int,
    index: int,
    frames: int,
) -> list[_Fragment]:
    """The fragments of one frame."""
    if not fragments:
        raise Unreadable("truncated", "no fragment of pixel data is there")
    starts = {fragment.offset - 8 - base: at for at, fragment in enumerate(fragments)}
    if len(basic) >= frames > 0 and basic[0] == 0 and all(offset in starts for offset in basic):
        bounds = [starts[offset] for offset in basic] + [len(fragments)]
        if bounds == sorted(set(bounds)) and index < len(basic):
            return fragments[bounds[index] : bounds[index + 1]]
    if frames == 1 and index == 0:
        return fragments
    if len(fragments) <= frames:
        if index >= len(fragments):
            raise Unreadable("no_such_frame", f"{len(fragments)} frames are there")
        return [fragments[index]]
    return _by_marker(instance, fragments, index)


def _by_marker(instance: Instance, fragments: list[_Fragment], index: int) -> list[_Fragment]:
    """A frame ends with the fragment that ends with an end-of-image marker."""
    frame, first = 0, 0
    for at, fragment in enumerate(fragments):
        tail = min(fragment.length, 10)
        ends = _END_OF_IMAGE in instance.read(fragment.offset + fragment.length - tail, tail)
        if not ends and at + 1 < len(fragments):
            continue
        if frame == index:
            return fragments[first : at + 1]
        frame, first = frame + 1, at + 1
    raise Unreadable("no_such_frame", f"{frame} frames are there")
