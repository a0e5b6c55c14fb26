"""What does a C-STORE leave behind: when it succeeds, when it is repeated, when it is wrong?"""

import io
import os
import struct
import subprocess
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from worklist.arrival import Arrival

CT = "1.2.840.10008.5.1.4.1.1.2"
ECG = "1.2.840.10008.5.1.4.1.1.9.1.1"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"


def data_set(path):
    """(data-set bytes, transfer syntax, class, instance) of a file, as they stand in it."""
    raw = Path(path).read_bytes()
    stream = io.BytesIO(raw)
    stream.seek(132)
    meta = pydicom.filereader._read_file_meta_info(stream)
    syntax = str(meta.TransferSyntaxUID)
    read = pydicom.dcmread(io.BytesIO(raw), stop_before_pixels=True)
    return raw[stream.tell() :], syntax, str(read.SOPClassUID), str(read.SOPInstanceUID)


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_RLE.dcm",
        "JPEG2000.dcm",
        "image_dfl.dcm",
        "waveform_ecg.dcm",
        "examples_ybr_color.dcm",
        "examples_palette.dcm",
    ],
)
def test_real_objects_are_kept_byte_for_byte(gateway, associate, name):
    raw, syntax, sop_class, instance = data_set(get_testdata_file(name, download=False))
    with associate(gateway.port, contexts=((sop_class, (syntax,)),)) as device:
        assert device.send(raw, sop_class=sop_class, instance=instance).Status == 0x0000
    (row,) = gateway.versions(instance)
    assert gateway.kept(row) == raw
    assert row.transfer_syntax == syntax
    file = pydicom.dcmread(io.BytesIO(gateway.parts.objects.get(row.locator)))
    assert str(file.file_meta.TransferSyntaxUID) == syntax
    assert file.file_meta.SourceApplicationEntityTitle == "EAST_CT"


def test_one_study_in_one_association(gateway, call, image):
    study, series = generate_uid(), generate_uid()
    with call() as device:
        for number in range(1, 6):
            dataset = image(StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number)
            assert device.store(dataset) == 0x0000
    found = gateway.study(study)
    assert (found.instance_count, found.series_count, found.kind) == (5, 1, "CT")
    assert (found.patient.name, found.patient.name_latin) == ("丁秀英", "Ding Xiuying")
    assert found.arrival is Arrival.RECEIVING
    assert gateway.study(study, "west") is None


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"Modality": "US", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}, "US"),
        ({"Modality": "DX", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1"}, "DX"),
        ({"Modality": "CR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"}, "DX"),
        ({"Modality": "ECG", "SOPClassUID": ECG}, "ECG"),
        ({"Modality": "OT", "SOPClassUID": PDF, "DocumentTitle": "12导联心电图"}, "ECG"),
        ({"Modality": "OT", "SOPClassUID": PDF, "StudyDescription": "ECG rest"}, "ECG"),
        ({"Modality": "OT", "SOPClassUID": PDF, "DocumentTitle": "Discharge"}, "OT"),
    ],
)
def test_kinds(gateway, associate, image, changes, kind):
    dataset = image(**changes)
    contexts = ((changes["SOPClassUID"], (EXPLICIT,)),)
    with associate(gateway.port, contexts=contexts) as device:
        assert device.store(dataset) == 0x0000
    assert gateway.study(dataset.StudyInstanceUID).kind == kind


def test_an_ecg_is_a_task_when_it_is_answered(gateway, associate, image):
    gateway.add_device("east", "CART", modality="ECG")
    dataset = image(Modality="OT", SOPClassUID=PDF, DocumentTitle="Report")
    contexts = ((PDF, (EXPLICIT,)),)
    with associate(gateway.port, ae_title="CART", contexts=contexts) as device:
        assert device.store(dataset) == 0x0000
        study = gateway.study(dataset.StudyInstanceUID)
        with gateway.parts.view() as unit:
            (task,) = unit.tasks.of_study(study.id)
    assert task.kind == "ECG"


