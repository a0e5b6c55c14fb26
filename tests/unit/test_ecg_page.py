"""Is the drawn ECG true to scale, complete and safe to embed?"""

import base64
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from viewers.ecg.dicom import read_recordings
from viewers.ecg.page import caption, page_svg, preview_svg, trace_path
from viewers.ecg.recording import STANDARD_LEADS, Device, Filters, Lead, Recording
from viewers.ecg.wire import ecg_answer, ecg_value

SVG = "{http://www.w3.org/2000/svg}"


def recording(hz: float = 500, seconds: float = 10, **changes) -> Recording:
    """Twelve leads at rest with a 1 mV spike of one sample every second."""
    samples = np.zeros(int(hz * seconds), np.float32)
    samples[int(hz / 2) :: int(hz)] = 1000
    leads = tuple(Lead(name, samples.copy()) for name in STANDARD_LEADS)
    return replace(Recording(leads, hz, filters=Filters(0.05, 150)), **changes)


def points(path: str) -> np.ndarray:
    """Absolute coordinates of path data made of M, l and h commands."""
    out, at = [], np.zeros(2)
    for command, body in re.findall(r"([Mlhv])([^Mlhv]*)", path):
        numbers = [float(n) for n in re.findall(r"-?\d*\.?\d+", body)]
        if command == "M":
            at = np.array(numbers)
            out.append(at)
        elif command == "l":
            for step in np.reshape(numbers, (-1, 2)):
                at = at + step
                out.append(at)
        else:
            at = at + ([numbers[0], 0] if command == "h" else [0, numbers[0]])
            out.append(at)
    return np.array(out)


def traces(svg: str) -> list[tuple[str, np.ndarray]]:
    root = ElementTree.fromstring(svg)
    return [
        (path.get("data-lead", ""), points(path.get("d", "")))
        for path in root.iter(f"{SVG}path")
        if path.get("class") == "trace"
    ]


def peaks(line: np.ndarray) -> np.ndarray:
    return line[line[:, 1] < line[:, 1].max() - 5]


@pytest.mark.parametrize("hz", [240, 500, 1000, 8000])
def test_speed_and_gain_are_true_to_half_a_percent(hz):
    lines = traces(page_svg(recording(hz)))
    assert len(lines) == 13
    name, rhythm = lines[-1]
    assert name == "II"
    spikes = peaks(rhythm)
    assert len(spikes) == 10
    assert np.diff(spikes[:, 0]) == pytest.approx(25, rel=0.005)
    assert rhythm[:, 1].max() - spikes[:, 1] == pytest.approx(10, rel=0.005)
    assert np.ptp(rhythm[:, 0]) == pytest.approx(250, rel=0.005)


def test_columns_follow_each_other_in_time():
    lines = traces(page_svg(recording()))[:-1]
    first = {name: line[:, 0].min() for name, line in lines}
    assert (first["I"], first["aVR"], first["V1"], first["V4"]) == (0, 62.5, 125, 187.5)
    # One spike a second at 0.5, 1.5 …: the third column shows 5.5 s and 6.5 s.
    v1 = peaks(dict(lines)["V1"])
    assert v1[:2, 0] == pytest.approx([137.5, 162.5], abs=0.05)


def test_page_grid_and_calibration_pulse():
    root = ElementTree.fromstring(page_svg(recording()))
    assert (root.get("width"), root.get("viewBox")) == ("250mm", "0 0 250 115")
    paths = {path.get("class"): path.get("d", "") for path in root.iter(f"{SVG}path")}
    down = [float(x) for x in re.findall(r"M([\d.]+) 0V", paths["minor"])]
    assert np.diff(down) == pytest.approx(1)
    assert np.diff([float(x) for x in re.findall(r"M([\d.]+) 0V", paths["major"])]) == (
        pytest.approx(5)
    )
    pulse = points(paths["calibration"])
    assert np.ptp(pulse[:, 1]) == 10
    assert pulse[3, 0] - pulse[2, 0] == 5  # 0.2 s


