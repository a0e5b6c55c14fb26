"""Do made instances become the frames, pictures and attributes they should?"""

import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from viewers.image import instance as opening
from viewers.image.frames import Way, frame, frame_plan
from viewers.image.instance import open_instance
from viewers.image.metadata import guessed_charset, header_json, metadata
from viewers.image.rendered import Window, render, rendered_jpeg, rendered_png, thumbnail
from viewers.image.unreadable import Unreadable

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def grey(pixels: np.ndarray, **changes) -> Dataset:
    """An instance of frames x rows x columns, or rows x columns."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    data = pixels.tobytes()
    dataset.add_new(0x7FE00010, "OB" if bits == 8 else "OW", data + b"\0" * (len(data) % 2))
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def written(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if syntax == JPEGBaseline8Bit:
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def opened(dataset: Dataset, syntax: str = ExplicitVRLittleEndian):
    return open_instance(written(dataset, syntax))


def refused(call) -> str:
    with pytest.raises(Unreadable) as error:
        call()
    return error.value.reason


def steps(rows: int = 16, columns: int = 16, dtype: str = "<u2") -> np.ndarray:
    return np.arange(rows * columns).reshape(rows, columns).astype(dtype)


def jpeg(value: int, size: tuple[int, int] = (16, 16)) -> bytes:
    out = io.BytesIO()
    Image.new("L", size, value).save(out, "JPEG")
    return out.getvalue()


# --- opening -----------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_bare_data_sets_open_with_and_without_their_syntax(syntax):
    data = written(grey(steps()), syntax)
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    for named in (syntax, None):
        instance = open_instance(data[start:], transfer_syntax=named)
        assert instance.transfer_syntax == syntax
        assert frame(instance, 1).body == steps().tobytes()


def test_a_file_is_read_where_its_pixels_are_and_not_as_a_whole():
    frames = np.arange(200 * 64 * 64, dtype="<u2").reshape(200, 64, 64)
    data = written(grey(frames))
    taken = 0

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal taken
            found = super().read(size)
            taken += len(found)
            return found

    instance = open_instance(Counting(data))
    assert frame(instance, 150).body == frames[149].tobytes()
    assert taken < len(data) / 20


def test_a_deflated_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(opening, "MAX_INFLATED_BYTES", 4 << 20)
    head = written(grey(steps()))
    meta = written(grey(steps()), DeflatedExplicitVRLittleEndian)
    start = 132 + 12 + int.from_bytes(meta[140:144], "little")
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = squeezer.compress(head[start:] + b"\0" * (64 << 20)) + squeezer.flush()
    assert refused(lambda: open_instance(meta[:start] + bomb)) == "too_large"


def test_a_deflated_instance_is_read():
    assert frame(opened(grey(steps()), DeflatedExplicitVRLittleEndian), 1).body == steps().tobytes()


@pytest.mark.parametrize("data", [b"", b"abc", b"\0" * 132 + b"DICM", b"\x89PNG\r\n\x1a\n" * 9])
def test_what_is_no_dicom_is_refused(data):
    try:
        instance = open_instance(data)
    except Unreadable as error:
        assert error.reason == "not_dicom"
    else:
        assert refused(lambda: frame_plan(instance)) == "no_pixel_data"


def test_deep_nesting_is_refused_or_read_but_never_overflows():
    item = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    data = b"\0" * 128 + b"DICM" + item * 20_000
    assert refused(lambda: open_instance(data)) == "not_dicom"


@pytest.mark.parametrize("seed", range(60))
def test_damaged_bytes_give_frames_or_a_refusal(seed):
    rng = np.random.default_rng(seed)
    frames = [jpeg(value) for value in (10, 20, 30)]
    made = grey(np.zeros((3, 16, 16), np.uint8), PixelData=encapsulate(frames))
    data = bytearray(written(made, JPEGBaseline8Bit) if seed % 2 else written(grey(steps(8, 8))))
    for at in rng.integers(132, len(data), 8):
        data[at] = int(rng.integers(0, 256))
    cut = int(rng.integers(140, len(data)))
    for variant in (bytes(data), bytes(data[:cut])):
        try:
            instance = open_instance(variant)
            json.dumps(metadata(instance), allow_nan=False)
            frame(instance, 1)
            thumbnail(instance)
        except Unreadable:
            continue


# --- frames ------------------------------------------------------------------------------------


def test_claims_beyond_the_bytes_are_refused_or_cut_down():
    assert refused(lambda: frame_plan(opened(grey(steps(), Rows=60_000)))) == "size_claim"
    huge = grey(steps(), Rows=65_535, Columns=65_535)
    assert refused(lambda: frame_plan(opened(huge))) == "too_large"
    many = opened(grey(steps(), NumberOfFrames=2_000_000_000))
    assert frame_plan(many).frames == 1
    assert metadata(many)["00280008"]["Value"] == [1]
    for number in (0, -1, 2, 10**9):
        assert refused(lambda number=number: frame(many, number)) == "no_such_frame"


def test_a_compressed_frame_of_another_size_is_refused():
    made = grey(np.zeros((16, 16), np.uint8), PixelData=encapsulate([jpeg(5, (4000, 4000))]))
    instance = opened(made, JPEGBaseline8Bit)
    assert refused(lambda: frame(instance, 1)) == "frame_mismatch"
    assert refused(lambda: thumbnail(instance)) == "frame_mismatch"


@pytest.mark.parametrize("table", ["basic", "none", "extended", "fragments", "wrong"])
def test_frames_are_found_by_any_table_or_none(table):
    frames = [jpeg(value) for value in (0, 60, 120, 250)]
    made = grey(np.zeros((4, 16, 16), np.uint8))
    if table == "extended":
        made.PixelData, made.ExtendedOffsetTable, made.ExtendedOffsetTableLengths = (
            encapsulate_extended(frames)
        )
    else:
        pieces = 3 if table == "fragments" else 1
        made.PixelData = encapsulate(frames, pieces, has_bot=table in {"basic", "wrong"})
    if table == "wrong":
        data = bytearray(made.PixelData)
        data[12:16] = (3).to_bytes(4, "little")
        made.PixelData = bytes(data)
    instance = opened(made, JPEGBaseline8Bit)
    assert frame_plan(instance).frames == 4
    for number in (4, 1, 3, 2):
        sent = frame(instance, number)
        assert sent.body.rstrip(b"\0") == frames[number - 1].rstrip(b"\0")
        assert sent.content_type == f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"


def test_native_multi_frames_and_one_bit_frames_are_cut_at_their_place():
    frames = np.arange(5 * 3 * 5, dtype="u1").reshape(5, 3, 5)
    instance = opened(grey(frames))
    assert [frame(instance, n + 1).body for n in range(5)] == [one.tobytes() for one in frames]
    bits = np.random.default_rng(1).integers(0, 2, (4, 3, 5)).astype(np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    made = grey(bits, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed)
    one_bit = opened(made)
    assert [frame(one_bit, n + 1).body for n in range(4)] == [one.tobytes() for one in bits]
    found = metadata(one_bit)
    assert found["00280100"]["Value"] == [8]


def test_big_endian_frames_are_turned():
    pixels = steps(4, 4)
    made = grey(pixels)
    made.PixelData = pixels.astype(">u2").tobytes()
    assert frame(opened(made, ExplicitVRBigEndian), 1).body == pixels.tobytes()


def test_bits_above_the_stored_ones_do_not_reach_the_browser():
    pixels = steps(4, 4) | 0xF000
    instance = opened(grey(pixels, BitsStored=8, HighBit=11))
    assert frame_plan(instance).way is Way.GREY
    assert metadata(instance)["00280102"]["Value"] == [7]


def test_float_pixels_and_unknown_formats_are_refused_with_a_reason():
    made = grey(steps())
    del made.PixelData
    made.add_new(0x7FE00008, "OF", np.zeros(256, "<f4").tobytes())
    assert refused(lambda: frame_plan(opened(made))) == "float_pixels"
    assert refused(lambda: frame_plan(opened(grey(steps(), BitsAllocated=12)))) == "pixel_format"
    made = grey(steps(), PhotometricInterpretation="HSV")
    assert refused(lambda: frame_plan(opened(made))) == "pixel_format"
    made = grey(steps(), SamplesPerPixel=3)
    assert refused(lambda: frame_plan(opened(made))) == "pixel_format"


def test_pixels_encoded_against_their_syntax_are_refused():
    made = grey(np.zeros((16, 16), np.uint8), PixelData=encapsulate([jpeg(5)]))
    data = written(made, JPEGBaseline8Bit).replace(
        JPEGBaseline8Bit.encode(), ExplicitVRLittleEndian.encode() + b"\0\0\0"
    )
    instance = open_instance(data)
    assert refused(lambda: frame(instance, 1)) == "transfer_syntax"


# --- pictures ----------------------------------------------------------------------------------


def test_window_is_the_standards_linear_function():
    picture = np.asarray(render(opened(grey(steps())), 1, window=Window(128, 256)))
    assert np.array_equal(picture, steps().astype(np.uint8))
    narrow = np.asarray(render(opened(grey(steps())), 1, window=Window(100, 2)))
    assert set(narrow.ravel()[:99]) == {0}
    assert set(narrow.ravel()[101:]) == {255}


def test_hounsfield_units_are_windowed_after_the_rescale():
    made = grey(steps(), RescaleSlope="2", RescaleIntercept="-100", WindowCenter="0.5")
    made.WindowWidth = "201"
    picture = np.asarray(render(opened(made), 1)).ravel()
    assert picture[0] == 0
    assert picture[50] in {127, 128}
    assert picture[100] == 255


def test_monochrome1_and_inverse_shapes_are_inverted():
    plain = np.asarray(render(opened(grey(steps())), 1))
    for changes in (
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
    ):
        assert np.array_equal(np.asarray(render(opened(grey(steps(), **changes)), 1)), 255 - plain)


@pytest.mark.parametrize("function", ["SIGMOID", "LINEAR_EXACT"])
def test_other_voi_functions(function):
    made = grey(steps(), WindowCenter="128", WindowWidth="256", VOILUTFunction=function)
    picture = np.asarray(render(opened(made), 1)).ravel().astype(int)
    assert (np.diff(picture) >= 0).all()
    assert picture[128] in {127, 128}


def test_without_a_window_outliers_and_padding_do_not_rule():
    pixels = np.random.default_rng(2).integers(1000, 1100, (64, 64)).astype("<i2")
    pixels[0, 0], pixels[:20] = 32_000, -2000
    made = grey(pixels)
    made.add_new(0x00280120, "SS", -2000)
    picture = np.asarray(render(opened(made), 1))
    assert picture[30:].std() > 40


def test_constant_pictures_and_signed_extremes_render():
    for pixels in (
        np.zeros((8, 8), "<u2"),
        np.full((8, 8), -32768, "<i2"),
        np.array([[-32768, 32767]], "<i2"),
        np.array([[0, 2**32 - 1]], "<u4"),
    ):
        rendered_png(opened(grey(pixels)), 1)


def test_pixels_become_square_and_edges_limited():
    tall = opened(grey(steps(20, 40), PixelSpacing=["2", "1"]))
    assert render(tall, 1).size == (40, 40)
    wide = opened(grey(steps(20, 40), PixelAspectRatio=["1", "2"]))
    assert render(wide, 1).size == (80, 20)
    assert render(wide, 1, max_edge=10).size == (10, 2)
    assert render(opened(grey(steps(20, 40), PixelSpacing=["1", "1000"])), 1).size == (40, 20)
    large = opened(grey(np.zeros((900, 1200), np.uint8)))
    assert Image.open(io.BytesIO(thumbnail(large))).size == (200, 150)


def test_a_frames_own_window_in_functional_groups_counts():
    frames = np.stack([steps(), steps()])
    made = grey(frames)
    groups = []
    for center in ("64", "192"):
        voi, group = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = center, "2"
        group.FrameVOILUTSequence = [voi]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    bright = [np.asarray(render(opened(made), n)).mean() for n in (1, 2)]
    assert bright[0] > 2 * bright[1]


def test_jpeg_and_png():
    instance = opened(grey(steps()))
    assert rendered_jpeg(instance, 1)[:2] == b"\xff\xd8"
    assert rendered_png(instance, 1)[1:4] == b"PNG"


# --- metadata ----------------------------------------------------------------------------------


def raw(dataset: Dataset, tag: int, vr: str, value: bytes) -> Dataset:
    """Put bytes in as if they had been read, valid or not."""
    dataset._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    return dataset


def test_metadata_agrees_with_the_frames_and_points_at_the_pixels():
    found = metadata(opened(grey(steps())), bulk=lambda place: f"/x/{place}")
    assert found["7FE00010"] == {"vr": "OW", "BulkDataURI": "/x/7FE00010"}
    assert found["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert found["00280010"] == {"vr": "US", "Value": [16]}
    assert list(found) == sorted(found)
    assert "7FE00010" not in metadata(opened(grey(steps())))


@pytest.mark.parametrize(
    ("tag", "vr", "value", "also"),
    [
        (0x00280030, "DS", b"0\0", ()),
        (0x00280030, "DS", b"0.5", ()),
        (0x00280030, "DS", b"-1\\1 ", ()),
        (0x00280030, "DS", b"abc\\1 ", ()),
        (0x00181164, "DS", b"NaN\\1 ", ()),
        (0x00200037, "DS", b"1\\0\\0 ", ()),
        (0x00281051, "DS", b"0 ", (0x00281050,)),
        (0x00281053, "DS", b"0 ", (0x00281052,)),
    ],
)
def test_numbers_that_break_a_browser_are_left_out(tag, vr, value, also):
    dataset = raw(Dataset(), tag, vr, value)
    for other in also:
        raw(dataset, other, "DS", b"40")
    found = header_json(dataset)
    assert set(found) == {"00080005"}


def test_unreadable_numbers_keep_their_place():
    found = header_json(raw(Dataset(), 0x00186011 + 1, "DS", b"1\\inf\\x\\2.5 "))
    assert found["00186012"]["Value"] == [1, None, None, 2.5]


def test_binary_and_private_values():
    dataset = Dataset()
    dataset.add_new(0x00281201, "OW", b"\1\2")
    dataset.add_new(0x00282000, "OB", b"x" * 2000)
    dataset.add_new(0x00091001, "OB", b"secret")
    dataset.add_new(0x00091002, "UN", b"x" * 5000)
    dataset.add_new(0x00091003, "LO", "text")
    found = header_json(dataset, bulk=lambda place: f"/b/{place}")
    assert found["00281201"] == {"vr": "OW", "InlineBinary": "AQI="}
    assert found["00282000"] == {"vr": "OB", "BulkDataURI": "/b/00282000"}
    assert "00091001" not in found
    assert "00091002" not in found
    assert found["00091003"]["Value"] == ["text"]
    assert "00282000" not in header_json(dataset)


def test_names_have_their_groups_and_sequences_their_items():
    item = Dataset()
    raw(item, 0x00080100, "SH", b"2:1 ")
    dataset = raw(Dataset(), 0x00100010, "PN", "Wang^XiaoDong=王^小东".encode("gb18030"))
    raw(dataset, 0x00080005, "CS", b"GB18030 ")
    dataset.ConceptNameCodeSequence = [item]
    found = header_json(dataset)
    assert found["00100010"]["Value"] == [{"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"}]
    assert found["0040A043"]["Value"] == [{"00080100": {"vr": "SH", "Value": ["2:1"]}}]
    assert not guessed_charset(dataset)


def test_gb18030_under_no_label_is_read_and_said():
    dataset = raw(Dataset(), 0x00100010, "PN", "李四".encode("gb18030"))
    assert header_json(dataset)["00100010"]["Value"] == [{"Alphabetic": "李四"}]
    assert guessed_charset(dataset)


def test_a_voi_lut_becomes_a_window_for_browsers():
    lut = Dataset()
    lut.add_new(0x00283002, "US", [256, 100, 8])
    lut.add_new(0x00283006, "OW", bytes(512))
    made = grey(steps())
    made.VOILUTSequence = [lut]
    found = metadata(opened(made))
    assert (found["00281050"]["Value"], found["00281051"]["Value"]) == ([228], [256])