def test_the_same_again_changes_nothing(gateway, call, image):
    dataset = image()
    with call() as device:
        assert device.store(dataset) == 0x0000
        before = gateway.study(dataset.StudyInstanceUID), sorted(gateway.files())
        assert device.store(dataset) == 0x0000
    with call() as device:
        assert device.store(dataset) == 0x0000
    assert (gateway.study(dataset.StudyInstanceUID), sorted(gateway.files())) == before


def test_other_content_is_a_new_version(gateway, call, image):
    dataset = image()
    with call() as device:
        assert device.store(dataset) == 0x0000
        dataset.PixelData = b"\x01" * 128
        assert device.store(dataset) == 0x0000
    newest, first = gateway.versions(dataset.SOPInstanceUID)
    assert (newest.version, newest.current, first.current) == (2, True, False)
    assert gateway.study(dataset.StudyInstanceUID).marks == {"uid_conflict"}
    assert gateway.kept(newest) != gateway.kept(first)


def test_two_sites_never_share(gateway, associate, image):
    dataset = image()
    for title in ("EAST_CT", "WEST_CT"):
        with associate(gateway.port, ae_title=title) as device:
            assert device.store(dataset) == 0x0000
    east = gateway.study(dataset.StudyInstanceUID, "east")
    west = gateway.study(dataset.StudyInstanceUID, "west")
    assert east.id != west.id
    assert "uid_conflict" in west.marks


# --- bad input ---------------------------------------------------------------------------------


def cut_in_pixels(raw):
    return raw[:-60]


def cut_before_pixels(raw):
    return raw[: raw.index(b"\xe0\x7f\x10\x00")]


def cut_in_a_header(raw):
    return raw[: raw.index(b"\xe0\x7f\x10\x00") + 5]


@pytest.mark.parametrize("cut", [cut_in_pixels, cut_before_pixels, cut_in_a_header])
def test_truncated(gateway, call, image, encode, lines, cut):
    refused(gateway, call, lines, cut(encode(image())), image, 0xC001)


@pytest.mark.parametrize("raw", [b"", b"\x00" * 64, b"%PDF-1.7 " * 40, os.urandom(999)])
def test_nonsense(gateway, call, image, lines, raw):
    response = refused(gateway, call, lines, raw, image)
    assert response.Status in (0xC000, 0xC001)


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
@pytest.mark.parametrize("value", [None, ""])
def test_missing_uids(gateway, call, image, encode, lines, keyword, value):
    refused(gateway, call, lines, encode(image(**{keyword: value})), image, 0xC002)


@pytest.mark.parametrize("value", ["1.2.a", "../../etc/passwd", "1..2", "1.2.", "1" * 65, "1.2/3"])
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SOPInstanceUID"])
def test_invalid_uids(gateway, call, image, encode, lines, keyword, value):
    raw = encode(image(**{keyword: "1.2.3.4"}))
    length = len(value) + len(value) % 2
    sent = raw.replace(
        b"UI\x08\x00" + b"1.2.3.4\0",
        b"UI" + struct.pack("<H", length) + value.encode().ljust(length, b"\0"),
    )
    assert sent != raw
    refused(gateway, call, lines, sent, image, 0xC003)


def test_command_and_data_set_disagree(gateway, call, image, encode, lines):
    refused(gateway, call, lines, encode(image()), image, 0xA900)
    refused(
        gateway,
        call,
        lines,
        encode(image(SOPInstanceUID="1.2.3", SOPClassUID=ECG)),
        image,
        0xA900,
        instance="1.2.3",
    )


def test_command_and_context_disagree(gateway, call, image, encode, lines):
    raw = encode(image(SOPInstanceUID="1.2.3", SOPClassUID=ECG))
    refused(gateway, call, lines, raw, image, 0xA900, instance="1.2.3", command_class=ECG)


