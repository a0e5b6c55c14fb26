"""How does a kept instance get onto an association, whatever its size?

Its bytes are read from the store in pieces and sent as they are where the peer takes the syntax
they are in; otherwise they pass through `viewers.image.transcode` on the way.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydicom.uid import UID
from pynetdicom.presentation import PresentationContext
from sqlalchemy import Row

from gateway.dicom.messages import command_set, data_pdus
from gateway.dicom.outgoing import Line, LostError, Piece, fragments
from gateway.dicom.wire import PeerGoneError
from gateway.imaging import DECODING
from gateway.objectfile import object_file
from storage.objects import Objects
from viewers.image.transcode import TARGETS, transcoded
from viewers.image.unreadable import Unreadable

FIELDS: Final = (
    *("study_key", "site", "sop_uid", "sop_class", "transfer_syntax"),
    *("locator", "offset", "length"),
)
"""What of an instance's row (`storage.query`) is needed here."""

MOST_CONTEXTS: Final = 128  # PS3.8 section 7.1.1.13: odd numbers up to 255
_FALLBACKS: Final = TARGETS[:2]
_PIECE: Final = 1 << 20
_WARNINGS: Final = 0xB000


@dataclass(frozen=True)
class Originator:
    """Who asked for it (PS3.7 section 9.1.1.1): AE Title and Message ID of the C-MOVE."""

    ae_title: str
    message_id: int


def proposed(rows: Sequence[Row[Any]]) -> list[PresentationContext]:
    """Contexts for these instances: each stored syntax alone, so that the peer answers for each,
    and what everything can be made into. As many as fit."""
    wanted: dict[tuple[str, str], None] = {}
    for row in rows:
        own = [
            (row.sop_class, syntax) for syntax in dict.fromkeys((row.transfer_syntax, *_FALLBACKS))
        ]
        if len(wanted.keys() | set(own)) <= MOST_CONTEXTS:
            wanted |= dict.fromkeys(own)
    return [_context(*pair) for pair in wanted]


def _context(sop_class: str, syntax: str) -> PresentationContext:
    made = PresentationContext()
    made.abstract_syntax = UID(sop_class)
    made.transfer_syntax = [UID(syntax)]
    return made


def send(
    line: Line,
    row: Row[Any],
    objects: Objects,
    message_id: int,
    originator: Originator | None,
) -> int:
    """Send one instance by C-STORE; the status of the peer.

    Raises:
        Unreadable: the peer does not take the stored syntax, and nothing it takes can be made.
        LostError: the association broke, or the peer does not answer.
        OSError, Refusal: the object cannot be read.
    """
    context = _chosen(line, row)
    parts = _parts(objects, row, str(context.transfer_syntax[0]))
    part = next(parts, b"")  # what cannot be read or made shows before anything is sent
    number = int(context.context_id or 0)
    command = store_request(row, message_id, originator)
    pieces: list[Piece] = [data_pdus(number, command, line.most, 1)]
    try:
        for following in parts:
            line.send([*pieces, *fragments(number, part, line.most, last=False)])
            pieces, part = [], following
    except (LostError, PeerGoneError):
        raise
    except Exception as error:
        if pieces:  # nothing was sent yet
            raise
        line.abort()  # a peer that has half of an instance must not keep it
        raise LostError from error
    line.send([*pieces, *fragments(number, part, line.most, last=True)])
    return line.answer(message_id)


def _chosen(line: Line, row: Row[Any]) -> PresentationContext:
    """The accepted context: the stored syntax, else the best of what can be made."""
    taken = {
        str(context.transfer_syntax[0]): context
        for context in line.contexts
        if context.abstract_syntax == row.sop_class and context.as_scu
    }
    for syntax in (row.transfer_syntax, *TARGETS):
        if syntax in taken:
            return taken[syntax]
    raise Unreadable("transfer_syntax", "the device takes no syntax that can be made of it")


def _parts(objects: Objects, row: Row[Any], syntax: str) -> Iterator[bytes]:
    if syntax != row.transfer_syntax:
        source = object_file(objects, row.locator, row.length)
        with DECODING:
            made = transcoded(
                source, start=row.offset, transfer_syntax=row.transfer_syntax, to=syntax
            )
        yield from made
        return
    for at in range(row.offset, row.length, _PIECE):
        wanted = min(_PIECE, row.length - at)
        piece = objects.read(row.locator, at, wanted)
        if len(piece) != wanted:
            raise Unreadable("truncated", "the kept object is shorter than it was")
        yield piece


def is_warning(status: int) -> bool:
    """Whether the peer kept the instance with a remark (PS3.4 table B.2-1)."""
    return status & 0xF000 == _WARNINGS or status == 1


# --- the command -------------------------------------------------------------------------------


def store_request(row: Row[Any], message_id: int, originator: Originator | None) -> bytes:
    """The command set of a C-STORE-RQ (PS3.7 table 9.3-1)."""
    values = [
        (0x0002, row.sop_class.encode()),
        (0x0100, b"\x01\x00"),
        (0x0110, struct.pack("<H", message_id)),
        (0x0700, b"\x00\x00"),  # medium priority
        (0x0800, b"\x00\x00"),  # there is a data set
        (0x1000, row.sop_uid.encode()),
    ]
    if originator is not None:
        title = originator.ae_title.encode("ascii", "replace")
        values.append((0x1030, title + b" " * (len(title) % 2)))
        values.append((0x1031, struct.pack("<H", originator.message_id)))
    return command_set(tuple(values))
