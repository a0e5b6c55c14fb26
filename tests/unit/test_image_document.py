"""Does the PDF of an ECG cart come out as it went in?"""

import io

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from viewers.image.document import encapsulated_pdf
from viewers.image.instance import open_instance
from viewers.image.unreadable import Unreadable


def carried(document: bytes, length: int | None) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = EncapsulatedPDFStorage, "1.2.3"
    dataset.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    if length is not None:
        dataset.EncapsulatedDocumentLength = length
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return encapsulated_pdf(open_instance(out.getvalue()))


def test_the_document_is_carried_byte_for_byte():
    assert carried(b"%PDF-1.7\n%%EOF", 14) == b"%PDF-1.7\n%%EOF"
    assert carried(b"%PDF-1.7\n%%EOF\n", 15) == b"%PDF-1.7\n%%EOF\n"
    assert carried(b"%PDF-1.7\n%%EOF", 4_000_000_000) == b"%PDF-1.7\n%%EOF"
    assert carried(b"%PDF-1.7\n%%EOF", None) == b"%PDF-1.7\n%%EOF"


def test_what_is_no_pdf_is_refused():
    with pytest.raises(Unreadable) as refused:
        carried(b"<html><script>", None)
    assert refused.value.reason == "no_document"
