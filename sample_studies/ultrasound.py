"""How does a beating heart look in a made-up ultrasound loop (apical four-chamber view)?

Echoes are drawn where a probe sees them, along beams: speckle in polar coordinates, brighter where
tissue is, then spread into the sector on the screen.
"""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, UltrasoundMultiFrameImageStorage

from sample_studies.header import Device, Series, new_object
from sample_studies.person import Patient, Visit

Picture = NDArray[np.float32]

ROWS, COLUMNS = 480, 640
DEPTH_CM, HALF_ANGLE = 16.0, math.radians(38)
APEX_ROW, CM_PER_PIXEL = 26, DEPTH_CM / 420
RATE_BPM, FRAME_TIME_MS = 66, 33.3
PHOTOMETRICS = ("YBR_FULL_422", "RGB", "PALETTE COLOR")
_MACHINE = Device(model="Echo 5", serial="US-0001")
_SERIES = Series("US", "Transthoracic echo", "Apical four-chamber", "HEART", _MACHINE)
_BEAMS, _SAMPLES = 160, 420
_GREEN, _AMBER = (60, 210, 120), (235, 190, 80)


def _polar_grid() -> tuple[Picture, Picture]:
    """Place of each sample in cm: x to the screen's right, y down from the probe."""
    angle = np.linspace(-HALF_ANGLE, HALF_ANGLE, _BEAMS, dtype=np.float32)[None, :]
    reach = np.linspace(0, DEPTH_CM, _SAMPLES, dtype=np.float32)[:, None]
    return np.asarray(reach * np.sin(angle)), np.asarray(reach * np.cos(angle))


def _oval(x: Picture, y: Picture, place: tuple[float, float, float, float, float]) -> Picture:
    """About the distance in cm from the oval (x, y, a, b, turn), negative inside."""
    cx, cy, a, b, turn = place
    u = (x - cx) * math.cos(turn) + (y - cy) * math.sin(turn)
    v = (y - cy) * math.cos(turn) - (x - cx) * math.sin(turn)
    return np.asarray((np.hypot(u / a, v / b) - 1) * min(a, b))


def _leaf(x: Picture, y: Picture, start: tuple[float, float], tip: tuple[float, float]) -> Picture:
    """Echo of a valve leaflet, a thin bright line."""
    dx, dy = tip[0] - start[0], tip[1] - start[1]
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    away = np.hypot(x - start[0] - along * dx, y - start[1] - along * dy)
    return np.asarray(np.exp(-((away / 0.1) ** 2)))


def _echoes(x: Picture, y: Picture, squeeze: float, opening: float) -> Picture:
    """How much each place sends back, 0 to 1, while ventricles `squeeze` and valves open."""
    left = (1.45, 6.1 + 0.25 * squeeze, 1.75 - 0.55 * squeeze, 3.5 - 0.5 * squeeze, -0.13)
    right = (-1.75, 6.9 + 0.2 * squeeze, 1.3 - 0.35 * squeeze, 2.7 - 0.4 * squeeze, 0.24)
    left_atrium = (1.6, 11.6, 1.75 + 0.2 * squeeze, 1.75 + 0.25 * squeeze, 0.0)
    right_atrium = (-2.05, 11.4, 1.6 + 0.2 * squeeze, 1.6 + 0.2 * squeeze, 0.0)
    heart = _oval(x, y, (0.0, 8.1, 4.25 - 0.12 * squeeze, 5.9, 0.0))
    echo = np.where(heart < 0, 0.42, 0.2 + 0.1 * np.sin(1.7 * y + 0.6 * x))
    echo += 0.5 * np.exp(-((heart / 0.14) ** 2)) + 0.16 * np.exp(-(((heart - 0.5) / 0.3) ** 2))
    ring = 9.45 + 0.55 * squeeze
    mitral, tricuspid = (1.6, ring, 1.2, 1.5, 0.0), (-2.0, ring, 1.1, 1.4, 0.0)
    pools = (left, right, left_atrium, right_atrium, mitral, tricuspid)
    wall = np.minimum.reduce([_oval(x, y, pool) for pool in pools])
    blood = np.clip(0.5 - wall / 0.22, 0, 1)
    echo = echo * (1 - blood) + 0.015 * blood + 0.2 * np.exp(-((wall / 0.1) ** 2))
    for centre, half in ((1.6, 1.2), (-2.0, 1.1)):
        for side in (-1, 1):
            hinge = (centre + side * half, ring)
            tip = (centre + side * half * (0.1 + 0.62 * opening), ring - 0.35 - 1.35 * opening)
            echo = np.maximum(echo, 0.85 * _leaf(x, y, hinge, tip))
    return np.asarray(np.clip(echo, 0, 1), np.float32)


