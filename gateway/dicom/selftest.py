"""Does a device reach us, and do we reach it? One line for each thing that is tried."""

import socket
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context, evt
from pynetdicom.association import Association

from gateway.assemble import Parts
from gateway.dicom import commitment, scu
from gateway.dicom.admission import Refused
from gateway.dicom.ae import DicomEdge
from gateway.dicom.connection import Connection
from gateway.dicom.negotiation import Asked
from gateway.dicom.send import store
from gateway.dicom.status import CALLER_UNKNOWN
from gateway.settings import LOOPBACK, Settings
from viewers.report.encapsulated import ENCAPSULATED_PDF
from worklist import returning
from worklist.errors import Code, Refusal
from worklist.site import Device

VERIFICATION: Final = "1.2.840.10008.1.1"
WORKLIST: Final = "1.2.840.10008.5.1.4.31"
SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
GREEN, RED, LEFT_OUT = "green", "red", "-"
_SYNTAXES: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_REPORT_WITHIN = 15.0  # seconds
_ASSOCIATE_RQ, _ASSOCIATE_RJ = 1, 3  # PDU types, PS3.8 section 9.3


@dataclass(frozen=True)
class Line:
    """What was tried, how it went (green, red, or - for left out), and what to do."""

    colour: str
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.colour:<5}  {self.what}: {self.text}"


def run(parts: Parts, device: Device) -> list[Line]:
    """Try everything this device is registered for."""
    return list(tried(parts, device))


def tried(parts: Parts, device: Device) -> Iterator[Line]:
    """The same, each line as soon as it is known."""
    yield from _to_device(parts, device)
    yield _listening(parts.settings)
    try:
        with _as_device(parts, device) as (association, heard):
            yield _tried("our echo", lambda: _our_echo(association, device))
            yield _tried("our worklist", lambda: _our_worklist(association, device))
            yield _tried("our commitment", lambda: _our_commitment(association, heard))
    except Refusal as refusal:
        yield Line(RED, "our association", refusal.message + _register(device))


def _tried(what: str, attempt: Callable[[], str]) -> Line:
    try:
        return Line(GREEN, what, attempt())
    except Refusal as refusal:
        return Line(RED, what, refusal.message)
    except (RuntimeError, ValueError) as error:  # the association ended, or no context fits
        return Line(RED, what, f"not possible: {error}.")


# -- towards the device ---------------------------------------------------------------------------


def _to_device(parts: Parts, device: Device) -> Iterator[Line]:
    if not device.host or not device.port:
        yield Line(LEFT_OUT, "echo", "it has no host and port, so it is never called")
        return
    at = f"{device.host}:{device.port}"
    echo = _tried("echo", lambda: _echo(parts, device))
    if echo.colour is RED:
        text = f"{echo.text} Check host, port and AE Title at {at}, and its list of known peers."
        yield replace(echo, text=text)
        return
    yield echo
    yield _store(parts, device)


def _echo(parts: Parts, device: Device) -> str:
    with scu.calling(device, [build_context(VERIFICATION, _SYNTAXES)], parts) as association:
        _require_success(association.send_c_echo(), f"{device.ae_title} answers the C-ECHO with")
    return f"{device.ae_title} answers at {device.host}:{device.port}" + (
        " over TLS" if device.tls else ""
    )


def _store(parts: Parts, device: Device) -> Line:
    """A made object, always the same one, so that a hundred tests leave one object behind."""
    name = "Encapsulated PDF" if device.returns_reports else "Secondary Capture image"
    sop_class = ENCAPSULATED_PDF if device.returns_reports else SECONDARY_CAPTURE
    try:
        with scu.calling(device, [build_context(sop_class, _SYNTAXES)], parts) as association:
            store(association, made_object(sop_class, parts.settings, device), device.ae_title)
    except Refusal as refusal:
        if not device.returns_reports and "accepts none" in refusal.message:
            return Line(LEFT_OUT, "store", f"{device.ae_title} takes no images; nothing was sent")
        hint = f" Let it accept {name} from {device.called or parts.settings.ae_title}."
        return Line(RED, "store", refusal.message + hint)
    text = f"{device.ae_title} has kept a test object ({name}, patient TELEREAD^TEST OBJECT)"
    with parts.new_unit() as unit:
        again = returning.again(unit, device.id, parts.now())
    return Line(GREEN, "store", text + (f"; {again} reports go out again" if again else ""))


