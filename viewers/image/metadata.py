"""What does the browser learn of an instance: its attributes as DICOM JSON (PS3.18 F)."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from viewers.image.frames import FramePlan, frame_plan
from viewers.image.instance import Instance
from viewers.image.text import charsets_of, decode_as, raw_value, reading_of
from viewers.image.unreadable import Unreadable, refusing
from worklist.characters import decode, terms_of

MAX_INLINE_BYTES = 1024
MAX_DEPTH = 32

#: Path of a bulk value inside the instance ("7FE00010", "00540016/0/…") → its address.
BulkAddress = Callable[[str], str]

_TEXT = {"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
_ONE_VALUE = {"LT", "ST", "UR", "UT"}
_NUMERIC_TEXT = {"DS", "IS"}
_BINARY = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}
_AMBIGUOUS = {"US or SS": "US", "US or OW": "OW", "OB or OW": "OW", "US or SS or OW": "OW"}
_CHARSET = 0x00080005
_PIXEL_DATA = "7FE00010"

#: Values that must be so many positive numbers; a browser divides by them.
_SPACINGS = {0x00280030: 2, 0x00181164: 2, 0x00182010: 2, 0x00280034: 2}
#: Vectors that are either whole or left out.
_VECTORS = {0x00200037: 6, 0x00200032: 3}
_WINDOW_CENTER, _WINDOW_WIDTH = 0x00281050, 0x00281051
_RESCALE = (0x00281052, 0x00281053)


def metadata(
    instance: Instance, *, bulk: BulkAddress | None = None, as_labelled: bool = False
) -> dict[str, Any]:
    """Attributes of `instance` as a DICOM JSON object, made to agree with the frames as served.

    Text is Unicode whatever the character set was called (Specific Character Set says ISO_IR 192),
    read as what its bytes are or, with `as_labelled`, only as its label says;
    binary values of more than 1 KB and the pixels are a BulkDataURI when `bulk` gives addresses,
    else left out; private binary values are dropped. Numbers are finite, or null in their place.
    An instance whose frames cannot be shown comes without pixel attributes being changed and
    without a pixel address. Raises `Unreadable` only when the data set cannot be walked at all.
    """
    try:
        plan: FramePlan | None = frame_plan(instance)
    except Unreadable:
        plan = None
    found = header_json(instance.header, bulk=bulk, as_labelled=as_labelled)
    if plan is not None:
        _apply(plan, found)
        if bulk is not None:
            found[_PIXEL_DATA] = {"vr": "OW", "BulkDataURI": bulk(_PIXEL_DATA)}
    return dict(sorted(found.items()))


def header_json(
    header: Dataset, *, bulk: BulkAddress | None = None, as_labelled: bool = False
) -> dict[str, Any]:
    """Attributes of a parsed data set as DICOM JSON; see `metadata`. Raises `Unreadable`."""
    with refusing("not_dicom", "the attributes cannot be walked"):
        found = _dataset(header, _Reading.of(header, as_labelled), bulk, "", 0)
    found[f"{_CHARSET:08X}"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return dict(sorted(found.items()))


def guessed_charset(header: Dataset) -> bool:
    """Whether the text needed a guess: the study is then marked."""
    return reading_of(header) is not None


def _apply(plan: FramePlan, found: dict[str, Any]) -> None:
    """Make the pixel attributes say what the frames will be."""
    for keyword, value in plan.attributes.items():
        tag = tag_for_keyword(keyword)
        if tag is None:
            continue
        name = f"{tag:08X}"
        if value is None:
            found.pop(name, None)
        else:
            found[name] = {"vr": _plain_vr(dictionary_VR(tag)), "Value": [value]}
    if "00280008" in found or plan.frames > 1:
        found["00280008"] = {"vr": "IS", "Value": [plan.frames]}
    _give_window(found)


def _give_window(found: dict[str, Any]) -> None:
    """A window over the input of a VOI LUT, for viewers that know windows only."""
    if "00281050" in found or not found.get("00283010", {}).get("Value"):
        return
    descriptor = found["00283010"]["Value"][0].get("00283002", {}).get("Value") or []
    if len(descriptor) != 3 or not all(isinstance(part, (int, float)) for part in descriptor):
        return
    entries, first = descriptor[0] or 65_536, descriptor[1]
    found["00281050"] = {"vr": "DS", "Value": [first + entries / 2]}
    found["00281051"] = {"vr": "DS", "Value": [entries]}


# --- text --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reading:
    """By which terms text is read: those of the label, or those that take its place."""

    label: tuple[str, ...]
    terms: tuple[str, ...]
    strict: bool

    @classmethod
    def of(cls, header: Dataset, as_labelled: bool) -> _Reading:
        label = terms_of(charsets_of(header))
        guess = None if as_labelled else reading_of(header)
        return cls(label, label if guess is None else (guess.term,), as_labelled)

    def inside(self, item: Dataset) -> _Reading:
        """An item's own label counts, unless it is the one that has proved wrong."""
        label = terms_of(charsets_of(item))
        return self if not label or label == self.label else _Reading.of(item, self.strict)

    def text(self, raw: bytes, vr: str) -> str:
        return decode(raw, self.terms, vr) if self.strict else decode_as(raw, self.terms, vr)


# --- walking -----------------------------------------------------------------------------------


