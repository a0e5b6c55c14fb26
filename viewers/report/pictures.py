"""Does a picture fit the page, at its true size?

An ECG is a measurement on paper: a sheet drawn in mm is printed in the same mm or not at all.
Nothing here scales a drawing to fit.
"""

from __future__ import annotations

import base64
import re
import struct
from typing import Any
from xml.etree import ElementTree

import segno

from viewers.report.content import EcgSheet, KeyImage

SHEET_MAX_MM = (281.0, 146.0)
"""Room for an ECG sheet on the landscape page: width, height in mm."""

PNG_MAX_SIDE = 4096
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_MM = re.compile(r"([0-9]+(?:\.[0-9]+)?)mm")


class PictureRefused(ValueError):
    """A picture cannot be printed as it is; the message says why."""


def sheet_size_mm(svg: str) -> tuple[float, float]:
    """Return width and height in mm of an SVG drawn to scale.

    Raises:
        PictureRefused: no size in mm, a viewBox of another shape (it would be scaled unequally or
            shifted), a document type, or larger than the landscape page has room for.
    """
    if "<!DOCTYPE" in svg or "<!ENTITY" in svg:
        raise PictureRefused("the ECG sheet declares a document type")
    try:
        root = ElementTree.fromstring(svg)  # noqa: S314  (no document type, so no entities)
    except ElementTree.ParseError as error:
        raise PictureRefused(f"the ECG sheet is not well-formed XML: {error}") from error
    width, height = _mm(root, "width"), _mm(root, "height")
    box = _view_box(root)
    if box is not None and abs(width * box[1] - height * box[0]) > 1e-3 * width * box[1]:
        raise PictureRefused("the ECG sheet's viewBox has another shape than its size in mm")
    if width > SHEET_MAX_MM[0] or height > SHEET_MAX_MM[1]:
        raise PictureRefused(
            f"the ECG sheet is {width:g} x {height:g} mm; the page has room for "
            f"{SHEET_MAX_MM[0]:g} x {SHEET_MAX_MM[1]:g} mm at true size"
        )
    return width, height


def sheet(picture: EcgSheet) -> dict[str, Any]:
    """Return what the template needs of an ECG sheet."""
    width, height = sheet_size_mm(picture.svg)
    return {
        "svg": picture.svg,
        "width": width,
        "height": height,
        "scale": _scale_words(picture),
        "caption": picture.caption or "",
        "speed": picture.speed_mm_s,
    }


def key_image(picture: KeyImage) -> dict[str, Any]:
    """Return what the template needs of a key image; the PNG travels inside an SVG.

    (The template's data is text, and an SVG with an inline picture is the text form of a picture.)

    Raises:
        PictureRefused: not a PNG, or wider or higher than 4096 pixels.
    """
    width, height = _png_size(picture.png)
    data = base64.b64encode(picture.png).decode("ascii")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><image width="{width}" height="{height}" '
        f'href="data:image/png;base64,{data}"/></svg>'
    )
    return {"svg": svg, "ratio": width / height, "caption": picture.caption or ""}


def qr_svg(text: str) -> str:
    """Return `text` as a QR code (ISO/IEC 18004, level M, 4 modules of quiet zone) as SVG paths."""
    rows = segno.make_qr(text, error="m").matrix
    side = len(rows) + 8
    path = "".join(
        f"M{x + 4} {y + 4}h1v1h-1z"
        for y, row in enumerate(rows)
        for x, dark in enumerate(row)
        if dark
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side}" '
        f'viewBox="0 0 {side} {side}"><path fill="#000" d="{path}"/></svg>'
    )


def _scale_words(picture: EcgSheet) -> str:
    parts = [f"{picture.speed_mm_s:g} mm/s", f"{picture.gain_mm_mv:g} mm/mV", picture.band]
    return "  ·  ".join(part for part in parts if part)


def _mm(root: ElementTree.Element, name: str) -> float:
    found = _MM.fullmatch(root.get(name, "").strip())
    if found is None:
        raise PictureRefused(f"the ECG sheet's {name} is not in mm")
    return float(found.group(1))


def _view_box(root: ElementTree.Element) -> tuple[float, float] | None:
    numbers = root.get("viewBox", "").replace(",", " ").split()
    if not numbers:
        return None
    try:
        _, _, width, height = (float(number) for number in numbers)
    except ValueError as error:
        raise PictureRefused("the ECG sheet's viewBox is not four numbers") from error
    return width, height


def _png_size(png: bytes) -> tuple[int, int]:
    if not png.startswith(_PNG_HEAD) or png[12:16] != b"IHDR" or len(png) < 33:
        raise PictureRefused("the key image is not a PNG")
    width, height = struct.unpack(">II", png[16:24])
    if not (0 < width <= PNG_MAX_SIDE and 0 < height <= PNG_MAX_SIDE):
        raise PictureRefused(f"the key image has {width} x {height} pixels")
    return width, height
