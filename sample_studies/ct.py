"""How do cuts through the made-up chest become a CT series with right HU and geometry?"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from sample_studies.header import Device, Series, make_uid, new_object
from sample_studies.person import Patient, Visit
from sample_studies.thorax import NODULE_CENTRE, Thorax

FIELD_MM = 384.0
FIRST_Z, LAST_Z = 12.0, -288.0
INTERCEPT = -1024
NOISE_HU = 11.0
_SCANNER = Device(model="CT 64", serial="CT-0001")
_SERIES = Series("CT", "Chest CT", "Chest 3.0 soft tissue", "CHEST", _SCANNER)


def _noise(size: int, random: np.random.Generator) -> NDArray[np.float32]:
    """A tile of noise as a soft-tissue kernel leaves it: neighbours resemble each other."""
    white = random.standard_normal((size, size)).astype(np.float32)
    for axis in (0, 1):
        white = white + 0.7 * (np.roll(white, 1, axis) + np.roll(white, -1, axis))
    return np.asarray(white * np.float32(NOISE_HU / white.std()))


def _table(hu: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
    """The scanner's couch, a thin shell behind the back, where there is nothing but air."""
    depth = y[:, None] - (128 - (x[None, :] / 190) ** 2 * 26)
    shell = (np.abs(depth) < 1.6) | (np.abs(depth - 22) < 1.0)
    hu[shell & (np.abs(x)[None, :] < 178) & (hu < -900)] = -420


def _planes(slices: int, size: int) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Height and HU of each cut, head first."""
    pixel = FIELD_MM / size
    axis = ((np.arange(size) - (size - 1) / 2) * pixel).astype(np.float32)
    chest, noise = Thorax(), _noise(size, np.random.default_rng(11))
    heights = np.linspace(FIRST_Z, LAST_Z, slices) if slices > 1 else [NODULE_CENTRE[2]]
    for i, z in enumerate(heights):
        hu = chest.plane(float(z), axis, axis, pixel)
        _table(hu, axis, axis)
        yield float(z), hu + np.roll(noise, (i * 97 % size, i * 61 % size), (0, 1))


def ct_series(
    patient: Patient, slices: int = 100, *, visit: Visit | None = None, size: int = 512
) -> list[Dataset]:
    """A chest CT, `slices` cuts of `size`² pixels from the apices to the liver, 12 bit.

    Stored value = HU + 1024. The right upper lobe holds a nodule of 14 mm (`thorax.NODULE_CENTRE`);
    a single slice goes through it.
    """
    visit = visit or Visit()
    thickness = (FIRST_Z - LAST_Z) / (slices - 1) if slices > 1 else 3.0
    return [
        _object(patient, visit, i + 1, z, hu, thickness)
        for i, (z, hu) in enumerate(_planes(slices, size))
    ]


def _object(
    patient: Patient, visit: Visit, number: int, z: float, hu: NDArray[np.float32], thickness: float
) -> Dataset:
    ds = new_object(CTImageStorage, patient, visit, _SERIES, number)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.FrameOfReferenceUID = make_uid(ds.StudyInstanceUID, "frame of reference")
    ds.PositionReferenceIndicator = ""
    ds.PatientPosition = "HFS"
    ds.KVP, ds.ConvolutionKernel, ds.AcquisitionNumber = "120", "SOFT", 1
    _add_geometry(ds, z, hu.shape[0], thickness)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = hu.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(INTERCEPT), "1", "HU"
    ds.WindowCenter, ds.WindowWidth = ["40", "-600"], ["400", "1500"]
    ds.WindowCenterWidthExplanation = ["SOFT TISSUE", "LUNG"]
    stored = np.clip(np.rint(hu - INTERCEPT), 0, 4095).astype("<u2")
    ds.add_new("PixelData", "OW", stored.tobytes())
    return ds


def _add_geometry(ds: Dataset, z: float, size: int, thickness: float) -> None:
    """Image Plane module: pixels, place and direction; z falls from slice to slice."""
    pixel = FIELD_MM / size
    corner = -(size - 1) / 2 * pixel
    ds.PixelSpacing = [f"{pixel:.6g}"] * 2
    ds.SliceThickness = f"{thickness:.6g}"
    ds.ImagePositionPatient = [f"{corner:.6g}", f"{corner:.6g}", f"{z:.6g}"]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.SliceLocation = f"{z:.6g}"
