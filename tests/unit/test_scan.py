"""Does the walk find every element, and refuse what is cut, endless or no data set?"""

import io
import struct
import time
import tracemalloc
import warnings
import zlib

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from storage.scan import MAX_DEPTH, scan
from worklist.errors import Code, Refusal

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"
PIXELS = 0x7FE00010
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF

REAL = [
    "CT_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_padded.dcm",
    "JPEG2000-embedded-sequence-delimiter.dcm",
    "SC_rgb_jpeg.dcm",
    "UN_sequence.dcm",
    "badVR.dcm",
    "image_dfl.dcm",
    "priv_SQ.dcm",
    "reportsi.dcm",
    "rtplan.dcm",
    "waveform_ecg.dcm",
]
# implicit headers under an explicit syntax: only what follows tells which reading is right
MISLABELLED = {"SC_rgb_jpeg.dcm"}


def data_set(name):
    path = get_testdata_file(name, download=False)
    with open(path, "rb") as file:  # noqa: PTH123
        raw = file.read()
    stream = io.BytesIO(raw)
    stream.seek(132)
    meta = pydicom.filereader._read_file_meta_info(stream)
    return raw[stream.tell() :], str(meta.TransferSyntaxUID)


def tag(value, order="<"):
    return struct.pack(order + "HH", value >> 16, value & 0xFFFF)


def short(number, vr, value):
    return tag(number) + vr + struct.pack("<H", len(value)) + value


def long(number, vr, value, length=None):
    size = len(value) if length is None else length
    return tag(number) + vr + b"\0\0" + struct.pack("<I", size) + value


def mark(number, length=0):
    return tag(number) + struct.pack("<I", length)


def refusal(raw, syntax=EXPLICIT):
    with pytest.raises(Refusal) as caught:
        scan(raw, syntax)
    return caught.value.code


NAME = short(0x00100010, b"PN", b"A^B ")
PIXEL_ELEMENT = long(PIXELS, b"OW", bytes(64))


@pytest.mark.parametrize("name", REAL)
def test_the_same_elements_as_pydicom(name):
    raw, syntax = data_set(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = pydicom.dcmread(get_testdata_file(name, download=False))
    assert set(scan(raw, syntax).elements) == {int(key) for key in known.keys()}  # noqa: SIM118


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_buffer(name, wrap):
    raw, syntax = data_set(name)
    assert scan(wrap(raw), syntax).elements == scan(raw, syntax).elements


@pytest.mark.parametrize("name", ["rtplan_truncated.dcm", "MR_truncated.dcm"])
def test_truncated_files(name):
    assert refusal(*data_set(name)) == Code.TRUNCATED


@pytest.mark.parametrize("name", [name for name in REAL if name not in MISLABELLED])
def test_every_cut_is_refused_or_stands_between_two_elements(name):
    raw, syntax = data_set(name)
    whole = scan(raw, syntax)
    ends = {element.end for element in whole.elements.values()}
    step = max(len(raw) // 300, 1)
    for cut in range(1, min(len(raw), 4000), step):
        try:
            found = scan(raw[:cut], syntax)
        except Refusal as refused:
            assert refused.code in (Code.TRUNCATED, Code.UNREADABLE)
        else:
            # what follows the last element may only be zero bytes
            assert max(element.end for element in found.elements.values()) in ends
            assert set(found.elements) < set(whole.elements) or not any(raw[cut:])


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("undefined", [True, False])
def test_sequences(implicit, undefined):
    inner = Dataset()
    inner.ScheduledProcedureStepID = "S1"
    inner.is_undefined_length_sequence_item = undefined
    dataset = Dataset()
    dataset.RequestAttributesSequence = Sequence([inner, inner])
    dataset["RequestAttributesSequence"].is_undefined_length = undefined
    dataset.PatientID = "P"
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, implicit
    write_dataset(stream, dataset)
    found = scan(stream.getvalue(), IMPLICIT if implicit else EXPLICIT)
    assert list(found.elements) == [0x00100020, 0x00400275]
    items = list(found.items(0x00400275, limit=5))
    assert [item.raw(0x00400009) for item in items] == [b"S1", b"S1"]
    assert list(found.items(0x00081111)) == []


def test_encapsulated_fragments():
    fragments = mark(ITEM) + mark(ITEM, 6) + b"\xff\xd8\xfe\xff\xdd\xe0" + mark(SEQUENCE_END)
    raw = NAME + long(PIXELS, b"OB", fragments, UNDEFINED)
    found = scan(raw, JPEG)
    assert found.elements[PIXELS].undefined
    assert found.elements[PIXELS].end == len(raw)
    for missing in (1, 8, 9, 14):
        assert refusal(raw[:-missing], JPEG) == Code.TRUNCATED


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        bytes(1),
        bytes(6),
        bytes(512),
        long(0xFFFCFFFC, b"OB", bytes(100)),
        mark(SEQUENCE_END),
        mark(ITEM_END) + mark(SEQUENCE_END),
    ],
)
def test_what_devices_leave_at_the_end(tail):
    found = scan(NAME + PIXEL_ELEMENT + tail, EXPLICIT)
    assert {0x00100010, PIXELS} <= set(found.elements)


