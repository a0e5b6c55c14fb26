"""Does a signature cover what stood on the screen, when other content came under the same UID?"""

import copy
import io
import re
import sqlite3

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from sample_studies.documents import ecg_pdf
from sample_studies.ecg import Heart
from sample_studies.make import ct_series, ecg, ultrasound_loop
from sample_studies.person import BAI, DING, LUO, QIAO, SHEN
from tests.recovery.house import CART, OTHER_SCANNER, SCANNER

pytestmark = pytest.mark.browser

_BRIGHT = 1500  # stored value of the sample CT: 476 HU, white in every window of soft tissue


def as_white(dataset):
    """The same CT instance with other pixels."""
    other = copy.deepcopy(dataset)
    other.PixelData = np.full_like(dataset.pixel_array, _BRIGHT).tobytes()
    return other


def under_the_uids_of(dataset, other):
    """Another object that claims to be this one."""
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "AccessionNumber"):
        setattr(other, name, getattr(dataset, name))
    other.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return other


def asked(house, query, *values):
    """Rows of the running house's index."""
    database = sqlite3.connect(f"file:{house.data / 'index.sqlite'}?mode=ro", uri=True)
    try:
        return database.execute(query, values).fetchall()
    finally:
        database.close()


def digests(house, dataset):
    """Digests of the contents that came under the UID of an instance, in their order."""
    query = "select digest from instance where sop_uid = ? order by version"
    return [digest for (digest,) in asked(house, query, str(dataset.SOPInstanceUID))]


def signed_digests(house, dataset):
    """The digests of this instance in every signed report, in the order of signing."""
    query = (
        "select json_extract(pair.value, '$[1]') from report, json_each(report.instances) as pair"
        " where json_extract(pair.value, '$[0]') = ? order by report.signed_at"
    )
    return [digest for (digest,) in asked(house, query, str(dataset.SOPInstanceUID))]


def middle(locator):
    """Grey values of the middle of what stands on the screen there."""
    picture = Image.open(io.BytesIO(locator.screenshot())).convert("L")
    x, y = picture.width // 2, picture.height // 2
    return np.asarray(picture.crop((x - 100, y - 100, x + 100, y + 100)))


def see_what_came_late(reader):
    """The amber line stands; the hand is stopped until what came was painted and called seen."""
    expect(reader.page.get_by_test_id("late")).to_be_visible()
    reader.page.keyboard.press("Control+Enter")
    expect(reader.page.get_by_test_id("sign-box")).not_to_contain_text("Signed")
    reader.page.get_by_test_id("late-seen").click()
    expect(reader.page.get_by_test_id("late")).to_have_count(0)
    reader.painted()


def test_other_pixels_under_the_same_uid_are_painted_before_they_are_signed(desk, sends, house):
    reader = desk("zhou")
    slices = ct_series(BAI, slices=3, size=128)
    sends(SCANNER, slices)
    reader.open_case("Bai Ceshi", "CT")
    reader.painted()
    page = reader.page
    page.keyboard.press("ArrowDown")
    view = page.locator("[data-testid=viewport][data-kind=images]")
    expect(view).to_have_attribute("data-index", "1")
    page.keyboard.press("Digit2")  # a window of the reader's own
    window = view.get_attribute("data-window")
    shown = view.get_attribute("data-sop")
    dataset = next(one for one in slices if one.SOPInstanceUID == shown)
    (former,) = digests(house, dataset)
    expect(view).to_have_attribute("data-v", former[:16])
    before = middle(view)
    reader.write("", "无异常 Normal", 1)

    frames = []
    page.on("request", lambda one: frames.append(one.url) if "/frames/" in one.url else None)
    sends(SCANNER, [as_white(dataset)])
    expect(page.get_by_test_id("late")).to_be_visible()
    _, newer = digests(house, dataset)
    expect(view).to_have_attribute("data-v", newer[:16])
    assert view.get_attribute("data-index") == "1"  # the reader stays where he was
    assert view.get_attribute("data-window") == window
    after = middle(view)
    assert np.median(after) > 200
    assert abs(after.mean() - before.mean()) > 20
    see_what_came_late(reader)
    assert any(f"/versions/{newer[:16]}/frames/" in url for url in frames)
    assert not any(former[:16] in url for url in frames)
    reader.sign()
    assert signed_digests(house, dataset) == [newer]