@pytest.mark.parametrize("missing", [0x0002, 0x1000])
def test_a_command_that_names_nothing(gateway, call, image, encode, missing):
    """pynetdicom does not send such a command, so it is written by hand."""
    raw = encode(image())
    with call() as device:
        elements = {
            0x0002: CT.encode() + b"\0",
            0x0100: b"\x01\x00",
            0x0110: b"\x07\x00",
            0x0700: b"\x00\x00",
            0x0800: b"\x00\x00",
            0x1000: b"1.2.3.4\0",
        }
        del elements[missing]
        command = b"".join(
            struct.pack("<HHI", 0, number, len(value)) + value for number, value in elements.items()
        )
        context = device.contexts()[CT]
        body = b"".join(
            struct.pack(">IBB", len(part) + 2, context, control) + part
            for part, control in ((command, 3), (raw, 2))
        )
        peer = device.association.dul.socket.socket
        device.association._reactor_checkpoint.clear()
        peer.sendall(b"\x04\x00" + struct.pack(">I", len(body)) + body)
        _, response = device.association.dimse.get_msg(block=True)
        device.association._reactor_checkpoint.set()
        assert (response.Status, response.MessageIDBeingRespondedTo) == (0xC002, 7)
        assert device.store(image()) == 0x0000


def test_a_deflate_bomb(gateway, associate, image, encode, lines):
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(100)) + deflate.flush()
    contexts = ((CT, (DEFLATED,)),)
    with associate(gateway.port, contexts=contexts) as device:
        response = device.send(bomb, instance="1.2.3")
    assert response.Status == 0xC000
    assert gateway.files() == []


def test_a_full_disk(new_gateway, associate, image, lines):
    gateway = new_gateway(min_free_bytes=1 << 60)
    dataset = image()
    with associate(gateway.port) as device:
        assert device.store(dataset) == 0xA700
        assert device.association.is_established
    assert gateway.study(dataset.StudyInstanceUID) is None
    assert gateway.files() == []
    assert len(failures(lines)) == 1


def test_an_error_of_our_own_is_not_the_devices_fault(gateway, call, image, lines, monkeypatch):
    def fails(received):
        raise RuntimeError("Ding Xiuying must not stand in a log")

    good = gateway.parts.ingest.receive
    dataset = image()
    with call() as device:
        gateway.parts.ingest.receive = fails
        assert device.store(dataset) == 0xA7FF
        gateway.parts.ingest.receive = good
        assert device.store(dataset) == 0x0000
    assert len(failures(lines)) == 1
    assert "RuntimeError at" in failures(lines)[0]
    assert "Ding" not in "".join(lines())


def failures(lines):
    """The lines about instances; those about associations come at their end."""
    return [line for line in lines() if "not stored" in line]


def refused(gateway, call, lines, raw, image, status=None, instance="1.2.3.4.5", **command):
    """The failure has its status and one line, leaves nothing, and the association goes on."""
    already = len(failures(lines))
    files = sorted(gateway.files())
    good = image()
    with call() as device, call() as other:
        response = device.send(raw, instance=instance, **command)
        assert len(failures(lines)) == already + 1
        assert status is None or f"{response.Status:04X}" == f"{status:04X}"
        assert response.ErrorComment
        assert sorted(gateway.files()) == files
        assert gateway.versions(instance) == []
        assert device.store(good) == 0x0000
        assert other.store(good) == 0x0000
    assert "丁" not in "".join(lines())
    assert "P-100" not in "".join(lines())
    return response


# --- accepted, readable and marked -------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", "   "])
def test_without_patient_id(gateway, call, image, value):
    dataset = image(PatientID=value)
    with call() as device:
        assert device.store(dataset) == 0x0000
    study = gateway.study(dataset.StudyInstanceUID)
    assert study.patient.patient_id is None
    assert "no_patient_id" in study.marks


@pytest.mark.parametrize("label", [None, "ISO_IR 100", ""])
@pytest.mark.parametrize("codec", ["gb18030", "utf-8"])
def test_chinese_under_no_label(gateway, call, image, encode, label, codec):
    raw = encode(
        image(SpecificCharacterSet=label, PatientName="Ding^Xiuying", SOPInstanceUID="1.2.3")
    )
    name = "Ding^Xiuying=丁^秀英".encode(codec)
    name += b" " * (len(name) % 2)
    sent = raw.replace(b"PN\x0c\x00Ding^Xiuying", b"PN" + struct.pack("<H", len(name)) + name)
    with call() as device:
        assert device.send(sent, instance="1.2.3").Status == 0x0000
    (row,) = gateway.versions("1.2.3")
    with gateway.parts.view() as unit:
        study = unit.studies.get(row.study_id)
    assert (study.patient.name, study.patient.name_latin) == ("丁秀英", "Ding Xiuying")
    assert study.marks == {"charset_guessed"}
    assert gateway.kept(row) == sent