def _speckle(random: np.random.Generator) -> Picture:
    """Rayleigh speckle, short along the beam and wider across it, mean about 1."""
    parts = []
    for _ in range(2):
        white = random.standard_normal((_SAMPLES, _BEAMS)).astype(np.float32)
        for axis, times in ((0, 2), (1, 3)):
            for _ in range(times):
                white = white + 0.8 * (np.roll(white, 1, axis) + np.roll(white, -1, axis))
        parts.append(white / white.std())
    return np.asarray(np.hypot(parts[0], parts[1]) / 1.25)


def _screen_map() -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """For each pixel the nearest sample and beam, and whether it lies in the sector."""
    row, column = np.mgrid[0:ROWS, 0:COLUMNS].astype(np.float32)
    x, y = (column - COLUMNS / 2) * CM_PER_PIXEL, (row - APEX_ROW) * CM_PER_PIXEL
    reach, angle = np.hypot(x, y), np.arctan2(x, y)
    inside = (reach < DEPTH_CM) & (np.abs(angle) < HALF_ANGLE) & (y > 0.05)
    sample = np.clip(reach / DEPTH_CM * (_SAMPLES - 1), 0, _SAMPLES - 1).astype(np.intp)
    beam = np.clip((angle / HALF_ANGLE + 1) / 2 * (_BEAMS - 1), 0, _BEAMS - 1).astype(np.intp)
    return sample, beam, inside


def _motion(frame: int) -> tuple[float, float, float]:
    """Squeeze and opening (0 to 1) at a frame, and the phase in the beat."""
    phase = frame * FRAME_TIME_MS / (60_000 / RATE_BPM) % 1
    squeeze = math.sin(math.pi * phase / 0.42) ** 1.4 if phase < 0.42 else 0.0
    early = math.exp(-(((phase - 0.55) / 0.08) ** 2))
    atrial = 0.7 * math.exp(-(((phase - 0.9) / 0.06) ** 2))
    rest = 0.25 if phase > 0.48 else 0.0
    return squeeze, min(1.0, max(early, atrial, rest)), phase


def _trace(phase: float) -> float:
    """The ECG line at a phase of the beat, in pixels upwards."""
    waves = ((0.0, 0.016, 30), (0.035, 0.014, -7), (0.32, 0.05, 8), (0.86, 0.03, 4))
    near = [(min(abs(phase - at), 1 - abs(phase - at)), wide, high) for at, wide, high in waves]
    return sum(high * math.exp(-((off / wide) ** 2)) for off, wide, high in near)


def _overlay(picture: Image.Image, frame: int, frames: int) -> None:
    """Scale, grey wedge, ECG line; no name and no id is burned in."""
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    for cm in range(0, int(DEPTH_CM) + 1):
        row = APEX_ROW + cm / CM_PER_PIXEL
        draw.line([(604 if cm % 5 else 598, row), (610, row)], fill=(190, 190, 190))
        if cm % 5 == 0 and cm:
            draw.text((614, row - 7), str(cm), fill=(190, 190, 190), font=font)
    for i in range(128):
        draw.line([(18, 40 + i), (28, 40 + i)], fill=(255 - 2 * i,) * 3)
    draw.text((40, 12), "A4C  30 Hz  16 cm", fill=(190, 190, 190), font=font)
    draw.text((40, 28), f"{RATE_BPM} bpm", fill=_GREEN, font=font)
    draw.polygon(
        [(COLUMNS / 2 - 26, 14), (COLUMNS / 2 - 18, 14), (COLUMNS / 2 - 22, 21)], fill=_AMBER
    )
    last = 1 + round((COLUMNS - 60) * (frame + 1) / frames)
    beat = 60_000 / RATE_BPM
    points = [
        (30 + i, 462 - _trace(i / (COLUMNS - 60) * frames * FRAME_TIME_MS / beat % 1))
        for i in range(last)
    ]
    draw.line(points, fill=_GREEN)


