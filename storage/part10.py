"""What stands before the data set in a kept object?

A DICOM file (PS3.10 section 7): preamble, prefix, File Meta Information. The meta information is
ours: it carries Site, calling AE Title and time of receipt, so that the index can be rebuilt from
the objects alone.
"""

import json
import struct
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
