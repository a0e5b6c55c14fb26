"""Which lead or which measurement does a code in an ECG object mean?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

_MDC_PARTITION = 65536

#: Lead numbers shared by MDC (``2:n``, PS3.16 CID 3001) and SCP-ECG (``5.6.3-9-n``, EN 1064).
_LEADS: Mapping[int, str] = MappingProxyType(
    {
        1: "I", 2: "II", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6", 9: "V7",
        10: "V2R", 11: "V3R", 12: "V4R", 13: "V5R", 14: "V6R", 15: "V7R", 16: "X", 17: "Y",
        18: "Z", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF", 65: "-aVR", 66: "V8", 67: "V9",
        68: "V8R", 69: "V9R",
    }
)  # fmt: skip

_LEAD_TEXT = re.compile(r"(-?aV[RLF]|V[1-9]R?|I{1,3}|[XYZ])(?![A-Za-z0-9])", re.IGNORECASE)
_CANONICAL = MappingProxyType({name.upper(): name for name in _LEADS.values()})

#: Measurements by scheme and code (PS3.16 TID 3713, CID 3227 to 3229; SCP-ECG as devices write it).
_MEASUREMENTS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("MDC", "2:16016"): "heart_rate_bpm",
        ("LN", "8867-4"): "heart_rate_bpm",
        ("MDC", "2:16168"): "rr_ms",
        ("SCPECG", "5.10.2.1-3"): "rr_ms",
        ("MDC", "2:15872"): "pr_ms",
        ("SCPECG", "5.13.5-7"): "pr_ms",
        ("MDC", "2:16156"): "qrs_ms",
        ("SCPECG", "5.13.5-9"): "qrs_ms",
        ("MDC", "2:16160"): "qt_ms",
        ("SCPECG", "5.13.5-11"): "qt_ms",
        ("MDC", "2:15876"): "qtc_ms",
        ("SCPECG", "5.10.2.5-5"): "qtc_ms",
        ("MDC", "2:15880"): "qtc_bazett_ms",
        ("MDC", "2:15892"): "qtc_fridericia_ms",
        ("MDC", "2:16128"): "axis_p_deg",
        ("SCPECG", "5.10.3-11"): "axis_p_deg",
        ("MDC", "2:16132"): "axis_qrs_deg",
        ("SCPECG", "5.10.3-13"): "axis_qrs_deg",
        ("MDC", "2:16136"): "axis_t_deg",
        ("SCPECG", "5.10.3-15"): "axis_t_deg",
    }
)

#: Meanings that name a measurement where the code is a vendor's own.
_MEANINGS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"^(ventricular|heart|atrial and ventricular) ?rate( global)?$", "heart_rate_bpm"),
        (r"^r-?r interval( global)?$", "rr_ms"),
        (r"^p-?[rq] interval( global)?$", "pr_ms"),
        (r"^qrs duration( global)?$", "qrs_ms"),
        (r"^qt interval( global)?$", "qt_ms"),
        (r"^qtc interval( global)?$", "qtc_ms"),
        (r"^qtc.*bazett.*$", "qtc_bazett_ms"),
        (r"^qtc.*frederi?cia.*$|^qtc.*frid?ericia.*$", "qtc_fridericia_ms"),
        (r"^p[- ]?(wave )?axis$", "axis_p_deg"),
        (r"^qrs[- ]?(wave )?axis$", "axis_qrs_deg"),
        (r"^t[- ]?(wave )?axis$", "axis_t_deg"),
    )
)

#: What a value may be before it is called implausible rather than shown.
PLAUSIBLE: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "heart_rate_bpm": (10, 400),
        "rr_ms": (150, 6000),
        "pr_ms": (30, 800),
        "qrs_ms": (20, 400),
        "qt_ms": (100, 1000),
        "qtc_ms": (100, 1000),
        "qtc_bazett_ms": (100, 1000),
        "qtc_fridericia_ms": (100, 1000),
        "axis_p_deg": (-360, 360),
        "axis_qrs_deg": (-360, 360),
        "axis_t_deg": (-360, 360),
    }
)

#: Factors from a unit code (UCUM, MDC) or its meaning to microvolts.
_TO_MICROVOLT: Mapping[str, float] = MappingProxyType(
    {
        "uv": 1.0, "µv": 1.0, "μv": 1.0, "microvolt": 1.0, "microvolts": 1.0,
        "mdc_dim_micro_volt": 1.0, "266419": 1.0,
        "mv": 1e3, "millivolt": 1e3, "millivolts": 1e3,
        "mdc_dim_milli_volt": 1e3, "266418": 1e3,
        "v": 1e6, "volt": 1e6, "volts": 1e6, "mdc_dim_volt": 1e6,
        "nv": 1e-3, "nanovolt": 1e-3, "nanovolts": 1e-3, "mdc_dim_nano_volt": 1e-3,
    }
)  # fmt: skip

_TO_MILLISECOND: Mapping[str, float] = MappingProxyType(
    {"ms": 1.0, "msec": 1.0, "s": 1e3, "us": 1e-3, "": 1.0}
)


def lead_by_code(scheme: str, value: str) -> str | None:
    """Lead name of a Channel Source code (PS3.16 CID 3001), None when the code is not known."""
    match scheme.upper(), value.strip():
        case "MDC", text if text.startswith("2:"):
            number = text[2:]
        case "MDC", text:
            number = str(int(text) - 2 * _MDC_PARTITION) if text.isdecimal() else ""
        case "SCPECG", text if text.startswith("5.6.3-9-"):
            number = text.rsplit("-", 1)[1]
        case _:
            return None
    return _LEADS.get(int(number)) if number.isdecimal() else None


def lead_by_text(text: str) -> str | None:
    """Lead name in a Code Meaning or Channel Label such as "Lead I (Einthoven)" or "LEAD_V1"."""
    words = re.sub(r"^(MDC_ECG_)?(LEAD|CHANNEL|ECG)?[ _:-]*", "", text.strip(), flags=re.IGNORECASE)
    found = _LEAD_TEXT.match(words)
    return _CANONICAL.get(found.group(1).upper()) if found else None


def measurement(scheme: str, value: str, meaning: str) -> str | None:
    """Name of the measurement a concept code stands for, None when it is another concept."""
    scheme, value = scheme.upper().strip(), value.strip()
    if scheme == "MDC" and value.isdecimal() and int(value) >= 2 * _MDC_PARTITION:
        value = f"2:{int(value) - 2 * _MDC_PARTITION}"
    known = _MEASUREMENTS.get((scheme, value))
    if known is not None:
        return known
    return next((name for pattern, name in _MEANINGS if pattern.match(meaning.strip())), None)


def microvolts_per_unit(value: str, meaning: str) -> float | None:
    """Microvolts in one unit of Channel Sensitivity Units, None when the unit is not a voltage."""
    for text in (value, meaning):
        factor = _TO_MICROVOLT.get(text.strip().lower())
        if factor is not None:
            return factor
    return None


def milliseconds_per_unit(value: str) -> float | None:
    """Milliseconds in one unit, None when the unit is not a time; no unit is read as ms."""
    return _TO_MILLISECOND.get(value.strip().lower())
