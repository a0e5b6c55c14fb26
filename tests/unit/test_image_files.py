"""Does every real file end in pictures or in a refusal that says why?"""

import io
import json
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from viewers.image.decode import NATIVE, decoded_frame
from viewers.image.frames import OCTETS, Way, frame, frame_plan, native_frame
from viewers.image.instance import open_instance
from viewers.image.metadata import metadata
from viewers.image.pixelformat import pixel_format
from viewers.image.rendered import key_image, thumbnail
from viewers.image.unreadable import Unreadable

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

PYDICOM = Path(pydicom.__file__).parent / "data" / "test_files"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom"
OTHER = {".json", ".txt", ".tsv", ".icc", ".dump", ".py", ".gz", ".md"}


def pydicom_data() -> Path | None:
    try:
        import data_store
    except ImportError:
        return None
    return Path(data_store.__file__).parent / "data"


def files() -> list[Path]:
    """Every file of the test packages (one of the many of a DICOMDIR's tree is enough)."""
    folders = [folder for folder in (PYDICOM, pydicom_data(), SHARED) if folder is not None]
    return [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in OTHER and "dicomdirtests" not in path.parts
    ]


@cache
def by_name() -> dict[str, Path]:
    return {path.name: path for path in reversed(files())}


def sample(name: str) -> Path:
    if name not in by_name():
        pytest.skip(f"{name} is not on this machine")
    return by_name()[name]


def kept(path: Path) -> list[str]:
    """What came of a file: pictures by their way, or the reasons of the refusals."""
    with path.open("rb") as stream:
        try:
            instance = open_instance(stream)
        except Unreadable as refused:
            return [refused.reason]
        found = metadata(instance, bulk=lambda place: f"/bulk/{place}")
        json.dumps(found, allow_nan=False)
        try:
            plan = frame_plan(instance)
        except Unreadable as refused:
            assert "7FE00010" not in found
            return [refused.reason]
        results = [str(plan.way)]
        for number in {1, plan.frames}:
            try:
                sent = frame(instance, number, plan=plan)
            except Unreadable as refused:
                results.append(refused.reason)
                continue
            assert sent.body
            check_against_metadata(sent.body, sent.media_type, found)
        try:
            picture = Image.open(io.BytesIO(thumbnail(instance)))
            assert max(picture.size) <= 200
        except Unreadable as refused:
            results.append(refused.reason)
        return results


def check_against_metadata(body: bytes, media_type: str, found: dict) -> None:
    """What the browser computes from the metadata is what it gets."""
    if media_type != OCTETS:
        return
    names = ("00280010", "00280011", "00280002", "00280100")
    rows, columns, samples, bits = (found[name]["Value"][0] for name in names)
    assert len(body) == rows * columns * samples * bits // 8


@pytest.mark.parametrize("path", files(), ids=lambda path: f"{path.parent.name}/{path.name}"[-70:])
def test_no_file_raises_anything_but_a_refusal(path):
    assert kept(path)


