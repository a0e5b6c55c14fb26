"""Which attributes are taken from a data set, and how are they made safe?

What comes out is text that can be shown and stored: decoded by Specific Character Set or, where the
bytes are not what it says, by what they are; without control characters; bounded in length. Only
for its identifiers an instance is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from storage.charset import Text, text_of
from storage.dates import day_of, instant_of, instant_of_text, offset_of
from storage.requested import requests_in
from storage.scan import PIXEL_DATA, TRANSFER_SYNTAXES, Buffer, Element, Scan, scan
from worklist.errors import Code, Refusal
from worklist.patient import Patient

Kind = Literal["image", "ecg", "pdf", "other"]

_ROOT = "1.2.840.10008.5.1.4.1.1."
_ECG_CLASSES = frozenset(f"{_ROOT}9.1.{n}" for n in range(1, 5))  # 12-lead, general, ambulatory
_PDF_CLASS = f"{_ROOT}104.1"
# they have pixels that mean nothing to a reader: segmentations, parametric maps, dose
_NOT_SHOWN = frozenset({f"{_ROOT}66.4", f"{_ROOT}66.7", f"{_ROOT}30", f"{_ROOT}481.2"})
# Modality (0008,0060) of classes that leave no choice, for devices that send none
_MODALITIES = {f"{_ROOT}2": "CT", f"{_ROOT}4": "MR", f"{_ROOT}6.1": "US", f"{_ROOT}3.1": "US"} | {
    f"{_ROOT}1": "CR",
    f"{_ROOT}1.1": "DX",
    f"{_ROOT}1.2": "MG",
}

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_ECG_WORDS = re.compile(r"(?<![A-Za-z])(ECG|EKG)(?![A-Za-z])|心电", re.IGNORECASE)
_PIXELS = (PIXEL_DATA, 0x7FE00008, 0x7FE00009)
_PIXEL_PROVIDER: Final = 0x00287FE0
_PRESENT: Final = frozenset({*_PIXELS, _PIXEL_PROVIDER})
_REQUEST: Final = 0x00400275  # Request Attributes Sequence

# Values beyond the columns that answers to queries carry (PS3.18 section 10.6), by tag and VR.
_FURTHER: Mapping[int, str] = {
    0x00080008: "CS",  # Image Type
    0x00080070: "LO",  # Manufacturer
    0x00080080: "LO",  # Institution Name
    0x00080090: "PN",  # Referring Physician's Name
    0x00080201: "SH",  # Timezone Offset From UTC
    0x00081010: "SH",  # Station Name
    0x00081040: "LO",  # Institutional Department Name
    0x00081090: "LO",  # Manufacturer's Model Name
    0x00100010: "PN",  # Patient's Name
    0x00100021: "LO",  # Issuer of Patient ID
    0x00101010: "AS",  # Patient's Age
    0x00101020: "DS",  # Patient's Size
    0x00101030: "DS",  # Patient's Weight
    0x00181000: "LO",  # Device Serial Number
    0x00181030: "LO",  # Protocol Name
    0x00200010: "SH",  # Study ID
    0x00200052: "UI",  # Frame of Reference UID
    0x00200060: "CS",  # Laterality
    0x00280004: "CS",  # Photometric Interpretation
    0x00400244: "DA",  # Performed Procedure Step Start Date
    0x00400245: "TM",  # Performed Procedure Step Start Time
}


@dataclass(frozen=True)
class Header:
    """What one instance says about itself. Texts are safe to show; absent ones are None.

    Dates and times (DA, TM, DT) are strings as received. `character_set` holds the terms of
    (0008,0005) by which the data set's text should be read, corrected where `charset_guessed`:
    then `labelled` is what it says and `charset_confidence` (0 to 1) how sure the correction is.
    `attributes` is a DICOM JSON object (PS3.18 annex F) of further values.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    kind: Kind
    modality: str
    patient: Patient
    accession: str | None
    study_description: str | None
    series_description: str | None
    protocol_name: str | None
    document_title: str | None
    body_part: str | None
    series_number: int | None
    instance_number: int | None
    study_date: str | None
    study_time: str | None
    acquisition_date: str | None
    acquisition_time: str | None
    acquisition_datetime: str | None
    content_date: str | None
    content_time: str | None
    timezone_offset: str | None
    requester: str | None
    priority: str | None
    question: str | None
    rows: int | None
    columns: int | None
    frames: int
    frame_time_ms: float | None
    manufacturer: str | None
    model: str | None
    station_name: str | None
    institution_name: str | None
    character_set: tuple[str, ...]
    charset_guessed: bool
    labelled: tuple[str, ...] = ()
    charset_confidence: float = 1.0
    attributes: dict[str, Any] = field(default_factory=dict)
    series_attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def about_ecg(self) -> bool:
        """Whether the words of this instance say that it shows an electrocardiogram."""
        said = (
            self.study_description,
            self.series_description,
            self.protocol_name,
            self.document_title,
        )
        return any(text and _ECG_WORDS.search(text) for text in said)

    def acquired_at(self, zone: ZoneInfo) -> datetime | None:
        """When the recording began, in UTC; None where nothing usable was sent.

        Times without an offset of their own are read by Timezone Offset From UTC (0008,0201, PS3.3
        C.12.1.1.8), else in the zone of the Site.
        """
        offset = offset_of(self.timezone_offset or "") or zone
        pairs = (
            (self.acquisition_date, self.acquisition_time),
            (self.content_date, self.content_time),
            (self.study_date, self.study_time),
        )
        found = instant_of_text(self.acquisition_datetime, offset)
        for day, clock in pairs:
            found = found or instant_of(day, clock, offset)
        return found


