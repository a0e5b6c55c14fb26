"""Is this data set whole, and where are its elements?

A walk over encoded data-set bytes (PS3.5 section 7) that reads headers only: values are skipped by
their length. It is iterative, so depth costs no stack, and it refuses what no later reader should
meet: cut sets, endless nesting, inflation bombs.
"""

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from worklist.errors import Code, Refusal

Buffer = bytes | bytearray | memoryview

ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
PIXEL_DATA: Final = 0x7FE00010
UNDEFINED: Final = 0xFFFFFFFF
_DELIMITERS = frozenset({ITEM_END, SEQUENCE_END})
_LOWEST, _HIGHEST = 0x00080000, 0xFFFEFFFF  # PS3.5 section 7.1: what may stand in a data set

MAX_DEPTH: Final = 64
"""Levels of nested sequences that are followed. Real objects stay below ten."""
MAX_ELEMENTS: Final = 1 << 14
"""Elements of one level whose places are kept. Real objects stay below three thousand; each costs
its sender eight bytes, and a reader hundreds."""
HEAD_BYTES: Final = 4 << 20
"""How much of an inflated data set is kept: what describes it comes before its pixels."""
MAX_INFLATED: Final = 512 << 20
_ALWAYS_INFLATED = 64 << 20
_MAX_RATIO = 200
_PIECE: Final = 1 << 18
_RELAX: Final = 8  # fragments; a look maps up to two megabytes, letting go costs microseconds
_SMALL = 512  # bytes that hold at most 32 levels: each takes an element's and an item's header


class Coding(NamedTuple):
    """How a transfer syntax writes element headers (PS3.5 section 10 and annex A)."""

    implicit: bool
    little: bool
    deflated: bool = False


_EXPLICIT = Coding(implicit=False, little=True)
_IMPLICIT = Coding(implicit=True, little=True)
_COMPRESSED = (
    *(f"4.{n}" for n in (50, 51, 53, 55, 57, 70)),  # JPEG; 53 and 55 are retired but still sent
    *(f"4.{n}" for n in (80, 81, 90, 91, 92, 93)),  # JPEG-LS, JPEG 2000
    *(f"4.{n}" for n in (201, 202, 203)),  # High-Throughput JPEG 2000
    *(f"4.{n}{part}" for n in range(100, 107) for part in ("", ".1")),  # MPEG-2, MPEG-4
    *(f"4.{n}" for n in (107, 108)),  # HEVC
    "5",  # RLE
)
TRANSFER_SYNTAXES: MappingProxyType[str, Coding] = MappingProxyType(
    {
        "1.2.840.10008.1.2.1": _EXPLICIT,
        "1.2.840.10008.1.2": _IMPLICIT,
        "1.2.840.10008.1.2.2": Coding(implicit=False, little=False),
        "1.2.840.10008.1.2.1.99": Coding(implicit=False, little=True, deflated=True),
        "1.2.840.10008.1.2.1.98": _EXPLICIT,  # encapsulated uncompressed
    }
    | {f"1.2.840.10008.1.2.{tail}": _EXPLICIT for tail in _COMPRESSED}
)
"""Every transfer syntax that is taken, and how it writes headers. Each door refuses the others."""

