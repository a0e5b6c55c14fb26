"""How does one make a day of sample studies, all of them made up?

`python -m sample_studies.make FOLDER` writes them as DICOM files, one folder per study. The same
patients, hours and pictures come out every time, UIDs included. Everything one needs to make
single objects is named here too.
"""

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from sample_studies.ct import ct_series
from sample_studies.documents import ecg_pdf, ecg_picture
from sample_studies.ecg import Heart, ecg
from sample_studies.person import (
    BAI,
    CHINA,
    DING,
    EVERYONE,
    LUO,
    QIAO,
    SHEN,
    YAN,
    Patient,
    Visit,
)
from sample_studies.radiograph import radiograph
from sample_studies.ultrasound import ultrasound_loop

__all__ = [
    "EVERYONE",
    "Heart",
    "Patient",
    "SampleStudy",
    "Visit",
    "ct_series",
    "day",
    "ecg",
    "ecg_pdf",
    "ecg_picture",
    "encoded",
    "radiograph",
    "studies",
    "ultrasound_loop",
    "unlabelled",
    "write",
]

MORNING = datetime(2026, 1, 5, 8, 30, tzinfo=CHINA)


@dataclass(frozen=True)
class SampleStudy:
    """One study: a short name for its folder, which center made it (1 or 2), its objects."""

    name: str
    center: int
    datasets: tuple[Dataset, ...]


def studies(morning: datetime = MORNING) -> Iterator[SampleStudy]:
    """The studies of a day that begins at `morning` (aware), made one after another."""

    def visit(minutes: int, question: str = "") -> Visit:
        when = morning + timedelta(minutes=minutes)
        accession = f"S{when:%y%m%d}{minutes:03d}"
        return Visit(when=when, accession=accession, question=question)

    cough = visit(0, "咳嗽两周 cough for two weeks")
    yield SampleStudy("ct-chest", 1, tuple(ct_series(DING, visit=cough)))
    fever = visit(12, "发热三天 fever for three days")
    yield SampleStudy("dx-chest", 1, (radiograph(SHEN, visit=fever, pneumonia=True),))
    breath = visit(25, "活动后气短 short of breath on exertion")
    yield SampleStudy("us-heart", 1, (ultrasound_loop(QIAO, visit=breath),))
    pain = visit(31, "胸痛一小时 chest pain for one hour")
    infarct = ecg(YAN, "inferior_stemi", 88, qt_ms=370, visit=pain)
    yield SampleStudy("ecg-inferior-stemi", 1, (infarct,))
    yield SampleStudy("ecg-sinus", 1, (ecg(DING, visit=visit(36)),))
    dizzy = visit(41, "头晕 dizziness")
    block = ecg(LUO, "complete_av_block", 36, qrs_ms=140, qt_ms=500, visit=dizzy)
    yield SampleStudy("ecg-av-block", 2, (block,))
    flutter = visit(47, "心悸 palpitations")
    yield SampleStudy(
        "ecg-atrial-fibrillation",
        2,
        (ecg(BAI, "atrial_fibrillation", 104, qt_ms=330, visit=flutter),),
    )
    slow = ecg(SHEN, "sinus", 46, pr_ms=190, qt_ms=440, visit=visit(55))
    yield SampleStudy("ecg-bradycardia", 2, (slow,))
    yield SampleStudy("dx-chest-normal", 2, (radiograph(BAI, visit=visit(63)),))
    yield SampleStudy("ecg-page", 2, (ecg_pdf(LUO, visit=visit(70)),))


def write(dataset: Dataset, folder: Path) -> Path:
    """Write one object as `folder`/SOP Instance UID.dcm; the folder is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def encoded(dataset: Dataset) -> bytes:
    """The object as the bytes of a DICOM file."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def unlabelled(dataset: Dataset) -> Dataset:
    """The same object with GB18030 bytes in its text and no Specific Character Set that says so.

    A fault of many old devices. The answer holds the bytes as Latin-1, which is how pydicom writes
    text that has no label.
    """
    bare = Dataset()
    bare.update(dataset)
    bare.file_meta = dataset.file_meta
    del bare["SpecificCharacterSet"]
    for element in bare:
        if element.VR in {"PN", "LO", "LT", "SH", "ST"} and element.VM == 1:
            text = str(element.value).encode("gb18030").decode("latin-1")
            bare[element.tag] = DataElement(element.tag, element.VR, text)
    return bare


def day(folder: Path, morning: datetime = MORNING) -> list[Path]:
    """Write the day's studies below `folder`; the paths of all files."""
    return [
        write(dataset, folder / study.name)
        for study in studies(morning)
        for dataset in study.datasets
    ]


def kept(folder: Path) -> list[Path]:
    """Write the few small files that stand beside this script, under plain names."""
    small = {
        "ecg-sinus-72.dcm": ecg(DING, sampling_hz=250),
        "ecg-atrial-fibrillation-gb18030.dcm": ecg(
            SHEN, "atrial_fibrillation", 104, qt_ms=330, sampling_hz=250
        ),
        "ct-one-slice-128.dcm": ct_series(replace(DING), slices=1, size=128)[0],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, dataset in small.items():
        dataset.save_as(folder / name, enforce_file_format=True)
    return [folder / name for name in small]


def main(arguments: list[str]) -> int:
    """Write a day, or with `--kept` the files kept here; 2 when no folder was named."""
    if not arguments:
        print(__doc__)
        return 2
    files = kept(Path(arguments[1])) if arguments[0] == "--kept" else day(Path(arguments[0]))
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{len(files)} files, {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
