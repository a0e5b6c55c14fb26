"""What does every object carry besides its picture: patient, study, series, device?"""

import uuid
from dataclasses import dataclass

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from sample_studies.person import Patient, Visit

# Any fixed namespace will do: the same patient, visit and kind give the same UIDs again.
_NAMESPACE = uuid.UUID("6f1c1f64-7f0e-4c1e-9a55-0f3f2a8f6d10")


@dataclass(frozen=True)
class Device:
    """The machine that is said to have made the object."""

    model: str
    serial: str
    manufacturer: str = "Sample Devices"
    software: str = "1.0"


@dataclass(frozen=True)
class Series:
    """Which series of which kind of study an object belongs to."""

    modality: str
    study_description: str
    series_description: str
    body_part: str
    device: Device
    number: int = 1


def make_uid(*parts: object) -> UID:
    """A UID under 2.25 (PS3.5 B.2) that depends on `parts` alone."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, '|'.join(map(str, parts))).int}")


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def new_object(
    sop_class: UID,
    patient: Patient,
    visit: Visit,
    series: Series,
    number: int = 1,
    transfer_syntax: UID = ExplicitVRLittleEndian,
) -> Dataset:
    """A dataset with the Patient, General Study, General Series, Equipment and SOP Common modules.

    `number` is the Instance Number; the caller adds what is the object's own.
    """
    seed = (patient.patient_id, visit.when.isoformat(), series.modality, series.study_description)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    if patient.charset:
        ds.SpecificCharacterSet = patient.charset
    ds.StudyInstanceUID = make_uid(*seed, "study")
    ds.SeriesInstanceUID = make_uid(*seed, "series", series.number)
    ds.SOPInstanceUID = make_uid(*seed, "instance", series.number, number, sop_class)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    _add_patient(ds, patient, visit)
    _add_visit(ds, visit, series)
    _add_series(ds, series, number)
    return ds


def _add_patient(ds: Dataset, patient: Patient, visit: Visit) -> None:
    ds.PatientName = patient.name
    ds.PatientID = patient.patient_id
    ds.PatientBirthDate = patient.birth_date.strftime("%Y%m%d")
    ds.PatientSex = patient.sex
    ds.PatientAge = patient.age_at(visit.when)


def _add_visit(ds: Dataset, visit: Visit, series: Series) -> None:
    day, time = visit.when.strftime("%Y%m%d"), visit.when.strftime("%H%M%S")
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = day
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = time
    ds.TimezoneOffsetFromUTC = visit.when.strftime("%z")
    ds.AccessionNumber = visit.accession
    ds.ReferringPhysicianName = ""
    ds.StudyID = "1"
    ds.StudyDescription = series.study_description
    ds.InstitutionName = visit.institution
    if visit.question:
        ds.AdditionalPatientHistory = visit.question


def _add_series(ds: Dataset, series: Series, number: int) -> None:
    ds.Modality = series.modality
    ds.SeriesNumber = series.number
    ds.SeriesDescription = series.series_description
    ds.InstanceNumber = number
    ds.BodyPartExamined = series.body_part
    ds.Manufacturer = series.device.manufacturer
    ds.ManufacturerModelName = series.device.model
    ds.DeviceSerialNumber = series.device.serial
    ds.SoftwareVersions = series.device.software
