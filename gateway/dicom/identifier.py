"""What does the identifier of a query or a retrieval ask for (PS3.4 sections C.2.2 and C.6)?"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from types import MappingProxyType
from typing import Final

from storage import requested
from storage.charset import Text, text_of
from storage.matching import (
    Between,
    Clock,
    Item,
    Like,
    Match,
    Moment,
    OneOf,
    clock_range,
    is_wild,
    name_patterns,
    pattern,
)
from storage.query import KEYS, MODALITIES, MOMENT, REQUESTED, SOP_CLASSES, STUDY_ID, Level
from storage.scan import Scan, scan
from worklist.errors import Refusal

LEVEL: Final = 0x00080052
CHARACTER_SET: Final = 0x00080005
_MOST: Final = 1 << 16  # bytes of one value
_MOST_PATTERNS: Final = 16  # each one is a condition of the statement
_DA = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_UID = re.compile(r"[0-9.]{1,64}")

_LEVELS: Mapping[str, Level] = MappingProxyType(
    {"PATIENT": "patients", "STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}
)
# the unique key of each level (PS3.4 section C.6.1.1)
UNIQUE: Mapping[Level, tuple[int, str]] = MappingProxyType(
    {
        "patients": (0x00100020, "patient_id"),
        "studies": (0x0020000D, "study_uid"),
        "series": (0x0020000E, "series_uid"),
        "instances": (0x00080018, "sop_uid"),
    }
)

_PATIENT: tuple[Level, ...] = ("patients", "studies", "series", "instances")
_STUDY: tuple[Level, ...] = ("studies", "series", "instances")
_PATIENT_STUDY: tuple[Level, ...] = ("patients", "studies")
_ROOT: Final = "1.2.840.10008.5.1.4.1.2."
MODELS: Mapping[str, tuple[Level, ...]] = MappingProxyType(
    {
        f"{_ROOT}{root}.{service}": levels
        for root, levels in ((1, _PATIENT), (2, _STUDY), (3, _PATIENT_STUDY))
        for service in (1, 2, 3)
    }
)
"""The levels of each information model, by the SOP class of its C-FIND (.1), C-MOVE, C-GET."""


class WrongIdentifier(Exception):
    """The identifier cannot be served: status (PS3.4 tables C.4-1 to C.4-3), a comment without any
    value of the identifier, and the element it is about."""

    def __init__(self, status: int, comment: str, element: int | None = None) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment
        self.element = element


@dataclass(frozen=True)
class Identifier:
    """An identifier as sent: its level, its data set, and how its text is read."""

    level: Level
    level_name: str
    found: Scan
    text: Text

    def value(self, tag: int) -> str:
        """The value of a key, "" where it says nothing."""
        return self.text.line(tag, _MOST) or ""


def read_identifier(raw: bytes, transfer_syntax: str, sop_class: str) -> Identifier:
    """Read it, and find its level. Raises `WrongIdentifier`."""
    try:
        found = scan(raw, transfer_syntax)
    except Refusal as refusal:
        raise WrongIdentifier(0xC000, "The identifier cannot be read.") from refusal
    text = text_of(found)
    name = (text.line(LEVEL, 64) or "").upper()
    level = _LEVELS.get(name)
    if level is None or level not in MODELS[sop_class]:
        comment = "Query/Retrieve Level is not one of this model."
        raise WrongIdentifier(0xA900, comment, LEVEL)
    return Identifier(level, name, found, text)


def keys_above(identifier: Identifier, sop_class: str) -> dict[str, Match]:
    """The unique keys of the levels above, one value each (PS3.4 section C.4.1.2.1)."""
    levels = MODELS[sop_class]
    above = levels[: levels.index(identifier.level)]
    keys: dict[str, Match] = {}
    for level in above:
        tag, key = UNIQUE[level]
        value = identifier.value(tag)
        if not value or is_wild(value) or "\\" in value:
            comment = "A unique key of a level above needs one value."
            raise WrongIdentifier(0xA900, comment, tag)
        keys[key] = OneOf((value,))
    return keys


def keys_to_retrieve(
    identifier: Identifier, sop_class: str, *, relational: bool
) -> dict[str, Match]:
    """What is to be sent: unique keys only (PS3.4 section C.4.2.2.1). Raises `WrongIdentifier`."""
    tag, key = UNIQUE[identifier.level]
    values = _listed(identifier.value(tag))
    if not values or any(is_wild(value) for value in values):
        raise WrongIdentifier(0xA900, "The unique key of the level needs a value.", tag)
    if key == "patient_id" and len(values) > 1:
        raise WrongIdentifier(0xA900, "One Patient ID at a time.", tag)
    if not relational:
        return {**keys_above(identifier, sop_class), key: OneOf(values)}
    keys: dict[str, Match] = {key: OneOf(values)}
    for level in MODELS[sop_class][: MODELS[sop_class].index(identifier.level)]:
        above, name = UNIQUE[level]
        if given := _listed(identifier.value(above)):
            keys[name] = OneOf(given)
    return keys


# --- keys that are matched ---------------------------------------------------------------------

# key of the index by tag, and how its value is read
_Reader = Callable[[str], Match | None]


def _listed(value: str) -> tuple[str, ...]:
    return tuple(one for part in value.split("\\") if (one := part.strip()))


def _uids(value: str) -> Match | None:
    values = _listed(value)
    if not all(_UID.fullmatch(one) for one in values):
        raise ValueError("not a UID")
    return OneOf(values)


def _text(value: str) -> OneOf | Like:
    if is_wild(value):
        return Like((pattern(value),), case=True)
    return OneOf(_listed(value) or (value,))


def _codes(value: str) -> Match | None:
    values = tuple(dict.fromkeys(one.upper() for one in _listed(value)))
    if any(is_wild(one) for one in values):
        if len(values) > _MOST_PATTERNS:
            raise ValueError("more wildcards than anybody asks for")
        return Like(tuple(pattern(one) for one in values), case=True)
    return OneOf(values)


def _name(value: str) -> Match | None:
    return Like(name_patterns(value))


def _number(value: str) -> Match | None:
    return OneOf((int(value),))


def _dates(value: str) -> Match | None:
    first, last = _ends(value)
    if first == last and first is not None and "-" not in _plain(value):
        return OneOf((day_of_key(first),))
    return Between(day_of_key(first) if first else None, day_of_key(last) if last else None)


def _times(value: str) -> Match | None:
    first, last = _ends(value)
    return Clock(_moment(first)[0] if first else None, _moment(last)[1] if last else None)


def _plain(value: str) -> str:
    """A range with its dash; the retired form of a date may have dots, never dashes."""
    return re.sub(r"\s", "", value)


def _ends(value: str) -> tuple[str, str]:
    first, dash, last = _plain(value).partition("-")
    if not dash:
        return first, first
    if not first and not last:
        raise ValueError("a range without ends")
    return first, last


def day_of_key(value: str) -> date:
    """A DA of a query, the retired form with dots too; ValueError for what is none."""
    found = _DA.fullmatch(value)
    if found is None:
        raise ValueError("not a date")
    return date(*(int(part) for part in found.groups()))


def _moment(value: str) -> tuple[time, time]:
    found = clock_range(value)
    if found is None:
        raise ValueError("not a time")
    return found


_STUDY_DATE, _STUDY_TIME = 0x00080020, 0x00080030
_MATCHED: Mapping[int, tuple[str, _Reader]] = MappingProxyType(
    {
        0x00080016: ("sop_class", _uids),
        0x00080018: ("sop_uid", _uids),
        _STUDY_DATE: ("study_date", _dates),
        _STUDY_TIME: ("study_time", _times),
        0x00080050: ("accession", _text),
        0x00080060: ("modality", _codes),
        0x00080061: (MODALITIES, _codes),
        0x00080062: (SOP_CLASSES, _uids),
        0x00080090: ("requester", _name),
        0x00081030: ("description", _text),
        0x0008103E: ("series_description", _text),
        0x00100010: ("patient_name", _name),
        0x00100020: ("patient_id", _text),
        0x00100030: ("birth_date", _dates),
        0x00100040: ("sex", _codes),
        0x00180015: ("body_part", _codes),
        0x0020000D: ("study_uid", _uids),
        0x0020000E: ("series_uid", _uids),
        0x00200010: (STUDY_ID, _text),
        0x00200011: ("series_number", _number),
        0x00200013: ("instance_number", _number),
    }
)
MATCHED: Final = frozenset(_MATCHED) | {requested.SEQUENCE}
"""Every key that is matched."""
# they speak of the query itself
_NOT_KEYS: Final = frozenset({CHARACTER_SET, LEVEL, 0x00080054, 0x00080056, 0x00080201})


@dataclass(frozen=True)
class Asked:
    """The keys that are matched, and whether there were others with a value: these are not."""

    keys: Mapping[str, Match]
    unmatched: bool


def keys_to_match(identifier: Identifier, *, combined: bool) -> Asked:
    """Every key with a value; `combined`: date and time are one (PS3.4 section C.2.2.2.5).

    Raises `WrongIdentifier` for a value that its VR does not allow.
    """
    keys: dict[str, Match] = {}
    unmatched = False
    for tag in identifier.found.elements:
        if tag in _NOT_KEYS or is_universal(identifier, tag):
            continue
        if tag == requested.SEQUENCE and REQUESTED in KEYS[identifier.level]:
            item, missed = _item(identifier)
            unmatched = unmatched or missed
            keys |= {REQUESTED: item} if item.keys else {}
            continue
        key, read = _MATCHED.get(tag, ("", _text))
        if key not in KEYS[identifier.level]:
            unmatched = True
            continue
        match = _read(identifier, tag, read)
        if match is not None:
            keys[key] = match
    if combined and {"study_date", "study_time"} <= keys.keys():
        together = _together(identifier)
        if together is not None:
            del keys["study_date"], keys["study_time"]
            keys[MOMENT] = together
    return Asked(MappingProxyType(keys), unmatched)


def _item(identifier: Identifier) -> tuple[Item, bool]:
    """The keys in the item of Request Attributes Sequence, and whether there are others."""
    first = next(identifier.found.items(requested.SEQUENCE))
    text = text_of(first, identifier.text)
    said = {tag: value for tag in first.elements if (value := _said(text, tag))}
    keys = {tag: _text(value) for tag, value in said.items() if tag in requested.KEYS}
    others = any(tag not in requested.KEYS and not _nothing(first, tag) for tag in first.elements)
    return Item(MappingProxyType(keys)), others


def _said(text: Text, tag: int) -> str:
    value = (text.line(tag, _MOST) or "").strip()
    return value if value.strip("*") else ""


def is_universal(identifier: Identifier, tag: int) -> bool:
    """Whether a key matches everything: no value, only `*`, or a sequence of such items (PS3.4
    sections C.2.2.2.3 and C.2.2.2.6)."""
    element = identifier.found.elements[tag]
    if element.vr == "SQ" or is_sequence(identifier, tag):
        return all(_says_nothing(item) for item in identifier.found.items(tag, 16))
    return not (identifier.text.line(tag, _MOST) or "").strip(" *")


def is_sequence(identifier: Identifier, tag: int) -> bool:
    """Whether an element without VR holds items."""
    raw = identifier.found.raw(tag, 4) or b""
    return identifier.found.coding.implicit and raw == b"\xfe\xff\x00\xe0"


def _says_nothing(item: Scan) -> bool:
    return all(_nothing(item, tag) for tag in item.elements)


def _nothing(item: Scan, tag: int) -> bool:
    return not (item.raw(tag) or b"").strip(b"\0 *") or (
        any(True for _ in item.items(tag)) and all(map(_says_nothing, item.items(tag, 16)))
    )


def _read(identifier: Identifier, tag: int, read: _Reader) -> Match | None:
    try:
        return read(identifier.value(tag))
    except (ValueError, OverflowError) as error:
        comment = "A key has a value that its VR does not allow."
        raise WrongIdentifier(0xC000, comment, tag) from error


def _together(identifier: Identifier) -> Moment | None:
    """Date and time as one range; None where one of them is a single value."""
    days, clocks = _plain(identifier.value(_STUDY_DATE)), _plain(identifier.value(_STUDY_TIME))
    if "-" not in days or "-" not in clocks:
        return None
    (day_1, day_2), (clock_1, clock_2) = _ends(days), _ends(clocks)
    start = _moment(clock_1)[0] if clock_1 else time.min
    end = _moment(clock_2)[1] if clock_2 else time.max
    return Moment(
        datetime.combine(day_of_key(day_1), start) if day_1 else None,
        datetime.combine(day_of_key(day_2), end) if day_2 else None,
    )
