"""What does a QIDO-RS query ask for, and what is answered (PS3.18 section 10.6)?"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row

from storage.matching import (
    Between,
    Keys,
    Like,
    Match,
    OneOf,
    is_wild,
    name_patterns,
    pattern,
)
from storage.query import KEYS, MODALITIES, Level
from worklist.errors import Code, Refusal

MOST = 1000
USUAL = 200
FARTHEST = 1_000_000
LONGEST_VALUE = 64 * 1024
FUZZY = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
MORE = "There are more results. Ask for them with offset."
NOT_MATCHED = "Some keys are not supported for matching and were left out of the query."

Json = dict[str, Any]

# keyword and tag of each attribute that may be matched, and the key of the index it is
_ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "StudyInstanceUID": "study_uid",
        "0020000D": "study_uid",
        "PatientID": "patient_id",
        "00100020": "patient_id",
        "PatientName": "patient_name",
        "00100010": "patient_name",
        "PatientBirthDate": "birth_date",
        "00100030": "birth_date",
        "PatientSex": "sex",
        "00100040": "sex",
        "StudyDate": "study_date",
        "00080020": "study_date",
        "AccessionNumber": "accession",
        "00080050": "accession",
        "StudyDescription": "description",
        "00081030": "description",
        "ReferringPhysicianName": "requester",
        "00080090": "requester",
        "ModalitiesInStudy": MODALITIES,
        "00080061": MODALITIES,
        "SeriesInstanceUID": "series_uid",
        "0020000E": "series_uid",
        "Modality": "modality",
        "00080060": "modality",
        "SeriesNumber": "series_number",
        "00200011": "series_number",
        "SOPInstanceUID": "sop_uid",
        "00080018": "sop_uid",
        "SOPClassUID": "sop_class",
        "00080016": "sop_class",
        "InstanceNumber": "instance_number",
        "00200013": "instance_number",
    }
)
_NOT_KEYS = frozenset({"limit", "offset", "includefield", "fuzzymatching", "accept", "charset"})
_NAMES = frozenset({"patient_name", "requester"})
_DATES = frozenset({"birth_date", "study_date"})
_LISTS = frozenset({"study_uid", "series_uid", "sop_uid", "sop_class", MODALITIES, "modality"})
_NUMBERS = frozenset({"series_number", "instance_number"})
# of what was taken from the study's first instance these speak of study and patient
_OF_STUDY = ("00080090", "00080201", "00100010", "00100021", "00101010", "00200010")
_NUMBER = re.compile(r"\d{1,7}")


@dataclass(frozen=True)
class Asked:
    """A query: its keys, which rows of the result, and what to warn of."""

    keys: Keys
    limit: int
    offset: int
    warnings: tuple[str, ...] = field(default=())


def asked(level: Level, parameters: Iterable[tuple[str, str]]) -> Asked:
    """The query in these parameters. Keys that are not known are left out, with a warning.

    INVALID for a date, number, limit or offset that is none.
    """
    given = list(parameters)
    plain = {name.lower(): value for name, value in given}
    keys: dict[str, Match] = {}
    warnings = [FUZZY] if plain.get("fuzzymatching", "").lower() == "true" else []
    for name, value in given:
        if name.lower() in _NOT_KEYS:
            continue
        key = _key(level, name)
        if key is None:
            warnings.append(NOT_MATCHED)
            continue
        match = _match(key, value.replace("\0", ""))
        if match is not None:
            keys[key] = match
    limit = min(_whole(plain, "limit", USUAL), MOST)
    return Asked(keys, limit, _whole(plain, "offset", 0), tuple(dict.fromkeys(warnings)))


def warning_headers(asked: Asked, *, more: bool, agent: str) -> list[str]:
    """Values of Warning headers (PS3.18 section 10.6.3.1)."""
    texts = [*asked.warnings, *([MORE] if more else [])]
    return [f'299 {agent} "{text}"' for text in texts]


# --- keys --------------------------------------------------------------------------------------


def _key(level: Level, name: str) -> str | None:
    """The index's key of a parameter; Modality at study level means a modality in the study."""
    attribute = name if name in _ATTRIBUTES else name.upper()
    key = _ATTRIBUTES.get(attribute)
    if key == "modality" and level == "studies":
        key = MODALITIES
    return key if key in KEYS[level] else None


def _match(key: str, value: str) -> Match | None:
    """How the value is matched; None where it matches everything (PS3.4 C.2.2.2.3)."""
    if len(value) > LONGEST_VALUE:
        raise Refusal(Code.INVALID, "A value of the query is too long.")
    if not value.strip(" *"):
        return None
    if key in _DATES:
        return _dates(value.strip())
    if key in _NUMBERS:
        return OneOf((_number(value.strip()),))
    if key in _LISTS:
        values = (one.strip() for one in re.split(r"[,\\]", value))
        upper = key in (MODALITIES, "modality")
        return OneOf(tuple(one.upper() if upper else one for one in values if one))
    if key in _NAMES:
        return Like(name_patterns(value))
    value = value.strip(" ")
    return Like((pattern(value),)) if is_wild(value) else OneOf((value,))


