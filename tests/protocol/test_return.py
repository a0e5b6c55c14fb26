"""Does a signed report reach the devices of its center, once, and no other device?"""

import hashlib
import signal
import socket
import subprocess
import time

import pydicom
import pytest
from pynetdicom import AE, evt

from gateway.dicom import scu
from gateway.worker import Worker
from tests.conftest import dcmtk
from tests.unit.web_house import House
from viewers.report.encapsulated import ENCAPSULATED_PDF
from worklist import signing
from worklist.errors import Code, Refusal
from worklist.person import Role
from worklist.returning import Transmitted
from worklist.site import Device


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Storescp:
    """DCMTK's storescp, on a port that stays the same when it is started again."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self._process = None
        folder.mkdir()

    def start(self, *more):
        self._process = subprocess.Popen(
            [dcmtk("storescp"), "-aet", "PACS", "-od", str(self.folder), *more, str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < end, "storescp did not start"

    def stop(self, number=signal.SIGTERM):
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def kept(self):
        return [pydicom.dcmread(path) for path in sorted(self.folder.iterdir())]


@pytest.fixture
def storescp(tmp_path):
    started = []

    def make(name="pacs"):
        started.append(Storescp(tmp_path / name))
        return started[-1]

    yield make
    for one in started:
        one.stop()


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path / "data", web_port=0)
    yield made
    made.close()


def destination(house, port, site="c1", ae_title="PACS", **changes):
    """A device that signed reports are sent to; its id."""
    given = {"called": None, "host": "127.0.0.1", "port": port, "modality": None}
    with house.parts.new_unit() as unit:
        unit.people.add_device(
            site=site,
            ae_title=ae_title,
            one_per_image=False,
            **{**given, "returns_reports": True, **changes},
        )
        return max(one.id for one in unit.people.devices())


def signed(house, dataset, **draft):
    """A report that has taken effect; its id."""
    report = house.browser("chen").report(dataset, **draft)
    house.clock.move(minutes=30)
    work(house)
    return report["report_id"]


def work(house):
    """Everything that is due."""
    worker = Worker(house.parts)
    while worker.once():
        pass


def transmissions(house, report_id):
    with house.parts.view() as unit:
        return list(unit.transmissions.of_report(report_id))


def facts(house, study_uid):
    with house.parts.view() as unit:
        study = unit.studies.by_uid("c1", study_uid)
        return [str(fact.what) for fact in unit.facts.of_study(study.id)]


@pytest.mark.dcmtk
def test_the_sealed_pdf_goes_back_unchanged_in_its_study(house, storescp):
    pacs = storescp()
    pacs.start()
    destination(house, pacs.port)
    dataset = house.ecg()
    report_id = signed(house, dataset)
    (sent,) = transmissions(house, report_id)
    assert (sent.state, sent.status, sent.attempts) == (Transmitted.SENT, 0x0000, 1)
    (kept,) = pacs.kept()
    with house.parts.view() as unit:
        report = unit.reports.get(report_id)
    pdf = kept.EncapsulatedDocument[: kept.EncapsulatedDocumentLength]
    assert hashlib.sha256(pdf).hexdigest() == report.pdf_digest
    assert (kept.SOPClassUID, kept.SOPInstanceUID) == (ENCAPSULATED_PDF, sent.sop_uid)
    for name in ("StudyInstanceUID", "PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        assert kept[name].value == dataset[name].value, name
    assert kept.AccessionNumber == dataset.AccessionNumber
    assert (kept.Modality, kept.InstanceNumber) == ("DOC", report.version)
    assert kept.VerificationFlag == "VERIFIED"
    (read,) = kept.SourceInstanceSequence
    assert read.ReferencedSOPInstanceUID == dataset.SOPInstanceUID
    assert "ReportTransmitted" in facts(house, dataset.StudyInstanceUID)
    work(house)
    assert len(pacs.kept()) == 1


@pytest.mark.dcmtk
@pytest.mark.dicom3tools
def test_the_document_is_as_the_standard_says(house, storescp):
    pacs = storescp()
    pacs.start()
    destination(house, pacs.port)
    signed(house, house.ecg())
    (path,) = pacs.folder.iterdir()
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    assert "EncapsulatedPDF" in said.stderr
    assert [line for line in said.stderr.splitlines() if line.startswith("Error")] == []


@pytest.mark.dcmtk
def test_a_destination_that_is_down_gets_it_later_and_the_same_again_is_the_same(house, storescp):
    pacs = storescp()
    device = destination(house, pacs.port)
    report_id = signed(house, house.ecg())
    (one,) = transmissions(house, report_id)
    assert (one.state, one.sent_at) == (Transmitted.DUE, None)
    assert "cannot be reached" in one.reason
    for _ in range(12):
        house.clock.move(hours=2)
        work(house)
    (one,) = transmissions(house, report_id)
    assert (one.state, one.attempts) == (Transmitted.FAILED, 12)
    with house.parts.view() as unit:
        assert [dead.kind for dead in unit.jobs.dead()] == ["send"]
    attention = house.browser("gao").get("/api/board").json()["attention"]
    assert [one["job"] for one in attention if one["kind"] == "job"] == ["send"]
    house.person("hu", "胡敏", "h2", Role.COORDINATOR)
    attention = house.browser("hu").get("/api/board").json()["attention"]
    assert attention == [], "the other hospital's matter it is not"
    pacs.start()
    later = signed(house, house.ecg(house.someone()))
    assert [each.state for each in transmissions(house, later)] == [Transmitted.SENT]
    (one,) = transmissions(house, report_id)
    assert one.state is Transmitted.SENT, "what was given up goes out once the device is back"
    assert one.device_id == device
    with house.parts.view() as unit:
        assert unit.jobs.dead() == []
    assert len(pacs.kept()) == 2


@pytest.mark.dcmtk
def test_a_destination_killed_in_the_middle_of_it(house, storescp):
    pacs = storescp()
    pacs.start("--sleep-during", "60")  # it takes the data and never answers
    destination(house, pacs.port)
    report = house.browser("chen").report(house.ecg())
    house.clock.move(minutes=30)
    with house.parts.new_unit() as unit:
        unit.jobs.free_all()
    import threading

    working = threading.Thread(target=work, args=(house,))
    working.start()
    end = time.monotonic() + 20
    while not list(pacs.folder.iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    pacs.stop(signal.SIGKILL)
    working.join(60)
    (one,) = transmissions(house, report["report_id"])
    assert one.state is Transmitted.DUE
    for path in pacs.folder.iterdir():
        path.unlink()
    pacs.start()
    house.clock.move(hours=1)
    work(house)
    (one,) = transmissions(house, report["report_id"])
    assert (one.state, one.attempts) == (Transmitted.SENT, 2)
    assert [kept.SOPInstanceUID for kept in pacs.kept()] == [one.sop_uid]


@pytest.mark.dcmtk
def test_no_other_sites_device_and_no_device_that_takes_no_reports(house, storescp):
    pacs, other = storescp(), storescp("other")
    pacs.start()
    other.start()
    destination(house, other.port, site="c2", ae_title="WEST")
    destination(house, other.port, site="h1", ae_title="HOSPITAL")
    destination(house, other.port, ae_title="VIEWER", returns_reports=False)
    destination(house, None, ae_title="NOWHERE", host=None)
    destination(house, pacs.port)
    report_id = signed(house, house.ecg())
    assert len(transmissions(house, report_id)) == 1
    assert (len(pacs.kept()), len(other.kept())) == (1, 0)


@pytest.mark.dcmtk
def test_what_no_longer_holds_is_not_sent(house, storescp):
    pacs = storescp()
    destination(house, pacs.port)
    report_id = signed(house, house.ecg())
    house.person("rev", "审核", "h1", Role.REVIEWER)
    with house.parts.new_unit() as unit:
        caller = unit.people.caller("rev", ["reviewer"], "h1")
        signing.withdraw(
            unit, report_id, caller, "wrong patient", house.clock(), house.parts.policy
        )
    pacs.start()
    house.clock.move(hours=1)
    work(house)
    (one,) = transmissions(house, report_id)
    assert (one.state, one.reason) == (Transmitted.DROPPED, "the version is withdrawn")
    assert pacs.kept() == []


@pytest.mark.dcmtk
def test_a_device_that_moved_to_another_site_gets_nothing(house, storescp):
    from sqlalchemy import update

    from storage.tables import device

    pacs = storescp()
    number = destination(house, pacs.port)
    report_id = signed(house, house.ecg())
    with house.parts.new_unit() as unit:
        unit.connection.execute(update(device).where(device.c.id == number).values(site="c2"))
    pacs.start()
    house.clock.move(hours=1)
    work(house)
    (one,) = transmissions(house, report_id)
    assert (one.state, one.reason) == (Transmitted.DROPPED, "the device is another site's")
    assert pacs.kept() == []


@pytest.mark.dcmtk
def test_a_correction_is_sent_as_another_instance_of_the_same_series(house, storescp):
    pacs = storescp()
    pacs.start()
    destination(house, pacs.port)
    dataset = house.ecg()
    first = signed(house, dataset)
    chen = house.browser("chen")
    answer = chen.post(f"/api/reports/{first}/replace", json={"reason": "a typing error"})
    assert answer.status_code == 200, answer.text
    case = chen.get(f"/api/tasks/{answer.json()['task_id']}/case").json()
    chen.write(case, impression="窦性心动过缓")
    second = chen.sign(case).json()["report_id"]
    house.clock.move(minutes=30)
    work(house)
    kept = sorted(pacs.kept(), key=lambda one: one.InstanceNumber)
    assert [one.InstanceNumber for one in kept] == [1, 2]
    assert len({one.SeriesInstanceUID for one in kept}) == 1
    assert len({one.SOPInstanceUID for one in kept}) == 2
    assert transmissions(house, second)[0].state is Transmitted.SENT


# -- how a device is called -----------------------------------------------------------------------


def calling(house, port, **changes):
    device = Device(1, "c1", "PACS", None, "127.0.0.1", port, **changes)
    return scu.calling(device, [_pdf_context()], house.parts)


def _pdf_context():
    from pynetdicom import build_context

    return build_context(ENCAPSULATED_PDF)


def refused(house, port, **changes):
    with pytest.raises(Refusal) as caught, calling(house, port, **changes):
        pass
    assert caught.value.code in (Code.UNREACHABLE, Code.INVALID)
    return caught.value.message


def test_what_goes_wrong_is_said_in_one_sentence(house):
    port = free_port()
    assert "cannot be reached" in refused(house, port)
    assert "has no host and port" in refused(house, None)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        scu_seconds = scu.ACSE_WITHIN
        began = time.monotonic()
        try:
            scu.ACSE_WITHIN = 0.5
            said = refused(house, mute.getsockname()[1])
        finally:
            scu.ACSE_WITHIN = scu_seconds
        assert "does not answer in DICOM" in said
        assert time.monotonic() - began < 10


@pytest.mark.dcmtk
def test_a_device_that_refuses_and_one_that_takes_no_documents(house, storescp):
    pacs = storescp()
    pacs.start("--refuse")
    assert "rejects the association" in refused(house, pacs.port)
    ae = AE("PACS")
    ae.add_supported_context("1.2.840.10008.1.1")
    server = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        assert "accepts none of what was proposed" in refused(house, server.server_address[1])
    finally:
        server.shutdown()


def test_a_warning_is_arrival_and_a_failure_is_not(house):
    answers = [0xB000, 0xA700]
    ae = AE("PACS")
    ae.add_supported_context(ENCAPSULATED_PDF)
    server = ae.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, lambda _: answers.pop(0))],
    )
    try:
        destination(house, server.server_address[1])
        first = signed(house, house.ecg())
        (one,) = transmissions(house, first)
        assert (one.state, one.status) == (Transmitted.SENT, 0xB000)
        second = signed(house, house.ecg(house.someone()))
        (one,) = transmissions(house, second)
        assert (one.state, one.status) == (Transmitted.DUE, None)
        assert one.reason == "PACS answers A700 to the C-STORE."
    finally:
        server.shutdown()


# -- over TLS -------------------------------------------------------------------------------------


def certified(folder, name):
    """A certificate of its own and its key, as PEM files."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate, private = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(made.public_bytes(pem))
    private.write_bytes(secret)
    return certificate, private


