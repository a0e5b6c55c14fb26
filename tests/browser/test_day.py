"""Does a study come in from a center and go back as a signed report, in people's own hands?"""

import re
import subprocess
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from sample_studies.make import ct_series, ecg, ultrasound_loop
from sample_studies.person import BAI, DING, LUO, QIAO, SHEN, YAN, Visit
from tests.recovery.house import CART, OTHER_SCANNER, SCANNER

pytestmark = pytest.mark.browser


def test_a_ct_is_read_signed_opened_and_confirmed(desk, sends):
    reader = desk("zhou")
    expect(reader.page.get_by_test_id("live")).to_be_visible()
    sends(SCANNER, ct_series(DING, slices=24, visit=Visit(question="咳嗽两周 cough")))
    reader.open_case("Ding Yangli", "CT")
    page = reader.page
    patient = page.get_by_test_id("patient")
    expect(patient).to_contain_text("Ding Yangli")
    expect(patient).to_contain_text("SAMPLE-0001")
    expect(page.get_by_test_id("question")).to_contain_text("cough")
    reader.painted()

    slice_number = page.get_by_test_id("slice").first
    before = slice_number.inner_text()
    page.keyboard.press("ArrowDown")
    expect(slice_number).not_to_have_text(before)
    viewport = page.get_by_test_id("viewport").first
    lung = viewport.inner_text()
    page.keyboard.press("Digit2")
    expect(viewport).not_to_have_text(lung)

    reader.write(
        "右肺上叶结节，直径约 8 mm。Nodule in the right upper lobe.", "肺结节 Lung nodule", 2
    )
    reader.sign()

    doctor = desk("su")
    case = doctor.page.get_by_test_id("case").filter(has_text="Ding Yangli")
    expect(case).to_have_attribute("data-state", "report_ready")
    case.click()
    pane = doctor.page.get_by_test_id("report-pane")
    expect(pane.get_by_test_id("result")).to_contain_text("bnormal")
    pane.get_by_test_id("acknowledge").click()
    expect(case).to_have_attribute("data-state", "confirmed")
    expect(pane.get_by_test_id("delivery")).to_contain_text("su")

    other = desk("hai")
    expect(other.page.get_by_test_id("day-title")).to_be_visible()
    expect(other.page.get_by_text("Ding Yangli")).to_have_count(0)


def test_a_critical_ecg_stands_red_until_it_is_read_back(desk, sends):
    reader, doctor, coordinator = desk("ma"), desk("su"), desk("li")
    sends(CART, [ecg(YAN, "inferior_stemi", 88, qt_ms=370)])
    reader.open_case("Yan Xugou", "ECG")
    reader.painted()
    sheet = reader.page.get_by_test_id("ecg-sheet")
    leads = set((sheet.get_attribute("data-leads") or "").split())
    assert leads >= {"I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"}
    settings = reader.page.get_by_test_id("ecg-settings")
    expect(settings).to_contain_text("25 mm/s")
    expect(settings).to_contain_text("10 mm/mV")
    reader.write("II、III、aVF 导联 ST 段抬高。", "急性下壁心肌梗死可能", 3)
    reader.sign()

    card = doctor.page.get_by_test_id("critical-card")
    expect(card).to_contain_text("急性下壁心肌梗死可能")
    expect(card.get_by_test_id("call")).to_have_attribute("href", re.compile("^tel:0900"))
    expect(coordinator.page.get_by_test_id("critical-slot")).to_contain_text("Yan Xugou")

    for place, figure in enumerate("9999"):
        card.get_by_test_id(f"last-four-{place}").press(figure)
    card.get_by_text("急性下壁心肌梗死可能", exact=True).last.click()
    card.get_by_text("Here", exact=True).click()
    card.get_by_test_id("confirm-critical").click()
    expect(card.get_by_test_id("wrong-last_four")).to_be_visible()
    for place, figure in enumerate("0004"):
        card.get_by_test_id(f"last-four-{place}").press(figure)
    card.get_by_test_id("confirm-critical").click()
    expect(doctor.page.get_by_test_id("critical-card")).to_have_count(0)
    expect(coordinator.page.get_by_test_id("critical-slot")).not_to_contain_text("Yan Xugou")


def test_an_ultrasound_runs_as_a_loop(desk, sends):
    reader = desk("zhou")
    sends(OTHER_SCANNER, [ultrasound_loop(QIAO, frames=12)])
    reader.open_case("Qiao Yanshi", "US")
    reader.painted()
    cine = reader.page.get_by_test_id("cine")
    if cine.get_attribute("aria-pressed") == "false":  # a loop may begin by itself
        reader.page.keyboard.press("Space")
    expect(cine).to_have_attribute("aria-pressed", "true")
    frame = reader.page.get_by_test_id("slice").first
    expect(frame).not_to_have_text(frame.inner_text())
    reader.page.keyboard.press("Space")
    expect(cine).to_have_attribute("aria-pressed", "false")


def test_one_key_takes_a_signature_back_and_the_draft_is_there(desk, sends):
    reader = desk("gao")
    sends(CART, [ecg(LUO)])
    reader.open_case("Luo Jiashe", "ECG")
    reader.painted()
    reader.write("", "窦性心律 Sinus rhythm", 1)
    reader.sign()
    reader.page.keyboard.press("u")
    expect(reader.page.get_by_test_id("impression")).to_have_value("窦性心律 Sinus rhythm")
    expect(reader.page.get_by_test_id("sign")).to_be_visible()
    reader.painted()
    reader.saved()
    reader.sign()


