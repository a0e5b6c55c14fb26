"""How are DIMSE command sets read and written? (PS3.7 section 6.3)"""

import struct
from io import BytesIO
from typing import Any, Final

from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA

from gateway.dicom.store import Answer

PDU: Final = struct.Struct(">BxI")
PDV: Final = struct.Struct(">IBB")
_ELEMENT = struct.Struct("<HHI")
_SHORT = struct.Struct("<H")
_LONG = struct.Struct("<I")
P_DATA_TF: Final = 4

# element numbers of group 0000
AFFECTED_CLASS, REQUESTED_CLASS = 0x0002, 0x0003
COMMAND_FIELD, MESSAGE_ID, ANSWERED_ID, DATA_SET_TYPE, STATUS, COMMENT = (
    0x0100,
    0x0110,
    0x0120,
    0x0800,
    0x0900,
    0x0902,
)
AFFECTED_INSTANCE, REQUESTED_INSTANCE, EVENT_TYPE, ACTION_TYPE = 0x1000, 0x1001, 0x1002, 0x1008

# PS3.7 annex E.1-1, Command Field
C_STORE_RQ: Final = 0x0001
C_CANCEL_RQ: Final = 0x0FFF
RESPONSE: Final = 0x8000
NO_DATA_SET: Final = b"\x01\x01"

Command = dict[int, bytes]


class ProtocolError(Exception):
    """The peer sent what PS3.7 or PS3.8 do not allow here, or more than we take."""


def command_elements(raw: bytes) -> Command:
    """The values of a command set by element number; all are of group 0000."""
    found: Command = {}
    at = 0
    while at < len(raw):
        if at + 8 > len(raw):
            raise ProtocolError("a command that was cut")
        group, number, length = _ELEMENT.unpack_from(raw, at)
        if group or at + 8 + length > len(raw):
            raise ProtocolError("a command nobody can read")
        found[number] = raw[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def number(command: Command, element: int) -> int:
    """An unsigned short of the command; 0 where it is missing or broken."""
    value = command.get(element, b"")
    return int(_SHORT.unpack(value)[0]) if len(value) == _SHORT.size else 0


def uid(command: Command, element: int) -> str:
    """A UID of the command as sent, without padding; "" where it is missing."""
    return command.get(element, b"").strip(b"\0 ").decode("ascii", "replace")


def store_response(context: int, command: Command, answer: Answer) -> bytes:
    """A C-STORE-RSP (PS3.7 table 9.3-2) as one P-DATA-TF PDU."""
    return _response(
        context,
        (
            (AFFECTED_CLASS, command.get(AFFECTED_CLASS, b"")[:64]),
            (COMMAND_FIELD, b"\x01\x80"),
            (ANSWERED_ID, command.get(MESSAGE_ID, b"\x00\x00")[:2]),
            (DATA_SET_TYPE, NO_DATA_SET),
            (STATUS, _SHORT.pack(answer.status)),
            (COMMENT, answer.comment[:64].encode("ascii", "replace")),
            (AFFECTED_INSTANCE, command.get(AFFECTED_INSTANCE, b"")[:64]),
        ),
    )


def response(context: int, command: Command, status: int) -> bytes:
    """The response to any request, without a data set, as one P-DATA-TF PDU: the request's own
    names, and a status (PS3.7 sections 9.3 and 10.3)."""
    sop_class = command.get(AFFECTED_CLASS) or command.get(REQUESTED_CLASS, b"")
    instance = command.get(AFFECTED_INSTANCE) or command.get(REQUESTED_INSTANCE, b"")
    return _response(
        context,
        (
            (AFFECTED_CLASS, sop_class[:64]),
            (COMMAND_FIELD, _SHORT.pack(number(command, COMMAND_FIELD) | RESPONSE)),
            (ANSWERED_ID, command.get(MESSAGE_ID, b"\x00\x00")[:2]),
            (DATA_SET_TYPE, NO_DATA_SET),
            (STATUS, _SHORT.pack(status)),
            (AFFECTED_INSTANCE, instance[:64]),
            (EVENT_TYPE, command.get(EVENT_TYPE, b"")[:2]),
            (ACTION_TYPE, command.get(ACTION_TYPE, b"")[:2]),
        ),
    )


def primitive_of(context: int, raw: bytes, data: bytes) -> Any:
    """pynetdicom's own primitive of a message, from its command set and data set."""
    whole = P_DATA()
    whole.presentation_data_value_list.append((context, b"\x03" + raw))
    if data:
        whole.presentation_data_value_list.append((context, b"\x02" + data))
    message = DIMSEMessage()
    message.data_set = BytesIO()
    try:
        message.decode_msg(whole)
        return message.message_to_primitive()
    except Exception as error:
        raise ProtocolError(f"a message nobody can read ({type(error).__name__})") from None


def command_set(values: tuple[tuple[int, bytes], ...]) -> bytes:
    """A command set of these elements of group 0000, in their order; those without a value are left
    out."""
    body = b"".join([_element(element, value) for element, value in values if value])
    return _element(0x0000, _LONG.pack(len(body))) + body


def data_pdus(context: int, raw: bytes, most: int, control: int) -> bytes:
    """A whole command set (control 1) or data set (0) as P-DATA-TF PDUs of at most `most` bytes
    (PS3.8 section 9.3.5, annex E.2)."""
    size = max(most - 6, 1)
    if len(raw) <= size:
        return _pdv(context, control | 2, raw)
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    whole = [_pdv(context, control, piece) for piece in pieces[:-1]]
    return b"".join([*whole, _pdv(context, control | 2, pieces[-1])])


def _response(context: int, values: tuple[tuple[int, bytes], ...]) -> bytes:
    return _pdv(context, 3, command_set(values))


def _pdv(context: int, control: int, raw: bytes) -> bytes:
    return PDU.pack(P_DATA_TF, len(raw) + 6) + PDV.pack(len(raw) + 2, context, control) + raw


def _element(element: int, value: bytes) -> bytes:
    if len(value) % 2:
        value += b" " if element == COMMENT else b"\x00"
    return _ELEMENT.pack(0, element, len(value)) + value