def test_a_loop_that_comes_anew_is_shown_anew(desk, sends, house):
    reader = desk("zhou")
    loop = ultrasound_loop(QIAO, frames=6)
    sends(OTHER_SCANNER, [loop])
    reader.open_case("Qiao Yanshi", "US")
    reader.painted()
    view = reader.page.locator("[data-testid=viewport][data-kind=images]")
    expect(view).to_have_attribute("data-count", "6")
    reader.write("", "无异常 Normal", 1)
    sends(
        OTHER_SCANNER,
        [under_the_uids_of(loop, ultrasound_loop(QIAO, frames=4, photometric="RGB"))],
    )
    expect(view).to_have_attribute("data-count", "4")
    _, newer = digests(house, loop)
    expect(view).to_have_attribute("data-v", newer[:16])
    see_what_came_late(reader)
    reader.sign()
    assert signed_digests(house, loop) == [newer]


def test_an_ecg_that_comes_anew_is_drawn_anew(desk, sends, house):
    reader = desk("ma")
    first = ecg(SHEN, rate=60)
    sends(CART, [first])
    reader.open_case("Shen Moni", "ECG")
    reader.painted()
    sheet = reader.page.get_by_test_id("ecg-sheet")
    (former,) = digests(house, first)
    expect(sheet).to_have_attribute("data-v", former[:16])
    before = sheet.screenshot()
    reader.write("", "窦性心律 Sinus rhythm", 1)
    sends(CART, [under_the_uids_of(first, ecg(SHEN, rate=120))])
    expect(reader.page.get_by_test_id("late")).to_be_visible()
    _, newer = digests(house, first)
    expect(sheet).to_have_attribute("data-v", newer[:16])
    assert sheet.screenshot() != before
    see_what_came_late(reader)
    reader.sign()
    assert signed_digests(house, first) == [newer]


def test_a_document_that_comes_anew_is_opened_anew(desk, sends, house):
    reader = desk("ma")
    first = ecg_pdf(LUO)
    sends(CART, [first])
    reader.open_case("Luo Jiashe", "ECG")
    reader.painted()
    frame = reader.page.locator("[data-testid=viewport][data-kind=pdf] iframe")
    (former,) = digests(house, first)
    expect(frame).to_have_attribute("src", re.compile(rf"\?v={former[:16]}#"))
    reader.write("", "窦性心律 Sinus rhythm", 1)
    sends(CART, [under_the_uids_of(first, ecg_pdf(LUO, heart=Heart(rate=120)))])
    expect(reader.page.get_by_test_id("late")).to_be_visible()
    _, newer = digests(house, first)
    expect(frame).to_have_attribute("src", re.compile(rf"\?v={newer[:16]}#"))
    see_what_came_late(reader)
    reader.sign()
    assert signed_digests(house, first) == [newer]


def test_a_case_opened_again_fetches_no_picture_again(desk, sends):
    reader = desk("zhou")
    sends(SCANNER, ct_series(DING, slices=20, size=256))
    fetched, answered = [], []
    network = reader.context.new_cdp_session(reader.page)
    network.send("Network.enable")

    def heard(event):
        answer = event["response"]
        if re.search(r"/frames/|/thumbnail", answer["url"]):
            answered.append(answer["url"])
            if not answer.get("fromDiskCache"):
                fetched.append(answer["url"])

    network.on("Network.responseReceived", heard)
    reader.open_case("Ding Yangli", "CT")
    reader.painted()
    pictures = set(answered)
    assert len([url for url in pictures if "/frames/" in url]) == 20
    assert len(fetched) == len(pictures)
    reader.to_worklist()
    fetched.clear()
    answered.clear()
    reader.open_case("Ding Yangli", "CT")
    reader.painted()
    assert {url for url in answered if "/frames/" in url} == {
        url for url in pictures if "/frames/" in url
    }
    assert fetched == []
