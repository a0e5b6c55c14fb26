"""What stands before the data set in a kept object?

A DICOM file (PS3.10 section 7): preamble, prefix, File Meta Information. The meta information is
ours: it carries Site, calling AE Title and time of receipt, so that the index can be rebuilt from
the objects alone.
"""

import json
import struct
from dataclasses import dataclass
from datetime import datetime

IMPLEMENTATION_UID = "2.25.218407914230211284506921135083726315021"
IMPLEMENTATION_VERSION = "TELEREAD_0_1"
# creator of the private information, our own root below 2.25
PRIVATE_CREATOR = "2.25.337195466119470871930126803721545011736"

_LONG = frozenset({"OB", "UN"})


def file_meta(
    *,
    sop_class: str,
    sop_uid: str,
    transfer_syntax: str,
    calling: str,
    called: str,
    site: str,
    received_at: datetime,
) -> bytes:
    """Preamble, "DICM" and the group 0002 elements in Explicit VR Little Endian."""
    private = json.dumps({"site": site, "received_at": received_at.isoformat()}).encode()
    group = b"".join(
        (
            _element(0x0001, "OB", b"\0\1"),
            _element(0x0002, "UI", sop_class.encode()),
            _element(0x0003, "UI", sop_uid.encode()),
            _element(0x0010, "UI", transfer_syntax.encode()),
            _element(0x0012, "UI", IMPLEMENTATION_UID.encode()),
            _element(0x0013, "SH", IMPLEMENTATION_VERSION.encode()),
            _element(0x0016, "AE", calling.encode()),
            _element(0x0018, "AE", called.encode()),
            _element(0x0100, "UI", PRIVATE_CREATOR.encode()),
            _element(0x0102, "OB", private),
        )
    )
    length = _element(0x0000, "UL", struct.pack("<I", len(group)))
    return bytes(128) + b"DICM" + length + group


def _element(element: int, vr: str, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB") else b" "
    head = struct.pack("<HH2s", 2, element, vr.encode())
    if vr in _LONG:
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


@dataclass(frozen=True)
class Meta:
    """What our file meta says; `offset` is where the data set begins."""

    sop_class: str
    sop_uid: str
    transfer_syntax: str
    calling: str
    called: str
    site: str
    received_at: datetime
    offset: int


def read_meta(head: bytes) -> Meta:
    """The file meta at the beginning of a kept object. ValueError where it is not ours or not
    whole."""
    try:
        elements, end = _elements(head)
        private = json.loads(elements[0x0102].rstrip(b"\0"))
        texts = {name: elements[at].rstrip(b"\0 ").decode("ascii") for name, at in _TEXTS.items()}
        return Meta(
            **texts,
            site=private["site"],
            received_at=datetime.fromisoformat(private["received_at"]),
            offset=end,
        )
    except (struct.error, KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError("this file meta is not ours") from error


_TEXTS = {
    "sop_class": 0x0002,
    "sop_uid": 0x0003,
    "transfer_syntax": 0x0010,
    "calling": 0x0016,
    "called": 0x0018,
}
_BEGIN = 132  # bytes of the preamble and "DICM"


def _elements(head: bytes) -> tuple[dict[int, bytes], int]:
    """The group 0002 elements, and where they end."""
    if head[128:_BEGIN] != b"DICM":
        raise ValueError("no DICM")
    (length,) = struct.unpack_from("<I", head, _BEGIN + 8)
    at, end = _BEGIN + 12, _BEGIN + 12 + length
    if end > len(head):
        raise ValueError("cut")
    found = {}
    while at < end:
        group, element, vr = struct.unpack_from("<HH2s", head, at)
        long = vr.decode("ascii") in _LONG
        (size,) = struct.unpack_from("<I" if long else "<H", head, at + (8 if long else 6))
        at += 12 if long else 8
        if group != 2 or at + size > end:
            raise ValueError("not an element of group 0002")
        found[element] = head[at : at + size]
        at += size
    return found, end
