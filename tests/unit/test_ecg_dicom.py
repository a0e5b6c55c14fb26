"""Does an ECG object become the right microvolts, and does a hostile one only make a refusal?"""

import copy
import io
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from viewers.ecg import codes
from viewers.ecg.dicom import read_recordings, recordings_of
from viewers.ecg.recording import STANDARD_LEADS
from viewers.image.unreadable import Unreadable

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

MDC = {"I": 1, "II": 2, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64} | {
    f"V{n}": n + 2 for n in range(1, 7)
}


def reference() -> bytes:
    return Path(str(get_testdata_file("waveform_ecg.dcm", download=False))).read_bytes()


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def channel(name: str, **changes) -> Dataset:
    item = Dataset()
    item.ChannelSourceSequence = [code(f"2:{MDC[name]}", "MDC", f"Lead {name}")]
    item.ChannelSensitivity = "2.5"
    item.ChannelSensitivityUnitsSequence = [code("uV", "UCUM", "microvolt")]
    item.ChannelSensitivityCorrectionFactor = "1"
    item.ChannelBaseline = "0"
    item.WaveformBitsStored = 16
    for keyword, value in changes.items():
        setattr(item, keyword, value)
    return item


def group(samples: np.ndarray, names=STANDARD_LEADS, hz="500", interpretation="SS") -> Dataset:
    """A multiplex group of samples x channels; 2.5 uV a unit."""
    item = Dataset()
    item.WaveformOriginality = "ORIGINAL"
    item.NumberOfWaveformChannels = samples.shape[1]
    item.NumberOfWaveformSamples = samples.shape[0]
    item.SamplingFrequency = hz
    item.WaveformBitsAllocated = samples.dtype.itemsize * 8
    item.WaveformSampleInterpretation = interpretation
    item.ChannelDefinitionSequence = [channel(name) for name in names]
    item.add_new(0x54001010, "OB" if samples.dtype.itemsize == 1 else "OW", samples.tobytes())
    return item


def ecg(*groups: Dataset) -> Dataset:
    dataset = Dataset()
    dataset.SOPInstanceUID = "1.2.3"
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.9.1.1"
    dataset.AcquisitionDateTime = "20260102083000"
    dataset.WaveformSequence = list(groups)
    return dataset


