"""What does the header say the pixels are, and can that be true?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydicom.dataset import Dataset

from viewers.image.instance import Instance, PixelElement
from viewers.image.unreadable import Unreadable, refusing

#: One decoded frame may not be larger than this.
MAX_FRAME_BYTES = 256 * 1024 * 1024
MAX_EDGE = 65_535

#: Photometric Interpretations with three samples (PS3.3 C.7.6.3.1.2).
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
PALETTE = "PALETTE COLOR"

#: Attributes of the Image Pixel module and what decoding and showing a frame needs beside it.
PIXEL_TAGS = (
    0x00020010, 0x00080005, 0x00080016, 0x00080018, 0x00080060,
    0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280030,
    0x00280034, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280120, 0x00280121,
    0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281056, 0x00281101, 0x00281102,
    0x00281103, 0x00281201, 0x00281202, 0x00281203, 0x00281221, 0x00281222, 0x00281223,
    0x00283000, 0x00283010, 0x00181164, 0x20500020, 0x7FE00001, 0x7FE00002,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """The Image Pixel module, made whole: absent attributes have the value devices mean."""

    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    planar: bool
    frames: int

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.rows * self.columns

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame; YBR_FULL_422 stores two samples a pixel (C.7.6.3.1.2)."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.pixels * samples * self.bits_allocated

    @property
    def colour(self) -> bool:
        """Whether a frame decodes into red, green and blue."""
        return self.photometric in COLOUR or self.photometric == PALETTE


def pixel_format(instance: Instance) -> PixelFormat:
    """The pixel format of an instance, checked against itself and the bytes at hand.

    `frames` is what the bytes can hold where they are native; a larger claim is cut down. Raises
    `Unreadable`: ``no_pixel_data``, ``float_pixels``, ``pixel_format``, ``size_claim``,
    ``too_large``.
    """
    place = instance.pixels
    if place is None or place.length == 0:
        raise Unreadable("no_pixel_data", "the instance has no pixel data")
    if place.keyword != "PixelData":
        raise Unreadable("float_pixels", f"{place.keyword} is not shown")
    with refusing("pixel_format", "the Image Pixel module cannot be parsed"):
        found = _read(instance.header)
    if found.photometric not in COLOUR | GREY | {PALETTE}:
        raise Unreadable("pixel_format", "this Photometric Interpretation is not shown")
    if found.samples != (3 if found.photometric in COLOUR else 1):
        raise Unreadable("pixel_format", f"{found.samples} samples per pixel do not fit")
    if found.bits_allocated not in {1, 8, 16, 32} or (
        found.bits_allocated == 1 and found.samples != 1
    ):
        raise Unreadable("pixel_format", f"{found.bits_allocated} bits allocated are not shown")
    if not (1 <= found.rows <= MAX_EDGE and 1 <= found.columns <= MAX_EDGE):
        raise Unreadable("pixel_format", f"{found.rows} rows of {found.columns} columns")
    decoded = found.pixels * found.samples * max(found.bits_allocated // 8, 1)
    if decoded > MAX_FRAME_BYTES:
        raise Unreadable("too_large", f"a frame of {decoded} bytes is not shown")
    return _fitted(found, place)


def _fitted(found: PixelFormat, place: PixelElement) -> PixelFormat:
    """`found` with as many frames as the bytes can hold."""
    if place.encapsulated:
        # Each frame is at least one item of eight bytes.
        possible = max(place.length // 8, 1)
    else:
        possible = place.length * 8 // found.frame_bits
        if possible < 1:
            raise Unreadable(
                "size_claim",
                f"a frame of {(found.frame_bits + 7) // 8} bytes claimed, {place.length} are there",
            )
    return replace(found, frames=min(found.frames, possible))


def _read(header: Dataset) -> PixelFormat:
    samples = integer(header, 0x00280002, 1)
    photometric = str(header.get("PhotometricInterpretation") or "").strip(" \0").upper()
    allocated = integer(header, 0x00280100, 16 if samples == 1 else 8)
    stored = integer(header, 0x00280101, allocated)
    stored = stored if 1 <= stored <= allocated else allocated
    high = integer(header, 0x00280102, stored - 1)
    return PixelFormat(
        rows=integer(header, 0x00280010, 0),
        columns=integer(header, 0x00280011, 0),
        samples=samples,
        photometric=photometric or ("RGB" if samples == 3 else "MONOCHROME2"),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high if stored - 1 <= high < allocated else stored - 1,
        signed=integer(header, 0x00280103, 0) == 1,
        planar=integer(header, 0x00280006, 0) == 1,
        frames=max(integer(header, 0x00280008, 1), 1),
    )


def integer(header: Dataset, tag: int, default: int) -> int:
    """First value of an integer attribute, `default` when absent, empty or unusable."""
    if tag not in header:
        return default
    try:
        value: Any = header[tag].value
        if isinstance(value, (list, tuple)) or (
            hasattr(value, "__len__") and not isinstance(value, (str, bytes))
        ):
            value = value[0]
        return int(value)
    except Exception:
        return default
