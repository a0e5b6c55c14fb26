"""Which two data sets are sent again and again, as devices make them?"""

import io
import os
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from sample_studies.make import ct_series, ecg
from sample_studies.person import DING
from tools.bench import sender


def ct_slice() -> Dataset:
    """512² pixels of 16 bits, 525 KB."""
    return ct_series(DING, slices=1)[0]


def twelve_leads() -> Dataset:
    """Ten seconds at 500 Hz, 123 KB."""
    return ecg(DING)


def radiograph() -> Dataset:
    """2,900² pixels of 16 bits, 16.8 MB."""
    dataset = ct_series(DING, slices=1)[0]
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.Modality = "DX"
    dataset.Rows = dataset.Columns = 2900
    dataset.PixelData = os.urandom(2 * 2900 * 2900)
    return dataset


def written(dataset: Dataset, folder: Path) -> Path:
    """The data set's bytes with placeholders, in a file that sending processes read."""
    path = folder / f"{dataset.Modality}.dataset"
    path.write_bytes(encoded(marked(dataset)))
    return path


def marked(dataset: Dataset) -> Dataset:
    """The data set with placeholders where each instance has its own."""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = sender.STUDY, sender.SERIES
    dataset.SOPInstanceUID = sender.INSTANCE
    dataset.PatientID = sender.PATIENT
    return dataset


def encoded(dataset: Dataset) -> bytes:
    """Its bytes in Explicit VR Little Endian, without file meta."""
    bare = Dataset()
    bare.update(dataset)
    stream = io.BytesIO()
    dcmwrite(stream, bare, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return stream.getvalue()


def read(path: Path, dataset: Dataset) -> sender.Template:
    """The template of a file, to send from this process."""
    return sender.Template(path.read_bytes(), str(dataset.SOPClassUID))
