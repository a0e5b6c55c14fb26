"""What does a C-MOVE or C-GET send, to whom, and in which transfer syntax?"""

import io
import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import _STORAGE_CLASSES

from gateway.dicom.contexts import is_storage
from tests.protocol import hostile

pytestmark = pytest.mark.filterwarnings("ignore:.*alue.*:UserWarning")

CT = "1.2.840.10008.5.1.4.1.1.2"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"
PATIENT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_GET = "1.2.840.10008.5.1.4.1.2.1.3"
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
JPEG_2000 = "1.2.840.10008.1.2.4.90"


class Destination:
    """A device that keeps what it is sent: (bytes, transfer syntax, request) each."""

    def __init__(self, syntaxes=PLAIN, classes=(CT,), answer=None):
        self.got = []
        self.answer = answer or (lambda count: 0x0000)
        ae = AE("DEST")
        ae.network_timeout = ae.dimse_timeout = 20
        for one in classes:
            ae.add_supported_context(one, list(syntaxes))
        self.sizes = []
        self._ae = ae
        self._asking = None
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_DATA_RECV, lambda event: self.sizes.append(len(event.data))),
        ]
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self._server.socket.getsockname()[1]

    def take(self, most):
        """PDUs of so many bytes at most."""
        self._server.ae.maximum_pdu_size = most

    def say(self, what):
        """Something that is no answer, and then nothing more."""
        client = self._asking.assoc.dul.socket.socket
        response = {0x0002: CT.encode() + b"\0", 0x0100: b"\x01\x80", 0x0120: b"\x63\0"}
        response |= {0x0800: b"\x01\x01", 0x0900: b"\0\0"}
        command = b"".join(
            struct.pack("<HHI", 0, one, len(raw)) + raw for one, raw in response.items()
        )
        number = self._asking.context.context_id
        pdv = struct.pack(">IBB", len(command) + 2, number, 3) + command
        said = {
            "garbage": b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "other message": struct.pack(">BxI", 4, len(pdv)) + pdv,
            "release": b"\x05\0\0\0\0\x04\0\0\0\0",
            "silence": b"",
        }[what]
        client.sendall(said)
        client.shutdown(socket.SHUT_RDWR)
        return 0

    def _store(self, event):
        self._asking = event
        self.got.append(
            (
                event.request.DataSet.getvalue(),
                str(event.context.transfer_syntax),
                event.request,
            )
        )
        return self.answer(len(self.got))

    def close(self):
        self._server.shutdown()


@pytest.fixture
def destination(gateway):
    """Register and start a destination: title, Site and what it takes are given."""
    started = []

    def start(title="DEST", site="east", **given):
        one = Destination(**given)
        register(gateway, site, title, one.port)
        started.append(one)
        return one

    yield start
    for one in started:
        one.close()


def register(gateway, site, title, port, host="127.0.0.1"):
    with gateway.parts.new_unit() as unit:
        unit.people.add_device(
            site=site,
            ae_title=title,
            called=None,
            host=host,
            port=port,
            modality=None,
            one_per_image=False,
            created_at=datetime.now(UTC),
        )


@pytest.fixture
def keep(gateway, associate, image):
    """Store an image at a Site; returns it."""

    def one(title="EAST_CT", **changes):
        made = image(**changes)
        with associate(gateway.port, title, contexts=((CT, (str(PLAIN[0]),)),)) as device:
            assert device.store(made) == 0
        return made

    return one


@contextmanager
def calling(gateway, title="EAST_CT", model=MOVE, classes=(), syntaxes=PLAIN, handler=None):
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.requested_contexts = [
        build_context(model),
        *(build_context(name, list(syntaxes)) for name in classes),
    ]
    roles = [build_role(name, scp_role=True) for name in classes]
    handlers = [(evt.EVT_C_STORE, handler)] if handler else []
    association = ae.associate(
        "127.0.0.1", gateway.port, ae_title="TELEREAD", ext_neg=roles, evt_handlers=handlers
    )
    assert association.is_established
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def asked(level, one, *keywords, **more):
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword in keywords:
        setattr(identifier, keyword, one[keyword].value)
    for keyword, value in more.items():
        setattr(identifier, keyword, value)
    return identifier


def moved(gateway, identifier, to="DEST", model=MOVE, title="EAST_CT"):
    with calling(gateway, title, model) as association:
        return list(association.send_c_move(identifier, to, model))


