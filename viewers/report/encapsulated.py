"""How does a sealed PDF look as a DICOM instance of its study?

Encapsulated PDF (PS3.3 section A.45.1): the sealed bytes unchanged, patient and study as they were
received, byte for byte, in the character set they came in. What is added is ASCII.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from viewers.image.instance import open_instance

ENCAPSULATED_PDF: Final = "1.2.840.10008.5.1.4.1.1.104.1"

# of the Patient and General Study modules; type 2 attributes that did not come are empty
_RECEIVED_OR_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
_RECEIVED = ("SpecificCharacterSet", "IssuerOfPatientID", "StudyDescription", "StudyInstanceUID")
# far from the numbers that modalities give their own series
_SERIES_NUMBER: Final = 9001
_LONGEST: Final = 1024  # bytes; none of these is longer in an honest data set


@dataclass(frozen=True)
class Title:
    """What kind of document it is: in words, and as a LOINC code."""

    text: str
    code: str
    meaning: str


ECG_REPORT = Title("Cardiology report", "11524-6", "EKG study")
IMAGE_REPORT = Title("Radiology report", "18748-4", "Diagnostic imaging study")


@dataclass(frozen=True)
class Document:
    """What the instance says of the report. `at` is local time; `read` are (SOP Class UID, SOP
    Instance UID) of what was read for it."""

    sop_uid: str
    series_uid: str
    version: int
    at: datetime
    title: Title
    read: Sequence[tuple[str, str]]


def encapsulated(pdf: bytes, of_study: BinaryIO, document: Document) -> Dataset:
    """The instance, with the file meta information that its sender needs.

    `of_study` is a DICOM file of the same study; only its header is read. Its values are copied
    as bytes.
    """
    dataset = _received(of_study)
    dataset.SOPClassUID = ENCAPSULATED_PDF
    dataset.SOPInstanceUID = document.sop_uid
    dataset.Modality = "DOC"
    dataset.SeriesInstanceUID = document.series_uid
    dataset.SeriesNumber = _SERIES_NUMBER
    dataset.Manufacturer = "Teleread"
    dataset.ConversionType = "WSD"
    dataset.InstanceNumber = document.version
    dataset.ContentDate = document.at.strftime("%Y%m%d")
    dataset.ContentTime = document.at.strftime("%H%M%S")
    dataset.AcquisitionDateTime = None
    dataset.BurnedInAnnotation = "YES"
    dataset.SourceInstanceSequence = [_reference(*pair) for pair in document.read]
    dataset.DocumentTitle = document.title.text
    dataset.ConceptNameCodeSequence = [_code(document.title)]
    dataset.VerificationFlag = "VERIFIED"
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(pdf)
    dataset.EncapsulatedDocument = pdf + bytes(len(pdf) % 2)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _received(of_study: BinaryIO) -> Dataset:
    wanted = [*_RECEIVED, *_RECEIVED_OR_EMPTY]
    tags = [tag_for_keyword(keyword) or 0 for keyword in wanted]
    source = open_instance(of_study, tags=tags).header
    dataset = Dataset()
    for keyword in wanted:
        value = _raw_value(source, keyword)
        if value is None and keyword in _RECEIVED:
            continue
        tag = Tag(tag_for_keyword(keyword) or 0)
        raw = (value or b"")[: _LONGEST + 1]
        raw = b"" if len(raw) > _LONGEST else raw
        dataset[tag] = RawDataElement(tag, dictionary_VR(tag), len(raw), raw, 0, False, True)
    return dataset


def _raw_value(source: Dataset, keyword: str) -> bytes | None:
    tag = Tag(tag_for_keyword(keyword) or 0)
    if tag not in source:
        return None
    element = source.get_item(tag)
    value = element.value if isinstance(element, RawDataElement) else None
    if value is None and not isinstance(element, RawDataElement):
        value = str(element.value or "").encode("ascii", "ignore") if element else b""
    return value


def _reference(sop_class: str, sop_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_uid
    return item


def _code(title: Title) -> Dataset:
    item = Dataset()
    item.CodeValue = title.code
    item.CodingSchemeDesignator = "LN"
    item.CodeMeaning = title.meaning
    return item
