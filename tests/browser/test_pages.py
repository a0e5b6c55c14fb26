"""Does every page fit its screen, name its controls in both languages and keep within its weight?

The pictures are kept in `test-results/pages` for eyes.
"""

import gzip
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from sample_studies.make import ct_series, ecg, radiograph
from sample_studies.person import BAI, DING, SHEN, YAN, Visit
from tests.recovery.house import CART, SCANNER

pytestmark = pytest.mark.browser

PICTURES = Path(__file__).resolve().parents[2] / "test-results" / "pages"
DESKS = {"1920": (1920, 1080), "1366": (1366, 768)}
PHONE = {"390": (390, 844)}
LANGUAGES = {"zh": "zh-CN", "en": "en-US"}
MUST_HAVE_NAMES = {"button", "link", "textbox", "searchbox", "combobox", "radio", "checkbox", "tab"}
CENTER_PAGE_BYTES = 200_000

# Text that is cut without an ellipsis, and pages that scroll sideways.
_CUT = """() => [...document.querySelectorAll('body *')].filter((e) =>
  e.children.length === 0 && e.textContent.trim() && e.scrollWidth > e.clientWidth + 1
  && getComputedStyle(e).overflowX === 'hidden' && getComputedStyle(e).textOverflow !== 'ellipsis'
  && e.clientWidth > 4).map((e) => e.textContent.trim().slice(0, 40))"""
_SIDEWAYS = "document.documentElement.scrollWidth > innerWidth"


@pytest.fixture(scope="module")
def day(house, browser, tmp_path_factory):
    """A few studies, one of them signed as critical, one as normal."""
    from tests.browser.hands import Desk, device_sends

    folder = tmp_path_factory.mktemp("day")
    device_sends(house, SCANNER, ct_series(DING, slices=6), folder / "ct", None)
    device_sends(house, SCANNER, [radiograph(SHEN)], folder / "dx", None)
    question = Visit(question="胸痛一小时 chest pain")
    stemi = ecg(YAN, "inferior_stemi", 88, qt_ms=370, visit=question)
    device_sends(house, CART, [stemi, ecg(BAI)], folder / "ecg", None)
    reader = Desk(browser, house, "ma")
    for patient, impression, result in (
        ("Yan Xugou", "急性下壁心肌梗死可能", 3),
        ("Bai Ceshi", "窦性心律 Sinus rhythm", 1),
    ):
        reader.open_case(patient, "ECG")
        reader.painted()
        reader.write("", impression, result)
        reader.sign()
        reader.to_worklist()
    expect(reader.row("Shen Moni")).to_be_visible()
    reader.close()


def look(desk, name, sizes=DESKS):
    """Take the picture at each size and ask what a careful eye would."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page, faults = desk.page, []
    for size, (width, height) in sizes.items():
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("document.fonts.ready")
        page.screenshot(path=PICTURES / f"{name}-{size}.png")
        if page.evaluate(_SIDEWAYS):
            faults.append(f"{name} at {size} scrolls sideways")
        faults += [f"{name} at {size} cuts {text!r}" for text in page.evaluate(_CUT)]
    tree = desk.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    for node in tree["nodes"]:
        role = node.get("role", {}).get("value")
        if node.get("ignored") or role not in MUST_HAVE_NAMES:
            continue
        if not node.get("name", {}).get("value", "").strip():
            faults.append(f"{name}: a {role} without a name")
    assert not faults, faults


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_readers_pages(desk, day, lang):
    reader = desk("zhou", lang=LANGUAGES[lang])
    page = reader.page
    names = {"zh": ("丁样例", "沈模拟"), "en": ("Ding Yangli", "Shen Moni")}[lang]
    expect(reader.row(names[0], "CT")).to_be_visible()
    look(reader, f"worklist-{lang}")
    page.keyboard.press("Shift+Slash")
    expect(page.get_by_test_id("help")).to_be_visible()
    look(reader, f"keys-{lang}")
    page.keyboard.press("Escape")
    for name, kind in zip(names, ("CT", "DX"), strict=True):
        reader.open_case(name, kind)
        reader.painted()
        look(reader, f"read-{kind.lower()}-{lang}")
        page.get_by_test_id("return").click()
        page.get_by_test_id("release").click()
        expect(page.get_by_test_id("sign")).to_have_count(0)
        page.goto(reader.house.address + "/worklist")
        expect(reader.row(name, kind)).to_be_visible()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_cardiologists_pages(desk, day, sends, lang):
    reader = desk("gao", lang=LANGUAGES[lang])
    sends(CART, [ecg(DING, rate=61 + len(lang), visit=Visit(accession=lang))])
    reader.open_case("丁样例" if lang == "zh" else "Ding Yangli", "ECG")
    reader.painted()
    look(reader, f"read-ecg-{lang}")
    reader.page.goto(reader.house.address + "/reports")
    expect(reader.page.get_by_test_id("person")).to_be_visible()
    look(reader, f"reports-{lang}")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_coordinators_board(desk, day, lang):
    coordinator = desk("li", lang=LANGUAGES[lang])
    expect(coordinator.page.get_by_test_id("figures")).to_be_visible()
    expect(coordinator.page.get_by_test_id("critical-slot")).to_contain_text("急性下壁")
    look(coordinator, f"board-{lang}")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_centers_pages(desk, day, lang):
    doctor = desk("su", lang=LANGUAGES[lang])
    page = doctor.page
    expect(page.get_by_test_id("critical-card")).to_be_visible()
    look(doctor, f"center-{lang}", DESKS | PHONE)
    call = page.get_by_test_id("call").bounding_box()
    assert call["y"] + call["height"] <= 844, "the call button needs scrolling on a phone"
    assert call["height"] >= 44
    page.set_viewport_size({"width": 1920, "height": 1080})
    page.get_by_test_id("case").filter(has_text="柏测试" if lang == "zh" else "Bai Ceshi").click()
    expect(page.get_by_test_id("report-pane").get_by_test_id("delivery")).to_be_visible()
    look(doctor, f"report-{lang}", DESKS | PHONE)


def test_a_center_page_weighs_little(desk, day, house):
    """Everything a center's browser fetches until its page stands, gzipped."""
    doctor = desk("su")
    page = doctor.page
    asked = set()
    page.on("request", lambda request: asked.add(request.url))
    page.reload()
    expect(page.get_by_test_id("day-title")).to_be_visible()
    weight = 0
    for url in sorted(asked):
        if url.startswith(house.address) and "/api/" not in url:
            weight += len(gzip.compress(httpx.get(url, trust_env=False).content))
    print(f"center page {weight / 1000:.0f} KB gzipped")
    assert 0 < weight <= CENTER_PAGE_BYTES


def test_the_sign_in_page(browser, house):
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    page = context.new_page()
    page.goto(house.address)
    page.locator("#user").fill("nobody")
    page.locator("#password").fill("wrong password")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("signin-says")).not_to_be_empty()
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / "signin-1366.png")
    assert page.url.rstrip("/") == house.address
    context.close()
