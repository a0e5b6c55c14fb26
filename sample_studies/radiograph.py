"""How does the made-up chest look to X-rays from the back: a digital radiograph?

The same anatomy as the CT's is summed along the beam (parallel, back to front), so heart, ribs,
vessels and diaphragm lie where a radiograph shows them.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DigitalXRayImageStorageForPresentation

from sample_studies.header import Device, Series, code, new_object
from sample_studies.person import Patient, Visit
from sample_studies.thorax import Thorax

WIDTH_MM, TOP_Z, BOTTOM_Z = 384.0, 58.0, -332.0
PIXEL_MM = 0.2
DEPTH_MM = 2.5
BITS = 12
_BUCKY = Device(model="DR 43", serial="DX-0001")
_SERIES = Series("DX", "Chest PA", "Chest PA", "CHEST", _BUCKY)


@lru_cache(maxsize=2)
def _paths(pneumonia: bool) -> NDArray[np.float32]:
    """Millimetres of water each ray passes, on a grid of 0.6 x 0.8 mm, head on top."""
    chest = Thorax(nodule=False, pneumonia=pneumonia)
    x = np.arange(-WIDTH_MM / 2, WIDTH_MM / 2, 0.6, dtype=np.float32)
    y = np.arange(-124, 132, DEPTH_MM, dtype=np.float32)
    heights = np.arange(TOP_Z, BOTTOM_Z, -0.8)
    # Each row samples the depth at another offset, or the few samples would show as ripples.
    offsets = DEPTH_MM * (np.arange(heights.size) * 0.618 % 1)
    planes = (
        chest.plane(float(z), x, y + np.float32(off), 1.0)
        for z, off in zip(heights, offsets, strict=True)
    )
    rows = [(hu + 1000).sum(axis=0) * (DEPTH_MM / 1000) for hu in planes]
    paths = np.stack([rows[0], *rows, rows[-1]])
    return np.asarray((paths[:-2] + paths[1:-1] + paths[2:]) / 3, np.float32)


def _film(paths: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Grey values 0 to 1 as a reader sees them: bone white, lungs dark, detail lifted a little."""
    large = Image.fromarray(paths).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    sharp = np.asarray(large, np.float32)
    wide = Image.fromarray(paths).resize((48, 48), Image.Resampling.BOX)
    coarse = np.asarray(wide.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float32)
    # Processing as every detector does it: the large differences pressed, the small ones kept.
    even = 0.55 * coarse + 1.25 * (sharp - coarse)
    return np.asarray(1 / (1 + np.exp(-(even - 84) / 22)), np.float32)


def _marker(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The lead letter R at the patient's right, on the picture's left."""
    page = Image.new("1", (shape[1], shape[0]))
    place = (round(0.06 * shape[1]), round(0.045 * shape[0]))
    ImageDraw.Draw(page).text(place, "R", fill=1, font=ImageFont.load_default(0.05 * shape[1]))
    return np.asarray(page, np.bool_)


def radiograph(patient: Patient, *, visit: Visit | None = None, pneumonia: bool = False) -> Dataset:
    """A chest radiograph (DX, for presentation), 1950 x 1920 pixels of 0.2 mm, 12 bit.

    With `pneumonia` the right lower lobe is partly filled.
    """
    visit = visit or Visit()
    shape = (round((TOP_Z - BOTTOM_Z) / PIXEL_MM), round(WIDTH_MM / PIXEL_MM))
    film = _film(_paths(pneumonia), shape)
    random = np.random.default_rng(5)
    grain = random.standard_normal(shape, dtype=np.float32) * (0.004 + 0.008 * film)
    film = np.where(_marker(shape), 0.97, film + grain)
    stored = np.clip(np.rint(200 + film * 3600), 0, (1 << BITS) - 1).astype("<u2")
    ds = new_object(DigitalXRayImageStorageForPresentation, patient, visit, _SERIES)
    _add_projection(ds)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, BITS, BITS - 1, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.WindowCenter, ds.WindowWidth = "2000", "3800"
    ds.add_new("PixelData", "OW", stored.tobytes())
    return ds


def _add_projection(ds: Dataset) -> None:
    """DX Anatomy, DX Positioning, DX Detector and DX Image modules."""
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageLaterality = "U"
    ds.PatientOrientation = ["L", "F"]
    ds.ViewPosition, ds.PositionerType = "PA", ""
    ds.ViewCodeSequence = Sequence([code("272479007", "SCT", "postero-anterior")])
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence([])
    ds.AnatomicRegionSequence = Sequence([code("51185008", "SCT", "Chest")])
    ds.DetectorType, ds.DetectorID = "SCINTILLATOR", "DX-0001-1"
    ds.ImagerPixelSpacing = ds.PixelSpacing = [f"{PIXEL_MM:g}"] * 2
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.PresentationLUTShape = "IDENTITY"
    ds.LossyImageCompression = "00"
    ds.BurnedInAnnotation = "NO"
    ds.KVP, ds.AcquisitionDeviceProcessingDescription = "120", "CHEST"
    ds.AcquisitionContextSequence = Sequence([])