def test_a_late_picture_stops_the_hand_until_it_is_seen(desk, sends):
    reader = desk("zhou")
    first, late = ct_series(BAI, slices=2, size=128, visit=Visit(accession="LATE"))
    sends(SCANNER, [first])
    reader.open_case("Bai Ceshi", "CT")
    reader.painted()
    reader.write("", "无异常 Normal", 1)
    sends(SCANNER, [late])
    expect(reader.page.get_by_test_id("late")).to_be_visible()
    reader.page.keyboard.press("Control+Enter")
    expect(reader.page.get_by_test_id("late")).to_be_visible()
    expect(reader.page.get_by_test_id("sign-box")).not_to_contain_text("Signed")
    reader.page.get_by_test_id("late-seen").click()  # it stands in the open series
    expect(reader.page.get_by_test_id("late")).to_have_count(0)
    reader.painted()
    reader.sign()


def test_a_held_key_signs_nothing_and_a_text_key_stays_in_the_text(desk, sends):
    reader = desk("ma")
    sends(CART, [ecg(SHEN)])
    page = reader.page
    row = reader.row("Shen Moni", "ECG")
    expect(row).to_be_visible()
    row.click()
    page.keyboard.press("Enter")
    page.keyboard.down("Control")
    page.keyboard.down("Enter")  # held from before the case was painted
    reader.painted()
    for _ in range(5):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    page.keyboard.up("Control")
    expect(page.get_by_test_id("sign")).to_be_visible()
    page.keyboard.press("r")
    expect(page.locator("textarea:focus")).to_have_count(1)
    page.get_by_test_id("findings").click()
    page.keyboard.type("nuclear")  # n, u, c, l, e, a, r are keys of the picture
    expect(page.get_by_test_id("findings")).to_have_value("nuclear")
    page.keyboard.press("Escape")
    page.get_by_test_id("return").click()
    page.get_by_test_id("release").click()


def test_two_windows_do_not_mix_patients(desk, sends):
    reader = desk("gao")
    one = replace(DING, patient_id="SAMPLE-8801", name="Jia^Chuang=甲^窗")
    two = replace(DING, patient_id="SAMPLE-8802", name="Yi^Chuang=乙^窗", sex="F")
    sends(CART, [ecg(one, rate=61), ecg(two, rate=93)])
    first, second = reader.page, reader.new_page("/worklist")
    written = {}
    for page, name, result in ((first, "Jia Chuang", 1), (second, "Yi Chuang", 2)):
        reader.page = page
        reader.open_case(name, "ECG")
        reader.painted()
        written[name] = f"{name} only"
        reader.write("", written[name], result)
    for page in (first, second):
        reader.page = page
        reader.sign()
    doctor = desk("su")
    for name, text in written.items():
        case = doctor.page.get_by_test_id("case").filter(has_text=name)
        expect(case).to_have_attribute("data-state", re.compile("report_ready|opened"))
        case.click()
        pane = doctor.page.get_by_test_id("report-pane")
        expect(pane.get_by_test_id("patient")).to_contain_text(name)
        pane.get_by_role("button", name="Text").click()
        expect(pane.get_by_test_id("report-text")).to_contain_text(text)


def test_the_public_page_tells_the_genuine_file_from_a_changed_one(desk, sends, house, tmp_path):
    reader = desk("ma")
    sends(CART, [ecg(replace(DING, patient_id="SAMPLE-7777", name="Ding^Erhao=丁^二号"))])
    reader.open_case("Ding Erhao", "ECG")
    reader.painted()
    reader.page.keyboard.press("n")
    reader.saved()
    reader.sign()
    doctor = desk("su")
    case = doctor.page.get_by_test_id("case").filter(has_text="Ding Erhao")
    expect(case).to_have_attribute("data-state", "report_ready")
    case.click()
    with doctor.context.expect_page() as opened:
        doctor.page.get_by_test_id("verify-link").click()
    public = opened.value
    expect(public.get_by_test_id("verdict")).to_have_attribute("data-state", "genuine")
    expect(public.locator("body")).not_to_contain_text("Erhao")

    reports = sorted(
        (house.data / "objects" / "report").rglob("*"), key=lambda one: one.stat().st_mtime
    )
    document = next(one for one in reversed(reports) if one.is_file()).read_bytes()
    genuine, changed = tmp_path / "genuine.pdf", tmp_path / "changed.pdf"
    genuine.write_bytes(document)
    middle = len(document) // 2
    changed.write_bytes(document[:middle] + bytes([document[middle] ^ 1]) + document[middle + 1 :])
    public.locator("input[type=file]").set_input_files(genuine)
    verdict = public.get_by_test_id("verdict")
    expect(verdict).to_have_attribute("data-of", "file")
    expect(verdict).to_have_attribute("data-state", "genuine")
    public.locator("input[type=file]").set_input_files(changed)
    expect(verdict).not_to_have_attribute("data-state", "genuine")

    said = house.teleread("report", "verify", str(genuine))
    assert said.returncode == 0, said.stderr
    assert "ma" in said.stdout
    assert house.teleread("report", "verify", str(changed)).returncode == 1
    listed = subprocess.run(["pdfsig", str(genuine)], capture_output=True, text=True, check=False)
    assert "Signature is Valid" in listed.stdout
