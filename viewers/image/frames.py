"""What is sent to the browser for a frame, and what must the metadata say about it?

cornerstone3D decodes grey frames of all common syntaxes itself. Its colour path follows the
metadata, not the codestream, and knows neither palettes without a provider nor planar, 16-bit or
subsampled native colour: such frames are sent as plain 8-bit RGB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np
from pydicom import uid
from pydicom.pixels.processing import apply_modality_lut

from viewers.image.codestream import codestream
from viewers.image.decode import (
    NATIVE,
    Pixels,
    check_size,
    decoded_frame,
    encoded_frame,
)
from viewers.image.encapsulated import fragment_count
from viewers.image.instance import Instance
from viewers.image.pixelformat import PixelFormat, pixel_format
from viewers.image.unreadable import Unreadable, refusing

OCTETS = "application/octet-stream"

#: Media types of compressed frames (PS3.18 Table 8.7.3-5).
_MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {
        uid.JPEGBaseline8Bit: "image/jpeg",
        uid.JPEGExtended12Bit: "image/jpeg",
        "1.2.840.10008.1.2.4.53": "image/jpeg",
        "1.2.840.10008.1.2.4.55": "image/jpeg",
        uid.JPEGLossless: "image/jpeg",
        uid.JPEGLosslessSV1: "image/jpeg",
        uid.JPEGLSLossless: "image/jls",
        uid.JPEGLSNearLossless: "image/jls",
        uid.JPEG2000Lossless: "image/jp2",
        uid.JPEG2000: "image/jp2",
        uid.HTJ2KLossless: "image/jphc",
        uid.HTJ2KLosslessRPCL: "image/jphc",
        uid.HTJ2K: "image/jphc",
        uid.RLELossless: "image/dicom-rle",
    }
)
_JPEG2000_FAMILY = {
    uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K,
}  # fmt: skip


class Way(StrEnum):
    """How a frame reaches the browser."""

    UNTOUCHED = "untouched"
    RGB = "rgb"
    GREY = "grey"
    MODALITY = "modality"


@dataclass(frozen=True, slots=True)
class FramePlan:
    """How the frames of one instance are sent, and the attributes that metadata must then have.

    `attributes` maps keywords to new values; None takes the attribute away.
    """

    way: Way
    transfer_syntax: str
    media_type: str
    frames: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame on its way: bytes, media type, transfer syntax."""

    body: bytes
    media_type: str
    transfer_syntax: str

    @property
    def content_type(self) -> str:
        """Value of Content-Type, with the transfer syntax (PS3.18 8.7.3.5.2)."""
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax}"


def frame_plan(instance: Instance) -> FramePlan:
    """How frames of `instance` are sent; raises `Unreadable` when they cannot be shown.

    Reads at most the first frame's bytes, and these only for JPEG colour.
    """
    form = pixel_format(instance)
    native = instance.transfer_syntax in NATIVE
    if not native and form.frames > 1 and instance.pixels is not None:
        form = replace(form, frames=min(form.frames, fragment_count(instance, instance.pixels)))
    if not native and str(instance.transfer_syntax) not in _MEDIA_TYPES:
        raise Unreadable("transfer_syntax", f"no decoder for {instance.transfer_syntax}")
    if form.colour:
        return _colour_plan(instance, form)
    if instance.header.get("ModalityLUTSequence"):
        return _plan(Way.MODALITY, form, _modality_attributes())
    if not native and form.bits_allocated <= 16:
        return FramePlan(
            Way.UNTOUCHED,
            str(instance.transfer_syntax),
            _MEDIA_TYPES[str(instance.transfer_syntax)],
            form.frames,
            _grey_attributes(form),
        )
    if form.bits_allocated == 1:
        return _plan(Way.GREY, form, _grey_attributes(form, allocated=8, stored=8))
    big_endian = instance.transfer_syntax == uid.ExplicitVRBigEndian
    if native and not big_endian and form.high_bit == form.bits_stored - 1:
        return _plan(Way.UNTOUCHED, form, _grey_attributes(form))
    return _plan(Way.GREY, form, _grey_attributes(form))


def frame(instance: Instance, number: int, *, plan: FramePlan | None = None) -> Frame:
    """Frame `number` (from 1) as `plan` says; the plan is made when none is given.

    Raises `Unreadable`.
    """
    plan = plan or frame_plan(instance)
    if plan.way is Way.UNTOUCHED:
        form = pixel_format(instance)
        body = encoded_frame(instance, form, number)
        if plan.media_type != OCTETS:
            check_size(body, form)
        return Frame(body, plan.media_type, plan.transfer_syntax)
    return Frame(_converted(instance, number, plan.way), OCTETS, plan.transfer_syntax)