def read_header(dataset: Buffer, transfer_syntax: str) -> Header:
    """Read the header of a data set (file meta aside).

    Refuses what is cut or unreadable (see `storage.scan`), images without their pixels, and
    identifiers that are missing (MISSING_UID) or break PS3.5 section 9.1 (INVALID_UID).
    """
    found = scan(dataset, transfer_syntax)
    series = found.raw(0x0020000E, 256) or b""
    before = _recent.get(series)
    if before is not None and before.values == _values(found, transfer_syntax, before.tags):
        return _next_of_series(before, found)
    noted = _Noted(found.elements)
    header, text = _read(replace(found, elements=noted))
    tags = tuple(noted.tags - _OWN)
    if len(_recent) >= _MOST_RECENT:
        _recent.clear()
    _recent[series] = _Before(
        tags, _values(found, transfer_syntax, tags), header, replace(text, scan=_NOTHING)
    )
    return header


# --- the next instance of a series -------------------------------------------------------------
# says the same as the one before, but for a few elements. Which elements a header was made of is
# noted while it is made: where all of them are the same bytes again, only its own are read.

_OWN: Final = frozenset(
    {0x00080018, 0x00200013}  # SOP Instance UID, Instance Number
    | {0x00080022, 0x00080032, 0x0008002A, 0x00080023, 0x00080033}  # acquisition, content
)
_NOTHING: Final = Scan(b"", 0, TRANSFER_SYNTAXES["1.2.840.10008.1.2.1"], {})
_MOST_RECENT: Final = 256
_LONGEST: Final = 2048  # bytes of one value that is remembered


class _Noted(dict[int, Element]):
    """Elements that remember which tags were asked for."""

    def __init__(self, elements: dict[int, Element]) -> None:
        super().__init__(elements)
        self.tags: set[int] = set()

    def __contains__(self, tag: object) -> bool:
        return isinstance(tag, int) and self.get(tag) is not None

    def __getitem__(self, tag: int) -> Element:
        self.tags.add(tag)
        return super().__getitem__(tag)

    def get(self, tag: int, default: Any = None) -> Any:
        self.tags.add(tag)
        return super().get(tag, default)


@dataclass(frozen=True)
class _Before:
    """A header, what it was made of, and how its text is read."""

    tags: tuple[int, ...]
    values: list[object]
    header: Header
    text: Text


_recent: dict[bytes, _Before] = {}


def _values(found: Scan, transfer_syntax: str, tags: tuple[int, ...]) -> list[object]:
    """What stands under these tags; of pixels only whether they are there. Long values are never
    the same."""
    values: list[object] = [transfer_syntax, found.size == len(found.data)]
    elements, data = found.elements, found.data
    for tag in tags:
        element = elements.get(tag)
        if element is None or tag in _PRESENT:
            values.append(element is not None)
        elif element.end - element.start > _LONGEST:
            values.append(object())
        else:
            values.append((element.vr, bytes(data[element.start : element.end])))
    return values


