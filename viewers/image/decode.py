"""What are the pixel values of one frame?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from viewers.image import jpeg12
from viewers.image.codestream import codestream
from viewers.image.encapsulated import encapsulated_frame
from viewers.image.instance import Instance, PixelElement
from viewers.image.pixelformat import PALETTE, PixelFormat, pixel_format
from viewers.image.unreadable import Unreadable, refusing

NATIVE = frozenset(
    {
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    }
)

Pixels = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """One frame: stored values (rows x columns), or 8-bit RGB (rows x columns x 3)."""

    pixels: Pixels
    colour: bool


def decoded_frame(instance: Instance, number: int) -> Decoded:
    """Decode frame `number` (from 1), and only that one.

    Grey frames keep their stored values; every kind of colour becomes 8-bit RGB. Raises
    `Unreadable`.
    """
    form = pixel_format(instance)
    encoded = encoded_frame(instance, form, number)
    with refusing("decode_failed", "the frame cannot be decoded"):
        if form.bits_allocated == 1 and instance.transfer_syntax in NATIVE:
            return Decoded(_unpacked(encoded, form, number), False)
        stored, photometric = _by_decoder(instance, form, encoded)
        if photometric == PALETTE:
            return Decoded(_palette(stored, instance.header), True)
        if stored.ndim == 3:
            return Decoded(_eight_bits(stored, form), True)
        return Decoded(stored, False)


def stored_frame(instance: Instance, form: PixelFormat, number: int) -> tuple[Pixels, str]:
    """Frame `number` (from 1) of a compressed instance as it would be stored in a native one, and
    its Photometric Interpretation then: colour in RGB, palette indices as they are. Raises
    `Unreadable`.
    """
    encoded = encoded_frame(instance, form, number)
    with refusing("decode_failed", "the frame cannot be decoded"):
        return _by_decoder(instance, form, encoded)


def encoded_frame(instance: Instance, form: PixelFormat, number: int) -> bytes:
    """The bytes of frame `number` (from 1) as they are stored, one frame only.

    A native one-bit frame may begin within a byte: then the bytes around it are returned.
    """
    if not 1 <= number <= form.frames:
        raise Unreadable("no_such_frame", f"frame {number} of {form.frames} asked for")
    place = instance.pixels
    if place is None:
        raise Unreadable("no_pixel_data", "the instance has no pixel data")
    native = instance.transfer_syntax in NATIVE
    if native == place.encapsulated:
        raise Unreadable("transfer_syntax", "pixel data is not encoded as its transfer syntax says")
    if not native:
        return encapsulated_frame(instance, place, number - 1, form.frames)
    start = form.frame_bits * (number - 1)
    stop = start + form.frame_bits
    first, last = start // 8, (stop + 7) // 8
    if instance.transfer_syntax == ExplicitVRBigEndian and form.bits_allocated == 8:
        return _unswapped(instance, place, first, last)
    return instance.read(place.offset + first, last - first)


def _unswapped(instance: Instance, place: PixelElement, first: int, last: int) -> bytes:
    """8-bit pixels of a big endian object: in OW the bytes of each word are swapped (PS3.5 8.1)."""
    if place.vr != "OW":
        return instance.read(place.offset + first, last - first)
    even, end = first & ~1, min((last + 1) & ~1, place.length & ~1)
    words = np.frombuffer(instance.read(place.offset + even, end - even), dtype=">u2")
    return words.astype("<u2").tobytes()[first - even : last - even]


def _unpacked(encoded: bytes, form: PixelFormat, number: int) -> Pixels:
    """One-bit pixels as bytes of 0 and 1, least significant bit first (PS3.5 8.1.1)."""
    skip = form.frame_bits * (number - 1) % 8
    bits = np.unpackbits(np.frombuffer(encoded, np.uint8), bitorder="little")
    return bits[skip : skip + form.pixels].reshape(form.rows, form.columns)


def _by_decoder(instance: Instance, form: PixelFormat, encoded: bytes) -> tuple[Pixels, str]:
    """The frame through pydicom's decoder for its transfer syntax, and its colour space then."""
    syntax = instance.transfer_syntax
    if syntax not in NATIVE:
        check_size(encoded, form)
        if form.samples == 1 and str(syntax) in jpeg12.SYNTAXES and form.bits_allocated > 8:
            return jpeg12.decode_jpeg12(encoded, str(syntax), form), form.photometric
        encoded = encapsulate([encoded])
    elif syntax == ExplicitVRBigEndian and form.bits_allocated == 8:
        syntax = ExplicitVRLittleEndian
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise Unreadable("transfer_syntax", f"no decoder for {syntax}") from None
    options: dict[str, Any] = {
        "rows": form.rows,
        "columns": form.columns,
        "number_of_frames": 1,
        "samples_per_pixel": form.samples,
        "photometric_interpretation": form.photometric,
        "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_stored,
        "pixel_representation": int(form.signed),
        "planar_configuration": int(form.planar),
        "pixel_keyword": "PixelData",
        "pixel_vr": "OB" if form.bits_allocated <= 8 else "OW",
    }
    stored, found = decoder.as_array(encoded, index=0, **options)
    return stored, str(found["photometric_interpretation"])


def check_size(encoded: bytes, form: PixelFormat) -> None:
    """Refuse a compressed frame whose own size differs from the header's: it decides on memory."""
    found = codestream(encoded)
    if found is not None and (found.rows, found.columns) != (form.rows, form.columns):
        raise Unreadable(
            "frame_mismatch",
            f"header {form.rows}x{form.columns}, compressed frame {found.rows}x{found.columns}",
        )


def _palette(stored: Pixels, header: Dataset) -> Pixels:
    """Palette colours in 8 bits (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6)."""
    colours = np.asarray(apply_color_lut(stored, header))[..., :3]
    if colours.dtype.itemsize == 1:
        return np.ascontiguousarray(colours)
    descriptor: Any = header.RedPaletteColorLookupTableDescriptor
    # Entries of 16 bits that use the low byte only are a known fault of devices.
    shift = 8 if int(descriptor[2]) > 8 and int(colours.max(initial=0)) > 255 else 0
    return np.ascontiguousarray((colours >> shift).astype(np.uint8))


def _eight_bits(stored: Pixels, form: PixelFormat) -> Pixels:
    if stored.dtype == np.uint8:
        return np.ascontiguousarray(stored)
    shift = max(form.bits_stored - 8, 0)
    return np.ascontiguousarray(np.clip(stored >> shift, 0, 255).astype(np.uint8))
