"""Why can an object not be shown?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from worklist.errors import Code, Refusal


class Unreadable(Refusal):
    """An object, or a part of it, cannot be shown; `reason` says why in a stable word.

    The sentence names tags, sizes and counts only: never a name, an id or text of the object.

    Reasons: ``not_dicom``, ``too_large``, ``truncated``, ``no_pixel_data``, ``no_such_frame``,
    ``size_claim``, ``float_pixels``, ``pixel_format``, ``transfer_syntax``, ``frame_mismatch``,
    ``decode_failed``, ``no_document``; for waveforms ``no_waveform``, ``no_usable_lead``,
    ``waveform_truncated``, ``channel_count``, ``sampling_frequency``, ``sample_format``,
    ``too_long``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(Code.UNREADABLE, message, reason=reason)
        self.reason = reason


@contextmanager
def refusing(reason: str, message: str) -> Iterator[None]:
    """Turn whatever a decoder raises on foreign bytes into one `Unreadable`.

    Decoders raise anything on hostile input (`RecursionError`, `struct.error`, `KeyError` …), and
    their own texts may quote the object, so nothing of them is carried on but their kind.
    """
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(reason, f"{message} ({type(error).__name__})") from error