def written(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    dataset = copy.deepcopy(dataset)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def ramp(count: int = 5000, channels: int = 12, dtype: str = "<i2") -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.integers(-90, 90, (count, channels)).astype(dtype)


def test_the_reference_ecg_decodes_to_the_devices_own_numbers():
    rhythm, median = read_recordings(reference())
    assert [lead.name for lead in rhythm.leads] == list(STANDARD_LEADS)
    assert (rhythm.sampling_hz, rhythm.seconds, rhythm.derived) == (1000.0, 10.0, False)
    assert (median.derived, median.seconds) == (True, 1.2)
    expected = dcmread(io.BytesIO(reference())).waveform_array(0)
    decoded = np.stack([lead.samples_uv for lead in rhythm.leads], 1)
    assert np.abs(decoded - expected).max() < 1e-3
    values = rhythm.values
    assert (values.heart_rate_bpm, values.pr_ms, values.qrs_ms) == (61, 161, 75)
    assert (values.qt_ms, values.qtc_ms) == (368, 370)
    assert (values.axis_p_deg, values.axis_qrs_deg, values.axis_t_deg) == (74, 52, 57)
    assert values.statements == ("RITMO SINUSALE", "ECG NORMALE")
    assert (rhythm.filters.low_hz, rhythm.filters.high_hz) == (0.05, 300)
    assert rhythm.filters.notch_hz is None
    assert rhythm.device.model == "el250"
    assert rhythm.problems == ("no_time_zone",)


def test_limb_leads_of_a_real_recording_obey_einthoven():
    leads = read_recordings(reference())[0].by_name
    error = leads["II"].samples_uv - leads["I"].samples_uv - leads["III"].samples_uv
    assert np.abs(error).max() < 5


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_every_native_syntax_gives_the_same_values(syntax):
    stored = ramp()
    dataset = ecg(group(stored))
    if syntax == ExplicitVRBigEndian:
        dataset.WaveformSequence[0].WaveformData = stored.astype(">i2").tobytes()
    found = read_recordings(written(dataset, syntax))[0]
    decoded = np.stack([lead.samples_uv for lead in found.leads], 1)
    assert np.array_equal(decoded, stored.astype("f4") * 2.5)


@pytest.mark.parametrize(
    ("dtype", "interpretation"),
    [("i1", "SB"), ("u1", "UB"), ("<i2", "SS"), ("<u2", "US"), ("<i4", "SL"), ("<u4", "UL")],
)
def test_every_sample_interpretation(dtype, interpretation):
    stored = np.abs(ramp(600)).astype(dtype)
    found = recordings_of(ecg(group(stored, interpretation=interpretation)))[0]
    assert np.array_equal(found.by_name["V6"].samples_uv, stored[:, 11].astype("f4") * 2.5)


def test_sensitivity_correction_baseline_and_units():
    item = group(ramp(600, 3), ("I", "II", "V1"))
    first, second, third = item.ChannelDefinitionSequence
    first.ChannelSensitivity, first.ChannelBaseline = "0.001", "0.25"
    first.ChannelSensitivityUnitsSequence = [code("mV", "UCUM", "millivolt")]
    first.ChannelSensitivityCorrectionFactor = "2"
    del second.ChannelSensitivityCorrectionFactor, second.ChannelBaseline
    third.ChannelSensitivityUnitsSequence = [code("XX", "99LOCAL", "Microvolt")]
    leads = recordings_of(ecg(item))[0].by_name
    stored = np.frombuffer(item.WaveformData, "<i2").reshape(-1, 3)
    assert np.allclose(leads["I"].samples_uv, stored[:, 0] * 2.0 + 250, atol=1e-3)
    assert np.allclose(leads["II"].samples_uv, stored[:, 1] * 2.5)
    assert np.allclose(leads["V1"].samples_uv, stored[:, 2] * 2.5)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ChannelSensitivity": "0"}, "scale_unknown:V2"),
        ({"ChannelSensitivity": "1e9"}, "scale_implausible:V2"),
        ({"ChannelSensitivityUnitsSequence": [code("mm", "UCUM", "mm")]}, "unit_unknown:V2"),
        ({"ChannelSensitivityUnitsSequence": []}, "unit_unknown:V2"),
        ({"ChannelSourceSequence": [code("1", "99X", "Plethysmogram")]}, "lead_unknown"),
        ({"ChannelSourceSequence": [code("2:3", "MDC", "Lead V1")]}, "lead_duplicate:V1"),
    ],
)
def test_a_lead_that_cannot_be_trusted_is_left_out_and_said(change, problem):
    item = group(ramp(2000))
    for keyword, value in change.items():
        setattr(item.ChannelDefinitionSequence[7], keyword, value)
    found = recordings_of(ecg(item))[0]
    assert problem in found.problems
    assert "V2" not in found.by_name
    assert "lead_missing:V2" in found.problems
    assert found.missing == ("V2",)


def test_a_code_and_a_meaning_that_differ_are_said():
    item = group(ramp(2000))
    item.ChannelDefinitionSequence[7].ChannelSourceSequence[0].CodeMeaning = "Lead V3"
    assert "lead_name_conflict:V2" in recordings_of(ecg(item))[0].problems


def test_padding_becomes_a_gap_and_clipping_is_said():
    stored = ramp(2000)
    stored[100:200, 0] = -32768
    stored[300:320, 6] = 32767
    stored[:, 7] = 12
    item = group(stored)
    item.add_new(0x5400100A, "OW", np.array([-32768], "<i2").tobytes())
    found = recordings_of(ecg(item))[0]
    assert np.isnan(found.by_name["I"].samples_uv[100:200]).all()
    assert not np.isnan(found.by_name["I"].samples_uv[200:]).any()
    assert {"gaps:I", "clipped:V1", "flat:V2"} <= set(found.problems)
    assert found.by_name["V1"].range_uv[1] == pytest.approx(32767 * 2.5)