def _next_of_series(before: _Before, found: Scan) -> Header:
    text = replace(before.text, scan=found)
    return replace(
        before.header,
        sop_uid=_uid(found, 0x00080018, "SOP Instance UID"),
        instance_number=text.integer(0x00200013),
        acquisition_date=text.line(0x00080022, 32),
        acquisition_time=text.line(0x00080032, 32),
        acquisition_datetime=text.line(0x0008002A, 64),
        content_date=text.line(0x00080023, 32),
        content_time=text.line(0x00080033, 32),
    )


def _read(found: Scan) -> tuple[Header, Text]:
    sop_class = _uid(found, 0x00080016, "SOP Class UID")
    sop_uid = _uid(found, 0x00080018, "SOP Instance UID")
    study_uid = _uid(found, 0x0020000D, "Study Instance UID")
    series_uid = _uid(found, 0x0020000E, "Series Instance UID")
    _require_pixels(found)
    text = text_of(found)
    request = next((text_of(item, text) for item in found.items(_REQUEST)), None)
    kind = _kind(found, text, sop_class)
    header = Header(
        study_uid=study_uid,
        series_uid=series_uid,
        sop_uid=sop_uid,
        sop_class=sop_class,
        kind=kind,
        modality=_modality(text, sop_class, kind),
        patient=_patient(text),
        accession=text.line(0x00080050, 64),
        study_description=text.line(0x00081030) or _procedure(found, text, request),
        series_description=text.line(0x0008103E),
        protocol_name=text.line(0x00181030),
        document_title=text.line(0x00420010, 512),
        body_part=text.line(0x00180015, 64),
        series_number=text.integer(0x00200011),
        instance_number=text.integer(0x00200013),
        study_date=text.line(0x00080020, 32),
        study_time=text.line(0x00080030, 32),
        acquisition_date=text.line(0x00080022, 32),
        acquisition_time=text.line(0x00080032, 32),
        acquisition_datetime=text.line(0x0008002A, 64),
        content_date=text.line(0x00080023, 32),
        content_time=text.line(0x00080033, 32),
        timezone_offset=text.line(0x00080201, 16),
        requester=_shown(text, 0x00080090) or _shown(text, 0x00321032),
        priority=_priority(text, request),
        question=_question(text, request),
        rows=text.short(0x00280010),
        columns=text.short(0x00280011),
        frames=max(text.integer(0x00280008) or 1, 1),
        frame_time_ms=_frame_time(text),
        manufacturer=text.line(0x00080070),
        model=text.line(0x00081090),
        station_name=text.line(0x00081010),
        institution_name=text.line(0x00080080),
        character_set=text.character_set,
        charset_guessed=text.guessed,
        labelled=text.labelled,
        charset_confidence=text.confidence,
        attributes=_attributes(found, text),
        series_attributes=requests_in(found, text) if request else {},
    )
    return header, text


# --- identifiers -------------------------------------------------------------------------------


def _uid(found: Scan, tag: int, name: str) -> str:
    """A UID without its padding, or a refusal (PS3.5 section 9.1).

    Leading zeros in a component are against the standard but common, and harm nobody.
    """
    return checked_uid((found.raw(tag, 256) or b"").decode("ascii", "replace"), name)


def checked_uid(text: str, name: str) -> str:
    """The UID without its padding, or a refusal that calls it by its name."""
    text = text.strip("\0 ")
    if not text:
        raise Refusal(Code.MISSING_UID, f"There is no {name}.")
    if len(text) > 64 or not _UID.fullmatch(text):
        raise Refusal(Code.INVALID_UID, f"The {name} is not a UID.")
    return text


def _require_pixels(found: Scan) -> None:
    """An image description without pixels was cut between two elements (PS3.3 C.7.6.3)."""
    elements = found.elements
    described = all(tag in elements for tag in (0x00280010, 0x00280011, 0x00280100, 0x00280103))
    cut = described and _PIXEL_PROVIDER not in elements and not any(t in elements for t in _PIXELS)
    if cut and found.size == len(found.data):
        raise Refusal(Code.TRUNCATED, "The data set describes an image but holds no pixels.")