def made_object(sop_class: str, settings: Settings, device: Device) -> Dataset:
    """A test object that nobody takes for a patient's. Its UIDs depend on the two ends alone."""
    one = Dataset()
    one.SOPClassUID = sop_class
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        name = f"{settings.ae_title} {device.site} {device.ae_title} {sop_class} {keyword}"
        setattr(one, keyword, f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, name).int}")
    one.PatientName, one.PatientID = "TELEREAD^TEST OBJECT", "TELEREAD-TEST"
    one.PatientBirthDate = one.PatientSex = one.StudyDate = one.StudyTime = ""
    one.AccessionNumber = one.ReferringPhysicianName = one.StudyID = ""
    one.StudyDescription = "Test of a connection, no patient"
    one.SeriesNumber = one.InstanceNumber = 1
    one.Manufacturer = "Teleread"
    one.ConversionType = "WSD"
    one.BurnedInAnnotation = "NO"
    one.update(_document() if sop_class == ENCAPSULATED_PDF else _picture())
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return one


def _document() -> Dataset:
    one = Dataset()
    one.Modality = "DOC"
    one.ContentDate = one.ContentTime = one.AcquisitionDateTime = ""
    one.DocumentTitle = "Test of a connection"
    one.ConceptNameCodeSequence = []
    one.MIMETypeOfEncapsulatedDocument = "application/pdf"
    one.EncapsulatedDocument = _PDF + bytes(len(_PDF) % 2)
    one.EncapsulatedDocumentLength = len(_PDF)
    return one


def _picture() -> Dataset:
    one = Dataset()
    one.Modality = "OT"
    one.PatientOrientation = one.Laterality = ""
    one.SamplesPerPixel = 1
    one.PhotometricInterpretation = "MONOCHROME2"
    one.Rows = one.Columns = 8
    one.BitsAllocated = one.BitsStored = 8
    one.HighBit = 7
    one.PixelRepresentation = 0
    one.PixelData = bytes(range(0, 256, 4))
    return one


_PDF: Final = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 50]/Contents 4 0 R/Resources<</Font<<"
    b"/F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>endobj\n"
    b"4 0 obj<</Length 44>>stream\nBT /F 12 Tf 10 20 Td (Test of a connection) Tj ET\n"
    b"endstream endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)


# -- towards ourselves ----------------------------------------------------------------------------


def _listening(settings: Settings) -> Line:
    """Whether somebody speaks DICOM where devices are told to call: an association of protocol
    version 0 is rejected before anybody asks who calls."""
    host, port = settings.dicom_host, settings.dicom_port
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - as it is set
    body = struct.pack(">H2x16s16s32x", 0, settings.ae_title.encode().ljust(16), b"TEST".ljust(16))
    try:
        with socket.create_connection((near, port), scu.CONNECT_WITHIN) as client:
            client.sendall(struct.pack(">BxI", _ASSOCIATE_RQ, len(body)) + body)
            answer = client.recv(1)
    except OSError:
        answer = b""
    if answer != bytes((_ASSOCIATE_RJ,)):
        text = f"no gateway answers at {near}:{port}. Start it: teleread serve"
        return Line(RED, "gateway", text)
    beyond = "" if host not in LOOPBACK else " (this machine only: see TELEREAD_DICOM_HOST)"
    return Line(GREEN, "gateway", f"listens at {host}:{port}{beyond}")


class _TestEdge(DicomEdge):
    """An edge that admits by the same rules, and never calls the device back."""

    def __init__(self, parts: Parts, device: Device) -> None:
        super().__init__(parts)
        self.tested = device
        self.why = ""

    def admit(self, connection: Connection, request: Asked) -> Device | Refused:
        """As if the device called from its address, with its certificate."""
        device = self.tested
        connection.address = _address_of(device) or connection.address
        by_tls = device.tls or device.certificate is not None
        found = self._admission.decide(request, connection.address, device.certificate, tls=by_tls)
        if isinstance(found, Refused):
            self.why = f"it would be rejected: {found.why}."
            return found
        if found.id != device.id:
            self.why = "another registration of this title would be taken for it."
            return Refused(CALLER_UNKNOWN, "another registration")
        with self._mutex:
            admitted = self._within_limits(connection, found)
        if isinstance(admitted, Refused):
            return admitted
        return replace(admitted, host=None, port=None)

    def let_in(self, door: socket.socket) -> None:
        """Serve the one who comes through this door."""
        with suppress(OSError):
            client, address = door.accept()
            self._begin(client, address[0], None)

    def close(self) -> None:
        """End what still stands."""
        for one in self._all():
            one.stop(now=True)
            one.done.wait(2.0)


