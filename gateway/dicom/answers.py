"""What does a C-FIND answer hold, and how is it encoded (PS3.4 section C.4.1.1.3.2)?

Encoded here: pydicom takes a hundred times as long for the same bytes.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, Final

from pydicom.datadict import dictionary_VR
from sqlalchemy import Row

from gateway.dicom.identifier import CHARACTER_SET, LEVEL, Identifier
from storage import requested
from storage.query import Level
from storage.scan import LONG, Coding
from worklist.characters import Encoder, encoder_for

RETRIEVE_AE_TITLE: Final = 0x00080054
AVAILABILITY: Final = 0x00080056
_PLAIN, _UNICODE = Encoder(()), Encoder(("ISO_IR 192",))
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")

Value = str | None


@dataclass(frozen=True)
class _Attribute:
    """One attribute that is answered: from which fields of `storage.query`, and as which text."""

    level: Level
    fields: tuple[str, ...]
    text: Callable[..., Value]


def _plain(value: Any) -> Value:
    return None if value is None else str(value)


def _date(value: date | None) -> Value:
    return None if value is None else f"{value:%Y%m%d}"


def _several(values: Iterable[str] | None) -> Value:
    return "\\".join(values or ())


def _kept(tag: str) -> Callable[..., Value]:
    def text(attributes: Mapping[str, Any]) -> Value:
        return _several(str(value) for value in attributes.get(tag, {}).get("Value") or ())

    return text


def _groups(found: Mapping[str, Any]) -> str:
    return "=".join(found.get(group, "") for group in _GROUPS).rstrip("=")


def _person(tag: str) -> Callable[..., Value]:
    """A name with all its component groups, else as it is shown."""

    def text(attributes: Mapping[str, Any], shown: str | None) -> Value:
        values = attributes.get(tag, {}).get("Value") or ()
        return "\\".join(_groups(one) for one in values) or shown or None

    return text


def _several_frames(value: int) -> Value:
    return str(value) if value > 1 else None


_ATTRIBUTES: Mapping[int, _Attribute] = MappingProxyType(
    {
        0x00080016: _Attribute("instances", ("sop_class",), _plain),
        0x00080018: _Attribute("instances", ("sop_uid",), _plain),
        0x00080020: _Attribute("studies", ("study_date",), _date),
        0x00080030: _Attribute("studies", ("study_time",), _plain),
        0x00080050: _Attribute("studies", ("accession",), _plain),
        0x00080060: _Attribute("series", ("modality",), _plain),
        0x00080061: _Attribute("studies", ("modalities",), _several),
        0x00080062: _Attribute("studies", ("sop_classes",), _plain),
        0x00080090: _Attribute("studies", ("attributes", "requester"), _person("00080090")),
        0x00080201: _Attribute("studies", ("attributes",), _kept("00080201")),
        0x00081030: _Attribute("studies", ("description",), _plain),
        0x0008103E: _Attribute("series", ("series_description",), _plain),
        0x00083002: _Attribute("instances", ("transfer_syntax",), _plain),
        0x00100010: _Attribute("patients", ("attributes", "patient_name"), _person("00100010")),
        0x00100020: _Attribute("patients", ("patient_id",), _plain),
        0x00100021: _Attribute("patients", ("attributes",), _kept("00100021")),
        0x00100030: _Attribute("patients", ("birth_date",), _date),
        0x00100040: _Attribute("patients", ("sex",), _plain),
        0x00101010: _Attribute("studies", ("attributes",), _kept("00101010")),
        0x00101020: _Attribute("studies", ("attributes",), _kept("00101020")),
        0x00101030: _Attribute("studies", ("attributes",), _kept("00101030")),
        0x00180015: _Attribute("series", ("body_part",), _plain),
        0x0020000D: _Attribute("studies", ("study_uid",), _plain),
        0x0020000E: _Attribute("series", ("series_uid",), _plain),
        0x00200010: _Attribute("studies", ("attributes",), _kept("00200010")),
        0x00200011: _Attribute("series", ("series_number",), _plain),
        0x00200013: _Attribute("instances", ("instance_number",), _plain),
        0x00201200: _Attribute("patients", ("patient_studies",), _plain),
        0x00201202: _Attribute("patients", ("patient_series",), _plain),
        0x00201204: _Attribute("patients", ("patient_instances",), _plain),
        0x00201206: _Attribute("studies", ("series_count",), _plain),
        0x00201208: _Attribute("studies", ("instance_count",), _plain),
        0x00201209: _Attribute("series", ("series_instances",), _plain),
        0x00280008: _Attribute("instances", ("frames",), _several_frames),
        0x00280010: _Attribute("instances", ("rows",), _plain),
        0x00280011: _Attribute("instances", ("columns",), _plain),
    }
)
ANSWERED: Final = frozenset(_ATTRIBUTES) | {RETRIEVE_AE_TITLE, AVAILABILITY, requested.SEQUENCE}
"""Every attribute that may come back with a value."""
_ORDER: tuple[Level, ...] = ("patients", "studies", "series", "instances")


class Answers:
    """How the matches of one query are answered: exactly the keys that were asked for, empty where
    they are not known, and where to retrieve from."""

    def __init__(self, identifier: Identifier, coding: Coding, ae_title: str) -> None:
        self._coding = coding
        self._terms = () if identifier.text.guessed else identifier.text.character_set
        self._wanted: list[tuple[int, str, Callable[..., Value], tuple[int, ...]]] = []
        self._fixed: dict[int, bytes] = {}
        fields: dict[str, int] = {}
        reach = _ORDER[: _ORDER.index(identifier.level) + 1]
        self._inside: list[tuple[int, str]] = []
        self._requests = 0
        for tag, vr in _asked(identifier):
            if tag == requested.SEQUENCE and "series" in reach:
                self._requests = fields.setdefault("series_attributes", len(fields) + 1)
                self._inside = _inside(identifier)
                continue
            found = _ATTRIBUTES.get(tag)
            if found is None or found.level not in reach:
                self._set(self._fixed, tag, vr, b"")
                continue
            places = tuple(fields.setdefault(name, len(fields) + 1) for name in found.fields)
            self._wanted.append((tag, vr, found.text, places))
        self._set(self._fixed, LEVEL, "CS", identifier.level_name.encode())
        self._set(self._fixed, RETRIEVE_AE_TITLE, "AE", ae_title.encode("ascii", "replace"))
        if AVAILABILITY in identifier.found.elements:
            self._set(self._fixed, AVAILABILITY, "CS", b"ONLINE")
        self.fields = tuple(fields)

    def answer(self, row: Row[Any]) -> bytes:
        """One match, from a row of `self.fields`: an encoded data set."""
        texts = [
            (tag, vr, text(*(row[at] for at in places)) or "")
            for tag, vr, text, places in self._wanted
        ]
        items = requested.requests_of(row[self._requests]) if self._requests else []
        held = (text for item in items for text in item.values())
        whole = "\\".join([*(text for _, _, text in texts), *held])
        # none for plain ASCII; what the device named where it has all the signs; else UTF-8
        if whole.isascii():
            encoder = _PLAIN
        else:
            encoder = encoder_for(self._terms, [whole]) if self._terms else _UNICODE
        elements = dict(self._fixed)
        if encoder.character_set:
            term = "\\".join(encoder.character_set)
            self._set(elements, CHARACTER_SET, "CS", term.encode())
        for tag, vr, text in texts:
            self._set(elements, tag, vr, self._bytes(vr, text, encoder))
        if self._requests:
            self._set(elements, requested.SEQUENCE, "SQ", self._items(items, encoder))
        return b"".join(elements[tag] for tag in sorted(elements))

    def _bytes(self, vr: str, text: str, encoder: Encoder) -> bytes:
        if vr == "US":
            return struct.pack("<H" if self._coding.little else ">H", int(text)) if text else b""
        return encoder.encode(text, vr)

    def _items(self, items: list[dict[int, str]], encoder: Encoder) -> bytes:
        """Request Attributes Sequence: of each item what was asked for."""
        head = struct.Struct("<HHI" if self._coding.little else ">HHI")
        written = []
        for item in items:
            inside = b"".join(
                self._element(tag, vr, encoder.encode(item.get(tag, ""), vr))
                for tag, vr in self._inside
            )
            written.append(head.pack(0xFFFE, 0xE000, len(inside)) + inside)
        return b"".join(written)

    def _set(self, elements: dict[int, bytes], tag: int, vr: str, value: bytes) -> None:
        elements[tag] = self._element(tag, vr, value)

    def _element(self, tag: int, vr: str, value: bytes) -> bytes:
        if len(value) % 2:
            value += b"\0" if vr == "UI" else b" "
        order = "<" if self._coding.little else ">"
        if self._coding.implicit:
            head = struct.pack(f"{order}HHI", tag >> 16, tag & 0xFFFF, len(value))
        elif vr.encode() in LONG:
            head = struct.pack(
                f"{order}HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(value)
            )
        else:
            value = value[:0xFFFE]
            head = struct.pack(f"{order}HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value))
        return head + value


def _asked(identifier: Identifier) -> list[tuple[int, str]]:
    """Tags and VRs of what shall come back, beyond what always does."""
    always = (CHARACTER_SET, LEVEL, RETRIEVE_AE_TITLE, AVAILABILITY)
    return [
        (tag, element.vr or _vr(tag))
        for tag, element in sorted(identifier.found.elements.items())
        if tag not in always and tag & 0xFFFF
    ]


def _inside(identifier: Identifier) -> list[tuple[int, str]]:
    """Tags and VRs that an item of Request Attributes Sequence comes back with."""
    item = next(identifier.found.items(requested.SEQUENCE), None)
    elements = item.elements if item else {}
    asked = [(tag, one.vr or _vr(tag)) for tag, one in sorted(elements.items()) if tag & 0xFFFF]
    return asked or [(tag, "SH") for tag in requested.KEYS]


def _vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return "UN"