def _pictures(frames: int) -> list[Image.Image]:
    random = np.random.default_rng(21)
    x, y = _polar_grid()
    moving, still = _speckle(random), _speckle(random)
    sample, beam, inside = _screen_map()
    fade = np.linspace(1.12, 0.72, _SAMPLES, dtype=np.float32)[:, None]
    made = []
    for frame in range(frames):
        squeeze, opening, _ = _motion(frame)
        grain = 0.78 * np.roll(moving, round(6 * squeeze), 0) + 0.22 * np.roll(still, 7 * frame, 0)
        echo = _echoes(x, y, squeeze, opening) * fade * grain
        shown = np.clip(np.log1p(14 * echo**1.25) / 2.9, 0, 1)
        grey = np.where(inside, shown[sample, beam], 0)
        picture = Image.fromarray(np.asarray(grey * 235, np.uint8)).convert("RGB")
        _overlay(picture, frame, frames)
        made.append(picture)
    return made


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88, subsampling="4:2:2")
    return file.getvalue()


def ultrasound_loop(
    patient: Patient,
    frames: int = 30,
    *,
    visit: Visit | None = None,
    photometric: str = "YBR_FULL_422",
) -> Dataset:
    """A cine loop of `frames` pictures of 480 x 640, 33.3 ms each.

    `YBR_FULL_422` is JPEG Baseline, as most machines send it; `RGB` and `PALETTE COLOR` are
    uncompressed. Raises `ValueError` for another photometric interpretation.
    """
    if photometric not in PHOTOMETRICS:
        raise ValueError(f"photometric {photometric!r} is none of {', '.join(PHOTOMETRICS)}")
    visit = visit or Visit()
    lossy = photometric == "YBR_FULL_422"
    syntax = JPEGBaseline8Bit if lossy else ExplicitVRLittleEndian
    ds = new_object(
        UltrasoundMultiFrameImageStorage, patient, visit, _SERIES, transfer_syntax=syntax
    )
    _add_cine(ds, frames)
    ds.PhotometricInterpretation = photometric
    ds.SamplesPerPixel = 1 if photometric == "PALETTE COLOR" else 3
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    if ds.SamplesPerPixel > 1:
        ds.PlanarConfiguration = 0
    _add_pixels(ds, _pictures(frames))
    return ds


def _add_pixels(ds: Dataset, pictures: list[Image.Image]) -> None:
    """Pixel data in the form the photometric interpretation asks for."""
    if ds.PhotometricInterpretation == "YBR_FULL_422":
        coded = [_jpeg(picture) for picture in pictures]
        ds.add_new("PixelData", "OB", encapsulate(coded))
        ds["PixelData"].is_undefined_length = True
        ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
        raw = ROWS * COLUMNS * 3 * len(pictures)
        ds.LossyImageCompressionRatio = f"{raw / sum(map(len, coded)):.1f}"
        return
    ds.LossyImageCompression = "00"
    if ds.PhotometricInterpretation == "RGB":
        ds.add_new("PixelData", "OB", b"".join(picture.tobytes() for picture in pictures))
        return
    first = pictures[0].quantize(256)
    palette = np.asarray(first.getpalette(), np.uint16).reshape(-1, 3)
    palette = np.pad(palette, ((0, 256 - len(palette)), (0, 0))) * 257
    for column, colour in enumerate(("Red", "Green", "Blue")):
        ds.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        entries = palette[:, column].astype("<u2").tobytes()
        ds.add_new(f"{colour}PaletteColorLookupTableData", "OW", entries)
    indexed = (p.quantize(palette=first, dither=Image.Dither.NONE).tobytes() for p in pictures)
    ds.add_new("PixelData", "OB", b"".join(indexed))


def _add_cine(ds: Dataset, frames: int) -> None:
    """Cine, Multi-frame, US Image and US Region Calibration modules."""
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.NumberOfFrames = frames
    ds.FrameTime = f"{FRAME_TIME_MS:g}"
    ds.FrameIncrementPointer = 0x00181063
    ds.CineRate = ds.RecommendedDisplayFrameRate = round(1000 / FRAME_TIME_MS)
    ds.HeartRate = RATE_BPM
    ds.BurnedInAnnotation = "NO"
    ds.PatientOrientation = ""
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 2
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, APEX_ROW
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = COLUMNS - 1, 446
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = CM_PER_PIXEL
    ds.SequenceOfUltrasoundRegions = Sequence([region])