# PS3.5 section 7.1.2: these have two reserved bytes and a 32-bit length, all others a 16-bit length
LONG = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_SHORT = frozenset(
    {
        b"AE",
        b"AS",
        b"AT",
        b"CS",
        b"DA",
        b"DS",
        b"DT",
        b"FL",
        b"FD",
        b"IS",
        b"LO",
        b"LT",
        b"PN",
        b"SH",
    }
    | {b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)
_NAMES = {vr: vr.decode() for vr in LONG | _SHORT}
_STRUCTS = {
    True: (struct.Struct("<HHI"), struct.Struct("<HH2sH"), struct.Struct("<I")),
    False: (struct.Struct(">HHI"), struct.Struct(">HH2sH"), struct.Struct(">I")),
}


class Element(NamedTuple):
    """Where one element's value stands. `vr` is empty where the syntax does not write it.

    `end` is the first byte after the value, with `undefined` length that after the delimiter.
    """

    vr: str
    start: int
    end: int
    undefined: bool = False


@dataclass(frozen=True)
class Scan:
    """A data set found whole: its top-level elements by tag, as offsets into `data`.

    For a deflated set `data` is the inflated head and `size` the inflated length; elements that
    begin after the head are not listed.
    """

    data: Buffer
    size: int
    coding: Coding
    elements: dict[int, Element]

    def raw(self, tag: int, limit: int = 65_536) -> bytes | None:
        """The value's bytes, at most `limit` of them; None when absent."""
        element = self.elements.get(tag)
        if element is None:
            return None
        return bytes(self.data[element.start : min(element.end, element.start + limit)])

    def items(self, tag: int, limit: int = 1) -> Iterator["Scan"]:
        """The first items of a sequence, each as a scan. Ends early at what cannot be read."""
        element = self.elements.get(tag)
        if element is None:
            return
        coding = _IMPLICIT if element.vr == "UN" else self.coding
        header = _STRUCTS[coding.little][0]
        at = element.start
        for _ in range(limit):
            if at + 8 > min(element.end, len(self.data)):
                return
            group, number, length = header.unpack_from(self.data, at)
            if group << 16 | number != ITEM:
                return
            whole = length == UNDEFINED
            end = element.end if whole else min(at + 8 + length, element.end)
            try:
                found, at = _elements(self.data, at + 8, end, end, coding, nested=True)
            except (Refusal, _BeyondHeadError):
                return
            yield Scan(self.data, self.size, coding, found)


class _BeyondHeadError(Exception):
    """The walk has left the part of an inflated set that was kept."""


def scan(data: Buffer, transfer_syntax: str) -> Scan:
    """Walk a data set (file meta aside) and say where its top-level elements are.

    Refuses with TRUNCATED what ends too early, with UNREADABLE what is no data set in this syntax.
    Tolerated, because devices send it: trailing padding, elements out of order, odd lengths, stray
    delimiters, unknown VRs.
    """
    coding = TRANSFER_SYNTAXES.get(transfer_syntax)
    if coding is None:
        raise Refusal(Code.UNREADABLE, "This transfer syntax is not taken here.")
    size = len(data)
    if coding.deflated:
        data, size = _inflated(data)
    if size > 132 and bytes(data[128:132]) == b"DICM":
        raise Refusal(Code.UNREADABLE, "This is a file with preamble, not a data set.")
    elements, _ = _elements(data, 0, len(data), size, coding, nested=False)
    if not elements:
        raise Refusal(Code.UNREADABLE, "The data set is empty.")
    return Scan(data, size, coding, elements)


def _inflated(data: Buffer) -> tuple[bytes, int]:
    """The head of a deflated set (PS3.5 section A.5) and its whole length in bytes.

    The stream's own end mark proves that nothing is missing, so the rest is counted, never kept.
    """
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    head = bytearray()
    size = at = 0
    pending: Buffer = b""
    allowed = min(MAX_INFLATED, max(_ALWAYS_INFLATED, len(data) * _MAX_RATIO))
    try:
        while not stream.eof:
            if not pending:  # piece by piece: what is not used up yet is copied each time
                pending = data[at : at + _PIECE]
                at += len(pending)
            part = stream.decompress(pending, _PIECE)
            pending = stream.unconsumed_tail
            size += len(part)
            if len(head) < HEAD_BYTES:
                head += part[: HEAD_BYTES - len(head)]
            if size > allowed:
                raise Refusal(Code.UNREADABLE, "The deflated data set inflates beyond any sense.")
            if not part and not pending and at >= len(data) and not stream.eof:
                raise Refusal(Code.TRUNCATED, "The deflated data set ends too early.")
    except zlib.error as error:
        raise Refusal(Code.UNREADABLE, "The data set is not a deflated one.") from error
    return bytes(head), size


def _elements(
    data: Buffer, at: int, stop: int, size: int, coding: Coding, *, nested: bool
) -> tuple[dict[int, Element], int]:
    """The elements from `at` to `size` and where they end; bytes before `stop` are at hand."""
    found: dict[int, Element] = {}
    while at < size:
        if at + 8 > stop:  # the last bytes, or the end of the head that was kept
            if stop == size:
                _only_padding(data, at, stop)
            return found, size
        tag, vr, start, length = _header(data, at, stop, coding)
        if tag in _DELIMITERS and not length:
            at += 8
            if nested and tag == ITEM_END:
                return found, at
            continue
        if not _LOWEST <= tag <= _HIGHEST or tag >> 16 == 0xFFFE:
            _only_padding(data, at, stop)
            return found, stop
        undefined = length == UNDEFINED
        if undefined:
            try:
                end = _skip_undefined(data, start, stop, size, coding, vr, tag)
            except _BeyondHeadError:
                return found, size
        else:
            end = start + length
            if end > size:
                raise _too_long(data, at, coding, tag, first=not found)
            if length > _SMALL and _holds_items(data, start, stop, vr, tag, coding):
                _refuse_endless_nesting(data, start, min(end, stop), coding, vr)
        element = Element(vr, start, end, undefined)
        _note(found, tag, element, data)
        at = end
    return found, at


def _note(found: dict[int, Element], tag: int, element: Element, data: Buffer) -> None:
    """Keep an element's place. What stands twice must say the same."""
    before = found.setdefault(tag, element)
    if (
        before is not element
        and data[before.start : before.end] != data[element.start : element.end]
    ):
        raise Refusal(Code.UNREADABLE, f"Element {tag:08X} stands twice, with two values.")
    if len(found) > MAX_ELEMENTS:
        raise Refusal(Code.UNREADABLE, "There are more elements than any object has.")


def _header(data: Buffer, at: int, stop: int, coding: Coding) -> tuple[int, str, int, int]:
    """One element's header (PS3.5 section 7.1): (tag, VR or "", start of the value, its length)."""
    four, explicit, length_only = _STRUCTS[coding.little]
    if coding.implicit:
        group, number, length = four.unpack_from(data, at)
        return group << 16 | number, "", at + 8, length
    group, number, code, length = explicit.unpack_from(data, at)
    tag = group << 16 | number
    if code in _SHORT:
        return tag, _NAMES[code], at + 8, length
    if group == 0xFFFE or not tag:
        return tag, "", at + 8, four.unpack_from(data, at)[2]
    if code not in LONG:
        return tag, *_unknown(data, at, stop, coding)
    if at + 12 > stop:
        raise Refusal(Code.TRUNCATED, "The data set ends inside of an element's header.")
    return tag, _NAMES[code], at + 12, length_only.unpack_from(data, at + 8)[0]


def _too_long(data: Buffer, at: int, coding: Coding, tag: int, *, first: bool) -> Refusal:
    """Why an element ends beyond the data set."""
    if first and coding.implicit and bytes(data[at + 4 : at + 6]) in _NAMES:
        return Refusal(Code.UNREADABLE, "The data set is not written in the negotiated syntax.")
    return Refusal(Code.TRUNCATED, f"Element {tag:08X} ends beyond the data set.")


def _only_padding(data: Buffer, at: int, stop: int) -> None:
    """Zero bytes after the last element are padding; anything else was cut or is nonsense."""
    if any(bytes(data[at:stop])):
        if stop - at < 8:
            raise Refusal(Code.TRUNCATED, "The data set ends inside of an element's header.")
        raise Refusal(Code.UNREADABLE, "The bytes are not a data set in the negotiated syntax.")


def _unknown(data: Buffer, at: int, stop: int, coding: Coding) -> tuple[str, int, int]:
    """An element whose VR is not in the standard: (VR, start of the value, length).

    Future VRs have the long form (PS3.5 section 6.2), old devices wrote "??" in the short one or an
    implicit header. The reading after which another element (or the end) follows is the right one.
    """
    four, explicit, length_only = _STRUCTS[coding.little]
    group, number, code, short = explicit.unpack_from(data, at)
    readings = [("UN", at + 8, short)]
    if short == 0 and at + 12 <= stop:
        readings.insert(0, ("UN", at + 12, length_only.unpack_from(data, at + 8)[0]))
    implicit = ("", at + 8, length_only.unpack_from(data, at + 4)[0])
    readings.insert(len(readings) if min(code) >= 0x20 else 0, implicit)
    for vr, start, length in readings:
        end = start + length
        if length == UNDEFINED and start + 8 <= stop:
            if _tag_at(data, start, four) in (ITEM, SEQUENCE_END):
                return vr, start, length
        elif end == stop or (end + 8 <= stop and _tag_at(data, end, four) > (group << 16 | number)):
            return vr, start, length
    raise Refusal(Code.UNREADABLE, "The bytes are not a data set in the negotiated syntax.")


def _tag_at(data: Buffer, at: int, header: struct.Struct) -> int:
    group, number, _ = header.unpack_from(data, at)
    return int(group << 16 | number)


def _holds_items(data: Buffer, start: int, stop: int, vr: str, tag: int, coding: Coding) -> bool:
    """Whether a value of known length may be read as a sequence by somebody."""
    if vr not in ("SQ", "UN", "") or tag == PIXEL_DATA or start + 8 > stop:
        return False
    return _tag_at(data, start, _STRUCTS[coding.little or vr == "UN"][0]) == ITEM


# --- inside of sequences -----------------------------------------------------------------------

_ITEMS, _ELEMENTS, _FRAGMENTS = range(3)


class _Frame(NamedTuple):
    """One level of the walk: what stands here, where it must end, whether its length was given."""

    holds: int
    limit: int
    defined: bool
    coding: Coding


def _skip_undefined(
    data: Buffer, start: int, stop: int, size: int, coding: Coding, vr: str, tag: int
) -> int:
    """The end of a value of undefined length: sequence (PS3.5 section 7.5) or fragments (A.4)."""
    if vr not in ("SQ", "UN", "", "OB", "OW"):
        raise Refusal(Code.UNREADABLE, f"Element {tag:08X} cannot have an undefined length.")
    holds = _FRAGMENTS if vr in ("OB", "OW") or tag == PIXEL_DATA else _ITEMS
    inner = _coding_inside(coding, vr)
    return _walk(data, start, stop, _Frame(holds, size, False, inner))


def _refuse_endless_nesting(data: Buffer, start: int, end: int, coding: Coding, vr: str) -> None:
    """Follow a sequence of known length only to see how deep it goes; other faults stay."""
    _walk(data, start, end, _Frame(_ITEMS, end, True, _coding_inside(coding, vr)))


def _coding_inside(coding: Coding, vr: str) -> Coding:
    """Inside of UN everything is implicit little endian (PS3.5 section 6.2.2, note 4)."""
    return _IMPLICIT if vr == "UN" else coding


def _walk(data: Buffer, at: int, stop: int, first: _Frame) -> int:
    """Walk one nested value to its end and return that offset, with a stack of its own."""
    stack = [first]
    while stack:
        frame = stack[-1]
        if frame.defined and at >= frame.limit:
            at = frame.limit
            stack.pop()
            continue
        try:
            at = _step(data, at, stop, stack)
        except _CutError as cut:
            # broken inside of a value whose length is known: that value is skipped, the set goes on
            while stack and not stack[-1].defined:
                stack.pop()
            if not stack:
                raise Refusal(cut.code, cut.message) from None
            at = stack.pop().limit
    return at


class _CutError(Exception):
    """Inside of the current level nothing more can be read."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def _step(data: Buffer, at: int, stop: int, stack: list[_Frame]) -> int:
    """Read one header of the innermost level: go in, go on, or go out. Returns the next offset."""
    frame = stack[-1]
    if at + 8 > frame.limit:
        raise _CutError(Code.TRUNCATED, "The data set ends inside of a sequence.")
    if at + 8 > stop:
        raise _BeyondHeadError
    if frame.holds is _ELEMENTS:
        return _step_element(data, at, stop, stack)
    group, number, length = _STRUCTS[frame.coding.little][0].unpack_from(data, at)
    tag = group << 16 | number
    at += 8
    if tag == SEQUENCE_END:
        if not frame.defined:
            stack.pop()
        return at
    if tag != ITEM:
        raise _CutError(Code.UNREADABLE, "A sequence holds something that is not an item.")
    if length == UNDEFINED:
        if frame.holds is _FRAGMENTS:
            raise _CutError(Code.UNREADABLE, "A fragment has no length.")
        _push(stack, _Frame(_ELEMENTS, frame.limit, False, _coding_of_item(data, at, stop, frame)))
        return at
    if at + length > frame.limit:
        raise _CutError(Code.TRUNCATED, "An item ends beyond the data set.")
    if frame.holds is _ITEMS and length > _SMALL:
        inner = _coding_of_item(data, at, stop, frame)
        _push(stack, _Frame(_ELEMENTS, at + length, True, inner))
        return at
    at += length
    return _skip_fragments(data, at, stop, frame) if frame.holds is _FRAGMENTS else int(at)


def _skip_fragments(data: Buffer, at: int, stop: int, frame: _Frame) -> int:
    """Go over whole fragments (PS3.5 section A.4) to the first thing that is none.

    There may be a hundred thousand of them in a mapped file; each look brings pages into memory
    that are not needed again.
    """
    header = _STRUCTS[frame.coding.little][0]
    limit = min(stop, frame.limit)
    seen = 0
    while at + 8 <= limit:
        group, number, length = header.unpack_from(data, at)
        if group << 16 | number != ITEM or at + 8 + length > limit:
            break
        at += 8 + length
        seen += 1
        if seen % _RELAX == 0:
            _relax(data)
    return at


def _relax(data: Buffer) -> None:
    mapped = data.obj if isinstance(data, memoryview) else None
    if isinstance(mapped, mmap.mmap):
        mapped.madvise(mmap.MADV_DONTNEED)


def _step_element(data: Buffer, at: int, stop: int, stack: list[_Frame]) -> int:
    """Read one element's header inside of an item."""
    frame = stack[-1]
    coding = frame.coding
    try:
        tag, vr, start, length = _header(data, at, min(stop, frame.limit), coding)
    except Refusal as refusal:
        raise _CutError(refusal.code, refusal.message) from None
    if tag >> 16 == 0xFFFE:
        if tag == ITEM_END and not frame.defined:
            stack.pop()
        elif tag != ITEM_END:
            raise _CutError(Code.UNREADABLE, "An item is not closed.")
        return at + 8
    if length == UNDEFINED:
        holds = _FRAGMENTS if vr in ("OB", "OW") or tag == PIXEL_DATA else _ITEMS
        _push(stack, _Frame(holds, frame.limit, False, _coding_inside(coding, vr)))
        return start
    if start + length > frame.limit:
        raise _CutError(Code.TRUNCATED, f"Element {tag:08X} ends beyond the data set.")
    if length > _SMALL and _holds_items(data, start, stop, vr, tag, coding):
        _push(stack, _Frame(_ITEMS, start + length, True, _coding_inside(coding, vr)))
        return start
    return int(start + length)


def _coding_of_item(data: Buffer, at: int, stop: int, frame: _Frame) -> Coding:
    """Items of UN should be implicit; some devices leave them explicit. The first VR tells."""
    if frame.coding.implicit and at + 6 <= stop and bytes(data[at + 4 : at + 6]) in _NAMES:
        return _EXPLICIT
    return frame.coding


def _push(stack: list[_Frame], frame: _Frame) -> None:
    if len(stack) >= MAX_DEPTH:
        raise Refusal(Code.UNREADABLE, "Sequences are nested without end.")
    stack.append(frame)
