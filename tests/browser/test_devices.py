"""Can an engineer let a device in, mend it and see what it does, with hands and eyes alone?"""

import re
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect
from pynetdicom import AE

from tests.browser.test_pages import LANGUAGES, look
from tests.recovery.house import CART, CENTER, HOSPITAL, SCANNER, user_command

pytestmark = pytest.mark.browser

VERIFICATION = "1.2.840.10008.1.1"


@pytest.fixture(scope="module")
def engineer(house):
    """The account of somebody who may change devices."""
    words, given = user_command("adam", "admin", HOSPITAL)
    done = house.teleread(*words, given=given)
    assert done.returncode == 0, done.stderr
    return "adam"


@pytest.fixture
def page(desk, engineer):
    """The page of devices, as the engineer sees it."""
    return opened(desk(engineer))


def opened(sitting):
    sitting.page.get_by_role("link", name=re.compile("^(Devices|设备)$")).click()
    expect(row(sitting.page, CART)).to_be_visible()
    return sitting.page


def row(page, title):
    return page.locator(f"[role=option][data-title='{title}']")


def stranger(page, title):
    return page.locator(f"[data-testid=refused-row][data-calling='{title}']")


@contextmanager
def calling(house, title):
    ae = AE(ae_title=title)
    ae.add_requested_context(VERIFICATION)
    association = ae.associate("127.0.0.1", house.dicom_port, ae_title="TELEREAD")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def test_a_stranger_is_let_in_on_purpose_only(house, page):
    page.get_by_test_id("tab-refused").click()
    with calling(house, "NEW_CART") as association:
        assert not association.is_established
    line = stranger(page, "NEW_CART")
    expect(line).to_be_visible()  # by itself
    line.dblclick()
    panel = page.get_by_test_id("refused-panel")
    expect(panel).to_contain_text("NEW_CART")
    page.keyboard.press("Enter")
    form = page.get_by_test_id("device-form")
    expect(form.get_by_test_id("field-ae_title")).to_have_value("NEW_CART")
    expect(form.get_by_test_id("field-ae_title")).not_to_be_editable()
    with calling(house, "NEW_CART") as association:
        assert not association.is_established  # neither a click nor Enter has let it in

    page.keyboard.press("Control+Enter")
    expect(form).to_contain_text("Choose a site")
    expect(form.get_by_test_id("field-site")).to_be_focused()
    form.get_by_test_id("field-site").select_option(CENTER)
    form.get_by_test_id("keep-host").check()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_test_id("next")).to_contain_text("NEW_CART may call now")
    expect(row(page, "NEW_CART")).to_have_attribute("aria-selected", "true")
    expect(row(page, "NEW_CART")).to_contain_text("127.0.0.1")
    with calling(house, "NEW_CART") as association:
        assert association.is_established
    page.get_by_test_id("tab-refused").click()
    expect(stranger(page, "NEW_CART")).to_have_count(0)


def test_an_ignored_caller_leaves_the_list(house, page):
    with calling(house, "NOBODY"):
        pass
    page.get_by_test_id("tab-refused").click()
    stranger(page, "NOBODY").click()
    page.get_by_test_id("ignore").click()
    expect(page.get_by_test_id("says")).to_contain_text("NOBODY was cleared")
    expect(stranger(page, "NOBODY")).to_have_count(0)


def test_callers_do_not_push_the_row_under_the_pointer(house, page):
    page.get_by_test_id("tab-refused").click()
    with calling(house, "FIRST"):
        pass
    first = stranger(page, "FIRST")
    expect(first).to_be_visible()
    first.hover()
    before = first.bounding_box()
    with calling(house, "SECOND"):
        pass
    expect(page.get_by_test_id("says")).to_contain_text("new callers")
    assert first.bounding_box() == before
    expect(stranger(page, "SECOND")).to_have_count(0)
    page.keyboard.press("n")
    expect(stranger(page, "SECOND")).to_be_visible()


