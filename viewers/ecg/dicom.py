"""How does a DICOM waveform object become recordings in microvolts?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from viewers.ecg import codes
from viewers.ecg.recording import (
    Device,
    DeviceValues,
    Filters,
    Lead,
    Recording,
    Samples,
    in_page_order,
    with_limb_leads,
)
from viewers.image.instance import open_instance
from viewers.image.text import charsets_of, raw_value, text_of
from viewers.image.unreadable import Unreadable, refusing

#: Groups, channels and values beyond these are no ECG for reading; memory stays bounded by them.
MAX_GROUPS = 64
MAX_CHANNELS = 256
MAX_VALUES = 20_000_000
MAX_ANNOTATIONS = 5_000
MAX_STATEMENTS = 60
MAX_STATEMENT_LENGTH = 400
SAMPLING_HZ = (40.0, 40_000.0)

#: A saturated channel shows its extreme value this many times in a row.
_CLIPPED_RUN = 5
#: Ten volts: beyond any electrode offset, so a scale that says so is wrong.
_IMPLAUSIBLE_UV = 1e7
_SHORT_SECONDS = 2.0

#: Waveform Sample Interpretation (PS3.3 C.10.9.1.5) → kind and bytes of one sample.
_INTERPRETATIONS = {
    "SB": ("i", 1), "UB": ("u", 1), "SS": ("i", 2), "US": ("u", 2),
    "SL": ("i", 4), "UL": ("u", 4), "SV": ("i", 8), "UV": ("u", 8),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Group:
    """One multiplex group before its times, device and values are known."""

    leads: tuple[Lead, ...]
    sampling_hz: float
    filters: Filters
    label: str
    derived: bool
    start_s: float
    problems: tuple[str, ...]


def read_recordings(source: bytes | BinaryIO, *, zone: tzinfo | None = None) -> list[Recording]:
    """Recordings of an ECG object as received: 12-lead, general, ambulatory, 32-bit (PS3.3 A.34).

    `source` is the file or the bare data set. `zone` is the sender's, for objects without Timezone
    Offset From UTC (0008,0201). See `recordings_of` for the result and the errors.
    """
    instance = open_instance(source)
    return recordings_of(
        instance.header,
        big_endian=instance.transfer_syntax == ExplicitVRBigEndian,
        zone=zone,
    )


def recordings_of(
    dataset: Dataset, *, big_endian: bool = False, zone: tzinfo | None = None
) -> list[Recording]:
    """Recordings of a parsed data set, the longest original one first, device extracts last.

    Groups of disjoint leads over the same span are one recording. Lenient: a lead whose scale or
    unit is not known is left out and named in `problems`, never drawn to a guessed scale. Raises
    `Unreadable` when nothing can be trusted: no waveform, no lead, or a group that claims more
    than it brings.
    """
    with refusing("no_waveform", "the waveform sequence cannot be parsed"):
        items = list(dataset.get("WaveformSequence") or ())[: MAX_GROUPS + 1]
    if not items:
        raise Unreadable("no_waveform", "Waveform Sequence (5400,0100) is absent or empty")
    if len(items) > MAX_GROUPS:
        raise Unreadable("too_long", f"more than {MAX_GROUPS} multiplex groups")
    groups, refusal = _read_groups(items, big_endian)
    if not groups:
        raise refusal or Unreadable("no_usable_lead", "no lead with a known scale")
    instant, local, time_problems = _acquired(dataset, zone)
    values, value_problems = _device_values(dataset)
    shared = [*time_problems, *value_problems, *(["group_unreadable"] if refusal else [])]
    recordings = [
        with_limb_leads(
            Recording(
                leads=in_page_order(group.leads),
                sampling_hz=group.sampling_hz,
                sop_uid=text_of(dataset, 0x00080018),
                acquired_at=instant,
                acquired_local=local,
                filters=group.filters,
                device=_device(dataset),
                values=values,
                label=group.label,
                derived=group.derived,
                start_s=group.start_s,
                problems=(*group.problems, *shared),
            )
        )
        for group in _joined(groups)
    ]
    recordings.sort(key=lambda recording: (recording.derived, -recording.seconds))
    return [_with_findings(recording) for recording in recordings]


def _read_groups(
    items: Sequence[Dataset], big_endian: bool
) -> tuple[list[_Group], Unreadable | None]:
    groups: list[_Group] = []
    refusal: Unreadable | None = None
    budget = MAX_VALUES
    for item in items:
        try:
            with refusing("no_waveform", "a multiplex group cannot be parsed"):
                group = _read_group(item, big_endian, budget)
        except Unreadable as error:
            if error.reason == "too_long":
                raise
            refusal = refusal or error
            continue
        budget -= sum(lead.samples_uv.size for lead in group.leads)
        if group.leads:
            groups.append(group)
    return groups, refusal


# --- one multiplex group -----------------------------------------------------------------------


def _read_group(item: Dataset, big_endian: bool, budget: int) -> _Group:
    """Leads of one multiplex group in microvolts (PS3.3 C.10.9.1)."""
    hz = _number(item, 0x003A001A)
    if hz is None or not SAMPLING_HZ[0] <= hz <= SAMPLING_HZ[1]:
        raise Unreadable("sampling_frequency", "Sampling Frequency (003A,001A) is not usable")
    samples, padding, problems = _samples(item, big_endian, budget)
    definitions = list(item.get("ChannelDefinitionSequence") or ())
    if len(definitions) != samples.shape[1]:
        raise Unreadable(
            "channel_count",
            f"{samples.shape[1]} channels, {len(definitions)} definitions",
        )
    leads: dict[str, Lead] = {}
    for definition, column in zip(definitions, samples.T, strict=True):
        name, found = _lead(definition, column, padding, hz, leads)
        problems.extend(found)
        if name is not None:
            scaled, scale_problem = _microvolts(definition, column, padding)
            if scaled is None:
                problems.append(f"{scale_problem}:{name}")
            else:
                leads[name] = Lead(name, scaled)
                problems.extend(_saturation(definition, item, name, column, padding))
    filters, differ = _filters(definitions)
    start = _number(item, 0x00181068)
    return _Group(
        leads=tuple(leads.values()),
        sampling_hz=hz,
        filters=filters,
        label=text_of(item, 0x003A0020),
        derived=text_of(item, 0x003A0004).upper() == "DERIVED",
        start_s=(start or 0.0) / 1000,
        problems=(*problems, *(["filters_differ"] if differ else [])),
    )


def _samples(
    item: Dataset, big_endian: bool, budget: int
) -> tuple[NDArray[np.generic], int | None, list[str]]:
    """Stored samples (samples x channels), the padding value if any, problems."""
    channels = _integer(item, 0x003A0005)
    count = _integer(item, 0x003A0010)
    if not 1 <= channels <= MAX_CHANNELS:
        raise Unreadable("channel_count", f"{channels} channels claimed")
    if count < 1:
        raise Unreadable("waveform_truncated", "no samples claimed")
    dtype = _sample_type(item, big_endian)
    if channels * count > budget:
        raise Unreadable("too_long", f"{channels * count} values claimed, {budget} taken at most")
    data = _value_bytes(item, 0x54001010)
    needed = channels * count * dtype.itemsize
    if len(data) < needed:
        raise Unreadable(
            "waveform_truncated", f"{needed} bytes of waveform claimed, {len(data)} are there"
        )
    stored = np.frombuffer(data, dtype=dtype, count=channels * count).reshape(count, channels)
    raw_padding = _value_bytes(item, 0x5400100A)
    padding = (
        int(np.frombuffer(raw_padding, dtype=dtype, count=1)[0])
        if len(raw_padding) >= dtype.itemsize
        else None
    )
    # One byte is the padding to even length that PS3.5 7.1.1 asks for.
    return stored, padding, ["extra_bytes"] if len(data) > needed + 1 else []


def _sample_type(item: Dataset, big_endian: bool) -> np.dtype[np.generic]:
    bits = _integer(item, 0x54001004)
    interpretation = text_of(item, 0x54001006).upper()
    kind, size = _INTERPRETATIONS.get(interpretation, ("", 0))
    if not kind or bits != size * 8:
        raise Unreadable("sample_format", f"{bits} bits as {interpretation[:4]!r} are not known")
    return np.dtype(f"{'>' if big_endian else '<'}{kind}{size}")


def _lead(
    definition: Dataset,
    column: NDArray[np.generic],
    padding: int | None,
    hz: float,
    taken: Iterable[str],
) -> tuple[str | None, list[str]]:
    """Name of the lead of a channel, None when it cannot be one; and problems."""
    by_code, by_text = None, None
    source = definition.get("ChannelSourceSequence") or ()
    if source:
        scheme, value, meaning = _code(source[0])
        by_code, by_text = codes.lead_by_code(scheme, value), codes.lead_by_text(meaning)
    by_text = by_text or codes.lead_by_text(text_of(definition, 0x003A0203))
    name = by_code or by_text
    if name is None:
        return None, ["lead_unknown"]
    if name in set(taken):
        return None, [f"lead_duplicate:{name}"]
    if padding is not None and bool((column == padding).all()):
        return None, []  # a channel that only pads was not recorded in this group
    problems = []
    if by_code and by_text and by_code != by_text:
        problems.append(f"lead_name_conflict:{name}")
    sample_skew = abs(_number(definition, 0x003A0215) or 0.0)
    time_skew = abs(_number(definition, 0x003A0214) or 0.0) * hz
    if max(sample_skew, time_skew) >= 1:
        problems.append(f"channel_skew:{name}")
    return name, problems


def _microvolts(
    definition: Dataset, column: NDArray[np.generic], padding: int | None
) -> tuple[Samples | None, str]:
    """Samples in microvolts, or None and why not.

    value = sample * sensitivity * correction factor + baseline, in Channel Sensitivity Units
    (PS3.3 C.10.9.1.4.2 to C.10.9.1.4.4).
    """
    sensitivity = _number(definition, 0x003A0210)
    correction = _number(definition, 0x003A0212)
    baseline = _number(definition, 0x003A0213) or 0.0
    if correction is None:
        correction = 1.0
    if sensitivity is None or sensitivity * correction == 0:
        return None, "scale_unknown"
    units = definition.get("ChannelSensitivityUnitsSequence") or ()
    _, unit, meaning = _code(units[0]) if units else ("", "", "")
    factor = codes.microvolts_per_unit(unit, meaning)
    if factor is None:
        return None, "unit_unknown"
    scaled = column.astype(np.float64)
    scaled *= sensitivity * correction * factor
    scaled += baseline * factor
    if not bool((np.abs(scaled) < _IMPLAUSIBLE_UV).all()):
        return None, "scale_implausible"
    leads = scaled.astype(np.float32)
    if padding is not None:
        leads[column == padding] = np.nan
    return leads, ""


def _saturation(
    definition: Dataset,
    item: Dataset,
    name: str,
    column: NDArray[np.generic],
    padding: int | None,
) -> list[str]:
    """Whether the converter hit its end: its extreme code several times in a row."""
    bits = _integer(definition, 0x003A021A) or _integer(item, 0x54001004)
    bits = min(bits, column.dtype.itemsize * 8)
    signed = column.dtype.kind == "i"
    top = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
    for extreme in (top, -top - 1 if signed else 0):
        if extreme == padding:
            continue
        hits = (column == extreme).astype(np.int8)
        if hits.sum() >= _CLIPPED_RUN and _longest_run(hits) >= _CLIPPED_RUN:
            return [f"clipped:{name}"]
    return []


def _longest_run(hits: NDArray[np.int8]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], hits, [0])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if edges.size else 0


def _filters(definitions: Sequence[Dataset]) -> tuple[Filters, bool]:
    """Filters common to all channels, and whether the channels differ (then None stands)."""
    found: list[float | None] = []
    differ = False
    for tag in (0x003A0220, 0x003A0221, 0x003A0222):
        values = {_number(definition, tag) for definition in definitions}
        differ = differ or len(values) > 1
        value = values.pop() if len(values) == 1 else None
        found.append(value if value is not None and value > 0 else None)
    return Filters(*found), differ


# --- groups together ---------------------------------------------------------------------------


def _joined(groups: Sequence[_Group]) -> list[_Group]:
    """Original groups of disjoint leads, equal rate and equal length become one."""
    joined: list[_Group] = []
    for group in groups:
        at = next((n for n, other in enumerate(joined) if _belong(other, group)), None)
        if at is None:
            joined.append(group)
            continue
        other = joined[at]
        problems = [*other.problems, *group.problems]
        if group.start_s != other.start_s:
            problems.append("not_simultaneous")
        filters = other.filters if other.filters == group.filters else Filters()
        if filters != group.filters:
            problems.append("filters_differ")
        joined[at] = replace(
            other,
            leads=(*other.leads, *group.leads),
            filters=filters,
            problems=tuple(dict.fromkeys(problems)),
        )
    return joined


def _belong(one: _Group, two: _Group) -> bool:
    return (
        not one.derived
        and not two.derived
        and one.sampling_hz == two.sampling_hz
        and one.leads[0].samples_uv.size == two.leads[0].samples_uv.size
        and not {lead.name for lead in one.leads} & {lead.name for lead in two.leads}
    )


def _with_findings(recording: Recording) -> Recording:
    """`recording` with what its samples tell: missing, flat and broken leads, shortness."""
    found = [] if recording.derived else [f"lead_missing:{name}" for name in recording.missing]
    for lead in recording.leads:
        span = lead.range_uv
        if span is None or span[0] == span[1]:
            found.append(f"flat:{lead.name}")
        elif bool(np.isnan(lead.samples_uv).any()):
            found.append(f"gaps:{lead.name}")
    if not recording.derived and recording.seconds < _SHORT_SECONDS:
        found.append("short")
    return replace(recording, problems=tuple(dict.fromkeys((*recording.problems, *found))))


# --- what the device says ----------------------------------------------------------------------


def _device(dataset: Dataset) -> Device:
    return Device(
        manufacturer=text_of(dataset, 0x00080070) or None,
        model=text_of(dataset, 0x00081090) or None,
        serial=text_of(dataset, 0x00181000) or None,
    )


def _device_values(dataset: Dataset) -> tuple[DeviceValues, list[str]]:
    """Global measurements and statements of Waveform Annotation Sequence (PS3.3 C.10.10)."""
    try:
        annotations = list(dataset.get("WaveformAnnotationSequence") or ())[:MAX_ANNOTATIONS]
    except Exception:  # the trace stays readable without the device's own words
        return DeviceValues(), ["device_value_implausible:annotations"]
    charsets = charsets_of(dataset)
    candidates: dict[str, list[tuple[bool, float]]] = {}
    statements: list[str] = []
    problems: list[str] = []
    for annotation in annotations:
        try:
            _note(annotation, charsets, candidates, statements)
        except Exception:  # one broken annotation must not take the others with it
            problems.append("device_value_implausible:annotation")
    values: dict[str, float] = {}
    for name, found in candidates.items():
        # A value over all channels wins; of several the first, as devices write the global first.
        value = next((number for over_all, number in found if over_all), found[0][1])
        low, high = codes.PLAUSIBLE[name]
        if low <= value <= high:
            values[name] = value
        elif value != 0:  # zero is how devices write "not measurable"
            problems.append(f"device_value_implausible:{name}")
    return _named_values(values, statements), list(dict.fromkeys(problems))


def _note(
    annotation: Dataset,
    charsets: Sequence[str],
    candidates: dict[str, list[tuple[bool, float]]],
    statements: list[str],
) -> None:
    """Sort one annotation into `candidates` or `statements`."""
    text = text_of(annotation, 0x00700006, charsets)
    if text and len(statements) < MAX_STATEMENTS:
        statements.append(" ".join(text.split())[:MAX_STATEMENT_LENGTH])
        return
    concept = annotation.get("ConceptNameCodeSequence") or ()
    if not concept:
        return
    number = _number(annotation, 0x0040A30A)
    if number is None:
        coded = annotation.get("ConceptCodeSequence") or ()
        if coded and "TemporalRangeType" not in annotation and len(statements) < MAX_STATEMENTS:
            meaning = text_of(coded[0], 0x00080104, charsets)
            statements.extend([meaning[:MAX_STATEMENT_LENGTH]] if meaning else [])
        return
    scheme, value, meaning = _code(concept[0])
    name = codes.measurement(scheme, value, meaning)
    if name is None:
        return
    if name.endswith("_ms"):
        units = annotation.get("MeasurementUnitsCodeSequence") or ()
        factor = codes.milliseconds_per_unit(_code(units[0])[1] if units else "")
        if factor is None:
            return
        number *= factor
    channels = _integers(annotation, 0x0040A0B0)
    # Channel 0 is "all channels of the group" (PS3.3 C.10.10.1.1).
    candidates.setdefault(name, []).append((not any(channels[1::2]), number))


def _named_values(values: dict[str, float], statements: Sequence[str]) -> DeviceValues:
    rate = values.get("heart_rate_bpm")
    if rate is None and "rr_ms" in values:
        rate = round(60_000 / values["rr_ms"])
    qtc, formula = values.get("qtc_ms"), None
    for other in ("bazett", "fridericia"):
        if qtc is None and f"qtc_{other}_ms" in values:
            qtc, formula = values[f"qtc_{other}_ms"], other
    return DeviceValues(
        heart_rate_bpm=rate,
        pr_ms=values.get("pr_ms"),
        qrs_ms=values.get("qrs_ms"),
        qt_ms=values.get("qt_ms"),
        qtc_ms=qtc,
        qtc_formula=formula,
        axis_p_deg=values.get("axis_p_deg"),
        axis_qrs_deg=values.get("axis_qrs_deg"),
        axis_t_deg=values.get("axis_t_deg"),
        statements=tuple(dict.fromkeys(statements)),
    )


# --- time --------------------------------------------------------------------------------------


def _acquired(
    dataset: Dataset, zone: tzinfo | None
) -> tuple[datetime | None, datetime | None, list[str]]:
    """Instant in UTC, wall clock as recorded, problems (PS3.5 6.2 DT, PS3.3 C.12.1.1.8)."""
    text = text_of(dataset, 0x0008002A)
    if not text:
        for date_tag, time_tag in ((0x00080022, 0x00080032), (0x00080023, 0x00080033)):
            date = text_of(dataset, date_tag).replace(".", "")
            if date:
                text = date + text_of(dataset, time_tag).replace(":", "")
                break
    local, own_zone = _date_time(text)
    if local is None:
        return None, None, ["no_time"]
    zone = own_zone or _offset(text_of(dataset, 0x00080201)) or zone
    if zone is None:
        return None, local, ["no_time_zone"]
    try:
        return local.replace(tzinfo=zone).astimezone(UTC), local, []
    except OverflowError:  # the empty date of some makers, 0001-01-01, east of Greenwich
        return None, None, ["no_time"]


def _date_time(text: str) -> tuple[datetime | None, tzinfo | None]:
    body, zone = text.strip(), None
    if len(body) > 5 and body[-5] in "+-":
        body, zone = body[:-5], _offset(body[-5:])
    digits, _, fraction = body.partition(".")
    for form, length in (("%Y%m%d%H%M%S", 14), ("%Y%m%d%H%M", 12), ("%Y%m%d", 8)):
        if len(digits) == length:
            try:
                found = datetime.strptime(digits, form)  # noqa: DTZ007 - the zone comes apart
            except ValueError:
                return None, None
            micro = int(fraction[:6].ljust(6, "0")) if fraction.isdecimal() else 0
            return found.replace(microsecond=micro), zone
    return None, None


def _offset(text: str) -> tzinfo | None:
    """A zone from "&ZZXX"; None for anything that is not an offset."""
    if len(text) != 5 or text[0] not in "+-" or not text[1:].isdecimal():
        return None
    minutes = int(text[1:3]) * 60 + int(text[3:])
    if minutes > 14 * 60:
        return None
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


# --- values of attributes, leniently -----------------------------------------------------------


def _number(dataset: Dataset, tag: int) -> float | None:
    """First value of a numeric attribute, None when absent, not a number or not finite."""
    if tag not in dataset:
        return None
    raw = raw_value(dataset, tag)
    element = dataset.get_item(tag)
    if raw is not None and getattr(element, "VR", None) in {"DS", "IS", None}:
        text = raw.decode("latin-1").split("\\")[0].strip(" \0")
    else:
        value = dataset[tag].value
        text = str(value[0] if isinstance(value, Sequence) and value else value)
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _integer(dataset: Dataset, tag: int) -> int:
    """A binary integer attribute (US, UL); 0 when absent or unusable."""
    values = _integers(dataset, tag)
    return values[0] if values else 0


def _integers(dataset: Dataset, tag: int) -> list[int]:
    if tag not in dataset:
        return []
    value = dataset[tag].value
    parts = value if hasattr(value, "__iter__") and not isinstance(value, (str, bytes)) else [value]
    return [int(part) for part in parts if isinstance(part, (int, float)) and math.isfinite(part)]


def _value_bytes(dataset: Dataset, tag: int) -> bytes:
    if tag not in dataset:
        return b""
    value = dataset[tag].value
    if isinstance(value, bytes):
        return value
    return value.tobytes() if isinstance(value, np.ndarray) else b""


def _code(item: Dataset) -> tuple[str, str, str]:
    """Coding Scheme Designator, Code Value and Code Meaning of a code item (PS3.3 8.8)."""
    value = text_of(item, 0x00080100) or text_of(item, 0x00080119)
    return text_of(item, 0x00080102), value, text_of(item, 0x00080104)
