"""What is an ECG once it has left its file format?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

#: The twelve standard leads in the order of the page (PS3.16 CID 3001).
STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Lead:
    """One lead: its name and its samples in microvolts; NaN where the device wrote padding."""

    name: str
    samples_uv: Samples

    def __post_init__(self) -> None:
        self.samples_uv.setflags(write=False)

    @property
    def range_uv(self) -> tuple[float, float] | None:
        """Smallest and largest sample, or None when nothing was recorded."""
        known = self.samples_uv[np.isfinite(self.samples_uv)]
        return (float(known.min()), float(known.max())) if known.size else None


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters the device had applied, in Hz (PS3.3 C.10.9: 003A,0220 to 003A,0222)."""

    low_hz: float | None = None
    high_hz: float | None = None
    notch_hz: float | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """The device, as it names itself."""

    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceValues:
    """What the device measured and said. Nobody has confirmed any of it.

    Durations in ms, axes in degrees. `qtc_formula` is ``bazett``, ``fridericia`` or None where the
    device does not say.
    """

    heart_rate_bpm: float | None = None
    pr_ms: float | None = None
    qrs_ms: float | None = None
    qt_ms: float | None = None
    qtc_ms: float | None = None
    qtc_formula: str | None = None
    axis_p_deg: float | None = None
    axis_qrs_deg: float | None = None
    axis_t_deg: float | None = None
    statements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Leads of one time span with one sampling frequency.

    `acquired_at` is an aware instant, or None when the object's time has no zone; `acquired_local`
    is the wall clock as recorded. `derived` marks a device's own extract (a median beat), not a
    recording. `start_s` is the offset from the first group of the object.

    `problems` tell what could not be trusted or carried: a code, or ``code:lead``. Codes:
    ``lead_missing``, ``lead_unknown``, ``lead_duplicate``, ``lead_name_conflict``,
    ``scale_unknown``, ``unit_unknown``, ``scale_implausible``, ``clipped``, ``flat``, ``gaps``,
    ``filters_differ``, ``limb_leads_calculated``, ``not_simultaneous``, ``channel_skew``,
    ``extra_bytes``, ``group_unreadable``, ``no_time_zone``, ``no_time``, ``short``,
    ``device_value_implausible`` (with the value's name).
    """

    leads: tuple[Lead, ...]
    sampling_hz: float
    sop_uid: str = ""
    acquired_at: datetime | None = None
    acquired_local: datetime | None = None
    filters: Filters = field(default_factory=Filters)
    device: Device = field(default_factory=Device)
    values: DeviceValues = field(default_factory=DeviceValues)
    label: str = ""
    derived: bool = False
    start_s: float = 0.0
    problems: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the longest lead in seconds."""
        return max((lead.samples_uv.size for lead in self.leads), default=0) / self.sampling_hz

    @property
    def by_name(self) -> MappingProxyType[str, Lead]:
        """The leads by their name."""
        return MappingProxyType({lead.name: lead for lead in self.leads})

    @property
    def missing(self) -> tuple[str, ...]:
        """Standard leads that are not there, in the order of the page."""
        return tuple(name for name in STANDARD_LEADS if name not in self.by_name)


def with_limb_leads(recording: Recording) -> Recording:
    """`recording` with III, aVR, aVL and aVF calculated where the device stored only I and II.

    Einthoven's and Goldberger's equations are exact for simultaneous samples, so this is how the
    device itself prints them: III = II - I, aVR = -(I + II)/2, aVL = I - II/2, aVF = II - I/2.
    Nothing is calculated when any of the four was recorded.
    """
    leads = recording.by_name
    if "I" not in leads or "II" not in leads or set(leads) & {"III", "aVR", "aVL", "aVF"}:
        return recording
    one, two = leads["I"].samples_uv, leads["II"].samples_uv
    if one.size != two.size:
        return recording
    half = np.float32(0.5)
    made = (
        Lead("III", two - one),
        Lead("aVR", (one + two) * -half),
        Lead("aVL", one - two * half),
        Lead("aVF", two - one * half),
    )
    return replace(
        recording,
        leads=(*recording.leads, *made),
        problems=(*recording.problems, "limb_leads_calculated"),
    )


def in_page_order(leads: tuple[Lead, ...]) -> tuple[Lead, ...]:
    """Standard leads first, in the order of the page, then the others as they came."""
    place = {name: at for at, name in enumerate(STANDARD_LEADS)}
    return tuple(sorted(leads, key=lambda lead: place.get(lead.name, len(place))))
