"""Does the DICOMweb service say, give and take what PS3.18 says, and nothing to strangers?"""

import io
import json
import re
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from email.policy import HTTP

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    generate_uid,
)
from sqlalchemy import select

from gateway import people
from gateway.assemble import assemble
from gateway.settings import Settings
from gateway.web.server import WebEdge
from sample_studies.make import DING, ct_series, ecg, encoded, ultrasound_loop
from sample_studies.person import Visit
from storage import tables
from storage.ingest import Received
from worklist.events import Happened
from worklist.person import Role
from worklist.site import Device, Site, SiteKind

CT = "1.2.840.10008.5.1.4.1.1.2"
SC = "1.2.840.10008.5.1.4.1.1.7"
CORNERSTONE = "multipart/related; type=application/octet-stream; transfer-syntax=*"
SLICES = 4


class Web:
    """A gateway with its web edge on a port, two centers and a hospital that reads for both."""

    def __init__(self, folder):
        self.parts = assemble(
            Settings(data_dir=folder, web_port=0, min_free_bytes=0, database_url=None)
        )
        with self.parts.new_unit() as unit:
            for key, kind, read_by in (
                ("hospital", SiteKind.HOSPITAL, ()),
                ("east", SiteKind.CENTER, ("hospital",)),
                ("west", SiteKind.CENTER, ("hospital",)),
            ):
                site = Site(key, key, key, kind, "Asia/Shanghai", None, frozenset(read_by))
                unit.people.save_site(site, datetime.now(UTC))
        self._tokens = {
            (site, role): people.add_token(
                self.parts, f"{site}-{role}", site, frozenset({role}), timedelta(days=1)
            )
            for site, role in (
                ("hospital", Role.READER),
                ("hospital", Role.ADMIN),
                ("east", Role.DOCTOR),
                ("west", Role.DOCTOR),
                ("east", Role.AUDITOR),
            )
        }
        self.edge = WebEdge(self.parts)
        self.edge.start()
        self.root = f"http://127.0.0.1:{self.edge.port}"

    def of(self, site, role=None):
        role = role or (Role.READER if site == "hospital" else Role.DOCTOR)
        headers = {"Authorization": f"Bearer {self._tokens[site, role]}"}
        return httpx.Client(base_url=self.root, headers=headers, timeout=60)

    def receive(self, site, *files):
        """Files through the one door, as if a device of the site had sent them."""
        for data in files:
            dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
            start = data.index(b"DICM") + 4
            start += 12 + dataset.file_meta.FileMetaInformationGroupLength
            self.parts.ingest.receive(
                Received(
                    Device(0, site, "TEST"),
                    "TELEREAD",
                    data[start:],
                    str(dataset.file_meta.TransferSyntaxUID),
                    None,
                    None,
                    "a",
                )
            )

    def facts(self, what):
        with self.parts.view() as unit:
            rows = unit.connection.execute(select(tables.fact)).all()
        return [row for row in rows if row.what == what]

    def close(self):
        self.edge.stop(5)
        self.parts.close()