def test_decimation_keeps_every_peak():
    rng = np.random.default_rng(3)
    samples = rng.normal(0, 100, 80_000).astype(np.float32)
    samples[12_345], samples[54_321] = 4000, -4000
    line = points(trace_path(Lead("II", samples), 8000, 0, 10, 0, 50))
    offset = float(np.median(samples))
    assert 50 - line[:, 1].min() == pytest.approx((4000 - offset) / 100, abs=0.01)
    assert line[:, 1].max() - 50 == pytest.approx((4000 + offset) / 100, abs=0.01)
    assert len(line) < 4 * 2500 + 2


def test_gaps_are_gaps_and_missing_leads_are_said():
    own = recording()
    broken = own.leads[1].samples_uv.copy()
    broken[1000:1500] = np.nan
    leads = (own.leads[0], Lead("II", broken), *own.leads[2:8], *own.leads[9:])
    svg = page_svg(replace(own, leads=leads, problems=("lead_missing:V3", "gaps:II")))
    assert "V3 not recorded" in svg
    assert "V3: not recorded" in svg
    drawn = dict(traces(svg))
    assert "V3" not in drawn
    assert trace_path(leads[1], 500, 0, 10, 0, 0).count("M") == 2
    empty = Lead("II", np.full(5000, np.nan, np.float32))
    assert trace_path(empty, 500, 0, 10, 0, 0) == ""


def test_a_trace_that_leaves_the_paper_is_said():
    own = recording()
    tall = Lead("V2", own.leads[7].samples_uv * 9)
    leads = (*own.leads[:7], tall, *own.leads[8:])
    assert "V2: leaves the paper" in page_svg(replace(own, leads=leads))
    assert "leaves the paper" not in page_svg(own)


def test_short_leads_are_drawn_from_their_own_start():
    own = recording(seconds=2.5)
    lines = dict(traces(page_svg(own))[:-1])
    assert np.ptp(lines["V4"][:, 0]) == pytest.approx(62.5, abs=0.2)


def test_words_of_the_page_and_foreign_text_is_made_harmless():
    own = recording(device=Device("<b>&\"'", "心电\x00图]]>"), problems=('lead_missing:<script>"',))
    assert caption(own).startswith("25 mm/s   10 mm/mV   0.05-150 Hz")
    assert "filter not stated" in caption(replace(own, filters=Filters()))
    for svg in (page_svg(own), preview_svg(own, dark=True)):
        ElementTree.fromstring(svg)
        assert "<script" not in svg
        assert svg.isascii()
        assert "Noto Sans SC" in svg


@pytest.mark.parametrize("dark", [True, False])
def test_preview_shows_three_leads(dark):
    svg = preview_svg(recording(), dark=dark)
    assert [name for name, _ in traces(svg)] == ["II", "V1", "V5"]
    assert "width=" not in svg.split(">")[0]


def test_an_empty_recording_still_makes_a_page():
    svg = page_svg(Recording((), 500))
    assert svg.count("not recorded") == 13
    preview_svg(Recording((), 500), dark=True)


def test_wire_value_is_as_agreed():
    data = Path(str(get_testdata_file("waveform_ecg.dcm", download=False))).read_bytes()
    answer = json.loads(json.dumps(ecg_answer(read_recordings(data, zone=UTC)), allow_nan=False))
    (value,) = answer["recordings"]
    assert set(value) == {
        "sop_uid", "acquired_at", "sampling_hz", "seconds", "leads", "filter", "device",
        "device_values", "problems",
    }  # fmt: skip
    assert value["acquired_at"] == "2013-01-25T10:59:19Z"
    assert value["device_values"]["axis_deg"] == {"p": 74, "qrs": 52, "t": 57}
    lead = value["leads"][0]
    samples = np.frombuffer(base64.b64decode(lead["samples_uv"]), "<f4")
    assert (lead["name"], samples.size) == ("I", 10_000)
    assert (lead["min_uv"], lead["max_uv"]) == (samples.min(), samples.max())


def test_wire_value_of_silence_has_no_numbers_json_lacks():
    nothing = Recording(
        (Lead("II", np.full(10, np.nan, np.float32)),),
        500,
        acquired_at=datetime(2026, 1, 1, tzinfo=UTC),
        filters=Filters(float("nan"), float("inf")),
    )
    value = ecg_value(nothing)
    json.dumps(value, allow_nan=False)
    assert value["leads"][0]["min_uv"] is None
    assert value["filter"] == {"low_hz": None, "high_hz": None, "notch_hz": None}
