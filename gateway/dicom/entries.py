"""How does an order read as an entry of the Modality Worklist (PS3.4 table K.6-1)?

An entry maps tags to text, or to items (entries again) where the attribute is a sequence. What was
asked for is cut out of it and encoded once, here.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from pydicom.datadict import dictionary_VR

from storage.scan import LONG, Coding
from worklist.characters import Encoder, encoder_for
from worklist.order import Order, OrderState, ProcedureCode
from worklist.priority import to_dicom

CHARACTER_SET: Final = 0x00080005
PATIENT_NAME: Final = 0x00100010
STEP: Final = 0x00400100  # Scheduled Procedure Step Sequence
STATION: Final = 0x00400001  # Scheduled Station AE Title
DATE: Final = 0x00400002
TIME: Final = 0x00400003
PERFORMER: Final = 0x00400006  # Scheduled Performing Physician's Name
_STUDY: Final = (
    "1.2.840.10008.3.1.2.3.1"  # Detached Study Management: what is referenced is retired
)
_LONGEST: Final = 64  # LO

Value = str | tuple["Entry", ...]
Entry = Mapping[int, Value]


@dataclass(frozen=True)
class Key:
    """One key of a query: its VR, its value as text, and for a sequence the keys of its item (empty
    where the whole item is asked for)."""

    vr: str
    value: str = ""
    item: Mapping[int, "Key"] = field(default_factory=dict)


Keys = Mapping[int, Key]

# what always comes back (type 1 and 1C of table K.6-1)
_STEP_ALWAYS = MappingProxyType(
    {
        0x00080060: Key("CS"),
        STATION: Key("AE"),
        DATE: Key("DA"),
        TIME: Key("TM"),
        0x00400007: Key("LO"),
        0x00400009: Key("SH"),
    }
)
_ALWAYS: Keys = MappingProxyType(
    {
        PATIENT_NAME: Key("PN"),
        0x00100020: Key("LO"),
        0x0020000D: Key("UI"),
        0x00321060: Key("LO"),
        STEP: Key("SQ", item=_STEP_ALWAYS),
        0x00401001: Key("SH"),
    }
)


def entry_of(order: Order, zone: ZoneInfo) -> Entry:
    """Everything the worklist says of an order, in the wall clock time of its Site."""
    asked = order.asked
    at = asked.scheduled_at.astimezone(zone)
    codes = _codes(asked.code)
    requester = "^".join((asked.requester or "").split(" ", 1))
    referenced: Entry = {0x00081150: _STUDY, 0x00081155: order.study_uid}
    step: Entry = {
        0x00080060: asked.modality,
        STATION: asked.station or "",
        DATE: f"{at:%Y%m%d}",
        TIME: f"{at:%H%M%S}",
        PERFORMER: "",
        0x00400007: asked.procedure,
        0x00400008: codes,
        0x00400009: order.step_id,
        0x00400020: "STARTED" if order.state is OrderState.IN_PROGRESS else "SCHEDULED",
    }
    return {
        0x00080050: order.accession,
        0x00080090: requester,
        0x00080201: f"{at:%z}",
        0x00081110: (referenced,),
        PATIENT_NAME: "=".join(asked.name_groups).rstrip("="),
        0x00100020: asked.patient_id,
        0x00100030: f"{asked.birth_date:%Y%m%d}" if asked.birth_date else "",
        0x00100040: asked.sex or "",
        0x00102154: asked.phone or "",
        0x0020000D: order.study_uid,
        0x00321032: requester,
        0x00321060: asked.procedure,
        0x00321064: codes,
        STEP: (step,),
        0x00401001: order.requested_procedure_id,
        0x00401002: _line(asked.question or ""),
        0x00401003: to_dicom(asked.priority),
        0x00401400: asked.question or "",
    }


def answer(entry: Entry, keys: Keys, coding: Coding, asked_in: tuple[str, ...]) -> bytes:
    """The keys that were asked for with the entry's values (empty where it has none), and what
    always comes back: an encoded data set in the character set of the query where every sign fits,
    else in UTF-8. `keys` are those of `answered`."""
    shown = _cut(entry, keys)
    encoder = encoder_for(asked_in, _texts(shown))
    if encoder.character_set:
        shown = {CHARACTER_SET: "\\".join(encoder.character_set), **shown}
    return _item(shown, keys, coding, encoder)


def answered(keys: Keys) -> Keys:
    """The keys of a query with those that always come back."""
    return _with(keys, _ALWAYS)


def vr_of(tag: int) -> str:
    """The VR by the dictionary of PS3.6; UN for what is not in it."""
    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return "UN"


def _codes(code: ProcedureCode | None) -> tuple[Entry, ...]:
    if code is None:
        return ()
    return ({0x00080100: code.value, 0x00080102: code.scheme, 0x00080104: code.meaning},)


def _line(text: str) -> str:
    """The beginning of a longer text as one value of LO."""
    return " ".join(text.replace("\\", "/").split())[:_LONGEST].rstrip()


def _with(keys: Keys, always: Keys) -> Keys:
    """The keys with those that always come back."""
    merged = {**always, **keys}
    for tag, needed in always.items():
        given = keys.get(tag)
        if given is not None and given.item:  # otherwise the whole item comes back
            merged[tag] = Key(given.vr, given.value, _with(given.item, needed.item))
    return dict(sorted(merged.items()))


def _cut(entry: Entry, keys: Keys) -> Entry:
    shown: dict[int, Value] = {}
    for tag, key in keys.items():
        value = entry.get(tag, () if key.vr == "SQ" else "")
        if isinstance(value, tuple) and key.item:
            value = tuple(_cut(item, key.item) for item in value)
        shown[tag] = value
    return shown


def _texts(entry: Entry) -> Iterator[str]:
    for value in entry.values():
        if isinstance(value, str):
            yield value
        else:
            for item in value:
                yield from _texts(item)


# --- bytes ---------------------------------------------------------------------------------------

_ITEM: Final = 0xFFFEE000


def _bytes(value: Value, key: Key | None, coding: Coding, encoder: Encoder) -> tuple[str, bytes]:
    """VR and value of one attribute."""
    if isinstance(value, str):
        vr = key.vr if key else "UN"
        return vr, _even(encoder.encode(value, vr), vr)
    inside = key.item if key else {}
    items = (_item(one, inside, coding, encoder) for one in value)
    return "SQ", b"".join(_tag(_ITEM, coding) + _length(one, coding) + one for one in items)


def _item(entry: Entry, keys: Keys, coding: Coding, encoder: Encoder) -> bytes:
    written = []
    for tag, value in sorted(entry.items()):
        vr, raw = _bytes(value, keys.get(tag) or Key(vr_of(tag)), coding, encoder)
        written.append(_tag(tag, coding) + _head(vr, raw, coding) + raw)
    return b"".join(written)


def _head(vr: str, raw: bytes, coding: Coding) -> bytes:
    """VR and length (PS3.5 section 7.1)."""
    if coding.implicit:
        return _length(raw, coding)
    if vr.encode() in LONG:
        return vr.encode() + b"\0\0" + _length(raw, coding)
    return vr.encode() + struct.pack("<H" if coding.little else ">H", len(raw))


def _tag(tag: int, coding: Coding) -> bytes:
    return struct.pack("<HH" if coding.little else ">HH", tag >> 16, tag & 0xFFFF)


def _length(raw: bytes, coding: Coding) -> bytes:
    return struct.pack("<I" if coding.little else ">I", len(raw))


def _even(value: bytes, vr: str) -> bytes:
    return value + (b"\0" if vr == "UI" else b" ") if len(value) % 2 else value
