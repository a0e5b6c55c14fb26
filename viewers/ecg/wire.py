"""How does a recording travel to the browser?"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from datetime import UTC
from typing import Any

import numpy as np

from viewers.ecg.recording import Lead, Recording


def ecg_answer(recordings: Sequence[Recording]) -> dict[str, Any]:
    """The answer to GET /api/studies/{id}/ecg: what was recorded, without the device's extracts.

    An object that brings extracts only (a median beat alone) shows these.
    """
    shown = [recording for recording in recordings if not recording.derived] or list(recordings)
    return {"recordings": [ecg_value(recording) for recording in shown]}


def ecg_value(recording: Recording) -> dict[str, Any]:
    """One recording as a JSON value.

    `samples_uv` is base64 of little-endian float32; NaN stands where nothing was recorded. Numbers
    outside it are finite or null. `acquired_at` is UTC, null when the object's time has no zone.
    """
    values, device, filters = recording.values, recording.device, recording.filters
    instant = recording.acquired_at
    return {
        "sop_uid": recording.sop_uid,
        "acquired_at": None
        if instant is None
        else instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sampling_hz": recording.sampling_hz,
        "seconds": recording.seconds,
        "leads": [_lead(lead) for lead in recording.leads],
        "filter": {
            "low_hz": _finite(filters.low_hz),
            "high_hz": _finite(filters.high_hz),
            "notch_hz": _finite(filters.notch_hz),
        },
        "device": {
            "manufacturer": device.manufacturer,
            "model": device.model,
            "serial": device.serial,
        },
        "device_values": {
            "heart_rate_bpm": _finite(values.heart_rate_bpm),
            "pr_ms": _finite(values.pr_ms),
            "qrs_ms": _finite(values.qrs_ms),
            "qt_ms": _finite(values.qt_ms),
            "qtc_ms": _finite(values.qtc_ms),
            "axis_deg": {
                "p": _finite(values.axis_p_deg),
                "qrs": _finite(values.axis_qrs_deg),
                "t": _finite(values.axis_t_deg),
            },
            "statements": list(values.statements),
        },
        "problems": list(recording.problems),
    }


def _lead(lead: Lead) -> dict[str, Any]:
    low, high = lead.range_uv or (None, None)
    samples = np.ascontiguousarray(lead.samples_uv, dtype="<f4")
    return {
        "name": lead.name,
        "samples_uv": base64.b64encode(samples.tobytes()).decode("ascii"),
        "min_uv": low,
        "max_uv": high,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