def _dates(value: str) -> Match:
    first, dash, last = value.partition("-")
    if not dash:
        return OneOf((_date(first),))
    bounds = Between(_date(first) if first else None, _date(last) if last else None)
    if bounds == Between(None, None):
        raise Refusal(Code.INVALID, "A range of dates needs a beginning or an end.")
    return bounds


def _date(text: str) -> date:
    try:
        return datetime.strptime(text.strip(), "%Y%m%d").date()  # noqa: DTZ007 - no zone in a date
    except ValueError as error:
        raise Refusal(Code.INVALID, "Dates are YYYYMMDD, ranges have a dash between.") from error


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Refusal(Code.INVALID, "Numbers in a query are whole and not negative.")
    return int(text)


def _whole(plain: Mapping[str, str], name: str, otherwise: int) -> int:
    text = plain.get(name)
    return otherwise if text is None else min(_number(text.strip()), FARTHEST)


# --- answers -----------------------------------------------------------------------------------


def study_answer(row: Row[Any], address: str) -> Json:
    """A study of a result (PS3.18 table 10.6.3-3). `address` is that of the study."""
    kept = {tag: row.attributes[tag] for tag in _OF_STUDY if tag in row.attributes}
    if "00100010" not in kept:
        kept["00100010"] = _person(row.patient_name)
    born = row.patient_birth_date
    values = {
        "00080005": _value("CS", "ISO_IR 192"),
        "00080020": _value("DA", row.study_date and f"{row.study_date:%Y%m%d}"),
        "00080030": _value("TM", row.study_time),
        "00080050": _value("SH", row.accession),
        "00080056": _value("CS", "ONLINE"),
        "00080061": _value("CS", *row.modalities),
        "00081030": _value("LO", row.description),
        "00081190": _value("UR", address),
        "00100020": _value("LO", row.patient_id),
        "00100030": _value("DA", born and f"{born:%Y%m%d}"),
        "00100040": _value("CS", row.patient_sex),
        "0020000D": _value("UI", row.study_uid),
        "00201206": _value("IS", row.series_count),
        "00201208": _value("IS", row.instance_count),
    }
    return dict(sorted((kept | values).items()))


def series_answer(row: Row[Any], address: str) -> Json:
    """A series of a result (table 10.6.3-4). `address` is that of the study."""
    return {
        "00080005": _value("CS", "ISO_IR 192"),
        "00080056": _value("CS", "ONLINE"),
        "00080060": _value("CS", row.modality),
        "0008103E": _value("LO", row.description),
        "00081190": _value("UR", f"{address}/series/{row.series_uid}"),
        "00180015": _value("CS", row.body_part),
        "0020000D": _value("UI", row.study_uid),
        "0020000E": _value("UI", row.series_uid),
        "00200011": _value("IS", row.number),
        "00201209": _value("IS", row.instance_count),
    }


def instance_answer(row: Row[Any], address: str) -> Json:
    """An instance of a result (table 10.6.3-5). `address` is that of the study."""
    own = f"{address}/series/{row.series_uid}/instances/{row.sop_uid}"
    return {
        "00080005": _value("CS", "ISO_IR 192"),
        "00080016": _value("UI", row.sop_class),
        "00080018": _value("UI", row.sop_uid),
        "00080056": _value("CS", "ONLINE"),
        "00080060": _value("CS", row.modality),
        "00081190": _value("UR", own),
        "00083002": _value("UI", row.transfer_syntax),
        "0020000D": _value("UI", row.study_uid),
        "0020000E": _value("UI", row.series_uid),
        "00200013": _value("IS", row.number),
        **({"00280008": _value("IS", row.frames)} if row.frames > 1 else {}),
        **({"00280010": _value("US", row.rows)} if row.rows else {}),
        **({"00280011": _value("US", row.columns)} if row.columns else {}),
    }


ANSWERS: Mapping[Level, Callable[[Row[Any], str], Json]] = MappingProxyType(
    {"studies": study_answer, "series": series_answer, "instances": instance_answer}
)
"""How a row of each level is answered."""


def _value(vr: str, *values: Any) -> Json:
    given = [value for value in values if value not in (None, "")]
    return {"vr": vr, "Value": given} if given else {"vr": vr}


def _person(name: str) -> Json:
    return {"vr": "PN", "Value": [{"Alphabetic": name}]} if name else {"vr": "PN"}