def got(gateway, identifier, model=GET, title="EAST_CT", syntaxes=PLAIN, classes=(CT,), answer=0):
    """Responses, and the requests of the sub-operations with their syntaxes."""
    kept = []

    def store(event):
        data = event.request.DataSet.getvalue()
        kept.append((data, str(event.context.transfer_syntax), event.request))
        return answer

    with calling(gateway, title, model, classes, syntaxes, store) as association:
        return list(association.send_c_get(identifier, model)), kept


def counts(status):
    return tuple(
        status.get(f"NumberOf{name}Suboperations")
        for name in ("Completed", "Failed", "Warning", "Remaining")
    )


def test_a_study_is_moved_as_it_is_kept(gateway, keep, destination, encode):
    there = destination()
    one = keep()
    two = keep(StudyInstanceUID=one.StudyInstanceUID, InstanceNumber=2)
    keep()
    responses = moved(gateway, asked("STUDY", one, "StudyInstanceUID"))
    assert [status.Status for status, _ in responses] == [0xFF00, 0x0000]
    assert counts(responses[0][0]) == (1, 0, 0, 1)
    assert counts(responses[-1][0]) == (2, 0, 0, None)
    assert [data for data, _, _ in there.got] == [encode(one), encode(two)]
    for _, syntax, request in there.got:
        assert syntax == ExplicitVRLittleEndian
        assert request.MoveOriginatorApplicationEntityTitle == "EAST_CT"
        assert request.MoveOriginatorMessageID == 1


def test_every_level_and_lists_of_uids(gateway, keep, destination):
    there = destination()
    one = keep(PatientID="P-1")
    keep(PatientID="P-1")
    same = {"PatientID": "P-1", "StudyInstanceUID": one.StudyInstanceUID}
    two = keep(**same, SeriesInstanceUID=one.SeriesInstanceUID)
    three = keep(**same)
    keep(PatientID="P-2")

    def sent(identifier, model=MOVE):
        there.got.clear()
        responses = moved(gateway, identifier, model=model)
        assert responses[-1][0].Status == 0x0000
        return {str(request.AffectedSOPInstanceUID) for _, _, request in there.got}

    uids = [str(each.SOPInstanceUID) for each in (one, two, three)]
    assert len(sent(asked("PATIENT", one, "PatientID"), PATIENT_MOVE)) == 4
    assert sent(asked("STUDY", one, "StudyInstanceUID")) == set(uids)
    path = ("StudyInstanceUID", "SeriesInstanceUID")
    assert sent(asked("SERIES", one, *path)) == set(uids[:2])
    series = [one.SeriesInstanceUID, three.SeriesInstanceUID]
    both = asked("SERIES", one, "StudyInstanceUID", SeriesInstanceUID=series)
    assert sent(both) == set(uids)
    assert sent(asked("IMAGE", one, *path, SOPInstanceUID=uids[:2])) == set(uids[:2])
    assert sent(asked("STUDY", one, StudyInstanceUID="1.2.3")) == set()


