"""What does an ECG cart send that knows no waveforms: a page as PDF, or a picture of it?"""

import numpy as np
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from sample_studies.ecg import LEADS, Heart, twelve_leads
from sample_studies.header import Device, Series, new_object
from sample_studies.person import Patient, Visit

_CART = Device(model="12-lead cart P", serial="ECG-0002")
_SERIES = Series("ECG", "12-lead ECG", "ECG page", "HEART", _CART, number=2)
_POINTS_PER_MM = 72 / 25.4
_LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))


def _lines(heart: Heart) -> list[tuple[str, list[tuple[float, float]]]]:
    """Each lead's 2.5 s on a page at 25 mm/s and 10 mm/mV: points in mm from the lower left."""
    leads, drawn = twelve_leads(heart, sampling_hz=250), []
    for row, names in enumerate(_LAYOUT):
        for column, name in enumerate(names):
            part = leads[column * 625 : (column + 1) * 625, LEADS.index(name)]
            at, base = 22 + 62.5 * column, 150 - 45 * row
            points = [(at + 0.1 * i, base + 10 * float(v)) for i, v in enumerate(part)]
            drawn.append((name, points))
    return drawn


def _pdf(content: bytes) -> bytes:
    """A PDF of one landscape A4 page with Helvetica as /F."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 842 595] /Contents 4 0 R "
        b"/Resources << /Font << /F 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    file, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    tail = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    return file + head + table + tail % (len(objects) + 1, len(file))


def ecg_pdf(patient: Patient, *, visit: Visit | None = None, heart: Heart | None = None) -> Dataset:
    """An Encapsulated PDF of modality ECG: one page, 3 x 4 leads at 25 mm/s and 10 mm/mV."""
    k = _POINTS_PER_MM
    parts = ["0.6 w 1 j BT /F 11 Tf 60 550 Td (12-lead ECG  25 mm/s  10 mm/mV) Tj ET"]
    for name, points in _lines(heart or Heart()):
        x, y = points[0][0] * k, (points[0][1] + 16) * k
        parts.append(f"BT /F 9 Tf {x:.1f} {y:.1f} Td ({name}) Tj ET")
        path = " ".join(f"{px * k:.2f} {py * k:.2f} l" for px, py in points[1:])
        parts.append(f"{points[0][0] * k:.2f} {points[0][1] * k:.2f} m {path} S")
    ds = new_object(EncapsulatedPDFStorage, patient, visit or Visit(), _SERIES)
    ds.ConversionType, ds.BurnedInAnnotation, ds.DocumentTitle = "WSD", "NO", "12-lead ECG"
    ds.ConceptNameCodeSequence = Sequence([])
    ds.AcquisitionDateTime = ""
    for unused in ("AcquisitionDate", "AcquisitionTime", "BodyPartExamined"):
        delattr(ds, unused)
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    page = _pdf("\n".join(parts).encode("ascii"))
    ds.EncapsulatedDocumentLength = len(page)
    ds.add_new("EncapsulatedDocument", "OB", page + b"\0" * (len(page) % 2))
    return ds


def ecg_picture(
    patient: Patient, *, visit: Visit | None = None, heart: Heart | None = None
) -> Dataset:
    """A Secondary Capture of modality ECG: the same page as a grey picture of 1188 x 840."""
    page = Image.new("L", (1188, 840), 255)
    draw = ImageDraw.Draw(page)
    for name, points in _lines(heart or Heart()):
        draw.line([(4 * x, 840 - 4 * y) for x, y in points], fill=0)
        draw.text((4 * points[0][0], 840 - 4 * points[0][1] - 60), name, fill=0)
    ds = new_object(SecondaryCaptureImageStorage, patient, visit or Visit(), _SERIES)
    ds.ConversionType, ds.BurnedInAnnotation, ds.PatientOrientation = "WSD", "NO", ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = page.height, page.width
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.add_new("PixelData", "OB", np.asarray(page).tobytes())
    return ds