def test_most_files_become_pictures():
    pictures = [path for path in files() if set(kept(path)) <= set(Way)]
    assert len(pictures) >= 60


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("CT_small.dcm", Way.UNTOUCHED),
        ("MR_small_RLE.dcm", Way.UNTOUCHED),
        ("MR_small_jpeg_ls_lossless.dcm", Way.UNTOUCHED),
        ("JPEG2000.dcm", Way.UNTOUCHED),
        ("JPGExtended.dcm", Way.UNTOUCHED),
        ("JPEG-LL.dcm", Way.UNTOUCHED),
        ("SC_rgb.dcm", Way.UNTOUCHED),
        ("SC_rgb_jpeg_dcmtk.dcm", Way.UNTOUCHED),
        ("color3d_jpeg_baseline.dcm", Way.UNTOUCHED),
        ("US1_J2KR.dcm", Way.UNTOUCHED),
        ("MR_small_bigendian.dcm", Way.GREY),
        ("liver.dcm", Way.GREY),
        ("mlut_18.dcm", Way.MODALITY),
        ("examples_palette.dcm", Way.RGB),
        ("gdcm-US-ALOKA-16.dcm", Way.RGB),
        ("SC_ybr_full_422_uncompressed.dcm", Way.RGB),
        ("SC_rgb_16bit.dcm", Way.RGB),
        ("color-pl.dcm", Way.RGB),
        ("SC_rgb_rle.dcm", Way.RGB),
        ("SC_jpeg_no_color_transform.dcm", Way.RGB),
        ("SC_rgb_small_odd_big_endian.dcm", Way.RGB),
    ],
)
def test_the_way_of_well_known_files(name, way):
    with sample(name).open("rb") as stream:
        instance = open_instance(stream)
        assert frame_plan(instance).way is way


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm", "MR_small_implicit.dcm", "MR_small_expb.dcm", "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG-LL.dcm", "liver.dcm",
        "liver_expb.dcm", "image_dfl.dcm", "693_J2KI.dcm", "emri_small.dcm", "emri_small_RLE.dcm",
        "emri_small_big_endian.dcm", "emri_small_jpeg_2k_lossless.dcm", "RG1_UNCI.dcm",
    ],
)  # fmt: skip
def test_grey_values_are_pydicoms(name):
    path = sample(name)
    dataset = pydicom.dcmread(path)
    expected = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    with path.open("rb") as stream:
        instance = open_instance(stream)
        for number in {1, len(expected)}:
            assert np.array_equal(decoded_frame(instance, number).pixels, expected[number - 1])
            sent = native_frame(instance, number).body
            stored = np.frombuffer(sent, expected.dtype.newbyteorder("<"))
            assert np.array_equal(stored.reshape(expected.shape[1:]), expected[number - 1])


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb.dcm", "SC_rgb_expb_2frame.dcm", "SC_rgb_small_odd_big_endian.dcm", "color-pl.dcm",
        "SC_ybr_full_422_uncompressed.dcm", "SC_ybr_full_uncompressed.dcm", "SC_rgb_rle_2frame.dcm",
        "SC_rgb_jpeg_dcmtk.dcm", "US1_UNCR.dcm", "US1_J2KR.dcm", "SC_jpeg_no_color_transform.dcm",
    ],
)  # fmt: skip
def test_colours_are_pydicoms(name):
    path = sample(name)
    dataset = pydicom.dcmread(path)
    expected = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns, 3)
    with path.open("rb") as stream:
        instance = open_instance(stream)
        for number in {1, len(expected)}:
            assert np.array_equal(decoded_frame(instance, number).pixels, expected[number - 1])


def test_sixteen_bit_colour_and_palettes_come_down_to_eight_bits():
    with sample("SC_rgb_16bit.dcm").open("rb") as wide, sample("SC_rgb.dcm").open("rb") as plain:
        assert np.array_equal(
            decoded_frame(open_instance(wide), 1).pixels,
            decoded_frame(open_instance(plain), 1).pixels,
        )
    dataset = pydicom.dcmread(sample("examples_palette.dcm"))
    expected = pydicom.pixels.apply_color_lut(dataset.pixel_array, dataset) >> 8
    with sample("examples_palette.dcm").open("rb") as stream:
        assert np.array_equal(decoded_frame(open_instance(stream), 1).pixels, expected)


@pytest.mark.parametrize("process", ["2_4", "6_8", "10_12"])
def test_twelve_bit_jpeg_is_close_to_its_lossless_original(shared_data, process):
    folder = shared_data / "dicom/cornerstonejs+cornerstone3D"
    found = list(folder.glob(f"*CTImage.dcm_JPEGProcess{process}*"))
    original = folder / "dicomImageLoader_testImages_CTImage.dcm"
    if not found or not original.is_file():
        pytest.skip("the CT image in this syntax is not in the shared data")
    with found[0].open("rb") as lossy, original.open("rb") as whole:
        decoded = decoded_frame(open_instance(lossy), 1).pixels
        values = decoded_frame(open_instance(whole), 1).pixels
    inside = values > -1500
    line = np.polyfit(values[inside], decoded[inside].astype(float), 1)
    assert np.abs(np.polyval(line, values[inside]) - decoded[inside]).mean() < 4


@pytest.mark.parametrize(
    "name", ["color3d_jpeg_baseline.dcm", "emri_small_RLE.dcm", "emri_small_jpeg_2k_lossless.dcm"]
)
def test_frames_in_any_order_are_the_same_bytes(name):
    with sample(name).open("rb") as stream:
        instance = open_instance(stream)
        count = frame_plan(instance).frames
        forward = [frame(instance, number).body for number in range(1, count + 1)]
        assert frame(instance, count).body == forward[-1]
        assert frame(instance, 1).body == forward[0]
        encoded = pydicom.encaps.generate_frames(
            pydicom.dcmread(sample(name)).PixelData, number_of_frames=count
        )
        assert forward == list(encoded)


def test_key_image_is_a_png_as_large_as_the_frame():
    with sample("CT_small.dcm").open("rb") as stream:
        instance = open_instance(stream)
        picture = Image.open(io.BytesIO(key_image(instance, 1)))
        form = pixel_format(instance)
        assert (picture.format, picture.mode) == ("PNG", "L")
        assert picture.size == (form.columns, form.rows)
        assert instance.transfer_syntax in NATIVE
