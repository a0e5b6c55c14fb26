"""How is an ECG drawn on millimetre paper, true to scale?"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viewers.ecg.recording import Lead, Recording

MM_PER_SECOND = 25.0
MM_PER_MILLIVOLT = 10.0

#: The page: ten seconds wide; four rows of traces above a band with the calibration and the words.
PAGE_WIDTH_MM = 250.0
ROW_MM = 25.0
BAND_MM = 15.0
PAGE_HEIGHT_MM = 4 * ROW_MM + BAND_MM

_COLUMNS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))
_COLUMN_SECONDS = 2.5
_PAGE_SECONDS = 10.0
_RHYTHM = "II"
#: Where the zero line of a row lies, from the row's top: R waves need more room than S waves.
_BASELINE = 0.6
#: Two samples within this many millimetres are one column of ink: their extremes are kept.
_BIN_MM = 0.1
_FONT = "Noto Sans SC, Noto Sans CJK SC, sans-serif"
_PREVIEW_LEADS = ("II", "V1", "V5")
_PREVIEW_SECONDS = 5.0
_PREVIEW_ROW_MM = 15.0
_PREVIEW_MM_PER_MILLIVOLT = 5.0


@dataclass(frozen=True, slots=True)
class Look:
    """Colours of a page and widths of its lines in millimetres."""

    paper: str
    minor: str
    major: str
    trace: str
    text: str
    minor_mm: float = 0.08
    major_mm: float = 0.18
    trace_mm: float = 0.25


#: As on ECG paper; for the report and for printing.
PRINT = Look("#ffffff", "#f6cfcf", "#e89a9a", "#000000", "#000000")
#: The reading room's tokens, for previews on screen.
DARK = Look("#0c0f13", "#191f26", "#2d3742", "#e4ebf2", "#9ba7b5", 0.15, 0.2, 0.35)
LIGHT = Look("#ffffff", "#f6dcd6", "#e5ada2", "#10151b", "#54606d", 0.15, 0.2, 0.35)


def page_svg(recording: Recording, *, start_s: float = 0.0, look: Look = PRINT) -> str:
    """The 3x4 page with a rhythm strip of lead II: 250 x 115 mm, 25 mm/s, 10 mm/mV.

    One user unit is one millimetre. Ten seconds from `start_s` are drawn: each column 2.5 s of its
    leads in sequence, the strip all ten. A lead recorded for one column's length only is drawn from
    its own start. Each lead is centred on its median, as the paper is of an AC-coupled device. What
    was not recorded, was clipped by the device or leaves the paper is said in words.
    """
    leads = recording.by_name
    height = 4 * ROW_MM
    parts = [_grid(PAGE_WIDTH_MM, PAGE_HEIGHT_MM, look)]
    outside: list[str] = []
    width = _COLUMN_SECONDS * MM_PER_SECOND
    for column, names in enumerate(_COLUMNS):
        for row, name in enumerate(names):
            zero, x = (row + _BASELINE) * ROW_MM, column * width
            own = leads.get(name)
            from_s = start_s + column * _COLUMN_SECONDS
            if own is not None and own.samples_uv.size <= recording.sampling_hz * (
                _COLUMN_SECONDS + 0.1
            ):
                from_s = 0.0
            parts += _slot(own, name, recording, from_s, _COLUMN_SECONDS, x, zero, look)
            if own is not None and _leaves(own, recording, from_s, _COLUMN_SECONDS, zero, height):
                outside.append(name)
            if column:
                parts.append(_tick(x, zero, look))
    zero = (3 + _BASELINE) * ROW_MM
    rhythm = leads.get(_RHYTHM)
    parts += _slot(rhythm, _RHYTHM, recording, start_s, _PAGE_SECONDS, 0, zero, look)
    if rhythm is not None and _leaves(rhythm, recording, start_s, _PAGE_SECONDS, zero, height):
        outside.append(_RHYTHM)
    parts += _band(recording, list(dict.fromkeys(outside)), look)
    return _svg(PAGE_WIDTH_MM, PAGE_HEIGHT_MM, "".join(parts), look, height)


def preview_svg(recording: Recording, *, dark: bool) -> str:
    """A small picture to recognise an ECG by: II, V1, V5, five seconds, 125 x 45 mm.

    25 mm/s and 5 mm/mV, so that tall waves stay inside; it fills the width it is given.
    """
    look = DARK if dark else LIGHT
    width, height = _PREVIEW_SECONDS * MM_PER_SECOND, _PREVIEW_ROW_MM * len(_PREVIEW_LEADS)
    parts = [_grid(width, height, look)]
    for row, name in enumerate(_PREVIEW_LEADS):
        zero = (row + 0.65) * _PREVIEW_ROW_MM
        own = recording.by_name.get(name)
        parts += _slot(
            own, name, recording, 0.0, _PREVIEW_SECONDS, 0, zero, look, _PREVIEW_MM_PER_MILLIVOLT
        )
    return _svg(width, height, "".join(parts), look, height, scaled=True)


def caption(recording: Recording) -> str:
    """Speed, gain, filter and sampling in ASCII words, as they stand on the page."""
    filters = recording.filters
    words = [f"{MM_PER_SECOND:g} mm/s", f"{MM_PER_MILLIVOLT:g} mm/mV"]
    if filters.low_hz and filters.high_hz:
        words.append(f"{filters.low_hz:g}-{filters.high_hz:g} Hz")
    elif filters.high_hz:
        words.append(f"up to {filters.high_hz:g} Hz")
    elif filters.low_hz:
        words.append(f"from {filters.low_hz:g} Hz")
    else:
        words.append("filter not stated")
    if filters.notch_hz:
        words.append(f"notch {filters.notch_hz:g} Hz")
    words.append(f"{recording.sampling_hz:g} samples/s")
    device = " ".join(filter(None, (recording.device.manufacturer, recording.device.model)))
    return "   ".join([*words, *([_ascii(device)[:60]] if device else [])])


def notes(recording: Recording, outside: list[str]) -> list[str]:
    """What a person must know before trusting the page, in ASCII sentences."""
    by_code: dict[str, list[str]] = {}
    for problem in recording.problems:
        code, _, lead = problem.partition(":")
        by_code.setdefault(code, []).append(lead)
    found = []
    for code, words in (
        ("lead_missing", "not recorded"),
        ("clipped", "clipped by the device"),
        ("flat", "flat"),
        ("gaps", "interrupted"),
        ("scale_unknown", "without a scale, not drawn"),
        ("unit_unknown", "without a known unit, not drawn"),
        ("scale_implausible", "with an implausible scale, not drawn"),
        ("lead_name_conflict", "named in two ways"),
    ):
        if code in by_code:
            found.append(f"{', '.join(_ascii(lead) for lead in by_code[code])}: {words}")
    if "limb_leads_calculated" in by_code:
        found.append("III, aVR, aVL, aVF: calculated from I and II")
    if "not_simultaneous" in by_code:
        found.append("leads not recorded at the same time")
    if outside:
        found.append(f"{', '.join(outside)}: leaves the paper")
    return found


# --- parts of the picture ----------------------------------------------------------------------


def _svg(
    width: float, height: float, body: str, look: Look, clip: float, *, scaled: bool = False
) -> str:
    size = "" if scaled else f' width="{width:g}mm" height="{height:g}mm"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg"{size} viewBox="0 0 {width:g} {height:g}">'
        f'<defs><clipPath id="paper"><path d="M0 0H{width:g}V{clip:g}H0z"/></clipPath></defs>'
        f'<path fill="{look.paper}" d="M0 0H{width:g}V{height:g}H0z"/>{body}</svg>'
    )


def _grid(width: float, height: float, look: Look) -> str:
    """Lines every millimetre and, stronger, every five."""

    def lines(step: int) -> str:
        down = "".join(f"M{x} 0V{height:g}" for x in range(0, int(width) + 1, step))
        return down + "".join(f"M0 {y}H{width:g}" for y in range(0, int(height) + 1, step))

    return (
        f'<path class="minor" fill="none" stroke="{look.minor}" stroke-width="{look.minor_mm}" '
        f'd="{lines(1)}"/>'
        f'<path class="major" fill="none" stroke="{look.major}" stroke-width="{look.major_mm}" '
        f'd="{lines(5)}"/>'
    )


def _slot(
    lead: Lead | None,
    name: str,
    recording: Recording,
    from_s: float,
    seconds: float,
    x: float,
    zero: float,
    look: Look,
    gain: float = MM_PER_MILLIVOLT,
) -> list[str]:
    """The trace of a lead with its name, or the words that it is not there."""
    label_y = max(zero - gain - 1, 4.0)
    if lead is None:
        return [_text(x + 1.5, label_y, f"{name} not recorded", look, 3.2)]
    path = trace_path(lead, recording.sampling_hz, from_s, seconds, x, zero, gain)
    drawn = (
        f'<path class="trace" data-lead="{html.escape(name)}" fill="none" stroke="{look.trace}" '
        f'stroke-width="{look.trace_mm}" stroke-linejoin="round" stroke-linecap="round" '
        f'clip-path="url(#paper)" d="{path}"/>'
        if path
        else ""
    )
    return [drawn, _text(x + 1.5, label_y, name, look, 3.6, bold=True)]


def trace_path(
    lead: Lead,
    sampling_hz: float,
    from_s: float,
    seconds: float,
    x: float,
    zero: float,
    gain: float = MM_PER_MILLIVOLT,
) -> str:
    """SVG path data of a stretch of a lead, in millimetres; "" when nothing of it was recorded.

    Where more than one sample falls into a tenth of a millimetre its first, smallest, largest and
    last are kept in their order, so no peak is lost. Gaps in the recording are gaps in the line.
    Coordinates are rounded to a hundredth of a millimetre (0.4 ms, 1 uV).
    """
    at, uv = _stretch(lead, sampling_hz, from_s, seconds)
    out: list[str] = []
    for times, values in _pieces(at, uv):
        keep = _extremes(times, values, _BIN_MM / MM_PER_SECOND)
        xs = np.rint((x + times[keep] * MM_PER_SECOND) * 100).astype(np.int64)
        ys = np.rint((zero - values[keep] / 1000 * gain) * 100).astype(np.int64)
        out.append(f"M{_hundredth(xs[0])} {_hundredth(ys[0])}")
        if xs.size == 1:
            out.append("h0")
            continue
        steps = zip(np.diff(xs).tolist(), np.diff(ys).tolist(), strict=True)
        out.append("l" + " ".join(f"{_hundredth(a)} {_hundredth(b)}" for a, b in steps if a or b))
    return "".join(out)


def _stretch(
    lead: Lead, sampling_hz: float, from_s: float, seconds: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times from the start of the stretch, and microvolts around the lead's median."""
    first = round(from_s * sampling_hz)
    # One sample more than the stretch, so that it reaches the next column.
    last = min(first + round(seconds * sampling_hz) + 1, lead.samples_uv.size)
    uv = lead.samples_uv[first:last].astype(np.float64)
    known = lead.samples_uv[np.isfinite(lead.samples_uv)]
    if known.size:
        uv -= float(np.median(known))
    return np.arange(uv.size) / sampling_hz, uv


