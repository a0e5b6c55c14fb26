"""How does one frame look as an ordinary 8-bit picture?"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from viewers.image.decode import Pixels, decoded_frame
from viewers.image.instance import Instance
from viewers.image.pixelformat import PixelFormat, pixel_format
from viewers.image.unreadable import refusing

THUMBNAIL_EDGE = 200
KEY_IMAGE_EDGE = 1600
MAX_RENDERED_EDGE = 4096

#: The part of the grey values that a window without a better rule leaves out at each end.
_OUTLIERS_PERCENT = 0.5
_SAMPLE_EDGE = 512
_MAX_ASPECT = 10.0


@dataclass(frozen=True, slots=True)
class Window:
    """Window Center and Window Width in the units of the Modality LUT's output (C.11.2.1.2)."""

    center: float
    width: float


def render(
    instance: Instance, number: int, *, window: Window | None = None, max_edge: int | None = None
) -> Image.Image:
    """Frame `number` (from 1) as a grey ("L") or colour ("RGB") picture with square pixels.

    Grey: Modality LUT, then `window`, else the file's VOI LUT or first window, else the values
    without half a percent at both ends; MONOCHROME1 and an inverse Presentation LUT are inverted.
    No edge is longer than `max_edge` (at most 4096); small pictures are not enlarged. Raises
    `Unreadable`.
    """
    form = pixel_format(instance)
    decoded = decoded_frame(instance, number)
    with refusing("decode_failed", "the frame cannot be rendered"):
        context = _context(instance.header, number)
        edge = min(max_edge or MAX_RENDERED_EDGE, MAX_RENDERED_EDGE)
        pixels = _thinned(decoded.pixels, edge)
        if not decoded.colour:
            pixels = _grey(pixels, form, context, window)
        return _sized(Image.fromarray(pixels), pixels, form, _aspect(context), edge)


def rendered_png(
    instance: Instance, number: int, *, window: Window | None = None, max_edge: int | None = None
) -> bytes:
    """`render` as PNG. Raises `Unreadable`."""
    return _saved(render(instance, number, window=window, max_edge=max_edge), "PNG")


def rendered_jpeg(
    instance: Instance, number: int, *, window: Window | None = None, max_edge: int | None = None
) -> bytes:
    """`render` as JPEG. Raises `Unreadable`."""
    return _saved(render(instance, number, window=window, max_edge=max_edge), "JPEG", quality=90)


def thumbnail(instance: Instance) -> bytes:
    """The middle frame as a small JPEG, longest edge 200. Raises `Unreadable`."""
    number = (pixel_format(instance).frames + 1) // 2
    return _saved(render(instance, number, max_edge=THUMBNAIL_EDGE), "JPEG", quality=80)


def key_image(instance: Instance, number: int, *, window: Window | None = None) -> bytes:
    """Frame `number` as the reader saw it, PNG for the report, longest edge 1600."""
    return rendered_png(instance, number, window=window, max_edge=KEY_IMAGE_EDGE)


# --- grey --------------------------------------------------------------------------------------


def _grey(
    pixels: Pixels, form: PixelFormat, context: Dataset, window: Window | None
) -> NDArray[np.uint8]:
    """8-bit grey of stored values.

    Values of up to 16 bits go through a table over their range: each value is computed once.
    """
    stored = pixels
    shown: NDArray[np.uint8]
    if stored.dtype.itemsize > 2:
        shown = _shown(stored, stored, form, context, window)
    else:
        low, high = int(stored.min()), int(stored.max())
        values = np.arange(low, high + 1, dtype=np.int32).astype(stored.dtype)
        table = _shown(values, stored, form, context, window)
        shown = table[stored.astype(np.int32) - low]
    inverse = str(context.get("PresentationLUTShape") or "").strip().upper() == "INVERSE"
    inverse = inverse or form.photometric == "MONOCHROME1"
    return np.subtract(255, shown, dtype=np.uint8) if inverse else shown


def _shown(
    values: Pixels,
    stored: Pixels,
    form: PixelFormat,
    context: Dataset,
    window: Window | None,
) -> NDArray[np.uint8]:
    """`values` through Modality LUT and VOI LUT; `stored` is the frame they stand for."""
    rescaled = _rescaled(values, context)
    if window is not None and window.width > 0:
        return _windowed(rescaled, window, "LINEAR")
    if context.get("VOILUTSequence"):
        looked_up = np.asarray(apply_voi(_as_integers(rescaled), context)).astype(np.float32)
        return _spread(looked_up, float(looked_up.min()), float(looked_up.max()))
    own = _own_window(context)
    if own is not None:
        return _windowed(rescaled, own, str(context.get("VOILUTFunction") or "LINEAR").upper())
    sample = _without_padding(_sampled(stored), context)
    low, high = np.percentile(
        _rescaled(sample, context), [_OUTLIERS_PERCENT, 100 - _OUTLIERS_PERCENT]
    )
    return _spread(rescaled, float(low), float(high))