def written(dataset, syntax=ExplicitVRLittleEndian):
    """A data set as a file of this syntax; the pixels are encoded already."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    out = io.BytesIO()
    dataset.save_as(
        out,
        enforce_file_format=True,
        implicit_vr=False,
        little_endian=syntax != ExplicitVRBigEndian,
    )
    return out.getvalue()


def picture(pixels, photometric="MONOCHROME2", **changes):
    """A Secondary Capture of rows x columns (x samples)."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = SC
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, generate_uid())
    dataset.StudyDate = "20261120"
    dataset.Modality = "US"
    dataset.PatientName = "Luo^Yan=罗^雁"
    dataset.PatientID = "P-7"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0
    data = pixels.tobytes()
    dataset.add_new(0x7FE00010, "OW", data + b"\0" * (len(data) % 2))
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def parts_of(answer):
    """(content type, bytes) of each part of a multipart/related answer."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + answer.content)
    assert message.is_multipart() and not message.defects
    return [
        (part["Content-Type"].replace('"', ""), part.get_payload(decode=True))
        for part in message.iter_parts()
    ]


def values(item, tag):
    return item.get(tag, {}).get("Value")


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    started = Web(tmp_path_factory.mktemp("web") / "data")
    yield started
    started.close()


@pytest.fixture(scope="module")
def reader(web):
    with web.of("hospital") as client:
        yield client


@pytest.fixture(scope="module")
def ct(web):
    """A CT series of the east center."""
    visit = Visit(datetime(2026, 11, 20, 9, tzinfo=UTC), "A-1", "cough")
    datasets = ct_series(DING, slices=SLICES, size=64, visit=visit)
    web.receive("east", *map(encoded, datasets))
    return datasets


def path_of(dataset, site="east"):
    return (
        f"/dicom-web/sites/{site}/studies/{dataset.StudyInstanceUID}"
        f"/series/{dataset.SeriesInstanceUID}/instances/{dataset.SOPInstanceUID}"
    )


def keep(web, dataset, syntax=ExplicitVRLittleEndian, site="east"):
    web.receive(site, written(dataset, syntax))
    return path_of(dataset, site)


# --- queries -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "",
        "PatientName=DING*",
        "PatientName=%2ADing%2A",
        "PatientName=ding%5Eyang*",
        "PatientName=D?ng%5EYangli",
        "00100010=*%E4%B8%81*",
        "PatientName=%E4%B8%81%5E%E6%A0%B7%E4%BE%8B",
        "PatientID={id}",
        "AccessionNumber=A-1",
        "AccessionNumber=A-*",
        "StudyDate=20261120",
        "StudyDate=20261101-20261130",
        "StudyDate=-20261130",
        "StudyDate=20261120-",
        "ModalitiesInStudy=CT",
        "ModalitiesInStudy=MR,CT",
        "Modality=CT&limit=10&offset=0&includefield=all",
        "StudyInstanceUID={uid}",
        "0020000D=1.2.3%5C{uid}",
        "PatientName=*&includefield=00081030&includefield=StudyDescription",
    ],
)
def test_a_study_is_found_by_its_attributes(reader, ct, query):
    query = query.format(uid=ct[0].StudyInstanceUID, id=ct[0].PatientID)
    answer = reader.get(f"/dicom-web/studies?{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/dicom+json"
    found = {values(one, "0020000D")[0]: one for one in answer.json()}
    one = found[ct[0].StudyInstanceUID]
    assert values(one, "00080061") == ["CT"]
    assert values(one, "00201208") == [SLICES]
    assert values(one, "00100010")[0]["Ideographic"] == "丁^样例"
    assert values(one, "00081190")[0].endswith(f"/sites/east/studies/{ct[0].StudyInstanceUID}")


@pytest.mark.parametrize(
    "query",
    [
        "PatientName=ING*",
        "PatientName=Ding",
        "PatientID=%25",
        "PatientID=_*",
        "AccessionNumber=a_1",
        "StudyDate=20261121",
        "StudyDate=20261121-",
        "StudyDate=-20261119",
        "ModalitiesInStudy=MR",
        "StudyInstanceUID=1.2.3",
        "offset=1000",
    ],
)
def test_what_does_not_match_is_not_found(reader, ct, query):
    found = reader.get(f"/dicom-web/sites/east/studies?{query}").json()
    assert ct[0].StudyInstanceUID not in {values(one, "0020000D")[0] for one in found}


def test_series_and_instances_are_listed(reader, ct):
    study = f"/dicom-web/sites/east/studies/{ct[0].StudyInstanceUID}"
    (series,) = reader.get(f"{study}/series?limit=101").json()
    assert values(series, "0020000E") == [ct[0].SeriesInstanceUID]
    assert values(series, "00201209") == [SLICES]
    for path in (f"{study}/instances", f"{study}/series/{ct[0].SeriesInstanceUID}/instances"):
        listed = reader.get(path).json()
        numbers = [values(one, "00200013")[0] for one in listed]
        assert numbers == sorted(numbers) and len(numbers) == SLICES
    one = reader.get(f"/dicom-web/instances?SOPInstanceUID={ct[1].SOPInstanceUID}").json()
    assert [values(item, "00080018") for item in one] == [[ct[1].SOPInstanceUID]]
    assert reader.get(f"{study}/instances?InstanceNumber=1&limit=5").json()
    assert reader.get(f"{study}/series?Modality=MR").json() == []


def test_lists_are_paged_and_warn(reader, ct):
    study = f"/dicom-web/sites/east/studies/{ct[0].StudyInstanceUID}"
    first = reader.get(f"{study}/instances?limit=1")
    assert len(first.json()) == 1 and "offset" in first.headers["Warning"]
    rest = reader.get(f"{study}/instances?limit=3&offset=1")
    assert len(rest.json()) == SLICES - 1 and "Warning" not in rest.headers
    fuzzy = reader.get("/dicom-web/studies?fuzzymatching=true&PatientName=D*")
    assert "literal matching" in fuzzy.headers["Warning"]
    unknown = reader.get("/dicom-web/studies?OtherPatientIDs=Ding%20Secret")
    assert "not supported" in unknown.headers["Warning"] and "Ding" not in str(unknown.headers)


@pytest.mark.parametrize(
    "query", ["StudyDate=yesterday", "StudyDate=-", "limit=-1", "limit=x", "offset=1.5"]
)
def test_a_wrong_query_is_refused_with_a_sentence(reader, query):
    answer = reader.get(f"/dicom-web/studies?{query}")
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_value" and answer.json()["message"].endswith(".")


def test_only_json_is_offered(reader, ct):
    for path in ("/dicom-web/studies", f"{path_of(ct[0])}/metadata"):
        answer = reader.get(path, headers={"Accept": 'multipart/related; type="application/xml"'})
        assert answer.status_code == 406 and answer.json()["code"] == "not_acceptable"
        for accept in ("application/dicom+json", "application/json", "*/*", "text/html, */*;q=0.1"):
            assert reader.get(path, headers={"Accept": accept}).status_code == 200


# --- metadata and frames -----------------------------------------------------------------------


def test_metadata_and_frames_make_the_slices_again(reader, ct):
    series = path_of(ct[0]).rpartition("/instances/")[0]
    answer = reader.get(f"{series}/metadata")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    listed = {values(one, "00080018")[0]: one for one in answer.json()}
    assert len(listed) == SLICES
    for dataset in ct:
        one = listed[dataset.SOPInstanceUID]
        shape = values(one, "00280010")[0], values(one, "00280011")[0]
        frame = reader.get(f"{path_of(dataset)}/frames/1", headers={"Accept": CORNERSTONE})
        ((content_type, body),) = parts_of(frame)
        assert content_type == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
        stored = np.frombuffer(body, "<i2" if values(one, "00280103") == [1] else "<u2")
        assert np.array_equal(stored.reshape(shape), dataset.pixel_array)
        assert values(one, "00100010")[0]["Ideographic"] == "丁^样例"
        uri = one["7FE00010"]["BulkDataURI"]
        assert uri.startswith(f"{reader.base_url}".rstrip("/") + path_of(dataset))
        bulk = reader.get(uri)
        assert bulk.content == body and "immutable" in bulk.headers["Cache-Control"]


def test_metadata_of_an_instance_and_of_the_study_agree(reader, ct):
    study = path_of(ct[0]).rpartition("/series/")[0]
    (one,) = reader.get(f"{path_of(ct[0])}/metadata").json()
    assert one in reader.get(f"{study}/metadata").json()


def test_what_has_not_changed_is_not_sent_again(reader, ct):
    series = path_of(ct[0]).rpartition("/instances/")[0]
    for path in (
        f"{series}/metadata",
        f"{path_of(ct[0])}/frames/1",
        f"{path_of(ct[0])}/rendered",
        f"{path_of(ct[0])}/thumbnail",
    ):
        first = reader.get(path)
        assert "private" in first.headers["Cache-Control"]
        assert {"Cookie", "Accept"} <= set(re.split(r",\s*", first.headers["Vary"]))
        again = reader.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert again.status_code == 304 and again.content == b""


def test_an_address_that_names_its_version_lasts_and_keeps_its_content(web, reader):
    """Another content under the same UID is shown at once; the old one has its old address."""
    old = picture(np.full((8, 8), 10, np.uint8))
    path = keep(web, old)
    version = reader.get(f"{path}/metadata").json()[0]["7FE00010"]["BulkDataURI"].partition("?v=")
    plain = reader.get(f"{path}/frames/1")
    assert plain.headers["Cache-Control"] == "private, no-cache"
    named = reader.get(f"{path}/frames/1?v={version[2]}")
    assert named.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    old.PixelData = np.full((8, 8), 99, np.uint8).tobytes()
    keep(web, old)
    ask = {"If-None-Match": plain.headers["ETag"]}
    assert set(parts_of(reader.get(f"{path}/frames/1", headers=ask))[0][1]) == {99}
    assert set(parts_of(reader.get(f"{path}/frames/1?v={version[2]}"))[0][1]) == {10}
    assert reader.get(f"{path}/frames/1?v=0000000000000000").status_code == 404
    in_path = reader.get(f"{path}/versions/{version[2]}/frames/1")
    assert in_path.headers["Cache-Control"] == named.headers["Cache-Control"]
    assert set(parts_of(in_path)[0][1]) == {10}
    assert reader.get(f"{path}/versions/0000000000000000/frames/1").status_code == 404


def test_several_frames_come_in_parts(web, reader):
    loop = ultrasound_loop(DING)
    web.receive("east", encoded(loop))
    path = path_of(loop)
    answer = reader.get(f"{path}/frames/3,1,2", headers={"Accept": CORNERSTONE})
    several = [body for _, body in parts_of(answer)]
    alone = [parts_of(reader.get(f"{path}/frames/{number}"))[0][1] for number in (3, 1, 2)]
    assert several == alone and len(set(several)) == 3
    beyond = int(loop.NumberOfFrames) + 1
    for wrong, status in ((f"{beyond}", 404), ("1,0", 404), ("x", 422), ("1,,2", 422)):
        answer = reader.get(f"{path}/frames/{wrong}")
        assert (answer.status_code, set(answer.json()) >= {"code", "message"}) == (status, True)


def test_a_client_chooses_the_form_of_frames(web, reader):
    flat = np.full((16, 16), 90, np.uint8)
    jpeg = io.BytesIO()
    Image.fromarray(flat).save(jpeg, "JPEG")
    dataset = picture(flat)
    dataset.PixelData = pydicom.encaps.encapsulate([jpeg.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    path = f"{keep(web, dataset, JPEGBaseline8Bit)}/frames/1"

    def get(accept):
        return reader.get(path, headers={"Accept": accept})

    stored = jpeg.getvalue() + b"\0" * (len(jpeg.getvalue()) % 2)
    ((kind, body),) = parts_of(get("*/*"))
    assert (kind, body) == (f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}", stored)
    ((kind, body),) = parts_of(get(CORNERSTONE))
    assert (kind, body) == (f"application/octet-stream; transfer-syntax={JPEGBaseline8Bit}", stored)
    assert get("image/jpeg").content == stored
    for accept in (
        "application/octet-stream",
        'multipart/related; type="application/octet-stream"',
        "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1",
    ):
        answer = get(accept)
        body = parts_of(answer)[0][1] if "multipart" in accept else answer.content
        assert np.abs(np.frombuffer(body, np.uint8).astype(int) - 90).max() <= 2
    for accept in ("image/jls", "text/html", "image/jpeg; transfer-syntax=1.2.3", "image/jpeg;q=0"):
        assert get(accept).status_code == 406


def coloured():
    """Small pictures in colour forms that browsers cannot show by themselves."""
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[..., 0] = 200
    yield "rgb", picture(rgb, "RGB")
    planar = picture(rgb, "RGB", PlanarConfiguration=1)
    planar.PixelData = np.ascontiguousarray(rgb.transpose(2, 0, 1)).tobytes()
    yield "planar", planar
    full = np.empty((8, 8, 3), np.uint8)
    full[:] = (60, 94, 228)  # the same red
    yield "ybr_full", picture(full, "YBR_FULL")
    subsampled = picture(full, "YBR_FULL_422")
    subsampled.PixelData = bytes([60, 60, 94, 228]) * 32
    yield "ybr_422", subsampled
    palette = picture(np.ones((8, 8), np.uint8), "PALETTE COLOR")
    for colour, value in (("Red", 200), ("Green", 0), ("Blue", 0)):
        setattr(palette, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = np.full(256, value * 257, "<u2").tobytes()
        setattr(palette, f"{colour}PaletteColorLookupTableData", table)
    yield "palette", palette


@pytest.mark.parametrize(("name", "dataset"), list(coloured()), ids=lambda one: str(one)[:9])
def test_every_colour_arrives_as_red(web, reader, name, dataset):
    path = keep(web, dataset)
    (one,) = reader.get(f"{path}/metadata").json()
    assert values(one, "00280004") == ["RGB"] and values(one, "00280002") == [3]
    ((_, body),) = parts_of(reader.get(f"{path}/frames/1", headers={"Accept": CORNERSTONE}))
    pixels = np.frombuffer(body, np.uint8).reshape(8, 8, 3).astype(int)
    assert np.abs(pixels - (200, 0, 0)).max() <= 3
    shown = np.asarray(
        Image.open(io.BytesIO(reader.get(f"{path}/rendered?accept=image/png").content))
    )
    assert np.abs(shown.astype(int) - (200, 0, 0)).max() <= 3


def test_real_files_of_many_syntaxes_are_shown(web, reader):
    for name in (
        "CT_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_RLE.dcm",
        "examples_palette.dcm",
        "examples_ybr_color.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "JPEG2000.dcm",
    ):
        file = get_testdata_file(name, download=False)
        if file is None:
            continue
        with open(file, "rb") as opened:  # noqa: PTH123
            data = opened.read()
        web.receive("east", data)
        path = path_of(pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True))
        (one,) = reader.get(f"{path}/metadata").json()
        frame = reader.get(f"{path}/frames/1", headers={"Accept": CORNERSTONE})
        assert frame.status_code == 200, f"{name}: {frame.text}"
        picture = Image.open(io.BytesIO(reader.get(f"{path}/rendered").content))
        assert picture.size[0] and len(picture.getcolors(1 << 24)) > 5, name
        if values(one, "00280004") == ["RGB"] and "syntax=1.2.840.10008.1.2.1" in str(
            parts_of(frame)[0][0]
        ):
            size = values(one, "00280010")[0] * values(one, "00280011")[0] * 3
            assert len(parts_of(frame)[0][1]) == size, name


def test_big_values_are_fetched_apart_in_little_endian(web, reader):
    dataset = ecg(DING, sampling_hz=250)
    for syntax in (ExplicitVRLittleEndian, ExplicitVRBigEndian):
        dataset.SOPInstanceUID = generate_uid()
        item = dataset.WaveformSequence[0]
        data = item.WaveformData
        if syntax == ExplicitVRBigEndian:
            item.WaveformData = np.frombuffer(data, "<i2").astype(">i2").tobytes()
        path = keep(web, dataset, syntax)
        (one,) = reader.get(f"{path}/metadata").json()
        uri = values(one, "54000100")[0]["54001010"]["BulkDataURI"]
        assert reader.get(uri).content == data
        item.WaveformData = data
    for wrong in ("54001010", "54000100/9/54001010", "54000100", "zz", "00100010", "a/b/c/d"):
        assert reader.get(f"{path}/bulkdata/{wrong}").status_code == 404


def test_an_instance_without_pixels_is_refused_by_code(web, reader):
    path = keep(web, ecg(DING, sampling_hz=250))
    for resource in ("frames/1", "rendered", "thumbnail", "bulkdata/7FE00010"):
        answer = reader.get(f"{path}/{resource}")
        assert answer.status_code == 422 and answer.json()["reason"] == "no_pixel_data"


# --- pictures ----------------------------------------------------------------------------------


def test_pictures_follow_window_viewport_and_accept(web, reader):
    ramp = np.arange(64 * 32, dtype="<u2").reshape(32, 64)
    path = keep(web, picture(ramp))

    def shown(query, accept="image/png"):
        answer = reader.get(f"{path}/{query}", headers={"Accept": accept})
        assert answer.status_code == 200 and answer.headers["Content-Type"] == accept, answer.text
        return Image.open(io.BytesIO(answer.content))

    assert np.asarray(shown("rendered?window=1000,1,linear"))[0, 0] == 0
    assert np.asarray(shown("rendered?window=1,1,linear"))[5, 5] == 255
    assert shown("rendered?viewport=32,32").size == (32, 16)
    assert shown("frames/1/rendered?viewport=100000,100000").size == (64, 32)
    assert shown("rendered", "image/jpeg").format == "JPEG"
    assert max(shown("thumbnail", "image/jpeg").size) == 64
    for wrong in ("window=a,b", "window=1,0", "window=1,2,sigmoid", "viewport=x", "window=nan,1"):
        assert reader.get(f"{path}/rendered?{wrong}").status_code == 422
    assert reader.get(f"{path}/rendered?accept=video/mp4").status_code == 406
    assert reader.get(f"{path}/frames/1,1/rendered").status_code == 422


# --- files as they are kept --------------------------------------------------------------------


def test_files_come_back_as_they_are_kept(web, reader, ct):
    series = path_of(ct[0]).rpartition("/instances/")[0]
    study = series.rpartition("/series/")[0]
    for path in (series, study):
        answer = reader.get(path, headers={"Accept": "multipart/related; type=application/dicom"})
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        files = [pydicom.dcmread(io.BytesIO(body)) for _, body in parts_of(answer)]
        assert {one.SOPInstanceUID for one in files} == {one.SOPInstanceUID for one in ct}
    one = reader.get(path_of(ct[0]), headers={"Accept": "application/dicom"})
    dataset = pydicom.dcmread(io.BytesIO(one.content))
    assert np.array_equal(dataset.pixel_array, ct[0].pixel_array)
    assert int(one.headers["Content-Length"]) == len(one.content)
    jpeg = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50'
    assert reader.get(path_of(ct[0]), headers={"Accept": jpeg}).status_code == 406


# --- who may see what --------------------------------------------------------------------------


def test_what_the_other_center_has_does_not_exist(web, ct):
    path = path_of(ct[0])
    series, study = path.rpartition("/instances/")[0], path.rpartition("/series/")[0]
    below = [
        path,
        series,
        study,
        f"{study}/series",
        f"{study}/instances",
        f"{series}/instances",
        *(f"{one}/metadata" for one in (study, series, path)),
        *(f"{path}/{one}" for one in ("frames/1", "frames/1/rendered", "rendered", "thumbnail")),
        f"{path}/bulkdata/7FE00010",
    ]
    with web.of("west") as stranger, web.of("east") as own:
        for one in below:
            for address in (one, one.replace("/sites/east", ""), one.replace("east", "west")):
                answer = stranger.get(address)
                assert answer.status_code == 404, address
                assert set(answer.json()) == {"code", "message"}
            assert own.get(one).status_code == 200, one
            assert own.get(one.replace("/sites/east", "")).status_code == 200, one
        for level in ("studies", "series", "instances"):
            uid = ct[0].StudyInstanceUID
            assert stranger.get(f"/dicom-web/{level}?StudyInstanceUID={uid}").json() == []
            assert stranger.get(f"/dicom-web/sites/east/{level}").status_code == 404
    assert httpx.get(f"{web.root}/dicom-web/studies").status_code == 401
    assert httpx.get(f"{web.root}{path}/frames/1").status_code == 401


def test_an_ambiguous_uid_names_its_sites_to_those_who_see_both(web, reader):
    dataset = picture(np.zeros((4, 4), np.uint8))
    for site in ("east", "west"):
        keep(web, dataset, site=site)
    for resource in ("", "/metadata", "/frames/1"):
        anywhere = path_of(dataset).replace("/sites/east", "") + resource
        answer = reader.get(anywhere)
        assert answer.status_code == 409 and answer.json()["sites"] == ["east", "west"]
        assert reader.get(path_of(dataset, "west") + resource).status_code == 200
        with web.of("east") as own:
            assert own.get(anywhere).status_code == 200


def test_opening_images_is_one_fact(web, reader):
    dataset = picture(np.zeros((4, 4), np.uint8))
    path = keep(web, dataset)
    reader.get(f"{path}/thumbnail")
    before = len(web.facts(Happened.STUDY_OPENED))
    for _ in range(3):
        reader.get(f"{path}/metadata")
        reader.get(f"{path}/frames/1")
    facts = web.facts(Happened.STUDY_OPENED)
    assert len(facts) == before + 1
    assert facts[-1].who == "token:hospital-reader" and facts[-1].site == "east"
    with web.of("east") as own:
        own.get(f"{path}/frames/1")
    assert len(web.facts(Happened.STUDY_OPENED)) == before + 2


# --- storing -----------------------------------------------------------------------------------


def body_of(*files, boundary="cut-here", kind="application/dicom"):
    parts = b"".join(
        f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + one + b"\r\n" for one in files
    )
    return {
        "content": parts + f"--{boundary}--\r\n".encode(),
        "headers": {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}'
        },
    }


def test_what_is_stored_comes_back(web):
    images = [picture(np.full((8, 8), value, np.uint8)) for value in (1, 2)]
    files = [written(one) for one in images]
    with web.of("east") as own:
        answer = own.post("/dicom-web/studies", **body_of(*files))
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "application/dicom+json"
        stored = values(answer.json(), "00081199")
        assert [values(one, "00081155")[0] for one in stored] == [
            one.SOPInstanceUID for one in images
        ]
        for one, item in zip(images, stored, strict=True):
            address = values(item, "00081190")[0]
            body = own.get(address, headers={"Accept": "application/dicom"}).content
            back = pydicom.dcmread(io.BytesIO(body))
            assert back == one
        again = own.post("/dicom-web/sites/east/studies", **body_of(*files))
        assert again.status_code == 200
    with web.parts.view() as unit:
        assert len(unit.studies.versions("east", images[0].SOPInstanceUID)) == 1


def test_each_failure_is_named_and_the_others_are_kept(web):
    good = picture(np.zeros((8, 8), np.uint8))
    bad = picture(np.zeros((8, 8), np.uint8))
    cut = written(bad)[:-40]
    with web.of("east") as own:
        answer = own.post("/dicom-web/studies", **body_of(cut, written(good), b"no file at all"))
        assert answer.status_code == 202
        assert len(values(answer.json(), "00081199")) == 1
        failed = values(answer.json(), "00081198")
        assert [values(one, "00081197")[0] for one in failed] == [0xC001, 0xC000]
        assert values(failed[0], "00081155") == [bad.SOPInstanceUID]
        other = own.post("/dicom-web/studies/1.2.3", **body_of(written(good)))
        assert other.status_code == 409
        assert values(values(other.json(), "00081198")[0], "00081197") == [0xA900]
        right = own.post(f"/dicom-web/studies/{good.StudyInstanceUID}", **body_of(written(good)))
        assert right.status_code == 200
        broken = body_of(written(good))
        broken["content"] = broken["content"][:-30]
        assert own.post("/dicom-web/studies", **broken).status_code == 409
        for wrong, status in (
            ({"headers": {"Content-Type": "application/dicom"}}, 415),
            ({"headers": {"Content-Type": "multipart/related; type=application/dicom"}}, 422),
            ({"content": b""}, 409),
        ):
            answer = own.post("/dicom-web/studies", **{**body_of(b"x"), **wrong})
            assert answer.status_code == status
            assert "Traceback" not in answer.text


def test_only_a_sites_own_people_store_there(web):
    body = body_of(written(picture(np.zeros((8, 8), np.uint8))))
    for site, role, at, status in (
        ("east", Role.DOCTOR, "west", 404),
        ("east", Role.AUDITOR, "east", 403),
        ("hospital", Role.READER, "east", 403),
        ("hospital", Role.ADMIN, "east", 403),
        ("hospital", Role.READER, "hospital", 403),
    ):
        with web.of(site, role) as client:
            answer = client.post(f"/dicom-web/sites/{at}/studies", **body)
            assert answer.status_code == status, (site, role, at)
    nobody = httpx.post(f"{web.root}/dicom-web/studies", **body)
    assert nobody.status_code == 401


def test_a_stored_study_settles_after_its_request(web):
    dataset = picture(np.zeros((8, 8), np.uint8))
    second = picture(np.ones((8, 8), np.uint8))
    second.StudyInstanceUID = dataset.StudyInstanceUID
    with web.of("west") as own:
        own.post("/dicom-web/studies", **body_of(written(dataset), written(second)))
    with web.parts.view() as unit:
        study = unit.studies.by_uid("west", dataset.StudyInstanceUID)
        due = unit.connection.execute(
            select(tables.job.c.due_at).where(tables.job.c.key == f"settle:{study.id}")
        ).scalar_one()
    assert due - study.last_received_at <= web.parts.policy.quiet_after_release + timedelta(
        seconds=2
    )


# --- what the pages show beside images ---------------------------------------------------------


def test_an_ecg_its_preview_and_their_study_only(web, reader):
    dataset = ecg(DING, sampling_hz=500)
    dataset.StudyInstanceUID = generate_uid()
    dataset.SOPInstanceUID = generate_uid()
    keep(web, dataset)
    with web.parts.view() as unit:
        study = unit.studies.by_uid("east", dataset.StudyInstanceUID)
    at = f"/api/studies/{study.id}"
    (recording,) = reader.get(f"{at}/ecg").json()["recordings"]
    assert recording["sop_uid"] == dataset.SOPInstanceUID and len(recording["leads"]) == 12
    with web.parts.view() as unit:
        assert recording["v"] == unit.studies.instances(study.id)[0].digest[:16]
    assert recording["acquired_at"].endswith("Z")
    svg = reader.get(f"{at}/preview.svg?dark=1")
    assert svg.headers["Content-Type"].startswith("image/svg+xml") and "<svg" in svg.text
    assert reader.get(f"{at}/preview.svg").text != svg.text
    assert reader.get(f"{at}/preview.jpg").status_code == 404
    with web.of("west") as stranger:
        for path in ("ecg", "preview.svg", "preview.jpg", "documents/1.2.3"):
            assert stranger.get(f"{at}/{path}").status_code == 404
    for wrong in ("x", "0", str(2**70)):
        assert reader.get(f"/api/studies/{wrong}/ecg").status_code == 422
    assert reader.get("/api/studies/999999/ecg").status_code == 404


def test_an_image_study_has_its_middle_image_as_preview(web, reader, ct):
    with web.parts.view() as unit:
        study = unit.studies.by_uid("east", ct[0].StudyInstanceUID)
    answer = reader.get(f"/api/studies/{study.id}/preview.jpg")
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (64, 64)
    again = reader.get(
        f"/api/studies/{study.id}/preview.jpg", headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert again.status_code == 304


def test_a_document_is_shown_in_a_frame_of_the_page(web, reader):
    from sample_studies.make import ecg_pdf

    dataset = ecg_pdf(DING)
    web.receive("east", encoded(dataset))
    with web.parts.view() as unit:
        study = unit.studies.by_uid("east", dataset.StudyInstanceUID)
    answer = reader.get(f"/api/studies/{study.id}/documents/{dataset.SOPInstanceUID}")
    assert answer.content.startswith(b"%PDF-")
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Disposition"].startswith("inline")
    assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]
    assert reader.get(f"/api/studies/{study.id}/documents/1.2.3").status_code == 404
    assert answer.headers["Cache-Control"] == "private, no-cache"
    path = f"/api/studies/{study.id}/documents/{dataset.SOPInstanceUID}"
    with web.parts.view() as unit:
        kept = unit.studies.versions("east", dataset.SOPInstanceUID)
    version = kept[0].digest[:16]
    named = reader.get(f"{path}?v={version}")
    assert named.content == answer.content
    assert named.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert reader.get(f"{path}?v={'0' * 16}").status_code == 404


def test_phrases_follow_the_part_of_the_body(web, reader, ct):
    ecg_set = reader.get("/api/phrases?kind=ECG").json()
    keys = {one["key"]: one for one in ecg_set["phrases"] if one["key"]}
    assert sorted(keys) == list(range(1, 10)) and keys[1]["zh"] == "窦性心律"
    assert ecg_set["normal"]["impression"]["zh"].startswith("窦性心律")
    general = reader.get("/api/phrases?kind=CT").json()
    assert general["group"] is None and "肺" not in json.dumps(
        general["normal"], ensure_ascii=False
    )
    with web.parts.view() as unit:
        study = unit.studies.by_uid("east", ct[0].StudyInstanceUID)
    chest = reader.get(f"/api/phrases?kind=CT&study_id={study.id}").json()
    assert chest["group"] == "chest" and "肺" in chest["normal"]["findings"]["zh"]
    assert chest["phrases"][0]["group"] == "chest"
    assert reader.get("/api/phrases?kind=XX").status_code == 422
    with web.of("west") as stranger:
        answer = stranger.get(f"/api/phrases?kind=CT&study_id={study.id}")
        assert answer.status_code == 404


def test_bare_bytes_of_write_dataset_are_what_the_door_takes():
    """The helper that cuts the file meta off agrees with pydicom."""
    dataset = picture(np.zeros((4, 4), np.uint8))
    out = pydicom.filebase.DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, dataset)
    assert written(dataset).endswith(out.getvalue())