def test_eight_lead_recordings_get_their_limb_leads_calculated():
    names = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
    found = recordings_of(ecg(group(ramp(2000, 8), names)))[0]
    one, two = found.by_name["I"].samples_uv, found.by_name["II"].samples_uv
    assert np.allclose(found.by_name["III"].samples_uv, two - one)
    assert np.allclose(found.by_name["aVR"].samples_uv, -(one + two) / 2)
    assert "limb_leads_calculated" in found.problems
    assert not found.missing


def test_groups_of_disjoint_leads_are_one_recording():
    parts = []
    for at in range(4):
        item = group(ramp(1250, 3), STANDARD_LEADS[at * 3 : at * 3 + 3])
        item.MultiplexGroupTimeOffset = str(at * 2500)
        parts.append(item)
    found = recordings_of(ecg(*parts))
    assert len(found) == 1
    assert [lead.name for lead in found[0].leads] == list(STANDARD_LEADS)
    assert "not_simultaneous" in found[0].problems


def test_one_broken_group_does_not_hide_the_other():
    broken = group(ramp(2000))
    broken.SamplingFrequency = "0"
    found = recordings_of(ecg(broken, group(ramp(2000))))
    assert len(found) == 1
    assert "group_unreadable" in found[0].problems


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("NumberOfWaveformSamples", 4_000_000_000, "too_long"),
        ("NumberOfWaveformSamples", 20_000, "waveform_truncated"),
        ("NumberOfWaveformSamples", 0, "waveform_truncated"),
        ("NumberOfWaveformChannels", 0, "channel_count"),
        ("NumberOfWaveformChannels", 65_535, "channel_count"),
        ("NumberOfWaveformChannels", 6, "channel_count"),
        ("SamplingFrequency", "0", "sampling_frequency"),
        ("SamplingFrequency", "1e30", "sampling_frequency"),
        ("SamplingFrequency", "NaN", "sampling_frequency"),
        ("SamplingFrequency", "-500", "sampling_frequency"),
        ("WaveformBitsAllocated", 12, "sample_format"),
        ("WaveformSampleInterpretation", "MB", "sample_format"),
        ("ChannelDefinitionSequence", [], "channel_count"),
    ],
)
def test_a_hostile_group_is_refused_with_a_reason(keyword, value, reason):
    item = group(ramp())
    raw = Dataset()
    raw.update(item)
    if keyword == "SamplingFrequency":
        from pydicom.dataelem import RawDataElement
        from pydicom.tag import Tag

        raw._dict[Tag(0x003A001A)] = RawDataElement(
            Tag(0x003A001A), "DS", len(value), value.encode(), 0, False, True
        )
    else:
        setattr(raw, keyword, value)
    with pytest.raises(Unreadable) as refused:
        recordings_of(ecg(raw))
    assert refused.value.reason == reason


def test_no_waveform_at_all_is_refused():
    for dataset in (ecg(), Dataset()):
        with pytest.raises(Unreadable) as refused:
            recordings_of(dataset)
        assert refused.value.reason == "no_waveform"


@pytest.mark.parametrize("seed", range(40))
def test_damaged_bytes_give_recordings_or_a_refusal(seed):
    rng = np.random.default_rng(seed)
    data = bytearray(written(ecg(group(ramp(500)))))
    for at in rng.integers(132, min(len(data), 4000), 12):
        data[at] = int(rng.integers(0, 256))
    cut = int(rng.integers(200, len(data)))
    for variant in (bytes(data), bytes(data[:cut])):
        try:
            found = read_recordings(variant)
        except Unreadable:
            continue
        assert all(np.isfinite(lead.range_uv or (0, 0)).all() for lead in found[0].leads)


def test_acquisition_time_takes_its_own_zone_then_the_objects_then_the_sites():
    dataset = ecg(group(ramp(1000)))
    beijing = timezone(timedelta(hours=8))
    assert recordings_of(dataset)[0].acquired_at is None
    assert recordings_of(dataset)[0].acquired_local == datetime(2026, 1, 2, 8, 30)  # noqa: DTZ001
    assert recordings_of(dataset, zone=beijing)[0].acquired_at == datetime(
        2026, 1, 2, 0, 30, tzinfo=UTC
    )
    dataset.TimezoneOffsetFromUTC = "-0500"
    assert recordings_of(dataset, zone=beijing)[0].acquired_at.hour == 13
    dataset.AcquisitionDateTime = "20260102083000.5+0100"
    assert recordings_of(dataset, zone=beijing)[0].acquired_at == datetime(
        2026, 1, 2, 7, 30, 0, 500_000, tzinfo=UTC
    )


