"""How is a grey JPEG frame of 12 bits, or of the retired progressive processes, decoded?"""

from __future__ import annotations

from typing import Any

import gdcm
import numpy as np
from numpy.typing import NDArray

from viewers.image.pixelformat import PixelFormat
from viewers.image.unreadable import Unreadable

#: JPEG Extended (process 2 and 4), spectral selection (6 and 8), full progression (10 and 12).
SYNTAXES = frozenset({"1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"})


def decode_jpeg12(encoded: bytes, syntax: str, form: PixelFormat) -> NDArray[Any]:
    """Stored values (rows x columns) of one grey frame.

    pydicom's decoders leave these syntaxes out at more than 8 bits; GDCM's own 12-bit codec reads
    them (within the loss of the compression on the reference images). Raises `Unreadable`.
    """
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(encoded)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((form.columns, form.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    image.SetPixelFormat(
        gdcm.PixelFormat(
            1, form.bits_allocated, form.bits_stored, form.bits_stored - 1, int(form.signed)
        )
    )
    text = image.GetBuffer()
    # GDCM hands its bytes over as text.
    values = text.encode("utf-8", "surrogateescape") if text else b""
    dtype = np.dtype(f"<{'i' if form.signed else 'u'}{form.bits_allocated // 8}")
    if len(values) != form.pixels * dtype.itemsize:
        raise Unreadable("decode_failed", f"{len(values)} bytes decoded from {syntax}")
    return np.frombuffer(values, dtype=dtype).reshape(form.rows, form.columns)