def test_order_odd_lengths_and_unknown_vrs_are_tolerated():
    raw = (
        PIXEL_ELEMENT
        + short(0x00100020, b"LO", b"odd")
        + short(0x00101010, b"??", b"042Y")
        + long(0x00101020, b"ZZ", b"new form ")
        + tag(0x00101030)
        + struct.pack("<I", 4)
        + b"70.5"  # an implicit header among explicit ones
        + short(0x00104000, b"LT", b"end ")
    )
    found = scan(raw, EXPLICIT)
    assert found.raw(0x00100020) == b"odd"
    assert found.raw(0x00101010) == b"042Y"
    assert found.raw(0x00101020) == b"new form "
    assert found.raw(0x00101030) == b"70.5"
    assert found.raw(0x00104000) == b"end "


def test_un_of_undefined_length_is_implicit_inside():
    inside = tag(0x00091001) + struct.pack("<I", 4) + b"UI\x02\0"
    value = mark(ITEM, UNDEFINED) + inside + mark(ITEM_END) + mark(SEQUENCE_END)
    raw = NAME + long(0x00291010, b"UN", value, UNDEFINED) + PIXEL_ELEMENT
    found = scan(raw, EXPLICIT)
    assert list(found.elements) == [0x00100010, 0x00291010, PIXELS]
    (item,) = found.items(0x00291010)
    assert item.raw(0x00091001) == b"UI\x02\0"


def test_an_element_twice():
    assert list(scan(NAME + NAME, EXPLICIT).elements) == [0x00100010]
    assert refusal(NAME + short(0x00100010, b"PN", b"C^D ")) == Code.UNREADABLE


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes(64),
        b"<?xml version='1.0'?><report/>" * 4,
        b"\x7fELF" + bytes(range(256)),
        bytes(128) + b"DICM" + NAME,
        mark(ITEM, 8) + NAME,
        short(0x00020010, b"UI", b"1.2 ") + NAME,
        short(0x00000002, b"UI", b"1.2 ") + NAME,
        long(0x00080005, b"UT", b"", UNDEFINED),
    ],
)
def test_no_data_set(raw):
    assert refusal(raw) == Code.UNREADABLE


def test_explicit_bytes_in_an_implicit_context():
    assert refusal(NAME + PIXEL_ELEMENT, IMPLICIT) == Code.UNREADABLE


def test_an_unknown_transfer_syntax():
    assert refusal(NAME, "1.2.840.10008.1.2.4.94") == Code.UNREADABLE


def nested(depth, *, undefined):
    value = NAME
    for _ in range(depth):
        if undefined:
            item = mark(ITEM, UNDEFINED) + value + mark(ITEM_END)
            value = long(0x00400275, b"SQ", item + mark(SEQUENCE_END), UNDEFINED)
        else:
            value = long(0x00400275, b"SQ", mark(ITEM, len(value)) + value)
    return value


@pytest.mark.parametrize("undefined", [True, False])
def test_endless_nesting(undefined):
    assert scan(nested(20, undefined=undefined), EXPLICIT).elements
    assert refusal(nested(MAX_DEPTH * 2, undefined=undefined)) == Code.UNREADABLE
    deep = nested(5000, undefined=undefined)
    started = time.process_time()
    assert refusal(deep) == Code.UNREADABLE
    assert time.process_time() - started < 1


def test_nesting_stays_readable_for_later_readers():
    """Whatever passes here must not overflow the recursion of libraries that read it later."""
    deepest = nested(1, undefined=True)
    for depth in range(1, 200):
        for undefined in (True, False):
            try:
                scan(nested(depth, undefined=undefined), EXPLICIT)
            except Refusal:
                continue
            deepest = nested(depth, undefined=undefined)
    pydicom.dcmread(io.BytesIO(deepest), force=True).to_json()


def deflated(raw):
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return squeeze.compress(raw) + squeeze.flush()


def test_deflated():
    raw = NAME + long(PIXELS, b"OW", bytes(10 << 20))
    squeezed = deflated(raw)
    for padding in (b"", b"\0"):
        found = scan(squeezed + padding, DEFLATED)
        assert set(found.elements) == {0x00100010, PIXELS}
        assert found.size == len(raw)
        assert len(found.data) < len(raw)
    assert refusal(squeezed[:-4], DEFLATED) == Code.TRUNCATED
    assert refusal(b"not deflated at all", DEFLATED) == Code.UNREADABLE
    assert refusal(deflated(raw[:-1000]), DEFLATED) == Code.TRUNCATED


def test_a_deflate_bomb_takes_no_memory():
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = squeeze.compress(NAME + long(PIXELS, b"OW", b"", 1 << 30))
    bomb += b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(100))
    tracemalloc.start()
    try:
        assert refusal(bomb, DEFLATED) == Code.UNREADABLE
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


SYNTAXES = st.sampled_from([IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, JPEG])


@given(st.binary(max_size=300), SYNTAXES)
def test_any_bytes_are_read_or_refused(raw, syntax):
    try:
        scan(raw, syntax)
    except Refusal as refused:
        assert refused.code in (Code.TRUNCATED, Code.UNREADABLE)


@given(st.data())
def test_damaged_sets_are_read_or_refused(data):
    raw = bytearray(
        NAME + nested(3, undefined=True) + nested(3, undefined=False).replace(b"\x40\0", b"\x41\0")
    )
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = scan(bytes(raw), EXPLICIT)
    except Refusal as refused:
        assert refused.code in (Code.TRUNCATED, Code.UNREADABLE)
    else:
        for number in found.elements:
            assert found.raw(number) is not None
            list(found.items(number, limit=3))