def _kind(found: Scan, text: Text, sop_class: str) -> Kind:
    if sop_class in _ECG_CLASSES:
        return "ecg"
    if sop_class == _PDF_CLASS:
        return "pdf"
    if sop_class in _NOT_SHOWN:
        return "other"
    has_pixels = any(tag in found.elements for tag in _PIXELS)
    return "image" if has_pixels or (text.short(0x00280010) and text.short(0x00280011)) else "other"


def _modality(text: Text, sop_class: str, kind: Kind) -> str:
    """Modality as sent, upper case; where none was sent, what the class leaves no doubt about."""
    sent = (text.line(0x00080060, 16) or "").upper()
    return sent or _MODALITIES.get(sop_class, "ECG" if kind == "ecg" else "")


# --- who, what, why ----------------------------------------------------------------------------


def _patient(text: Text) -> Patient:
    name, latin = _shown_and_latin(text, 0x00100010)
    sex = (text.line(0x00100040, 16) or "").upper()[:1]
    return Patient(
        name=name or "",
        name_latin=latin,
        patient_id=text.line(0x00100020),
        sex=sex if sex in ("M", "F", "O") else None,
        birth_date=day_of(text.line(0x00100030, 32)),
    )


def _shown_and_latin(text: Text, tag: int) -> tuple[str | None, str | None]:
    return shown_name(*text.person(tag))


def shown_name(
    alphabetic_group: str, ideographic: str, phonetic: str
) -> tuple[str | None, str | None]:
    """A person's name as shown, and its alphabetic group when another one is (PS3.5 6.2.1)."""
    alphabetic = _name(alphabetic_group)
    native = _name(ideographic) or _name(phonetic)
    if native is None or native == alphabetic:
        return alphabetic, None
    return native, alphabetic


def _shown(text: Text, tag: int) -> str | None:
    return _shown_and_latin(text, tag)[0]


_CHINESE = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff·]+")


def _name(group: str) -> str | None:
    """family^given^middle^prefix^suffix as it is read; Chinese names have no space inside."""
    parts = [part.strip() for part in group.split("^")] + [""] * 5
    family, given, middle, prefix, suffix = parts[:5]
    spoken = [part for part in (prefix, family, given, middle, suffix) if part]
    gap = "" if all(_CHINESE.fullmatch(part) for part in spoken) else " "
    return gap.join(spoken) or None


def _procedure(found: Scan, text: Text, request: Text | None) -> str | None:
    """What was done, where the device sends no Study Description."""
    code = next((text_of(item, text) for item in found.items(0x00081032)), None)
    return (
        text.line(0x00321060)
        or (request.line(0x00321060) if request else None)
        or (code.line(0x00080104) if code else None)
    )


def _priority(text: Text, request: Text | None) -> str | None:
    """Requested Procedure Priority, else the retired Study Priority ID."""
    own = text.line(0x00401003, 16)
    return own or (request.line(0x00401003, 16) if request else None) or text.line(0x0032000C, 16)


def _question(text: Text, request: Text | None) -> str | None:
    """What the requester wants to know, from the place closest to the request outward."""
    places = [text.line(0x00401002, 1024), text.block(0x00321030), text.line(0x00081080, 1024)]
    places.append(text.block(0x001021B0))
    if request:
        places.insert(0, request.line(0x00401002, 1024))
    said = dict.fromkeys(place for place in places if place)
    return "; ".join(said) or None


def _frame_time(text: Text) -> float | None:
    """Milliseconds between frames: Frame Time, else from a rate (PS3.3 C.7.6.5)."""
    spacing = text.number(0x00181063)
    if spacing and spacing > 0:
        return spacing
    rate = text.number(0x00180040) or text.number(0x00082144)
    return round(1000 / rate, 3) if rate and rate > 0 else None


def _attributes(found: Scan, text: Text) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    for tag, vr in _FURTHER.items():
        if tag not in found.elements:
            continue
        values: list[Any]
        if vr == "PN":
            names = zip(("Alphabetic", "Ideographic", "Phonetic"), text.person(tag), strict=True)
            values = [one] if (one := {key: value for key, value in names if value}) else []
        elif vr == "DS":
            number = text.number(tag)
            values = [] if number is None else [number]
        else:
            line = text.line(tag, 256)
            values = (
                line.split("\\") if line and vr in ("CS", "LO", "SH") else [line] if line else []
            )
        taken[f"{tag:08X}"] = {"vr": vr, "Value": values} if values else {"vr": vr}
    return taken
