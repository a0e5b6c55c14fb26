"""Is one millivolt ten millimetres and one second twenty-five on the screen itself?

A square wave of 1 mV and 1 s stands in lead II; it is measured in the pixels of a screenshot,
against the grid that is drawn there.
"""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from sample_studies.make import ecg
from sample_studies.person import DING, Visit
from tests.recovery.house import CART

pytestmark = pytest.mark.browser

MICROVOLT_PER_BIT = 2.5
WITHIN = 0.005


def square_wave():
    """A 12-lead ECG whose lead II changes between 0 and 1 mV every half second."""
    dataset = ecg(DING, visit=Visit(accession="SCALE"))
    group = dataset.WaveformSequence[0]
    samples = np.zeros((group.NumberOfWaveformSamples, group.NumberOfWaveformChannels), "<i2")
    half = int(group.SamplingFrequency) // 2
    high = (np.arange(len(samples)) // half) % 2 == 1
    samples[high, 1] = 1000 / MICROVOLT_PER_BIT
    group.WaveformData = samples.tobytes()
    return dataset


def centres(profile, least):
    """Centroids of the runs in which a profile is at least `least`."""
    found, run = [], []
    for at, value in enumerate([*profile, 0]):
        if value >= least:
            run.append((at, value))
        elif run:
            weights = sum(weight for _, weight in run)
            found.append(sum(place * weight for place, weight in run) / weights)
            run = []
    return np.array(found)


def test_the_sheet_is_true_to_scale(desk, sends):
    reader = desk("ma", scale=2)
    sends(CART, [square_wave()])
    reader.open_case("Ding Yangli", "ECG")
    reader.painted()
    sheet = reader.page.get_by_test_id("ecg-sheet")
    expect(sheet).to_have_attribute("data-mm-per-s", "25")
    picture = Image.open(io.BytesIO(sheet.screenshot())).convert("L")
    pixels = np.asarray(picture, float)
    said = float(sheet.get_attribute("data-px-per-mm")) * 2

    # the grid: strong lines every 5 mm, seen where no trace runs
    quiet = np.median(pixels, axis=0)
    strength = quiet - quiet.min()
    lines = centres(strength, 0.7 * strength.max())
    pitch = np.median(np.diff(lines))
    assert pitch == pytest.approx(5 * said, rel=WITHIN)
    pitch = (lines[-1] - lines[0]) / round((lines[-1] - lines[0]) / pitch)
    millimetre = pitch / 5

    # the rhythm strip is the lowest quarter; its label and pulse stand left of the trace
    strip = pixels[int(pixels.shape[0] * 0.76) :, int(20 * millimetre) :]
    trace = np.where(strip > 150, strip, 0)
    edges = centres((trace > 0).sum(axis=0), 8 * millimetre)
    assert len(edges) >= 15
    assert np.diff(edges).mean() / millimetre == pytest.approx(12.5, rel=WITHIN)
    levels = centres(trace.sum(axis=1), trace.sum(axis=1).max() / 2)
    assert len(levels) == 2
    assert np.diff(levels)[0] / millimetre == pytest.approx(10, rel=WITHIN)
