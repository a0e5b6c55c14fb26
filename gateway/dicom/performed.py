"""What does a device say that it has performed (PS3.4 table F.7.2-1)?"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.dicom.entries import vr_of
from storage.charset import Text, text_of
from storage.matching import clock_range
from storage.scan import Scan, scan
from worklist.errors import Refusal
from worklist.procedure import Scheduled, StepState

MISSING, EMPTY, INVALID = 0x0120, 0x0121, 0x0106
"""No such attribute, attribute without value, invalid value (PS3.7 annex C.5)."""
UNREADABLE: Final = 0x0110

STATUS: Final = 0x00400252
SCHEDULED: Final = 0x00400270  # Scheduled Step Attributes Sequence
SERIES: Final = 0x00400340  # Performed Series Sequence
STATION: Final = 0x00400241
MODALITY: Final = 0x00080060
START: Final = (0x00400244, 0x00400245)
END: Final = (0x00400250, 0x00400251)
_STEP_ID: Final = 0x00400253
_STUDY_UID: Final = 0x0020000D
_SERIES_UID: Final = 0x0020000E
_INSTANCES: Final = (0x00081140, 0x00400220)  # Referenced Image, Non-Image Composite SOP Instance
_INSTANCE_UID: Final = 0x00081155
_WHY: Final = 0x00400281  # Performed Procedure Step Discontinuation Reason Code Sequence

# type 1 when it begins; type 2 may be missing here, for devices leave them out
_AT_BEGIN: Final = (STATION, MODALITY, *START, _STEP_ID, STATUS)
# what says whose and which it is: set once, when it begins
_FIXED: Final = frozenset(
    {SCHEDULED, STATION, MODALITY, *START, _STEP_ID, 0x00400242, 0x00400243, 0x00200010}
)
_PATIENT: Final = range(0x00100000, 0x00110000)
_TEXTUAL: Final = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI", "UT"}
)
_UID = re.compile(r"[0-9.]{1,64}")
_DA = re.compile(r"\d{8}")
_MOST_ITEMS: Final = 1 << 16
_DEEPEST: Final = 5

Model = Mapping[str, Any]


class WrongStep(Exception):
    """The attributes of a step are not as they should be: status (PS3.4 tables F.7.2-2 and F.7.2-3)
    and the attribute it is about; no value of it is repeated."""

    def __init__(self, status: int, tag: int | None = None) -> None:
        super().__init__(status, tag)
        self.status = status
        self.tag = tag


@dataclass(frozen=True)
class Told:
    """What one message tells. `model` is a DICOM JSON model of it, the instances aside."""

    found: Scan
    text: Text
    model: Model

    def value(self, tag: int) -> str:
        """One value, "" where it says nothing."""
        return (self.text.line(tag, 256) or "").strip()

    def required(self, tag: int) -> str:
        """The value of a type 1 attribute. Raises `WrongStep`."""
        if tag not in self.found.elements:
            raise WrongStep(MISSING, tag)
        value = self.value(tag)
        if not value:
            raise WrongStep(EMPTY, tag)
        return value

    def items(self, tag: int) -> Iterator[tuple[Scan, Text]]:
        """The items of a sequence."""
        for item in self.found.items(tag, _MOST_ITEMS):
            yield item, text_of(item, self.text)


def read(raw: bytes, transfer_syntax: str) -> Told:
    """Read the attributes of an N-CREATE or N-SET. Raises `WrongStep`."""
    try:
        found = scan(raw, transfer_syntax)
    except Refusal as refusal:
        raise WrongStep(UNREADABLE) from refusal
    text = text_of(found)
    return Told(found, text, MappingProxyType(_model(found, text, _DEEPEST)))


def check_begin(told: Told) -> None:
    """Everything that a new step must say. Raises `WrongStep`."""
    if SCHEDULED not in told.found.elements:
        raise WrongStep(MISSING, SCHEDULED)
    for tag in _AT_BEGIN:
        told.required(tag)
    if state_of(told) is not StepState.IN_PROGRESS:
        raise WrongStep(INVALID, STATUS)


def state_of(told: Told) -> StepState | None:
    """Performed Procedure Step Status; None where the message does not speak of it."""
    if STATUS not in told.found.elements:
        return None
    try:
        return StepState(told.required(STATUS))
    except ValueError as error:
        raise WrongStep(INVALID, STATUS) from error


def scheduled_of(told: Told) -> tuple[Scheduled, ...]:
    """For which orders it was done; none for a step that nobody scheduled."""
    found = []
    for item, text in told.items(SCHEDULED):
        if _STUDY_UID not in item.elements:
            raise WrongStep(MISSING, _STUDY_UID)
        uid = text.line(_STUDY_UID, 64) or ""
        if not uid:
            raise WrongStep(EMPTY, _STUDY_UID)
        found.append(Scheduled(_uid(uid, _STUDY_UID), text.line(0x00080050, 64)))
    return tuple(found)


def instances_of(told: Told) -> frozenset[str] | None:
    """The SOP Instance UIDs of everything it made; None where the message does not speak of it."""
    if SERIES not in told.found.elements:
        return None
    return frozenset(
        _uid(uid, _INSTANCE_UID)
        for series, text in told.items(SERIES)
        for tag in _INSTANCES
        for item in series.items(tag, _MOST_ITEMS)
        if (uid := text_of(item, text).line(_INSTANCE_UID, 64))
    )


def instant_of(model: Model, tags: tuple[int, int], zone: ZoneInfo) -> datetime | None:
    """Date and time as one instant by the Site's clock; None where there is neither."""
    day, clock = (_first(model, tag) for tag in tags)
    if not day and not clock:
        return None
    if not _DA.fullmatch(day or ""):
        raise WrongStep(INVALID, tags[0])
    moment = clock_range(clock or "")
    if moment is None:
        raise WrongStep(INVALID, tags[1])
    try:
        date = datetime.strptime(day or "", "%Y%m%d").date()  # noqa: DTZ007 - the zone comes next
        return datetime.combine(date, moment[0], zone)
    except ValueError as error:
        raise WrongStep(INVALID, tags[0]) from error


