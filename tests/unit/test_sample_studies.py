"""Are the sample studies what they say: valid, right in HU and mm, with known intervals?"""

import io
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from sample_studies import make
from sample_studies.ct import FIELD_MM, INTERCEPT
from sample_studies.ecg import LEADS, RHYTHMS, Heart, twelve_leads
from sample_studies.person import CHINA, DING, SHEN, Patient, Visit
from sample_studies.thorax import NODULE_CENTRE
from sample_studies.ultrasound import PHOTOMETRICS

KEPT = Path(make.__file__).parent / "kept"


def reread(dataset):
    return dcmread(io.BytesIO(make.encoded(dataset)))


@pytest.fixture(scope="module")
def chest_ct():
    return [reread(ds) for ds in make.ct_series(DING, slices=31, size=256)]


def hu_at(ds, x, y):
    """HU at a place in mm (patient's left, back)."""
    left, top, _ = map(float, ds.ImagePositionPatient)
    row, column = round((y - top) / ds.PixelSpacing[0]), round((x - left) / ds.PixelSpacing[1])
    part = ds.pixel_array[row - 1 : row + 2, column - 1 : column + 2]
    return float(part.mean()) * ds.RescaleSlope + ds.RescaleIntercept


# --- CT ----------------------------------------------------------------------------------------


def test_ct_series_has_one_geometry_and_distinct_instances(chest_ct):
    assert len({ds.SOPInstanceUID for ds in chest_ct}) == len(chest_ct)
    assert len({ds.SeriesInstanceUID for ds in chest_ct}) == 1
    heights = np.array([float(ds.ImagePositionPatient[2]) for ds in chest_ct])
    steps = np.diff(heights)
    assert np.allclose(steps, -float(chest_ct[0].SliceThickness), atol=1e-3)
    assert [ds.InstanceNumber for ds in chest_ct] == list(range(1, len(chest_ct) + 1))
    assert float(chest_ct[0].PixelSpacing[0]) * chest_ct[0].Rows == pytest.approx(FIELD_MM)


def test_ct_hounsfield_units_are_those_of_the_tissues(chest_ct):
    def nearest(z):
        return min(chest_ct, key=lambda ds: abs(float(ds.ImagePositionPatient[2]) - z))

    nodule = nearest(NODULE_CENTRE[2])
    assert hu_at(nodule, NODULE_CENTRE[0], NODULE_CENTRE[1]) == pytest.approx(35, abs=30)
    assert hu_at(nodule, -185, -150) == pytest.approx(-1000, abs=25)
    assert -960 < hu_at(nodule, -110, 10) < -760
    assert hu_at(nearest(-280), -70, 0) == pytest.approx(62, abs=25)
    assert hu_at(nearest(-180), 25, -20) == pytest.approx(42, abs=25)
    spine = nearest(-168)
    left, top, _ = map(float, spine.ImagePositionPatient)
    rows = slice(round((45 - top) / 1.5), round((75 - top) / 1.5))
    columns = slice(round((-15 - left) / 1.5), round((15 - left) / 1.5))
    assert spine.pixel_array[rows, columns].mean() + INTERCEPT > 120


# --- radiograph, ultrasound, documents ---------------------------------------------------------


def test_radiograph_is_two_thousand_pixels_of_twelve_bits():
    ds = reread(make.radiograph(SHEN, pneumonia=True))
    assert ds.Modality == "DX"
    assert min(ds.Rows, ds.Columns) > 1900
    pixels = ds.pixel_array
    assert pixels.max() < 1 << ds.BitsStored
    lung, heart = pixels[900:1000, 380:460].mean(), pixels[1100:1200, 1120:1200].mean()
    assert heart > lung + 600


@pytest.mark.parametrize("photometric", PHOTOMETRICS)
def test_ultrasound_loop_plays_in_each_colour_model(photometric):
    ds = reread(make.ultrasound_loop(DING, frames=6, photometric=photometric))
    assert ds.pixel_array.shape[:3] == (6, 480, 640)
    assert float(ds.FrameTime) == pytest.approx(33.3)
    assert ds.FrameIncrementPointer == 0x00181063
    first, last = ds.pixel_array[0].astype(int), ds.pixel_array[5].astype(int)
    assert np.abs(first - last).mean() > 1


def test_ultrasound_refuses_a_colour_model_it_does_not_know():
    with pytest.raises(ValueError, match="none of"):
        make.ultrasound_loop(DING, frames=1, photometric="HSV")


def test_pages_of_a_cart_are_ecgs_too():
    page, picture = reread(make.ecg_pdf(DING)), reread(make.ecg_picture(DING))
    assert page.Modality == picture.Modality == "ECG"
    assert page.EncapsulatedDocument.startswith(b"%PDF-")
    assert picture.pixel_array.min() == 0


# --- ECG ---------------------------------------------------------------------------------------


def silent(heart, hz=1000):
    return twelve_leads(heart, sampling_hz=hz, noise_uv=0)