def _pieces(
    times: NDArray[np.float64], values: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The stretches between gaps."""
    known = np.isfinite(values)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], known.astype(np.int8), [0]))))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield times[start:stop], values[start:stop]


def _extremes(
    times: NDArray[np.float64], values: NDArray[np.float64], width: float
) -> NDArray[np.intp]:
    """Indices of first, smallest, largest and last sample of every bin of `width`, in order."""
    bins = np.floor(times / width + 1e-9).astype(np.int64)
    starts = np.flatnonzero(np.concatenate(([True], bins[1:] != bins[:-1])))
    if starts.size * 4 >= times.size * 3:
        return np.arange(times.size)
    order = np.lexsort((values, bins))
    stops = np.concatenate((starts[1:], [times.size])) - 1
    # Sorted by bin, then value: a bin's smallest comes first and its largest last.
    return np.unique(np.concatenate((starts, stops, order[starts], order[stops])))


def _leaves(
    lead: Lead, recording: Recording, from_s: float, seconds: float, zero: float, height: float
) -> bool:
    _, uv = _stretch(lead, recording.sampling_hz, from_s, seconds)
    y = zero - uv[np.isfinite(uv)] / 1000 * MM_PER_MILLIVOLT
    return bool(y.size and (y.min() < 0 or y.max() > height))


def _tick(x: float, zero: float, look: Look) -> str:
    """The mark between two leads of a row."""
    return (
        f'<path fill="none" stroke="{look.trace}" stroke-width="{look.trace_mm}" '
        f'd="M{x:g} {zero - 6:g}v3M{x:g} {zero + 3:g}v3"/>'
    )


def _band(recording: Recording, outside: list[str], look: Look) -> list[str]:
    """Calibration pulse (1 mV for 0.2 s), the settings in words, and the notes."""
    foot = PAGE_HEIGHT_MM - 3
    rise, hold = MM_PER_MILLIVOLT, 0.2 * MM_PER_SECOND
    words = notes(recording, outside)
    parts = [
        f'<path class="calibration" fill="none" stroke="{look.trace}" '
        f'stroke-width="{look.trace_mm}" d="M2 {foot:g}h2v{-rise:g}h{hold:g}v{rise:g}h2"/>',
        _text(13, foot - 5.5, caption(recording), look, 3.2),
    ]
    if words:
        parts.append(_text(13, foot - 0.5, "; ".join(words)[:150], look, 3.2, bold=True))
    return parts


def _text(x: float, y: float, words: str, look: Look, size: float, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-family="{_FONT}" font-size="{size:g}"{weight} '
        f'fill="{look.text}" xml:space="preserve" stroke="{look.paper}" stroke-width=".8" '
        f'paint-order="stroke">{html.escape(_ascii(words))}</text>'
    )


def _ascii(text: str) -> str:
    """Printable ASCII of a foreign string: XML allows no controls, the font has no other script."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)


def _hundredth(value: int) -> str:
    """An integer of hundredths as a short decimal."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    whole, rest = divmod(int(value), 100)
    if not rest:
        return f"{sign}{whole}"
    tail = f"{rest:02d}".rstrip("0")
    return f"{sign}{whole or ''}.{tail}"