def merged(before: Model, told: Told) -> Model:
    """The step's attributes after an N-SET: each attribute it names takes the place of the old one.

    What belongs to the beginning stays; devices send it again, and it is no error of theirs.
    """
    new = {
        tag: value
        for tag, value in told.model.items()
        if int(tag, 16) not in _FIXED and int(tag, 16) not in _PATIENT
    }
    return {**before, **new}


def check_end(model: Model, state: StepState) -> None:
    """Everything that a step must say once it has ended ("Final State" of table F.7.2-1)."""
    for tag in END:
        _need(model, tag)
    if state is StepState.DISCONTINUED:  # perhaps before anything was made
        return
    _need(model, SERIES)
    for item in model[f"{SERIES:08X}"]["Value"]:
        _need(item, _SERIES_UID)


def why_of(model: Model) -> tuple[str, str] | None:
    """The code (value, scheme) of why it was discontinued."""
    items = model.get(f"{_WHY:08X}", {}).get("Value") or ()
    for item in items:
        value, scheme = _first(item, 0x00080100), _first(item, 0x00080102)
        if value and scheme:
            return value, scheme
    return None


def _need(model: Model, tag: int) -> None:
    found = model.get(f"{tag:08X}")
    if found is None:
        raise WrongStep(MISSING, tag)
    if not found.get("Value"):
        raise WrongStep(EMPTY, tag)


def _first(model: Model, tag: int) -> str | None:
    values = model.get(f"{tag:08X}", {}).get("Value") or ()
    return str(values[0]).strip() if values else None


def is_uid(value: str) -> bool:
    """Whether it can be a UID (PS3.5 section 9.1)."""
    return _UID.fullmatch(value) is not None


def _uid(value: str, tag: int) -> str:
    if not is_uid(value):
        raise WrongStep(INVALID, tag)
    return value


# --- the model (PS3.18 annex F) ------------------------------------------------------------------


def _model(found: Scan, text: Text, depth: int) -> dict[str, Any]:
    """Text and sequences; numbers in binary and what nobody knows are left out, and the instances,
    which are kept by themselves."""
    model: dict[str, Any] = {}
    for tag, element in sorted(found.elements.items()):
        vr = element.vr if element.vr not in ("", "UN") else vr_of(tag)
        if vr == "SQ" and depth and tag not in _INSTANCES:
            values: list[Any] = [
                _model(item, text_of(item, text), depth - 1)
                for item in found.items(tag, _MOST_ITEMS)
            ]
        elif vr in _TEXTUAL:
            line = text.line(tag, 4096) or ""
            values = _SPLIT.get(vr, _several)(line) if line else []
        else:
            continue
        model[f"{tag:08X}"] = {"vr": vr, "Value": values} if values else {"vr": vr}
    return model


def _several(line: str) -> list[Any]:
    return [one.strip() for one in line.split("\\")]


def _names(line: str) -> list[Any]:
    groups = ("Alphabetic", "Ideographic", "Phonetic")
    return [
        {group: part for group, part in zip(groups, one.split("="), strict=False) if part}
        for one in line.split("\\")
    ]


_SPLIT: Mapping[str, Callable[[str], list[Any]]] = MappingProxyType(
    {"PN": _names, **dict.fromkeys(("LT", "ST", "UT"), lambda line: [line])}
)