def native_frame(instance: Instance, number: int) -> Frame:
    """Frame `number` decoded, for clients that accept no compressed bytes: grey values as stored
    in explicit little endian, colour as 8-bit RGB. Raises `Unreadable`.
    """
    decoded = decoded_frame(instance, number)
    return Frame(_little_endian(decoded.pixels), OCTETS, str(uid.ExplicitVRLittleEndian))


# --- which way ---------------------------------------------------------------------------------


def _plan(way: Way, form: PixelFormat, attributes: Mapping[str, Any]) -> FramePlan:
    return FramePlan(way, str(uid.ExplicitVRLittleEndian), OCTETS, form.frames, attributes)


def _colour_plan(instance: Instance, form: PixelFormat) -> FramePlan:
    syntax = str(instance.transfer_syntax)
    attributes = _rgb_attributes()
    if _browser_makes_rgb(instance, form):
        return FramePlan(Way.UNTOUCHED, syntax, _MEDIA_TYPES[syntax], form.frames, attributes)
    plain = (
        instance.transfer_syntax in NATIVE
        and instance.transfer_syntax != uid.ExplicitVRBigEndian
        and form.photometric == "RGB"
        and form.bits_allocated == 8
        and not form.planar
    )
    return _plan(Way.UNTOUCHED if plain else Way.RGB, form, attributes)


def _browser_makes_rgb(instance: Instance, form: PixelFormat) -> bool:
    """Whether the browser's codec itself yields 8-bit RGB for this compressed colour.

    JPEG codecs convert by the markers of the codestream; where these contradict the Photometric
    Interpretation the server decodes. JPEG 2000 undoes its own component transform only.
    """
    if form.bits_allocated != 8:
        return False
    if instance.transfer_syntax == uid.JPEGBaseline8Bit:
        found = codestream(encoded_frame(instance, form, 1))
        if found is None or found.components != 3:
            return False
        return found.says_ycbcr or found.reads_as_rgb == (form.photometric == "RGB")
    if instance.transfer_syntax in _JPEG2000_FAMILY:
        return form.photometric in {"RGB", "YBR_ICT", "YBR_RCT"}
    return False


def _rgb_attributes() -> Mapping[str, Any]:
    gone = (
        *(
            f"{colour}PaletteColorLookupTable{part}"
            for colour in ("Red", "Green", "Blue")
            for part in ("Descriptor", "Data")
        ),
        *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
        "PaletteColorLookupTableUID",
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
        "PixelPaddingValue",
    )
    return MappingProxyType(
        {
            **dict.fromkeys(gone),
            "SamplesPerPixel": 3,
            "PhotometricInterpretation": "RGB",
            "PlanarConfiguration": 0,
            "BitsAllocated": 8,
            "BitsStored": 8,
            "HighBit": 7,
            "PixelRepresentation": 0,
        }
    )


def _grey_attributes(
    form: PixelFormat, *, allocated: int | None = None, stored: int | None = None
) -> Mapping[str, Any]:
    bits = stored or form.bits_stored
    return MappingProxyType(
        {
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": form.photometric,
            "BitsAllocated": allocated or form.bits_allocated,
            "BitsStored": bits,
            "HighBit": bits - 1,
            "PixelRepresentation": int(form.signed),
            "PlanarConfiguration": None,
        }
    )


def _modality_attributes() -> Mapping[str, Any]:
    return MappingProxyType(
        {
            "SamplesPerPixel": 1,
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 0,
            "ModalityLUTSequence": None,
            "PixelPaddingValue": None,
            "SmallestImagePixelValue": None,
            "LargestImagePixelValue": None,
        }
    )


# --- bytes -------------------------------------------------------------------------------------


def _converted(instance: Instance, number: int, way: Way) -> bytes:
    decoded = decoded_frame(instance, number)
    if way is Way.MODALITY:
        with refusing("decode_failed", "the Modality LUT cannot be applied"):
            values = np.asarray(apply_modality_lut(decoded.pixels, instance.header))
            return _little_endian(np.clip(values, 0, 0xFFFF).astype(np.uint16))
    return _little_endian(decoded.pixels)


def _little_endian(pixels: Pixels) -> bytes:
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()