def runs(active):
    """(start, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(int), [0]])))
    return list(zip(edges[::2], edges[1::2], strict=True))


@pytest.mark.parametrize(("pr", "qrs", "qt", "rate"), [(160, 90, 400, 72), (210, 120, 440, 50)])
def test_intervals_are_those_that_were_asked_for(pr, qrs, qt, rate):
    leads = silent(Heart("sinus", rate, pr, qrs, qt))
    waves = runs((np.abs(leads) > 1e-4).any(axis=1))
    complexes = [i for i, (a, b) in enumerate(waves) if np.abs(leads[a:b]).max() > 0.6]
    inner = [i for i in complexes if 0 < i < len(waves) - 1]
    assert len(inner) >= 6
    for i in inner:
        (p_start, _), (start, end), (_, t_end) = waves[i - 1], waves[i], waves[i + 1]
        assert start - p_start == pytest.approx(pr, abs=4)
        assert end - start == pytest.approx(qrs, abs=4)
        assert t_end - start == pytest.approx(qt, abs=6) or t_end == len(leads)
    onsets = [waves[i][0] for i in inner]
    assert np.mean(np.diff(onsets)) == pytest.approx(60_000 / rate, rel=0.02)


def test_leads_obey_einthoven_and_goldberger():
    leads = dict(zip(LEADS, silent(Heart()).T, strict=True))
    assert np.allclose(leads["I"] + leads["III"], leads["II"])
    assert np.allclose(leads["aVR"] + leads["aVL"] + leads["aVF"], 0)


def test_rhythms_differ_as_they_do_in_people():
    fibrillation = silent(Heart("atrial_fibrillation", 104, qt_ms=330))[:, LEADS.index("V4")]
    beats = np.diff([a for a, _ in runs(fibrillation > 0.7)])
    assert np.std(beats) / np.mean(beats) > 0.12
    inferior = silent(Heart("inferior_stemi", 88, qt_ms=370))
    flat = silent(Heart("sinus", 88, qt_ms=370))
    raised = np.median(inferior - flat, axis=0)
    change = (inferior - flat)[np.abs(inferior - flat).max(axis=1) > 0.2].mean(axis=0)
    assert change[LEADS.index("III")] > 0.15 > raised[LEADS.index("III")]
    assert change[LEADS.index("aVL")] < -0.1


@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_ecg_objects_are_conformant_twelve_lead_ecgs(rhythm):
    rate, qrs, qt = (36, 140, 500) if rhythm == "complete_av_block" else (90, 90, 360)
    ds = reread(make.ecg(DING, rhythm, rate, qrs_ms=qrs, qt_ms=qt))
    assert ds.SOPClassUID.name == "12-lead ECG Waveform Storage"
    (group,) = ds.WaveformSequence
    assert group.NumberOfWaveformChannels == 12
    assert "MultiplexGroupTimeOffset" not in group
    assert [c.ChannelSourceSequence[0].CodeValue for c in group.ChannelDefinitionSequence] == (
        ["2:1", "2:2", "2:61", "2:62", "2:63", "2:64", *(f"2:{i}" for i in range(3, 9))]
    )
    expected = twelve_leads(Heart(rhythm, rate, 160, qrs, qt), seed=1 + rate) * 1000
    assert np.abs(ds.waveform_array(0) - expected).max() <= 1.25 + 1e-6
    values = {
        item.ConceptNameCodeSequence[0].CodeValue: float(item.NumericValue)
        for item in ds.WaveformAnnotationSequence
        if "NumericValue" in item
    }
    assert values["2:16156"] == qrs
    assert values["2:16160"] == qt
    assert ("2:15872" in values) == (rhythm not in {"atrial_fibrillation", "complete_av_block"})


@pytest.mark.parametrize(
    "wrong", [{"rhythm": "waltz"}, {"qt_ms": 1200}, {"pr_ms": 40}, {"qrs_ms": 390}]
)
def test_hearts_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=r"rhythm|wave"):
        Heart(**wrong)


# --- people ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("person", "charset"), [(DING, "utf-8"), (SHEN, "gb18030")])
def test_chinese_names_are_written_in_the_stated_character_set(person, charset):
    raw = make.encoded(make.ecg(person))
    assert person.name.encode(charset) in raw
    name = dcmread(io.BytesIO(raw)).PatientName
    assert (name.alphabetic, name.ideographic) == tuple(person.name.split("="))


def test_unlabelled_bytes_are_gb18030_without_a_label():
    raw = make.encoded(make.unlabelled(make.ecg(SHEN)))
    assert SHEN.name.encode("gb18030") in raw
    assert "SpecificCharacterSet" not in dcmread(io.BytesIO(raw))


@pytest.mark.parametrize(
    ("born", "age"),
    [(date(1962, 3, 14), "063Y"), (date(2025, 9, 6), "003M"), (date(2024, 1, 5), "002Y")],
)
def test_age_is_that_of_the_day(born, age):
    assert Patient("A", "1", "O", born).age_at(datetime(2026, 1, 5, tzinfo=CHINA)) == age


# --- the same again ----------------------------------------------------------------------------


def test_the_same_visit_gives_the_same_bytes_and_another_gives_other_uids():
    first, again = make.encoded(make.ecg(DING)), make.encoded(make.ecg(DING))
    assert first == again
    later = make.ecg(DING, visit=Visit(when=Visit().when + timedelta(days=1)))
    assert later.StudyInstanceUID != make.ecg(DING).StudyInstanceUID


def test_a_written_object_is_found_under_its_uid(tmp_path):
    ds = make.ecg(DING)
    path = make.write(ds, tmp_path / "ecg")
    assert dcmread(path).SOPInstanceUID == path.stem == ds.SOPInstanceUID


def test_kept_files_are_small_readable_and_what_the_script_makes(tmp_path):
    files = sorted(KEPT.glob("*.dcm"))
    assert {path.name for path in files} == {path.name for path in make.kept(tmp_path)}
    assert sum(path.stat().st_size for path in files) < 200_000
    for path in files:
        kept, fresh = dcmread(path), dcmread(tmp_path / path.name)
        assert kept.SOPInstanceUID == fresh.SOPInstanceUID
        assert kept.PatientName == fresh.PatientName
