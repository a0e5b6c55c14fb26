"""How does a 12-lead ECG with known intervals become a conformant DICOM object?

Every wave has a beginning and an end of its own (no Gaussian tails), so PR, QRS and QT are what was
asked for. Leads I, II and V1-V6 are drawn, the other four follow from Einthoven and Goldberger.
The object follows PS3.3 A.34.3 (12-Lead ECG): at most 13 channels, no time synchronisation, MDC
codes from PS3.16 CID 3001 and TID 3713.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import TwelveLeadECGWaveformStorage

from sample_studies.header import Device, Series, code, new_object
from sample_studies.person import Patient, Visit

Signal = NDArray[np.float64]

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
RHYTHMS = (
    "sinus",
    "atrial_fibrillation",
    "complete_av_block",
    "inferior_stemi",
    "anterior_stemi",
)
MICROVOLT_PER_BIT = 2.5
_CART = Device(model="12-lead cart", serial="ECG-0001")
_SERIES = Series("ECG", "12-lead ECG", "Resting 12-lead ECG", "HEART", _CART)
_MDC_LEADS = {
    "I": ("2:1", "Lead I"),
    "II": ("2:2", "Lead II"),
    "III": ("2:61", "Lead III"),
    "aVR": ("2:62", "aVR, augmented voltage, right"),
    "aVL": ("2:63", "aVL, augmented voltage, left"),
    "aVF": ("2:64", "aVF, augmented voltage, foot"),
    **{f"V{i}": (f"2:{i + 2}", f"Lead V{i}") for i in range(1, 7)},
}
# Amplitudes in mV of each wave in I, II, V1-V6: a normal heart with an axis near 50 degrees.
_DRAWN = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
_WAVES = {
    "p": (0.07, 0.13, 0.05, 0.06, 0.06, 0.06, 0.06, 0.05),
    "q": (-0.06, -0.07, 0.0, 0.0, 0.0, -0.04, -0.09, -0.10),
    "r": (0.72, 1.12, 0.26, 0.52, 0.92, 1.45, 1.42, 1.05),
    "s": (-0.12, -0.17, -0.95, -1.45, -0.92, -0.48, -0.20, -0.08),
    "t": (0.20, 0.32, -0.06, 0.36, 0.42, 0.40, 0.34, 0.24),
}
_NO_ST = (0.0,) * 8
# Elevation of the ST segment in mV; III, aVL and aVF follow (inferior: III +0.37, aVL -0.25).
_ST_INFERIOR = (-0.13, 0.24, -0.05, -0.12, -0.10, -0.02, 0.04, 0.05)
_ST_ANTERIOR = (0.08, -0.02, 0.16, 0.38, 0.42, 0.34, 0.16, 0.05)
_STATEMENTS = {
    "sinus": "Sinus rhythm",
    "atrial_fibrillation": "Atrial fibrillation",
    "complete_av_block": "Complete AV block, ventricular escape rhythm",
    "inferior_stemi": "Sinus rhythm. ST elevation, consider acute inferior infarct",
    "anterior_stemi": "Sinus rhythm. ST elevation, consider acute anterior infarct",
}


@dataclass(frozen=True)
class Heart:
    """What the recording shall show: rhythm, ventricular rate in /min, intervals in ms."""

    rhythm: str = "sinus"
    rate: float = 72.0
    pr_ms: float = 160.0
    qrs_ms: float = 90.0
    qt_ms: float = 400.0
    p_ms: float = 100.0
    atrial_rate: float = 88.0

    def __post_init__(self) -> None:
        """Refuse, with `ValueError`, what no heart does and no drawing could show."""
        if self.rhythm not in RHYTHMS:
            raise ValueError(f"rhythm {self.rhythm!r} is none of {', '.join(RHYTHMS)}")
        if not self.p_ms < self.pr_ms < 60_000 / self.rate - self.p_ms:
            raise ValueError("the P wave must end before the QRS begins")
        if not self.qrs_ms + 100 < self.qt_ms < 60_000 / self.rate:
            raise ValueError("the T wave must lie between the QRS and the next beat")

    @property
    def has_conducted_p(self) -> bool:
        """Whether each QRS follows its P wave, so that a PR interval exists."""
        return self.rhythm not in {"atrial_fibrillation", "complete_av_block"}


# --- waves -------------------------------------------------------------------------------------


def _pulse(seconds: Signal, start: float, length: float, rise: float, fall: float) -> Signal:
    """A wave from `start` to `start + length`, 1 at its peak, 0 outside; `seconds` of any shape."""
    x = np.clip((seconds - start) / length, 0.0, 1.0)
    peak = rise / (rise + fall)
    highest = peak**rise * (1 - peak) ** fall
    return np.asarray(x**rise * (1 - x) ** fall / highest)


def _step(seconds: Signal, start: float, length: float) -> Signal:
    """0 before `start`, 1 after `start + length`, smooth between."""
    x = np.clip((seconds - start) / length, 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


def _qrs(after: Signal, heart: Heart, scale: Signal) -> Signal:
    """The QRS complex; `after` in seconds since its onset, answer (8, samples) in mV."""
    width = heart.qrs_ms / 1000
    q = _pulse(after, 0.0, 0.34 * width, 1.0, 1.2)
    r = _pulse(after, 0.12 * width, 0.58 * width, 1.5, 1.5)
    s = _pulse(after, 0.52 * width, 0.48 * width, 1.4, 1.0)
    waves = np.array([_WAVES["q"], _WAVES["r"], _WAVES["s"]]) * scale
    return np.asarray(waves.T @ np.stack([q, r, s]))


def _repolarisation(after: Signal, heart: Heart, st: Signal, t: Signal) -> Signal:
    """ST segment and T wave, ending exactly `qt_ms` after the QRS onset."""
    qrs, qt = heart.qrs_ms / 1000, heart.qt_ms / 1000
    length = min(0.62 * (qt - qrs), 0.24)
    wave = _pulse(after, qt - length, length, 2.4, 1.5)
    plateau = _step(after, 0.8 * qrs, 0.25 * qrs) * (
        1 - _step(after, qt - 0.6 * length, 0.6 * length)
    )
    return np.asarray(np.outer(t, wave) + np.outer(st, plateau))


def _p_wave(after: Signal, heart: Heart) -> Signal:
    """The P wave; `after` in seconds since its onset. In V1 its second half points down."""
    length = heart.p_ms / 1000
    shape = np.outer(_WAVES["p"], _pulse(after, 0.0, length, 1.2, 1.2))
    shape[2] -= 0.07 * _pulse(after, 0.45 * length, 0.55 * length, 1.2, 1.2)
    return np.asarray(shape)


def _fibrillation(seconds: Signal, random: np.random.Generator) -> Signal:
    """Fibrillatory waves of 5-8 Hz, largest in V1 and II."""
    total = np.zeros_like(seconds)
    for hertz in random.uniform(4.8, 8.2, 6):
        drift = 0.6 * np.sin(2 * np.pi * random.uniform(0.1, 0.4) * seconds)
        total += np.sin(2 * np.pi * hertz * seconds + drift + random.uniform(0, 6.3))
    sizes = (0.010, 0.022, 0.042, 0.026, 0.014, 0.010, 0.008, 0.008)
    return np.asarray(np.outer(sizes, total))


# --- rhythm ------------------------------------------------------------------------------------


def _beats(heart: Heart, seconds: float, random: np.random.Generator) -> list[float]:
    """Onsets of the QRS complexes in seconds, one before the start and one past the end."""
    mean = 60 / heart.rate
    onsets = [-mean + 0.37 * mean]
    while onsets[-1] < seconds + mean:
        if heart.rhythm == "atrial_fibrillation":
            step = mean * float(np.clip(random.normal(1.0, 0.24), 0.58, 1.65))
            step = max(step, heart.qt_ms / 1000 + 0.03)
        elif heart.rhythm == "complete_av_block":
            step = mean
        else:
            # Breathing moves a sinus beat by two in a hundred.
            step = mean * (1 + 0.02 * math.sin(2 * math.pi * 0.25 * onsets[-1]))
        onsets.append(onsets[-1] + step)
    return onsets


def _p_onsets(heart: Heart, beats: list[float], seconds: float) -> list[float]:
    if heart.rhythm == "atrial_fibrillation":
        return []
    if heart.rhythm == "complete_av_block":
        return list(np.arange(-0.31, seconds + 1, 60 / heart.atrial_rate))
    return [beat - heart.pr_ms / 1000 for beat in beats]


def _amplitudes(heart: Heart) -> tuple[Signal, Signal, Signal]:
    """QRS factors (3, 8), ST in mV (8,), T in mV (8,) for this heart."""
    scale, st, t = np.ones((3, 8)), np.array(_NO_ST), np.array(_WAVES["t"])
    if heart.rhythm == "inferior_stemi":
        st, t = np.array(_ST_INFERIOR), t + 0.6 * np.array(_ST_INFERIOR)
    elif heart.rhythm == "anterior_stemi":
        st, t = np.array(_ST_ANTERIOR), t + 0.8 * np.array(_ST_ANTERIOR)
        scale[1, 2:6] = 0.55
    elif heart.rhythm == "complete_av_block":
        # An escape from the left ventricle: tall in V1, deep in V6, T against the QRS.
        scale = np.array(
            [
                [1.0] * 8,
                [0.5, 0.9, 3.2, 1.8, 1, 0.6, 0.4, 0.4],
                [2.6, 1.5, 0.2, 0.4, 0.8, 1.6, 4, 7],
            ]
        )
        t = -0.8 * t * np.array([-0.6, 1, -4, 1, 0.8, -0.5, -0.9, -1])
    return scale, st, t


def twelve_leads(
    heart: Heart,
    seconds: float = 10.0,
    sampling_hz: int = 500,
    noise_uv: float = 5.0,
    seed: int = 7,
) -> Signal:
    """Voltages in mV, shape (samples, 12), leads in the order of `LEADS`."""
    random = np.random.default_rng(seed)
    clock = np.arange(round(seconds * sampling_hz)) / sampling_hz
    beats = _beats(heart, seconds, random)
    scale, st, t = _amplitudes(heart)
    drawn = np.zeros((8, clock.size))
    for onset in beats:
        drawn += _qrs(clock - onset, heart, scale) + _repolarisation(clock - onset, heart, st, t)
    for onset in _p_onsets(heart, beats, seconds):
        drawn += _p_wave(clock - onset, heart)
    if heart.rhythm == "atrial_fibrillation":
        drawn += _fibrillation(clock, random)
    return _all_leads(drawn + _disturbance(clock, noise_uv / 1000, random))


def _disturbance(clock: Signal, millivolt: float, random: np.random.Generator) -> Signal:
    """Muscle noise and the slow wander of breathing, (8, samples) in mV."""
    noise = random.normal(0, millivolt, (8, clock.size))
    phases = random.uniform(0, 2 * np.pi, (8, 1))
    return np.asarray(noise + 4 * millivolt * np.sin(2 * np.pi * 0.22 * clock + phases))


def _all_leads(drawn: Signal) -> Signal:
    one, two = drawn[0], drawn[1]
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.stack([*limb, *drawn[2:]], axis=1)


def axis_deg(lead_one: float, lead_two: float) -> int:
    """Frontal axis in degrees from net amplitudes in I and II."""
    return round(math.degrees(math.atan2((2 * lead_two - lead_one) / math.sqrt(3), lead_one)))


# --- object ------------------------------------------------------------------------------------


def ecg(
    patient: Patient,
    rhythm: str = "sinus",
    rate: float = 72,
    pr_ms: float = 160,
    qrs_ms: float = 90,
    qt_ms: float = 400,
    *,
    visit: Visit | None = None,
    number: int = 1,
    seconds: float = 10.0,
    sampling_hz: int = 500,
    noise_uv: float = 5.0,
    device_values: bool = True,
) -> Dataset:
    """A 12-lead ECG with these intervals, the device's unconfirmed values as annotations.

    Raises `ValueError` for intervals that do not fit into the beat.
    """
    visit = visit or Visit()
    heart = Heart(rhythm, rate, pr_ms, qrs_ms, qt_ms)
    ds = new_object(TwelveLeadECGWaveformStorage, patient, visit, _SERIES, number)
    ds.AcquisitionDateTime = visit.when.strftime("%Y%m%d%H%M%S%z")
    for unused in ("AcquisitionDate", "AcquisitionTime", "BodyPartExamined"):
        delattr(ds, unused)
    ds.AcquisitionContextSequence = Sequence([_lead_system()])
    leads = twelve_leads(heart, seconds, sampling_hz, noise_uv, seed=number + round(rate))
    ds.WaveformSequence = Sequence([_rhythm_group(leads, sampling_hz)])
    if device_values:
        ds.WaveformAnnotationSequence = Sequence(_annotations(heart))
    return ds


def _lead_system() -> Dataset:
    item = Dataset()
    item.ValueType = "CODE"
    item.ConceptNameCodeSequence = Sequence([code("10:11345", "MDC", "Lead System")])
    positions = "Standard 12-lead positions, electrodes placed individually"
    item.ConceptCodeSequence = Sequence([code("10:11265", "MDC", positions)])
    return item


def _channel(lead: str) -> Dataset:
    channel = Dataset()
    value, meaning = _MDC_LEADS[lead]
    channel.ChannelLabel = lead
    channel.ChannelSourceSequence = Sequence([code(value, "MDC", meaning)])
    channel.ChannelSensitivity = f"{MICROVOLT_PER_BIT:g}"
    channel.ChannelSensitivityUnitsSequence = Sequence([code("uV", "UCUM", "microvolt")])
    channel.ChannelSensitivityCorrectionFactor = "1"
    channel.ChannelBaseline = "0"
    channel.ChannelSampleSkew = "0"
    channel.WaveformBitsStored = 16
    channel.FilterLowFrequency = "0.05"
    channel.FilterHighFrequency = "150"
    return channel


def _rhythm_group(leads: Signal, sampling_hz: int) -> Dataset:
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels = leads.shape[1]
    group.NumberOfWaveformSamples = leads.shape[0]
    group.SamplingFrequency = str(sampling_hz)
    group.MultiplexGroupLabel = "RHYTHM"
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.ChannelDefinitionSequence = Sequence([_channel(lead) for lead in LEADS])
    counts = np.clip(np.rint(leads * 1000 / MICROVOLT_PER_BIT), -32767, 32767).astype("<i2")
    group.add_new("WaveformPaddingValue", "OW", np.array([-32768], "<i2").tobytes())
    group.add_new("WaveformData", "OW", counts.tobytes())
    return group


def _number(concept: tuple[str, str], value: float, unit: tuple[str, str]) -> Dataset:
    item = Dataset()
    item.AnnotationGroupNumber = 1
    item.ReferencedWaveformChannels = [1, 0]
    item.ConceptNameCodeSequence = Sequence([code(concept[0], "MDC", concept[1])])
    item.NumericValue = f"{value:.0f}"
    item.MeasurementUnitsCodeSequence = Sequence([code(unit[0], "UCUM", unit[1])])
    return item


def _text(words: str) -> Dataset:
    item = Dataset()
    item.AnnotationGroupNumber = 0
    item.ReferencedWaveformChannels = [1, 0]
    item.UnformattedTextValue = words
    return item


def _axes(heart: Heart) -> dict[str, int]:
    """P, QRS and T axes from the amplitudes that were drawn."""
    scale, st, t = _amplitudes(heart)
    net = (np.array([_WAVES["q"], _WAVES["r"], _WAVES["s"]]) * scale).sum(axis=0)
    wave = t + st
    axes = {"qrs": axis_deg(net[0], net[1]), "t": axis_deg(wave[0], wave[1])}
    if heart.has_conducted_p:
        axes["p"] = axis_deg(_WAVES["p"][0], _WAVES["p"][1])
    return axes


def _annotations(heart: Heart) -> list[Dataset]:
    """What the cart measured, in TID 3713's codes, and its own words about it."""
    ms, per_minute, degree = (
        ("ms", "ms"),
        ("{H.B.}/min", "heart beats per minute"),
        ("deg", "degree"),
    )
    cycle = 60 / heart.rate
    rows = [
        (("2:16016", "Ventricular Heart Rate"), heart.rate, per_minute),
        (("2:16168", "RR interval global"), 1000 * cycle, ms),
        (("2:16156", "QRS duration global"), heart.qrs_ms, ms),
        (("2:16160", "QT interval global"), heart.qt_ms, ms),
        (("2:15880", "QTc global using Bazett formula"), heart.qt_ms / math.sqrt(cycle), ms),
        (("2:15892", "QTc global using Fredericia formula"), heart.qt_ms / cycle ** (1 / 3), ms),
    ]
    if heart.has_conducted_p:
        rows.append((("2:15872", "PR interval global"), heart.pr_ms, ms))
    names = {"p": ("2:16128", "P axis"), "qrs": ("2:16132", "QRS axis"), "t": ("2:16136", "T axis")}
    rows += [(names[wave], float(value), degree) for wave, value in _axes(heart).items()]
    statement = _STATEMENTS[heart.rhythm]
    if heart.rhythm == "sinus" and heart.rate < 60:
        statement = "Sinus bradycardia"
    return [*(_number(*row) for row in rows), _text(statement), _text("Unconfirmed")]
