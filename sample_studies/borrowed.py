"""Which real pictures do the test sets of pydicom lend, and how do they get a made-up patient?

The files come with the packages `pydicom` and `pydicom-data`; nothing is downloaded and nothing of
them is kept here. Patient, dates, UIDs and institution are replaced.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from sample_studies.header import make_uid
from sample_studies.person import Patient, Visit


@dataclass(frozen=True)
class Borrowed:
    """One file of a test set and what it shows."""

    file: str
    modality: str
    description: str


CHEST = Borrowed("RG1_UNCI.dcm", "CR", "胸部正位 Chest PA")
SHIN = Borrowed("RG3_UNCI.dcm", "CR", "胫骨远端 Distal tibia")
HEART_LOOP = Borrowed("examples_ybr_color.dcm", "US", "心脏超声 Echocardiogram")
ECG = Borrowed("waveform_ecg.dcm", "ECG", "静息十二导联 Resting 12-lead")

_LEFT_OUT = (
    "AdditionalPatientHistory",
    "InstitutionAddress",
    "OperatorsName",
    "OtherPatientIDs",
    "PatientAddress",
    "PatientComments",
    "PatientWeight",
    "PerformingPhysicianName",
    "PhysiciansOfRecord",
    "RequestingPhysician",
)


def borrow(what: Borrowed, patient: Patient, visit: Visit) -> Iterator[Dataset]:
    """The object under the patient's name; nothing where the packages do not hold the file."""
    path = get_testdata_file(what.file, download=False)
    if path is None:
        return
    try:
        dataset = dcmread(path)
    except (OSError, InvalidDicomError):
        return
    for keyword in _LEFT_OUT:
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.remove_private_tags()
    seed = (what.file, patient.patient_id, visit.when.isoformat())
    dataset.StudyInstanceUID = make_uid(*seed, "study")
    dataset.SeriesInstanceUID = make_uid(*seed, "series")
    dataset.SOPInstanceUID = make_uid(*seed, "instance")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.SpecificCharacterSet = patient.charset
    dataset.PatientName = patient.name
    dataset.PatientID = patient.patient_id
    dataset.PatientSex = patient.sex
    dataset.PatientBirthDate = patient.birth_date.strftime("%Y%m%d")
    dataset.PatientAge = patient.age_at(visit.when)
    dataset.AccessionNumber = visit.accession
    dataset.ReasonForStudy = visit.question
    dataset.InstitutionName = visit.institution
    dataset.ReferringPhysicianName = ""
    dataset.Modality = what.modality
    dataset.StudyDescription = what.description
    dataset.TimezoneOffsetFromUTC = visit.when.strftime("%z")
    for prefix in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{prefix}Date", visit.when.strftime("%Y%m%d"))
        setattr(dataset, f"{prefix}Time", visit.when.strftime("%H%M%S"))
    if "AcquisitionDateTime" in dataset:
        dataset.AcquisitionDateTime = visit.when.strftime("%Y%m%d%H%M%S%z")
    yield dataset
