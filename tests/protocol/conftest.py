"""A gateway that devices can call, and devices that call it."""

import io
import logging
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RJ

from gateway.assemble import assemble
from gateway.dicom.ae import DicomEdge
from gateway.dicom.association import Limits
from gateway.settings import Settings
from worklist.site import Site, SiteKind

CT = "1.2.840.10008.5.1.4.1.1.2"
ECG = "1.2.840.10008.5.1.4.1.1.9.1.1"
EXPLICIT = str(ExplicitVRLittleEndian)


class Gateway:
    """A gateway in this process, with what a test wants to ask about it."""

    def __init__(self, folder, limits=None, **settings):
        self.folder = folder
        self.parts = assemble(
            Settings(data_dir=folder, **{"dicom_port": 0, "min_free_bytes": 0, **settings})
        )
        self.edge = DicomEdge(self.parts, limits)
        self._register()
        self.edge.start()
        self.port = self.edge.port

    def _register(self):
        now = datetime.now(UTC)
        with self.parts.new_unit() as unit:
            for key, kind, read_by in (
                ("hospital", SiteKind.HOSPITAL, ()),
                ("east", SiteKind.CENTER, ("hospital",)),
                ("west", SiteKind.CENTER, ("hospital",)),
            ):
                site = Site(key, key, key, kind, "Asia/Shanghai", None, frozenset(read_by))
                unit.people.save_site(site, now)
        self.add_device("east", "EAST_CT")
        self.add_device("west", "WEST_CT")

    def add_device(self, site, ae_title, called=None, host=None, modality=None):
        with self.parts.new_unit() as unit:
            unit.people.add_device(
                site=site,
                ae_title=ae_title,
                called=called,
                host=host,
                port=None,
                modality=modality,
                one_per_image=False,
                created_at=datetime.now(UTC),
            )

    def study(self, study_uid, site="east"):
        with self.parts.view() as unit:
            return unit.studies.by_uid(site, str(study_uid))

    def versions(self, sop_uid, site="east"):
        with self.parts.view() as unit:
            return unit.studies.versions(site, str(sop_uid))

    def kept(self, row):
        """The data set's bytes of an instance's row."""
        return self.parts.objects.read(row.locator, row.offset, row.length - row.offset)

    def files(self):
        return [path for path in (self.folder / "objects").rglob("*") if path.is_file()]

    def close(self):
        self.edge.stop(5)
        self.parts.close()


class Device:
    """An SCU that can also send what no honest SCU sends."""

    def __init__(self, association, rejections):
        self.association = association
        self._rejections = rejections
        self._messages = 0

    @property
    def rejected(self):
        """(result, source, reason) of the answer, None when it was no rejection."""
        return self._rejections[0] if self._rejections else None

    def contexts(self):
        return {str(c.abstract_syntax): c.context_id for c in self.association.accepted_contexts}

    def send(self, raw, *, sop_class=CT, instance, command_class=None):
        """Send data-set bytes exactly as they are; the response primitive."""
        self._messages += 1
        request = C_STORE()
        request.MessageID = self._messages
        request.AffectedSOPClassUID = UID(command_class or sop_class)
        request.AffectedSOPInstanceUID = UID(instance)
        request.Priority = 2
        request.DataSet = io.BytesIO(raw) if raw else None
        association = self.association
        association._reactor_checkpoint.clear()
        while not association._is_paused:
            pass
        try:
            association.dimse.send_msg(request, self.contexts()[sop_class])
            _, response = association.dimse.get_msg(block=True)
        finally:
            association._reactor_checkpoint.set()
        return response

    def store(self, dataset):
        """Send a data set as it should be sent; the status."""
        sop_class = str(dataset.get("SOPClassUID", CT))
        return self.send(
            encoded(dataset), sop_class=sop_class, instance=dataset.SOPInstanceUID
        ).Status


def encoded(dataset, *, implicit=False, little=True):
    """The bytes of a data set, without file meta."""
    from pydicom.filebase import DicomBytesIO

    stream = DicomBytesIO()
    stream.is_little_endian = little
    stream.is_implicit_VR = implicit
    write_dataset(stream, dataset)
    return stream.getvalue()


def an_image(**changes):
    """A small CT image; None as a value leaves the attribute out."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CT
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.StudyDate = "20261122"
    dataset.StudyTime = "101500"
    dataset.Modality = "CT"
    dataset.PatientName = "Ding^Xiuying=丁^秀英"
    dataset.PatientID = "P-100"
    dataset.PatientSex = "F"
    dataset.PatientBirthDate = "19620814"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = 1
    dataset.Rows = dataset.Columns = 8
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.PixelData = bytes(128)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in changes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
    return dataset


@contextmanager
def calling(port, ae_title="EAST_CT", called="TELEREAD", contexts=((CT, (EXPLICIT,)),)):
    """An association of a device; released at the end when it still stands."""
    ae = AE(ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.requested_contexts = [build_context(name, list(syntaxes)) for name, syntaxes in contexts]
    rejections, sockets = [], []

    def heard(event):
        # The library's own `is_rejected` stays false when the rejection arrives before it looks.
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            rejections.append((event.pdu.result, event.pdu.source, event.pdu.reason_diagnostic))

    def connected(event):
        # The library forgets to close a socket whose peer was faster.
        sockets.append(event.assoc.dul.socket.socket)

    handlers = [(evt.EVT_PDU_RECV, heard), (evt.EVT_CONN_OPEN, connected)]
    association = ae.associate("127.0.0.1", port, ae_title=called, evt_handlers=handlers)
    try:
        yield Device(association, rejections)
    finally:
        if association.is_established:
            association.release()
        if association.is_alive():
            association.join(10)
        for one in sockets:
            one.close()


@pytest.fixture
def new_gateway(tmp_path):
    """A function that starts a gateway with given settings."""
    started = []

    def start(limits=None, **settings):
        started.append(Gateway(tmp_path / f"data{len(started)}", limits, **settings))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def gateway(new_gateway):
    return new_gateway()


@pytest.fixture
def call(gateway):
    """Open an association with the gateway."""

    def open_one(**given):
        return calling(gateway.port, **given)

    return open_one


@pytest.fixture
def image():
    return an_image


@pytest.fixture
def encode():
    return encoded


@pytest.fixture
def limits():
    return Limits


@pytest.fixture
def associate():
    return calling


@pytest.fixture
def lines(caplog):
    """What the gateway wrote about devices, as a function."""
    caplog.set_level(logging.INFO, logger="teleread.dicom")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "teleread.dicom"]


@pytest.fixture(scope="session")
def sample_files():
    """The few sample studies that are kept in the repository."""
    return Path(__file__).resolve().parents[2] / "sample_studies" / "kept"