def _rescaled(values: Pixels, context: Dataset) -> NDArray[np.float32]:
    if context.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(values, context)).astype(np.float32)
    slope, intercept = _number(context, "RescaleSlope"), _number(context, "RescaleIntercept")
    rescaled = values.astype(np.float32)
    if slope:
        rescaled = rescaled * np.float32(slope) + np.float32(intercept or 0.0)
    return rescaled


def _as_integers(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """A VOI LUT is indexed by integers (C.11.2.1.1)."""
    return np.rint(values).astype(np.int32)


def _own_window(context: Dataset) -> Window | None:
    center, width = _number(context, "WindowCenter"), _number(context, "WindowWidth")
    if center is None or width is None or width <= 0:
        return None
    return Window(center, width)


def _windowed(values: NDArray[np.float32], window: Window, function: str) -> NDArray[np.uint8]:
    """PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID), C.11.2.1.3.2 (LINEAR_EXACT)."""
    center, width = window.center, window.width
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            curve = 255 / (1 + np.exp(-4 * (values - center) / width))
        curved: NDArray[np.uint8] = np.rint(curve).astype(np.uint8)
        return curved
    if function == "LINEAR_EXACT":
        return _spread(values, center - width / 2, center + width / 2)
    width = max(width, 1.0)
    return _spread(values, center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)


def _spread(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Values from `low` to `high` over 0 to 255; a range of no width is a threshold."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return np.where(values > low, np.uint8(255), np.uint8(0)).astype(np.uint8)
    scaled = (values - np.float32(low)) * np.float32(255 / (high - low))
    levels: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return levels


def _sampled(stored: Pixels) -> Pixels:
    step = max(max(stored.shape) // _SAMPLE_EDGE, 1)
    return stored[::step, ::step]


def _without_padding(stored: Pixels, context: Dataset) -> Pixels:
    """The values that are picture (C.7.5.1.1.2); all of them when none would be left."""
    padding = _number(context, "PixelPaddingValue")
    if padding is None:
        return stored
    limit = _number(context, "PixelPaddingRangeLimit")
    low, high = sorted((padding, padding if limit is None else limit))
    kept = stored[(stored < low) | (stored > high)]
    return kept if kept.size else stored


# --- geometry and bytes ------------------------------------------------------------------------


def _thinned(pixels: Pixels, edge: int) -> Pixels:
    """Every n-th pixel of a picture several times larger than asked for, to spare the work."""
    step = max(pixels.shape[:2]) // (edge * 4)
    return np.ascontiguousarray(pixels[::step, ::step]) if step > 1 else pixels


def _sized(
    image: Image.Image, pixels: Pixels, form: PixelFormat, aspect: float, edge: int
) -> Image.Image:
    height, width = float(form.rows), float(form.columns)
    if aspect > 1:
        height *= aspect
    else:
        width /= aspect
    scale = min(1.0, edge / max(height, width))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    if size == (pixels.shape[1], pixels.shape[0]):
        return image
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _aspect(context: Dataset) -> float:
    """Height of a pixel over its width, 1 when unknown or absurd (C.7.6.3.1.7, 10.7.1.3)."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        vertical, horizontal = _number(context, keyword, 0), _number(context, keyword, 1)
        if vertical and horizontal and vertical > 0 and horizontal > 0:
            ratio = vertical / horizontal
            return ratio if 1 / _MAX_ASPECT <= ratio <= _MAX_ASPECT else 1.0
    return 1.0


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


# --- attributes of a frame ---------------------------------------------------------------------


def _context(header: Dataset, number: int) -> Dataset:
    """Attributes that govern frame `number`: functional groups over the top level (C.7.6.16).

    The data set is a new one; `header` is not changed.
    """
    context = Dataset()
    context.set_original_encoding(*header.original_encoding)
    for keyword in (
        "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence",
        "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape", "PixelSpacing",
        "ImagerPixelSpacing", "PixelAspectRatio", "PixelPaddingValue", "PixelPaddingRangeLimit",
        "BitsStored", "PixelRepresentation",
    ):  # fmt: skip
        if keyword in header:
            context[keyword] = header[keyword]
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    groups = [*shared[:1], *per_frame[number - 1 : number]]
    for group in groups:
        for macro in (
            "PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelMeasuresSequence",
        ):  # fmt: skip
            for item in (group.get(macro) or ())[:1]:
                for element in item:
                    context[element.tag] = element
    return context


def _number(context: Dataset, keyword: str, at: int = 0) -> float | None:
    """Value `at` of a numeric attribute, None when it is no finite number."""
    value: Any = context.get(keyword)
    try:
        parts = [value] if isinstance(value, (int, float, str)) else list(value)
        number = float(parts[at])
    except (TypeError, ValueError, IndexError):
        return None
    return number if math.isfinite(number) else None