def _dataset(
    dataset: Dataset, reading: _Reading, bulk: BulkAddress | None, path: str, depth: int
) -> dict[str, Any]:
    reading = reading.inside(dataset)
    found: dict[str, Any] = {}
    for tag in sorted(dataset.keys()):
        if tag.group < 8 or tag.element == 0 or tag == _CHARSET:
            continue
        # One value that cannot be read must not hide the others.
        with suppress(Exception):
            element = _element(dataset, tag, reading, bulk, path, depth)
            if element is not None:
                found[f"{int(tag):08X}"] = element
    _safe_geometry(found)
    return found


def _element(
    dataset: Dataset,
    tag: BaseTag,
    reading: _Reading,
    bulk: BulkAddress | None,
    path: str,
    depth: int,
) -> dict[str, Any] | None:
    vr = _vr(dataset, tag)
    name = f"{path}{int(tag):08X}"
    if vr == "SQ":
        if depth >= MAX_DEPTH:
            return None
        items = [
            _dataset(item, reading, bulk, f"{name}/{at}/", depth + 1)
            for at, item in enumerate(dataset[tag].value or ())
        ]
        return {"vr": vr, "Value": items} if items else {"vr": vr}
    if vr in _TEXT or vr in _NUMERIC_TEXT:
        values = _texts(raw_value(dataset, tag) or b"", vr, reading)
    elif vr in _BINARY:
        return _binary(dataset[tag].value, vr, name, tag.is_private, bulk)
    else:
        values = _numbers(dataset[tag].value, vr)
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def _vr(dataset: Dataset, tag: BaseTag) -> str:
    """VR as stored; by the dictionary where the syntax is implicit or the VR is UN."""
    element = dataset.get_item(tag)
    vr = str(getattr(element, "VR", None) or "UN")
    if vr == "UN" and not tag.is_private and dictionary_has_tag(tag):
        vr = dictionary_VR(tag)
    if " or " in vr:  # ambiguous ones become plain by the data set's own signedness
        vr = str(dataset[tag].VR)
    return _plain_vr(vr)


def _plain_vr(vr: str) -> str:
    return _AMBIGUOUS.get(vr, vr)


def _texts(raw: bytes, vr: str, reading: _Reading) -> list[Any]:
    text = reading.text(raw, vr).strip("\0")
    parts: Iterable[str] = [text] if vr in _ONE_VALUE else text.split("\\")
    if vr in _NUMERIC_TEXT:
        values: list[Any] = [_finite(part.strip(" \0"), whole=vr == "IS") for part in parts]
    elif vr == "PN":
        values = [_person_name(part) for part in parts]
    else:
        values = [part.rstrip(" \0") if vr in _ONE_VALUE else part.strip(" \0") for part in parts]
        values = [part or None for part in values]
    return values if any(value is not None for value in values) else []


def _person_name(text: str) -> dict[str, str] | None:
    """Component groups of a name (PS3.18 F.2.2)."""
    groups = dict(
        zip(("Alphabetic", "Ideographic", "Phonetic"), text.strip(" \0").split("="), strict=False)
    )
    named = {group: name.strip(" ^") for group, name in groups.items() if name.strip(" ^")}
    return named or None


def _finite(text: str, *, whole: bool) -> float | int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return int(number) if whole or number.is_integer() else number


def _numbers(value: Any, vr: str) -> list[Any]:
    if value is None or value == "":
        return []
    if hasattr(value, "__iter__") and not isinstance(value, (str, bytes)):
        parts = list(value)
    else:
        parts = [value]
    if vr == "AT":
        return [f"{int(part):08X}" for part in parts]
    return [_plain_number(part) for part in parts]


def _plain_number(part: Any) -> float | int | None:
    if isinstance(part, int):
        return int(part)
    number = float(part)
    return number if math.isfinite(number) else None


def _binary(
    value: Any, vr: str, name: str, private: bool, bulk: BulkAddress | None
) -> dict[str, Any] | None:
    if private or not isinstance(value, bytes):
        return None
    if not value:
        return {"vr": vr}
    if len(value) > MAX_INLINE_BYTES:
        return None if bulk is None else {"vr": vr, "BulkDataURI": bulk(name)}
    return {"vr": vr, "InlineBinary": base64.b64encode(value).decode("ascii")}


# --- numbers a browser can stand on ------------------------------------------------------------


def _safe_geometry(found: dict[str, Any]) -> None:
    """Drop spacings, vectors, windows and rescales that would make a picture black or endless."""
    for tag, count in _SPACINGS.items():
        values = _values(found, tag)
        if values is not None and not (len(values) == count and all(_positive(v) for v in values)):
            found.pop(f"{tag:08X}")
    for tag, count in _VECTORS.items():
        values = _values(found, tag)
        if values is not None and (len(values) != count or None in values):
            found.pop(f"{tag:08X}")
    centers, widths = _values(found, _WINDOW_CENTER), _values(found, _WINDOW_WIDTH)
    if (centers is not None or widths is not None) and not (
        centers and widths and centers[0] is not None and _positive(widths[0])
    ):
        found.pop(f"{_WINDOW_CENTER:08X}", None)
        found.pop(f"{_WINDOW_WIDTH:08X}", None)
    values = [_values(found, tag) for tag in _RESCALE]
    if any(v is not None for v in values) and not (
        all(v and v[0] is not None for v in values) and values[1] and values[1][0] != 0
    ):
        for tag in _RESCALE:
            found.pop(f"{tag:08X}", None)


def _values(found: dict[str, Any], tag: int) -> list[Any] | None:
    element = found.get(f"{tag:08X}")
    return None if element is None else element.get("Value", [])


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and value > 0