def test_the_kept_samples(gateway, associate, sample_files):
    files = sorted(sample_files.glob("*.dcm"))
    if not files:
        pytest.skip("no sample studies are kept here")
    for file in files:
        raw, syntax, sop_class, instance = data_set(file)
        with associate(gateway.port, contexts=((sop_class, (syntax,)),)) as device:
            assert device.send(raw, sop_class=sop_class, instance=instance).Status == 0x0000
        (row,) = gateway.versions(instance)
        with gateway.parts.view() as unit:
            study = unit.studies.get(row.study_id)
        assert study.patient.name
        assert "charset_guessed" not in study.marks


# --- when the device hangs up ------------------------------------------------------------------


def due(gateway):
    with gateway.parts.view() as unit:
        return unit.jobs.earliest()


def test_release_brings_the_settling_forward(gateway, call, image):
    study = generate_uid()
    with call() as device:
        device.store(image(StudyInstanceUID=study))
        device.store(image(StudyInstanceUID=study))
        alone = due(gateway)
    assert due(gateway) < alone


def test_an_abort_counts_as_hanging_up(gateway, call, image):
    study = generate_uid()
    with call() as device:
        device.store(image(StudyInstanceUID=study))
        device.store(image(StudyInstanceUID=study))
        alone = due(gateway)
        device.association.abort()
    gateway.edge.stop(5)
    assert due(gateway) < alone


# --- DCMTK -------------------------------------------------------------------------------------


@pytest.mark.dcmtk
def test_dcmtk_verifies(gateway, echoscu):
    said = run(echoscu, "-aet", "EAST_CT", "-aec", "TELEREAD", "127.0.0.1", str(gateway.port))
    assert said.returncode == 0, said.stderr
    said = run(echoscu, "-aet", "NOBODY", "-aec", "TELEREAD", "127.0.0.1", str(gateway.port))
    assert said.returncode != 0
    assert "Calling AE Title Not Recognized" in said.stdout + said.stderr


@pytest.mark.dcmtk
@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("CT_small.dcm", "-xe"),
        ("MR_small_implicit.dcm", "-xi"),
        ("MR_small_bigendian.dcm", "-xb"),
        ("waveform_ecg.dcm", "-R"),
        ("image_dfl.dcm", "-xd"),
        ("JPEG2000.dcm", "-xw"),
        ("MR_small_RLE.dcm", "-xr"),
        ("JPGExtended.dcm", "-xx"),
    ],
)
def test_dcmtk_stores(gateway, storescu, name, option):
    path = get_testdata_file(name, download=False)
    _, _, _, instance = data_set(path)
    said = run(
        storescu,
        *("-v", option, "-aet", "EAST_CT", "-aec", "TELEREAD"),
        *("127.0.0.1", str(gateway.port), path),
    )
    assert said.returncode == 0, said.stderr
    assert "(Success)" in said.stdout + said.stderr
    (row,) = gateway.versions(instance)
    assert row.calling_ae_title == "EAST_CT"


@pytest.mark.dcmtk
def test_dcmtk_hears_of_a_full_disk(new_gateway, storescu):
    gateway = new_gateway(min_free_bytes=1 << 60)
    path = get_testdata_file("CT_small.dcm", download=False)
    said = run(
        storescu,
        *("-v", "-aet", "EAST_CT", "-aec", "TELEREAD", "127.0.0.1", str(gateway.port), path),
    )
    assert "OutOfResources" in said.stdout + said.stderr
    assert gateway.files() == []


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_pynetdicoms_own_scu(gateway, call, image):
    """Not only our own sending: the library's ordinary way, data sets and all."""
    dataset = image()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = EXPLICIT
    with call() as device:
        assert device.association.send_c_store(dataset).Status == 0x0000
    assert gateway.study(dataset.StudyInstanceUID) is not None