@contextmanager
def _as_device(parts: Parts, device: Device) -> Iterator[tuple[Association, "_Reports"]]:
    """An association with ourselves as if this device called: same rules, same services, another
    door."""
    edge, heard = _TestEdge(parts, device), _Reports()
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.settimeout(scu.CONNECT_WITHIN)
        threading.Thread(target=edge.let_in, args=(door,), daemon=True).start()
        called = device.called or parts.settings.ae_title
        to = scu.Endpoint("127.0.0.1", door.getsockname()[1], device.ae_title, called)
        names = (VERIFICATION, WORKLIST, commitment.PUSH_MODEL)
        contexts = [build_context(name, _SYNTAXES) for name in names]
        handlers: scu.Handlers = [(evt.EVT_N_EVENT_REPORT, heard.report, [])]
        try:
            association = scu.associate(to, contexts, parts.settings, handlers=handlers)
        except Refusal as refusal:
            edge.close()
            raise Refusal(refusal.code, edge.why or refusal.message) from refusal
        try:
            yield association, heard
        finally:
            scu.hang_up(association)
            edge.close()
            _forget(parts, device, heard.transaction)


def _address_of(device: Device) -> str | None:
    """The address it would call from, where it is registered with one."""
    if device.host is None:
        return None
    try:
        return str(socket.getaddrinfo(device.host, None)[0][4][0])
    except OSError:
        return device.host


class _Reports:
    """The commitment report that comes back."""

    def __init__(self) -> None:
        self.transaction = f"2.25.{uuid.uuid4().int}"
        self.came = threading.Event()
        self.failures: dict[str, int] = {}
        self.mine = False

    def report(self, event: evt.Event) -> tuple[int, None]:
        """Take it."""
        information = event.event_information
        self.mine = information.TransactionUID == self.transaction
        self.failures = {
            str(item.ReferencedSOPInstanceUID): int(item.FailureReason)
            for item in information.get("FailedSOPSequence") or []
        }
        self.came.set()
        return 0x0000, None


def _our_echo(association: Association, device: Device) -> str:
    _require_success(association.send_c_echo(), "the C-ECHO is answered with")
    return f"{device.ae_title} is admitted for site {device.site}"


def _our_worklist(association: Association, device: Device) -> str:
    query = Dataset()
    query.PatientName = query.PatientID = query.AccessionNumber = ""
    query.StudyInstanceUID = ""
    step = Dataset()
    step.ScheduledStationAETitle = device.ae_title
    step.Modality = step.ScheduledProcedureStepStartDate = ""
    query.ScheduledProcedureStepSequence = [step]
    entries, status = 0, Dataset()
    for answer, entry in association.send_c_find(query, WORKLIST):
        status = answer
        entries += entry is not None
    _require_success(status, "the worklist query is answered with")
    return f"answers, {entries} scheduled for {device.ae_title}"


def _our_commitment(association: Association, heard: "_Reports") -> str:
    """Asked about an instance that nobody has, an honest archive says so."""
    unknown = f"2.25.{uuid.uuid4().int}"
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SECONDARY_CAPTURE, unknown
    request = Dataset()
    request.TransactionUID = heard.transaction
    request.ReferencedSOPSequence = [item]
    answer, _ = association.send_n_action(
        request,
        commitment.REQUEST_COMMITMENT,
        commitment.PUSH_MODEL,
        commitment.PUSH_MODEL_INSTANCE,
    )
    _require_success(answer, "the commitment request is answered with")
    if not heard.came.wait(_REPORT_WITHIN):
        raise Refusal(Code.UNREACHABLE, f"no report came within {_REPORT_WITHIN:g} s.")
    if not heard.mine or heard.failures != {unknown: commitment.NOT_HERE}:
        raise Refusal(Code.INVALID, "the report does not say that the instance is unknown.")
    return "asked about an unknown instance, it says so (0112)"


def _require_success(status: Dataset, text: str) -> None:
    answer: Any = status.get("Status")
    if answer != 0x0000:
        said = "nothing" if answer is None else f"{answer:04X}"
        raise Refusal(Code.UNREACHABLE, f"{text} {said}.")


def _forget(parts: Parts, device: Device, transaction: str) -> None:
    """The device must not be told of what it never asked."""
    with parts.new_unit() as unit:
        for one in unit.commitments.of_transaction(device.id, transaction):
            unit.jobs.drop(f"commit:{one.id}")
            if one.reported_at is None:
                unit.commitments.save(replace(one, given_up_at=parts.now()))


def _register(device: Device) -> str:
    return f" See: teleread device list (site {device.site}, AE Title {device.ae_title})."