@pytest.fixture
def secured(tmp_path):
    """A PACS that wants our certificate, and what we need to call it."""
    import ssl

    theirs, their_key = certified(tmp_path, "pacs")
    ours, our_key = certified(tmp_path, "gateway")
    stranger, _ = certified(tmp_path, "stranger")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ours)
    context.load_cert_chain(theirs, their_key)
    context.verify_mode = ssl.CERT_REQUIRED
    shown = []
    ae = AE("PACS")
    ae.add_supported_context(ENCAPSULATED_PDF)
    server = ae.start_server(
        ("127.0.0.1", 0),
        block=False,
        ssl_context=context,
        evt_handlers=[
            (evt.EVT_CONN_OPEN, lambda e: shown.append(e.assoc.dul.socket.socket.getpeercert())),
            (evt.EVT_C_STORE, lambda _: 0x0000),
        ],
    )
    tls = {"dicom_tls_cert": ours, "dicom_tls_key": our_key, "dicom_tls_ca": theirs}
    yield server.server_address[1], tls, stranger, shown
    server.shutdown()


def test_a_device_marked_for_tls_is_called_with_our_certificate(tmp_path, secured):
    port, tls, _, shown = secured
    house = House(tmp_path / "secured", web_port=0, **tls)
    try:
        destination(house, port, tls=True)
        report_id = signed(house, house.ecg())
        (one,) = transmissions(house, report_id)
        assert one.state is Transmitted.SENT, one.reason
        assert shown[0]["subject"] == ((("commonName", "gateway"),),)
    finally:
        house.close()


def test_a_device_whose_certificate_is_not_trusted_gets_nothing(tmp_path, secured):
    port, tls, stranger, _ = secured
    house = House(tmp_path / "other", web_port=0, **{**tls, "dicom_tls_ca": stranger})
    try:
        assert "not trusted" in refused(house, port, tls=True)
    finally:
        house.close()


def test_a_plain_device_is_no_tls_device(house):
    ae = AE("PACS")
    ae.add_supported_context(ENCAPSULATED_PDF)
    server = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        assert refused(house, server.server_address[1], tls=True)
    finally:
        server.shutdown()