@pytest.mark.parametrize(
    ("model", "identifier"),
    [
        (MOVE, {"QueryRetrieveLevel": "STUDY"}),
        (MOVE, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}),
        (MOVE, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "*"}),
        (MOVE, {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": "1.2"}),
        (MOVE, {"QueryRetrieveLevel": "PATIENT", "PatientID": "P"}),
        (PATIENT_MOVE, {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2"}),
        (MOVE, {"StudyInstanceUID": "1.2"}),
    ],
)
def test_what_names_nothing_is_refused(gateway, keep, destination, model, identifier):
    there = destination()
    keep()
    wanted = Dataset()
    for keyword, value in identifier.items():
        setattr(wanted, keyword, value)
    responses = moved(gateway, wanted, model=model)
    assert [status.Status for status, _ in responses] == [0xA900]
    assert there.got == []


def test_a_destination_must_be_registered_where_the_caller_sees_it(gateway, keep, destination):
    mine = keep()
    theirs = keep("WEST_CT")
    west = destination("WEST_PACS", "west")
    hospital = destination("READER", "hospital")
    gateway.add_device("east", "NO_ADDRESS")
    gateway.add_device("hospital", "WORKPLACE")
    for title in ("NOBODY", "WEST_PACS", "READER", "NO_ADDRESS"):
        responses = moved(gateway, asked("STUDY", mine, "StudyInstanceUID"), title)
        assert [status.Status for status, _ in responses] == [0xA801], title
    # the hospital reads for both, but what is one center's never goes to another one
    for one, to, count in (
        (mine, "WEST_PACS", 0),
        (theirs, "WEST_PACS", 1),
        (mine, "READER", 1),
        (theirs, "READER", 1),
    ):
        responses = moved(gateway, asked("STUDY", one, "StudyInstanceUID"), to, title="WORKPLACE")
        assert responses[-1][0].Status == 0x0000
        assert responses[-1][0].NumberOfCompletedSuboperations == count
    assert len(west.got) == 1
    assert len(hospital.got) == 2


def test_an_ambiguous_destination_is_unknown(gateway, keep):
    one = keep()
    register(gateway, "east", "TWICE", 104)
    register(gateway, "west", "TWICE", 104, host="127.0.0.2")
    gateway.add_device("hospital", "WORKPLACE")
    responses = moved(gateway, asked("STUDY", one, "StudyInstanceUID"), "TWICE", title="WORKPLACE")
    assert [status.Status for status, _ in responses] == [0xA801]


def test_what_another_center_has_is_not_sent(gateway, keep, destination):
    there = destination()
    one = keep("WEST_CT")
    responses = moved(gateway, asked("STUDY", one, "StudyInstanceUID"))
    assert counts(responses[-1][0]) == (0, 0, 0, None)
    responses, kept = got(gateway, asked("STUDY", one, "StudyInstanceUID"))
    assert counts(responses[-1][0]) == (0, 0, 0, None)
    assert (there.got, kept) == ([], [])


def test_failures_and_warnings_are_counted(gateway, keep, destination):
    destination(answer=lambda count: {1: 0xA700, 2: 0xB000}.get(count, 0))
    one = keep()
    for number in (2, 3):
        keep(
            StudyInstanceUID=one.StudyInstanceUID,
            SeriesInstanceUID=one.SeriesInstanceUID,
            InstanceNumber=number,
        )
    status, identifier = moved(gateway, asked("STUDY", one, "StudyInstanceUID"))[-1]
    assert status.Status == 0xB000
    assert counts(status) == (1, 1, 1, None)
    assert identifier.FailedSOPInstanceUIDList == one.SOPInstanceUID


def test_nothing_done_is_a_failure(gateway, keep, destination):
    destination(answer=lambda _: 0xA700)
    one = keep()
    status, identifier = moved(gateway, asked("STUDY", one, "StudyInstanceUID"))[-1]
    assert status.Status == 0xA702
    assert counts(status) == (0, 1, 0, None)
    assert identifier.FailedSOPInstanceUIDList == one.SOPInstanceUID


def test_a_destination_that_is_down_fails_at_once(gateway, keep):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    register(gateway, "east", "DOWN", port)
    one = keep()
    for number in range(2, 5):
        keep(StudyInstanceUID=one.StudyInstanceUID, InstanceNumber=number)
    status, _ = moved(gateway, asked("STUDY", one, "StudyInstanceUID"), "DOWN")[-1]
    assert (status.Status, counts(status)) == (0xA702, (0, 4, 0, None))


def test_a_destination_that_hangs_holds_nobody_else(gateway, keep, associate, image, monkeypatch):
    monkeypatch.setattr("gateway.dicom.scu.ACSE_WITHIN", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        register(gateway, "east", "SILENT", silent.getsockname()[1])
        one = keep()
        responses = []
        identifier = asked("STUDY", one, "StudyInstanceUID")
        asking = threading.Thread(
            target=lambda: responses.extend(moved(gateway, identifier, "SILENT"))
        )
        asking.start()
        connection, _ = silent.accept()
        keep()
        asking.join(20)
        connection.close()
    assert responses[-1][0].Status == 0xA702


def test_a_destination_that_breaks_off_is_called_again(gateway, keep, destination):
    broken = []

    def answer(count):
        if count == 1:
            broken.append(count)
            raise_abort()
        return 0

    def raise_abort():
        for association in there._server.active_associations:
            association.abort()

    there = destination(answer=answer)
    one = keep()
    keep(StudyInstanceUID=one.StudyInstanceUID, InstanceNumber=2)
    status, identifier = moved(gateway, asked("STUDY", one, "StudyInstanceUID"))[-1]
    assert broken
    assert (status.Status, counts(status)) == (0xB000, (1, 1, 0, None))
    assert identifier.FailedSOPInstanceUIDList == one.SOPInstanceUID


def test_a_move_is_cancelled(gateway, keep, destination):
    gate = threading.Event()
    destination(answer=lambda count: gate.wait(10) and 0 if count == 2 else 0)
    one = keep()
    for number in range(2, 7):
        keep(StudyInstanceUID=one.StudyInstanceUID, InstanceNumber=number)
    with calling(gateway) as association:
        identifier = asked("STUDY", one, "StudyInstanceUID")
        statuses = []
        for status, _ in association.send_c_move(identifier, "DEST", MOVE, msg_id=5):
            statuses.append(status)
            if len(statuses) == 1:
                association.send_c_cancel(5, query_model=MOVE)
                gate.set()
    assert statuses[-1].Status == 0xFE00
    completed, failed, warning, remaining = counts(statuses[-1])
    assert completed + remaining == 6
    assert (failed, warning) == (0, 0)
    assert remaining >= 1


def test_a_study_comes_back_on_the_same_association(gateway, keep, encode):
    one = keep()
    two = keep(StudyInstanceUID=one.StudyInstanceUID, InstanceNumber=2)
    responses, kept = got(gateway, asked("STUDY", one, "StudyInstanceUID"))
    assert [status.Status for status, _ in responses] == [0xFF00, 0x0000]
    assert counts(responses[-1][0]) == (2, 0, 0, None)
    assert [data for data, _, _ in kept] == [encode(one), encode(two)]
    assert kept[0][2].MoveOriginatorApplicationEntityTitle is None
    responses, kept = got(gateway, asked("PATIENT", one, "PatientID"), PATIENT_GET)
    assert counts(responses[-1][0]) == (2, 0, 0, None)


def test_a_get_without_a_context_for_the_class_fails(gateway, keep, lines):
    one = keep()
    responses, kept = got(
        gateway, asked("STUDY", one, "StudyInstanceUID"), classes=("1.2.840.10008.5.1.4.1.1.4",)
    )
    assert (responses[-1][0].Status, counts(responses[-1][0])) == (0xA702, (0, 1, 0, None))
    assert kept == []
    assert any("takes no syntax" in line and one.SOPInstanceUID in line for line in lines())


@pytest.mark.parametrize("said", ["nothing", "another answer", "half a cancel"])
def test_a_get_whose_peer_does_not_answer_is_ended(new_gateway, limits, associate, image, said):
    gateway = new_gateway(limits=limits(response_seconds=1))
    dataset = image()
    with associate(gateway.port) as device:
        assert device.store(dataset) == 0x0000
    role = hostile.item(0x54, struct.pack(">H", len(CT)) + CT.encode() + b"\0\1")
    asked = hostile.associate_rq(
        hostile.presentation(1, hostile.GET, (hostile.IMPLICIT,)),
        hostile.presentation(3, CT, (hostile.EXPLICIT,)),
        hostile.user_information(role),
        calling=b"EAST_CT",
    )
    keys = hostile.im(0x00080052, b"STUDY ") + hostile.im(
        0x0020000D, hostile.even(dataset.StudyInstanceUID.encode(), b"\0")
    )
    late = (hostile.short(0x0120, 99), hostile.short(0x0900, 0))
    answer = hostile.command(0x8001, CT, *late, data=False)
    cancel = hostile.message(1, hostile.command(0x0FFF, hostile.GET, data=False))
    with hostile.Peer(gateway.port, seconds=10) as peer:
        peer.say(asked)
        assert peer.hear()[0] == 2
        peer.say(hostile.message(1, hostile.command(hostile.C_GET, hostile.GET), keys))
        assert peer.command()[0x1000].strip(b"\0").decode() == dataset.SOPInstanceUID
        if said == "another answer":
            peer.say(hostile.message(3, answer))
        if said == "half a cancel":
            peer.say(cancel[:8])
            time.sleep(1.2)  # the rest comes after the time for the answer
            peer.say(cancel[8:])
        assert peer.closed()
    hostile.until(lambda: gateway.edge.associations == 0)


def test_a_refused_sub_operation_of_a_get_is_counted(gateway, keep):
    one = keep()
    responses, _ = got(gateway, asked("STUDY", one, "StudyInstanceUID"), answer=0xC000)
    assert (responses[-1][0].Status, counts(responses[-1][0])) == (0xA702, (0, 1, 0, None))
    assert responses[-1][1].FailedSOPInstanceUIDList == one.SOPInstanceUID


@pytest.mark.parametrize("way", ["move", "get"])
def test_what_cannot_be_read_is_counted_and_the_rest_is_sent(
    gateway, keep, destination, monkeypatch, way
):
    """Nothing of it went out, so the association goes on."""
    one = keep()
    for number in range(2, 5):
        keep(StudyInstanceUID=one.StudyInstanceUID, InstanceNumber=number)
    (broken,) = gateway.versions(one.SOPInstanceUID)
    read = type(gateway.parts.objects).read

    def reading(self, locator, start, length):
        if locator == broken.locator:
            raise FileNotFoundError(locator)
        return read(self, locator, start, length)

    monkeypatch.setattr(type(gateway.parts.objects), "read", reading)
    identifier = asked("STUDY", one, "StudyInstanceUID")
    if way == "move":
        there = destination()
        responses, kept = moved(gateway, identifier), there.got
    else:
        responses, kept = got(gateway, identifier)
    status, failed = responses[-1]
    assert (status.Status, counts(status)) == (0xB000, (3, 1, 0, None))
    assert failed.FailedSOPInstanceUIDList == one.SOPInstanceUID
    assert len(kept) == 3


def test_what_breaks_on_its_way_is_not_left_half(gateway, keep, destination, monkeypatch):
    there = destination()
    one = keep(PixelData=bytes(6 << 20), Rows=2048, Columns=1536)
    keep(StudyInstanceUID=one.StudyInstanceUID, InstanceNumber=2)
    read = type(gateway.parts.objects).read

    def reading(self, locator, start, length):
        if start > 3 << 20:
            raise OSError("the disk went away")
        return read(self, locator, start, length)

    monkeypatch.setattr(type(gateway.parts.objects), "read", reading)
    status, failed = moved(gateway, asked("STUDY", one, "StudyInstanceUID"))[-1]
    assert (status.Status, counts(status)) == (0xB000, (1, 1, 0, None))
    assert failed.FailedSOPInstanceUIDList == one.SOPInstanceUID
    assert [request.AffectedSOPInstanceUID for _, _, request in there.got] != [one.SOPInstanceUID]
    assert len(there.got) == 1


@pytest.mark.parametrize("most", [1024, 16384, 0])
def test_pdus_are_as_long_as_the_destination_takes(gateway, keep, destination, encode, most):
    there = destination()
    there.take(most)
    one = keep(PixelData=bytes(range(256)) * 8195, Rows=2195, Columns=956)
    status, _ = moved(gateway, asked("STUDY", one, "StudyInstanceUID"))[-1]
    assert status.Status == 0
    assert there.got[0][0] == encode(one)
    assert max(there.sizes) <= (most or 1 << 18) + 6


@pytest.mark.parametrize("said", ["garbage", "silence", "other message", "release"])
def test_a_destination_that_answers_nonsense_has_failed(gateway, keep, destination, said):
    there = destination()
    there.answer = lambda count: there.say(said)
    one = keep()
    status, _ = moved(gateway, asked("STUDY", one, "StudyInstanceUID"))[-1]
    assert (status.Status, counts(status)) == (0xA702, (0, 1, 0, None))


def test_only_the_current_version_is_sent(gateway, keep, destination, encode):
    there = destination()
    first = keep()
    uids = {
        keyword: first[keyword].value
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    }
    second = keep(**uids, InstanceNumber=9)
    elsewhere = keep(SOPInstanceUID=first.SOPInstanceUID)
    moved(gateway, asked("STUDY", first, "StudyInstanceUID"))
    assert [data for data, _, _ in there.got] == [encode(second)]
    moved(gateway, asked("STUDY", elsewhere, "StudyInstanceUID"))
    assert [data for data, _, _ in there.got[1:]] == [encode(elsewhere)]


def test_who_got_a_study_is_a_fact(gateway, keep, destination):
    from sqlalchemy import select

    from storage.tables import fact

    destination()
    one = keep()
    moved(gateway, asked("STUDY", one, "StudyInstanceUID"))
    with gateway.parts.view() as unit:
        rows = unit.connection.execute(select(fact).where(fact.c.what == "StudyOpened")).all()
    assert [row.who for row in rows] == ["EAST_CT"]


# --- transfer syntaxes -------------------------------------------------------------------------


def file_of(name):
    """A test file of pydicom's: its data set's bytes, what pydicom reads, and its syntax."""
    path = Path(get_testdata_file(name, download=False))
    found = pydicom.dcmread(path)
    raw = path.read_bytes()
    stream = io.BytesIO(raw[132:])
    group = pydicom.filereader.read_dataset(
        stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2
    )
    assert group
    return stream.read(), found, str(found.file_meta.TransferSyntaxUID)


def again(raw, syntax):
    """The data set of these bytes, ready for its pixels."""
    made = pydicom.filereader.read_dataset(
        io.BytesIO(raw), syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    )
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    return made


COMPRESSED = {
    "rle": "MR_small_RLE.dcm",
    "rle colour": "SC_rgb_rle_2frame.dcm",
    "baseline": "SC_rgb_jpeg_dcmtk.dcm",
    "lossless": "JPEG-LL.dcm",
    "jpeg-ls": "MR_small_jpeg_ls_lossless.dcm",
    "jpeg 2000": "MR_small_jp2klossless.dcm",
    "jpeg 2000 frames": "emri_small_jpeg_2k_lossless.dcm",
    "deflated": "image_dfl.dcm",
    "big endian": "MR_small_bigendian.dcm",
    "implicit": "rtdose.dcm",
}


@pytest.mark.parametrize("to", [str(one) for one in (*PLAIN, ExplicitVRBigEndian)])
@pytest.mark.parametrize("name", COMPRESSED.values(), ids=COMPRESSED)
def test_pixels_are_the_same_in_every_syntax(name, to):
    from viewers.image.transcode import transcoded

    raw, source, syntax = file_of(name)
    path = Path(get_testdata_file(name, download=False))
    start = path.stat().st_size - len(raw)
    parts = transcoded(io.BytesIO(path.read_bytes()), start=start, transfer_syntax=syntax, to=to)
    made = again(b"".join(parts), to)
    assert np.array_equal(made.pixel_array, source.pixel_array)
    decoded = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration"}
    decoded |= {"LossyImageCompression", "BitsAllocated"}
    decoded |= {"DataSetTrailingPadding", ""}
    compared = [e for e in source if e.keyword not in decoded and e.tag.element]
    for element in compared:
        assert str(made[element.tag].value) == str(element.value), element.tag
    assert made.get("LossyImageCompression") == (
        "01" if syntax.endswith("4.50") else source.get("LossyImageCompression")
    )


@pytest.fixture
def keep_file(gateway, associate):
    """Store a test file as it is; returns its bytes and what pydicom reads."""

    def keep(name):
        raw, found, syntax = file_of(name)
        sop_class = str(found.SOPClassUID)
        contexts = ((sop_class, (syntax,)),)
        with associate(gateway.port, contexts=contexts) as device:
            answer = device.send(raw, sop_class=sop_class, instance=found.SOPInstanceUID)
        assert answer.Status == 0
        return raw, found

    return keep


def test_the_stored_syntax_is_sent_where_it_is_taken(gateway, keep_file, destination):
    raw, found = keep_file("MR_small_jp2klossless.dcm")
    sop_class = str(found.SOPClassUID)
    there = destination(syntaxes=(*PLAIN, JPEG_2000), classes=(sop_class,))
    moved(gateway, asked("STUDY", found, "StudyInstanceUID"))
    _, kept = got(
        gateway,
        asked("STUDY", found, "StudyInstanceUID"),
        syntaxes=(JPEG_2000,),
        classes=(sop_class,),
    )
    assert [(data, syntax) for data, syntax, _ in (*there.got, *kept)] == [(raw, JPEG_2000)] * 2


@pytest.mark.parametrize("syntax", [str(one) for one in (*PLAIN, ExplicitVRBigEndian)])
def test_otherwise_it_is_decoded(gateway, keep_file, syntax):
    _, found = keep_file("MR_small_jp2klossless.dcm")
    responses, kept = got(
        gateway,
        asked("STUDY", found, "StudyInstanceUID"),
        syntaxes=(syntax,),
        classes=(str(found.SOPClassUID),),
    )
    assert responses[-1][0].Status == 0
    ((data, sent, _),) = kept
    assert sent == syntax
    assert np.array_equal(again(data, syntax).pixel_array, found.pixel_array)


def test_what_cannot_be_decoded_is_counted_and_the_rest_is_sent(
    gateway, keep, keep_file, destination, associate, image, lines
):
    there = destination()
    good = keep(PatientID="P-1")
    bad = image(
        PatientID="P-1",
        StudyInstanceUID=good.StudyInstanceUID,
        PixelData=pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51 no image at all"]),
    )
    bad["PixelData"].VR = "OB"
    bad["PixelData"].is_undefined_length = True
    stream = pydicom.filebase.DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, bad)
    with associate(gateway.port, contexts=((CT, (JPEG_2000,)),)) as device:
        answer = device.send(stream.getvalue(), instance=bad.SOPInstanceUID)
    assert answer.Status == 0
    status, identifier = moved(gateway, asked("STUDY", good, "StudyInstanceUID"))[-1]
    assert (status.Status, counts(status)) == (0xB000, (1, 1, 0, None))
    assert identifier.FailedSOPInstanceUIDList == bad.SOPInstanceUID
    assert len(there.got) == 1
    assert any(bad.SOPInstanceUID in line for line in lines())


def test_more_classes_than_one_association_can_carry(gateway, associate, image, destination):
    every = sorted(one for one in _STORAGE_CLASSES.values() if is_storage(one))
    classes = every[:150]
    assert len(classes) == 150
    there = destination(classes=classes[:128])
    study = generate_uid()
    for part in (classes[:100], classes[100:]):
        contexts = tuple((name, (str(PLAIN[0]),)) for name in part)
        with associate(gateway.port, contexts=contexts) as device:
            for name in part:
                assert device.store(image(SOPClassUID=name, StudyInstanceUID=study)) == 0
    one = Dataset()
    one.StudyInstanceUID = study
    status, _ = moved(gateway, asked("STUDY", one, "StudyInstanceUID"))[-1]
    assert (status.Status, counts(status)) == (0xB000, (128, 22, 0, None))
    assert len(there.got) == 128


# --- size --------------------------------------------------------------------------------------


def test_a_large_object_is_never_held(gateway, keep, destination, monkeypatch):
    """The store is asked for pieces, and pieces go out before the last one is read."""
    there = destination()
    one = keep(PixelData=bytes(24 << 20), Rows=4096, Columns=3072)
    asked_for = []
    read = type(gateway.parts.objects).read

    def counted(self, locator, start, length):
        asked_for.append(length)
        return read(self, locator, start, length)

    def whole(self, locator):
        raise AssertionError("the object was asked for at once")

    monkeypatch.setattr(type(gateway.parts.objects), "read", counted)
    monkeypatch.setattr(type(gateway.parts.objects), "get", whole)
    status, _ = moved(gateway, asked("STUDY", one, "StudyInstanceUID"))[-1]
    assert status.Status == 0
    assert max(asked_for) <= 1 << 20
    assert there.got[0][2].AffectedSOPInstanceUID == one.SOPInstanceUID


# --- DCMTK -------------------------------------------------------------------------------------


def run(program, *arguments):
    return subprocess.run(
        [str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.dcmtk
def test_dcmtk_moves_and_gets(gateway, keep, storescu, tmp_path):
    tools = Path(storescu).parent
    one = keep()
    keep(StudyInstanceUID=one.StudyInstanceUID, InstanceNumber=2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    register(gateway, "east", "STORESCP", port)
    kept, taken = tmp_path / "kept", tmp_path / "taken"
    kept.mkdir()
    taken.mkdir()
    scp = subprocess.Popen(
        [tools / "storescp", "-aet", "STORESCP", "-od", kept, "+xa", str(port)],
        stderr=subprocess.DEVNULL,
    )
    try:
        _until_listening(port)
        peer = ("-aet", "EAST_CT", "-aec", "TELEREAD", "127.0.0.1", gateway.port)
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={one.StudyInstanceUID}")
        moving = run(tools / "movescu", "-S", "-aem", "STORESCP", *peer, *keys)
        getting = run(tools / "getscu", "-S", "-od", taken, *peer, *keys)
    finally:
        scp.terminate()
        scp.wait(10)
    assert moving.returncode == 0, moving.stderr
    assert getting.returncode == 0, getting.stderr
    for folder in (kept, taken):
        files = [pydicom.dcmread(path) for path in folder.iterdir()]
        assert sorted(file.InstanceNumber for file in files) == [1, 2]
        assert {str(file.PatientName) for file in files} == {str(one.PatientName)}


def _until_listening(port):
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.02)
        else:
            return