def test_a_device_is_entered_mended_and_taken_away_by_keyboard(house, page):
    page.keyboard.press("n")
    form = page.get_by_test_id("device-form")
    expect(form.get_by_test_id("field-site")).to_be_focused()
    form.get_by_test_id("field-site").select_option(CENTER)
    form.get_by_test_id("field-ae_title").fill("DX_1")
    form.get_by_test_id("field-port").fill("99999")
    page.keyboard.press("Enter")
    expect(form).to_contain_text("A number from 1 to 65535")
    expect(form.get_by_test_id("field-port")).to_be_focused()
    form.get_by_test_id("field-port").fill("104")
    expect(form).to_contain_text("A port needs an address")
    form.get_by_test_id("field-host").fill("192.0.2.9")
    page.keyboard.press("Enter")
    expect(row(page, "DX_1")).to_contain_text("192.0.2.9:104")

    page.keyboard.press("Enter")  # the hands are back on the list
    form.get_by_test_id("field-modality").fill("dx")
    page.keyboard.press("Control+Enter")
    expect(row(page, "DX_1")).to_contain_text("DX")
    expect(page.get_by_test_id("device-form")).to_have_count(0)

    page.get_by_test_id("device-remove").click()
    sure = page.get_by_test_id("remove-sure")
    expect(sure).to_contain_text("Remove DX_1")
    expect(sure.get_by_role("button", name="Keep it")).to_be_focused()
    page.get_by_test_id("remove-yes").click()
    expect(row(page, "DX_1")).to_have_count(0)
    page.get_by_test_id("undo").click()
    expect(row(page, "DX_1")).to_contain_text("192.0.2.9:104")
    listed = house.teleread("device", "list").stdout
    assert "DX_1" in listed


def test_the_server_says_what_the_form_cannot_know(page):
    page.keyboard.press("n")
    form = page.get_by_test_id("device-form")
    form.get_by_test_id("field-site").select_option(CENTER)
    form.get_by_test_id("field-ae_title").fill(CART)
    page.keyboard.press("Enter")
    expect(form).to_contain_text("must tell them apart")
    expect(form.get_by_test_id("field-ae_title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(form).to_have_count(0)


def test_who_is_on_the_line_is_seen_coming_and_going(house, page):
    page.keyboard.press("3")
    expect(page.get_by_test_id("empty")).to_contain_text("Nobody is on the line")
    with calling(house, SCANNER) as association:
        assert association.is_established
        expect(row(page, SCANNER)).to_contain_text("127.0.0.1")
        expect(page.get_by_test_id("counters")).to_contain_text("accepted")
    expect(row(page, SCANNER)).to_have_count(0)


def test_a_test_says_a_line_for_each_step(page):
    row(page, CART).click()
    page.keyboard.press("t")
    lines = page.get_by_test_id("test-lines")
    expect(lines.locator("li", has_text="Calling us")).to_have_attribute("data-ok", "true")
    expect(lines).to_contain_text(re.compile("All well|failed"))
    row(page, SCANNER).click()
    expect(lines.locator("[data-ok]")).to_have_count(0)  # nobody takes them for another device's


def test_a_coordinator_looks_on(desk):
    page = opened(desk("li"))
    row(page, CART).click()
    expect(page.get_by_test_id("device-panel")).to_contain_text(CART)
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    for gone in ("add-device", "device-change", "device-remove", "device-form"):
        expect(page.get_by_test_id(gone)).to_have_count(0)
    expect(page.get_by_test_id("device-test")).to_be_disabled()


def test_readers_have_no_such_page(desk):
    reader = desk("ma")
    expect(reader.page.get_by_role("link", name="Worklist")).to_be_visible()
    expect(reader.page.get_by_role("link", name="Devices")).to_have_count(0)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_pages_fit_and_name_their_controls(house, desk, engineer, lang):
    sitting = desk(engineer, lang=LANGUAGES[lang])
    page = opened(sitting)
    with calling(house, "VERYLONGTITLE_16"), calling(house, SCANNER):
        row(page, CART).click()
        look(sitting, f"devices-{lang}")
        page.keyboard.press("Enter")
        page.get_by_test_id("field-port").fill("99999")
        page.get_by_test_id("device-save").click()
        look(sitting, f"devices-change-{lang}")
        page.keyboard.press("Escape")
        page.get_by_test_id("tab-refused").click()
        stranger(page, "VERYLONGTITLE_16").click()
        look(sitting, f"devices-refused-{lang}")
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("keep-host")).to_be_visible()
        look(sitting, f"devices-admit-{lang}")
        page.keyboard.press("Escape")
        page.get_by_test_id("tab-open").click()
        expect(row(page, SCANNER)).to_be_visible()
        look(sitting, f"devices-open-{lang}")
    page.get_by_test_id("tab-outgoing").click()
    look(sitting, f"devices-outgoing-{lang}")
