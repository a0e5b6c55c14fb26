"""What does a compressed frame say about itself?"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SOI, _SOF55 = b"\xff\xd8", 0xF7
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_NO_FRAME = {0xC4, 0xC8, 0xCC}
_SOF = set(range(0xC0, 0xD0)) - _NO_FRAME | {_SOF55}


@dataclass(frozen=True, slots=True)
class Codestream:
    """Size of a JPEG, JPEG-LS or JPEG 2000 frame, and what its markers say of colour.

    `reads_as_rgb` is how a JPEG decoder without further knowledge takes three components: False
    when it will convert them from YCbCr (the rules of libjpeg: JFIF, Adobe marker, component ids).
    """

    rows: int
    columns: int
    components: int
    precision: int
    reads_as_rgb: bool = False
    says_ycbcr: bool = False


def codestream(frame: bytes) -> Codestream | None:
    """Header of a compressed frame; None when there is none that this reads (RLE, damaged)."""
    try:
        if frame.startswith(_SOI):
            return _jpeg(frame)
        at = frame.find(b"\xff\x4f\xff\x51", 0, 512)
        return _jpeg2000(frame[at:]) if at >= 0 else None
    except (struct.error, IndexError):
        return None


def _jpeg(frame: bytes) -> Codestream | None:
    """Frame header of ISO 10918-1 (B.2.2) or 14495-1 (C.2.2)."""
    at, jfif, adobe = 2, False, None
    while at + 4 <= len(frame):
        if frame[at] != 0xFF:
            return None
        marker = frame[at + 1]
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = struct.unpack_from(">H", frame, at + 2)[0]
        body = frame[at + 4 : at + 2 + length]
        if marker == 0xE0 and body.startswith(b"JFIF"):
            jfif = True
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        elif marker in _SOF:
            precision, rows, columns, components = struct.unpack_from(">BHHB", body)
            ids = tuple(body[6 + 3 * n] for n in range(components))
            says_ycbcr = jfif or (adobe == 1)
            return Codestream(
                rows,
                columns,
                components,
                precision,
                reads_as_rgb=not jfif and (adobe == 0 or (adobe is None and ids == (82, 71, 66))),
                says_ycbcr=says_ycbcr,
            )
        elif marker in {0xDA, 0xD9}:
            return None
        at += 2 + length
    return None


def _jpeg2000(frame: bytes) -> Codestream:
    """SIZ marker of ISO 15444-1 (A.5.1)."""
    right, bottom, left, top = struct.unpack_from(">4L", frame, 8)
    components, precision = struct.unpack_from(">HB", frame, 40)
    return Codestream(bottom - top, right - left, components, (precision & 0x7F) + 1)
