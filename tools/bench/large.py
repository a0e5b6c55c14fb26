"""How much memory does an instance of four gigabytes take?

It is made while it is sent: a multi-frame image in JPEG syntax, a megabyte of noise a fragment, so
that nothing of it has to lie on the disk twice.
"""

import os
import random
import struct
import time
from collections.abc import Iterator

from pydicom.dataset import Dataset

from tools.bench import templates
from tools.bench.figures import Figure, one
from tools.bench.house import AE_TITLE, SCANNER, House
from tools.bench.sender import JPEG, Association, Template
from tools.bench.usage import Peak, resident

_FRAGMENT = 1 << 20
_FRAGMENTS, _FEW = 4200, 200


def measure(house: House, *, quick: bool) -> Iterator[Figure]:
    """One instance, sent to a gateway that has been at work already."""
    count = _FEW if quick else _FRAGMENTS
    dataset = templates.ct_slice()
    template = Template(templates.encoded(templates.marked(dataset)), str(dataset.SOPClassUID))
    (instance,) = template.study(random.SystemRandom(), 1)
    association = Association(house.dicom_port, SCANNER, AE_TITLE, template.sop_class, JPEG)
    before = resident(house.pid)
    began = time.monotonic()
    with Peak(house.pid) as peak:
        head = instance.head + bytes(instance.rest)
        association.store_piecewise(
            instance.uid, _pieces(head[: _before_pixels(dataset, head)], count)
        )
    seconds = time.monotonic() - began
    association.release()
    size = count * _FRAGMENT / 1e9
    what = f"one instance of {size:.1f} GB"
    yield one(f"{what}: speed", "MB/s", size * 1000 / seconds)
    yield one(f"{what}: memory before", "MB", before / 1e6)
    yield one(f"{what}: most memory meanwhile", "MB", peak.bytes / 1e6)


def _before_pixels(dataset: Dataset, encoded: bytes) -> int:
    """Where Pixel Data begins: twelve bytes of header before its value, which ends the set."""
    return len(encoded) - len(dataset.PixelData) - 12


def _pieces(head: bytes, count: int) -> Iterator[bytes]:
    """The head, then Pixel Data in fragments (PS3.5 section A.4)."""
    yield head + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    yield struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    fragment = struct.pack("<HHI", 0xFFFE, 0xE000, _FRAGMENT) + os.urandom(_FRAGMENT)
    for _ in range(count):
        yield fragment
    yield struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