def test_the_empty_date_of_some_makers_is_no_time():
    dataset = ecg(group(ramp(1000)))
    dataset.AcquisitionDateTime = "00010101000000"
    (recording,) = recordings_of(dataset, zone=timezone(timedelta(hours=8)))
    assert recording.acquired_at is None
    assert "no_time" in recording.problems


def measured(value: str, scheme: str, meaning: str, number: str, unit: str, channels=(1, 0)):
    item = Dataset()
    item.ConceptNameCodeSequence = [code(value, scheme, meaning)]
    item.NumericValue = number
    item.MeasurementUnitsCodeSequence = [code(unit, "UCUM", unit)]
    item.ReferencedWaveformChannels = list(channels)
    return item


def test_device_values_by_mdc_code_with_units_and_implausible_ones():
    dataset = ecg(group(ramp(1000)))
    said = Dataset()
    said.UnformattedTextValue = "窦性心律"
    said.ReferencedWaveformChannels = [1, 0]
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.WaveformAnnotationSequence = [
        measured("2:16016", "MDC", "Ventricular Heart Rate", "72", "{H.B.}/min"),
        measured("2:15872", "MDC", "PR", "0.16", "s"),
        measured("2:16156", "MDC", "QRS lead V1", "140", "ms", (1, 7)),
        measured("2:16156", "MDC", "QRS", "96", "ms"),
        measured("147232", "MDC", "QT", "400", "ms"),
        measured("2:15892", "MDC", "QTc Fridericia", "415", "ms"),
        measured("2:16132", "MDC", "QRS axis", "29999", "deg"),
        said,
    ]
    found = recordings_of(ecg_copy := copy.deepcopy(dataset))[0]
    assert ecg_copy is not None
    values = found.values
    assert (values.heart_rate_bpm, values.pr_ms, values.qrs_ms, values.qt_ms) == (72, 160, 96, 400)
    assert (values.qtc_ms, values.qtc_formula) == (415, "fridericia")
    assert values.axis_qrs_deg is None
    assert "device_value_implausible:axis_qrs_deg" in found.problems
    assert values.statements == ("窦性心律",)
    wired = read_recordings(written(dataset))[0]
    assert wired.values == values


def test_statements_in_gb18030_under_no_label_are_read():
    dataset = ecg(group(ramp(1000)))
    said = Dataset()
    said.add_new(0x00700006, "ST", "x" * 12)
    dataset.WaveformAnnotationSequence = [said]
    data = written(dataset).replace(b"x" * 12, "窦性心律不齐".encode("gb18030"))
    assert read_recordings(data)[0].values.statements == ("窦性心律不齐",)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Lead I (Einthoven)", "I"),
        ("Lead aVR", "aVR"),
        ("aVF, augmented voltage, foot", "aVF"),
        ("MDC_ECG_LEAD_V6", "V6"),
        ("v4r", "V4R"),
        ("II", "II"),
        ("Invasive pressure", None),
        ("", None),
    ],
)
def test_lead_names_in_words(text, name):
    assert codes.lead_by_text(text) == name


@pytest.mark.parametrize(
    ("scheme", "value", "name"),
    [
        ("MDC", "2:1", "I"),
        ("MDC", "131073", "I"),
        ("MDC", "2:64", "aVF"),
        ("SCPECG", "5.6.3-9-61", "III"),
        ("SCPECG", "5.6.3-9-x", None),
        ("DCM", "2:1", None),
        ("MDC", "2:9999", None),
    ],
)
def test_lead_names_by_code(scheme, value, name):
    assert codes.lead_by_code(scheme, value) == name


def test_a_deflated_object_of_the_field_is_read(shared_data):
    path = shared_data / "dicom/cornerstonejs+dicomParser/deflate_wave_dfl"
    if not path.is_file():
        pytest.skip("no deflated waveform in the shared data")
    found = read_recordings(path.read_bytes())[0]
    assert (found.sampling_hz, found.seconds, found.values.heart_rate_bpm) == (240, 10, 69)
