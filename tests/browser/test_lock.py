"""Does a locked screen say that a critical result waits, and never of whom?"""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from sample_studies.make import ecg
from sample_studies.person import DING, LUO, YAN
from tests.recovery.house import CART, PASSWORD, until

pytestmark = pytest.mark.browser

PICTURES = Path(__file__).resolve().parents[2] / "test-results" / "pages"
FINDING = "急性下壁心肌梗死可能"
# what the page asks while it is locked would be refused: it asks nothing
REFUSED = (
    "() => performance.getEntriesByType('resource').filter((e) => e.responseStatus === 423).length"
)


COUNT_TONES = """() => {
  const make = AudioContext.prototype.createOscillator;
  window.tones = 0;
  AudioContext.prototype.createOscillator = function () {
    window.tones += 1;
    return make.call(this);
  };
}"""


def lock(desk):
    desk.page.keyboard.press("Shift+L")
    expect(desk.page.get_by_test_id("lock")).to_be_visible()


def unlock(desk):
    desk.page.locator("#password").fill(PASSWORD)
    desk.page.keyboard.press("Enter")
    expect(desk.page.get_by_test_id("lock")).to_have_count(0)


def says_critical(reader, sends, patient, name):
    sends(CART, [ecg(patient, "inferior_stemi", 88, qt_ms=370)])
    reader.open_case(name, "ECG")
    reader.painted()
    reader.write("", FINDING, 3)
    reader.sign()
    reader.to_worklist()


def test_a_critical_result_stands_on_the_lock_screen_without_a_name(desk, sends):
    doctor, reader, other = desk("su"), desk("ma"), desk("zhou", lang="zh-CN")
    lock(doctor)
    lock(other)
    alert = doctor.page.get_by_test_id("lock-critical")
    expect(alert).to_have_text("")
    doctor.page.evaluate(COUNT_TONES)
    says_critical(reader, sends, YAN, "Yan Xugou")
    expect(alert).to_contain_text("1 critical result is waiting, unlock to see it")
    expect(alert).to_have_attribute("role", "alert")
    expect(alert.locator("svg")).not_to_have_count(0)
    page = doctor.page
    page.set_viewport_size({"width": 1366, "height": 768})
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / "lock-critical-en-1366.png")
    seen = page.locator("body").inner_text()
    for name in ("Yan Xugou", "闫虚构", FINDING):
        assert name not in seen
        assert name not in page.content(), "nor is it in the page beneath"
    expect(other.page.get_by_test_id("lock-critical")).to_have_text("")  # a reader has done it
    assert page.evaluate(REFUSED) == 0
    until(lambda: page.evaluate("tones") > 0, "the sound")
    unlock(doctor)
    card = page.get_by_test_id("critical-card")
    expect(card).to_contain_text("Yan Xugou")
    says_critical(reader, sends, DING, "Ding Yangli")  # the full stream is back
    expect(page.locator("main")).to_contain_text("Ding Yangli")


def test_a_page_loaded_behind_the_lock_says_it_too_and_an_ended_session_is_silent(
    desk, house, sends
):
    coordinator, reader = desk("li", lang="zh-CN"), desk("gao")
    says_critical(reader, sends, LUO, "Luo Jiashe")
    lock(coordinator)
    coordinator.page.reload()
    alert = coordinator.page.get_by_test_id("lock-critical")
    expect(alert).to_contain_text("条危急值等待确认，请解锁")
    coordinator.page.set_viewport_size({"width": 1366, "height": 768})
    coordinator.page.screenshot(path=PICTURES / "lock-critical-zh-1366.png")
    tab = coordinator.new_page("/")
    expect(tab.get_by_test_id("lock-critical")).to_contain_text("条危急值等待确认，请解锁")
    unlock(coordinator)
    expect(tab.get_by_test_id("lock")).to_have_count(0)
    expect(tab.get_by_test_id("critical-slot")).to_contain_text("危急值未确认")
    lock(coordinator)
    expect(tab.get_by_test_id("lock-critical")).to_contain_text("条危急值等待确认，请解锁")
    done = house.teleread("user", "password", "li", "--password-stdin", given=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    expect(alert).not_to_contain_text("危急值")
    unlock(coordinator)
