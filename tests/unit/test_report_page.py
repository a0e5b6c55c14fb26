"""Does the printed report say what it must, to scale, with every character?"""

import dataclasses
import hashlib
import io
import re
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from pyhanko.pdf_utils.reader import PdfFileReader

from tests.unit.report_cases import ECG, KEY_IMAGE, MARKER, SIGNED_AT, content, sheet_svg
from viewers.report.content import (
    ContentInvalid,
    EcgSheet,
    KeyImage,
    Patient,
    Replacement,
    ReportContent,
    canonical_json,
    content_digest,
)
from viewers.report.page import FontMissing, MissingGlyph, report_pdf
from viewers.report.pictures import PictureRefused
from viewers.report.words import MARKS, RESULTS, TITLES


def poppler(*command: str, pdf: bytes, folder: Path) -> str:
    path = folder / "report.pdf"
    path.write_bytes(pdf)
    words = [str(path) if word == "PDF" else word for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def text_of(pdf: bytes, folder: Path) -> str:
    """The words on the pages; places to break and line ends aside."""
    text = poppler("pdftotext", "-layout", "PDF", "-", pdf=pdf, folder=folder)
    return text.replace("\u200b", "")


def attached(pdf: bytes) -> dict[str, bytes]:
    root = PdfFileReader(io.BytesIO(pdf)).root
    names = root["/Names"]["/EmbeddedFiles"]["/Names"]
    return {
        str(names[i]): names[i + 1].get_object()["/EF"]["/F"].data for i in range(0, len(names), 2)
    }


def replacement(**changes: Any) -> Replacement:
    values: dict[str, Any] = {
        "kind": "correction",
        "version": 1,
        "signed_at": SIGNED_AT,
        "signed_by": "周敏",
        "reason": "左右导联标注有误",
    }
    return Replacement(**{**values, **changes})


# --- what stands on the pages -----------------------------------------------------------------


@pytest.mark.poppler
def test_every_part_of_the_content_is_on_paper(tmp_path):
    text = text_of(report_pdf(content(pictures=(ECG,))), tmp_path)

    for words in (
        "原州区人民医院",
        "Yuanzhou District People's Hospital",
        "张易镇中心卫生院",
        "远程心电图报告",
        "Remote ECG report",
        "丁建国",
        "Ding Jianguo",
        "ZY-20931",
        "67 岁",
        "1959-03-14",
        "RC20261123000123",
        "常规 12 导联心电图",
        "ECG-1200",
        "苏婉",
        "2026-11-23 14:24",
        "窦性心律，心率 72 次/分。",
        "急性下壁心肌梗死可能",
        "Suspected inferior infarction",
        "异常",
        "Abnormal",
        "周敏",
        "主治医师",
        "110640127000815",
        "2026-11-23 14:29:08 (UTC+08:00)",
        "0954 203 4417",
        "8F3K-22QD",
        "https://reports.example.org/verify/8F3K22QD",
        "25 mm/s",
        "10 mm/mV",
        "0.05–150 Hz",
        "第 1 / 2 页",
        "Version 1",
    ):
        assert words in text, words


@pytest.mark.poppler
@pytest.mark.parametrize("kind", TITLES)
@pytest.mark.parametrize("result", RESULTS)
def test_kind_and_result_are_named_in_both_languages(kind, result, tmp_path):
    text = text_of(report_pdf(content(kind=kind, result=result)), tmp_path)

    for words in (*TITLES[kind], *RESULTS[result]):
        assert words in text


@pytest.mark.poppler
def test_marks_are_told_and_a_missing_id_is_named(tmp_path):
    nameless = Patient(name="无名氏")
    text = text_of(report_pdf(content(marks=tuple(MARKS), patient=nameless)), tmp_path)

    joined = re.sub(r"\s+", "", text)
    for zh, en in MARKS.values():
        assert re.sub(r"\s+", "", zh) in joined
        assert re.sub(r"\s+", "", en) in joined
    assert "无 None" in text


@pytest.mark.poppler
def test_a_critical_result_stands_red_with_the_number_to_call(tmp_path):
    critical = report_pdf(content(result="critical"))
    normal = report_pdf(content(result="normal"))

    def red_share(pdf: bytes) -> float:
        poppler(
            "pdftoppm", "-r", "40", "-png", "PDF", str(tmp_path / "p"), pdf=pdf, folder=tmp_path
        )
        picture = Image.open(tmp_path / "p-1.png").convert("RGB")
        pixels = list(picture.get_flattened_data())
        return sum(r > 150 and g < 60 and b < 60 for r, g, b in pixels) / len(pixels)

    assert red_share(critical) > 0.03
    assert red_share(normal) == 0
    text = text_of(critical, tmp_path)
    assert text.count("0954 203 4417") == 2
    assert "请立即回电" in text


@pytest.mark.poppler
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("correction", ("更正报告：取代第 1 版", "Corrected report: replaces version 1")),
        ("addendum", ("补充报告：补充第 1 版", "Addendum to version 1")),
        ("withdrawal", ("撤销声明：第 1 版作废", "must not be used")),
    ],
)
def test_a_replacement_says_what_it_replaces_and_why(kind, words, tmp_path):
    text = text_of(report_pdf(content(version=2, replaces=replacement(kind=kind))), tmp_path)

    for expected in (*words, "左右导联标注有误", "2026-11-23 14:29:08", "Version 2"):
        assert expected in text


def test_a_replacement_carries_the_signed_original_byte_for_byte():
    original = b"%PDF-1.7 as it was signed \x00\xff"
    digest = hashlib.sha256(original).hexdigest()
    pdf = report_pdf(content(version=2, replaces=replacement(original=original, sha256=digest)))

    assert attached(pdf)["report-version-1.pdf"] == original


@pytest.mark.poppler
def test_long_findings_flow_over_pages_and_each_page_says_whose_it_is(tmp_path):
    findings = "\n".join(f"第 {i} 行：右肺下叶背段见斑片状高密度影。" for i in range(1, 121))
    pages = text_of(report_pdf(content(kind="CT", findings=findings)), tmp_path).split("\f")[:-1]

    assert len(pages) >= 3
    for number, page in enumerate(pages, 1):
        assert "丁建国" in page
        assert "ZY-20931" in page
        assert "RC20261123000123" in page
        assert f"第 {number} / {len(pages)} 页" in page
    assert all(f"第 {i} 行" in "".join(pages) for i in range(1, 121))


@pytest.mark.poppler
def test_no_word_leaves_the_page(tmp_path):
    """A run of letters wider than the page is broken, not lost at the edge."""
    pdf = report_pdf(content(findings="x" * 500, patient=Patient(name="名" * 60, id="A" * 64)))
    boxes = poppler("pdftotext", "-bbox", "PDF", "-", pdf=pdf, folder=tmp_path)

    for name, limit in (("xMax", 595.3 - 30), ("yMax", 841.9 - 10)):
        assert max(map(float, re.findall(f'{name}="([0-9.]+)"', boxes))) < limit
    assert text_of(pdf, tmp_path).count("x") >= 500


@pytest.mark.poppler
def test_what_a_person_typed_is_never_layout(tmp_path):
    typed = '#panic("x") *bold* $x^2$ [a](b) \\ // <tag> @ref = title ` " \' {{}} %s'
    text = text_of(report_pdf(content(findings=typed, impression=typed)), tmp_path)

    assert re.sub(r"\s", "", text).count(re.sub(r"\s", "", typed)) == 2


# --- characters -------------------------------------------------------------------------------


@pytest.mark.poppler
def test_all_fonts_are_embedded(tmp_path):
    table = poppler(
        "pdffonts", "PDF", pdf=report_pdf(content(pictures=(ECG,))), folder=tmp_path
    ).splitlines()[2:]

    assert len(table) >= 2
    for line in table:
        assert "NotoSans" in line
        assert re.search(r"Identity-H\s+yes yes yes", line), line


@pytest.mark.parametrize(
    ("character", "code"),
    [("😀", "U+1F600"), ("\x07", "U+0007"), ("\u202e", "U+202E"), ("\ue123", "U+E123")],
)
def test_a_character_that_cannot_be_printed_is_named(character, code):
    with pytest.raises(MissingGlyph) as caught:
        report_pdf(content(impression=f"正常{character}心电图"))

    assert caught.value.character == character
    assert caught.value.field == "impression"
    assert code in str(caught.value)


def test_a_missing_glyph_in_the_patients_name_names_that_field():
    with pytest.raises(MissingGlyph) as caught:
        report_pdf(content(patient=Patient(name="丁🧠国")))

    assert (caught.value.character, caught.value.field) == ("🧠", "patient.name")


@pytest.mark.poppler
@pytest.mark.cjk_fonts
def test_a_rare_character_comes_from_the_machines_fonts(tmp_path):
    pdf = report_pdf(content(patient=Patient(name="丁𠮷国")))

    assert "丁𠮷国" in text_of(pdf, tmp_path)


def test_without_fonts_the_reason_is_clear(tmp_path):
    with pytest.raises(FontMissing, match="Noto Sans SC"):
        report_pdf(content(), fonts=tmp_path, rare_fonts=None)


# --- scale ------------------------------------------------------------------------------------


def drawn_lengths_mm(svg: str, colour: tuple[float, float, float]) -> list[tuple[float, float]]:
    """Width and height in mm of each path stroked in `colour`, its matrix applied."""
    found = []
    for path in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path"):
        style = path.get("style", "") + "stroke:" + path.get("stroke", "")
        stroke = re.search(r"stroke:rgb\(([^)]*)\)", style)
        shares = [float(share) for share in re.findall(r"([0-9.]+)%", stroke[1] if stroke else "")]
        if len(shares) != 3 or any(abs(a - b) > 0.5 for a, b in zip(shares, colour, strict=True)):
            continue
        a, b, c, d, _, _ = (
            float(n) for n in re.findall(r"-?[0-9.]+", path.get("transform", "matrix(1,0,0,1,0,0)"))
        )
        numbers = [float(n) for n in re.findall(r"-?[0-9.]+", path.get("d", ""))]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        xs = [a * x + c * y for x, y in points]
        ys = [b * x + d * y for x, y in points]
        found.append(tuple((max(v) - min(v)) * 25.4 / 72 for v in (xs, ys)))
    return found


@pytest.mark.poppler
@pytest.mark.parametrize(("width", "height"), [(250, 115), (250, 146), (281, 130)])
def test_a_sheet_is_printed_in_the_millimetres_it_was_drawn_in(width, height, tmp_path):
    """200 mm across are 8 s at 25 mm/s, 100 mm down are 10 mV at 10 mm/mV."""
    pdf = report_pdf(content(pictures=(EcgSheet(svg=sheet_svg(width, height)),)))
    out = tmp_path / "page.svg"
    pages = ("-noshrink", "-nocenter", "-f", "2", "-l", "2")
    poppler("pdftocairo", "-svg", *pages, "PDF", str(out), pdf=pdf, folder=tmp_path)
    red, green, blue = (int(MARKER[i : i + 2], 16) / 2.55 for i in (1, 3, 5))

    (across, _), (_, down) = drawn_lengths_mm(out.read_text(), (red, green, blue))
    assert across == pytest.approx(200, rel=0.0002)
    assert down == pytest.approx(100, rel=0.0002)
    info = poppler("pdfinfo", "-f", "1", "-l", "9", "PDF", pdf=pdf, folder=tmp_path)
    assert re.search(r"Pages: +2\n", info)
    assert re.search(r"Page +2 size: +841\.\d+ x 595\.\d+ pts", info)


def test_viewers_are_asked_not_to_shrink_the_pages():
    root = PdfFileReader(io.BytesIO(report_pdf(content(pictures=(ECG,))))).root

    assert root["/ViewerPreferences"]["/PrintScaling"] == "/None"


@pytest.mark.parametrize(
    "svg",
    [
        sheet_svg(282, 115),
        sheet_svg(250, 147),
        sheet_svg().replace('width="250mm"', 'width="250px"'),
        sheet_svg().replace('viewBox="0 0 250 115"', 'viewBox="0 0 250 100"'),
        sheet_svg().replace("</svg>", ""),
        "<!DOCTYPE svg>" + sheet_svg(),
    ],
    ids=["too wide", "too high", "not mm", "other shape", "broken", "document type"],
)
def test_a_sheet_that_cannot_be_true_to_scale_is_refused(svg):
    with pytest.raises(PictureRefused):
        report_pdf(content(pictures=(EcgSheet(svg=svg),)))


# --- pictures and form ------------------------------------------------------------------------


@pytest.mark.poppler
def test_key_images_are_printed_with_their_words(tmp_path):
    pdf = report_pdf(content(kind="CT", pictures=(KEY_IMAGE, KEY_IMAGE)))
    listed = poppler("pdfimages", "-list", "PDF", pdf=pdf, folder=tmp_path)

    assert len(re.findall(r" image +256 +256 ", listed)) >= 1
    assert text_of(pdf, tmp_path).count("序列 3，图像 52") == 2


@pytest.mark.poppler
def test_a_report_with_a_key_image_fits_one_page_with_the_signature(tmp_path):
    pdf = report_pdf(content(kind="CT", pictures=(KEY_IMAGE,)))

    assert text_of(pdf, tmp_path).count("\f") == 1


@pytest.mark.parametrize("png", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_key_image_that_is_no_png_is_refused(png):
    with pytest.raises(PictureRefused):
        report_pdf(content(pictures=(KeyImage(png=png),)))


def test_it_is_pdf_a_3b_with_its_content_attached():
    report = content()
    pdf = report_pdf(report)
    root = PdfFileReader(io.BytesIO(pdf)).root
    packet = root["/Metadata"].data.decode()

    assert pdf.startswith(b"%PDF-1.7")
    assert "/Version" not in root
    assert "<pdfaid:part>3</pdfaid:part>" in packet
    assert "<pdfaid:conformance>B</pdfaid:conformance>" in packet
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "zh-CN"
    assert attached(pdf)["report.json"] == canonical_json(report)


def test_the_same_content_gives_the_same_bytes():
    assert report_pdf(content(pictures=(ECG,))) == report_pdf(content(pictures=(ECG,)))
    assert report_pdf(content()) != report_pdf(content(impression="正常"))


# --- content ----------------------------------------------------------------------------------

CHANGES: dict[str, Any] = {
    "version": 2,
    "kind": "CT",
    "patient": Patient(name="丁建园"),
    "findings": "别的",
    "impression": "别的",
    "result": "normal",
    "signed_at": datetime.fromisoformat("2026-11-23T06:29:09Z"),
    "pictures": (KEY_IMAGE,),
    "instances": (),
    "marks": ("clock_off",),
    "call_back": "1",
}


@pytest.mark.parametrize("field", CHANGES)
def test_the_content_digest_changes_with_every_field(field):
    changed = dataclasses.replace(content(), **{field: CHANGES[field]})

    assert content_digest(changed) != content_digest(content())


def test_the_canonical_json_has_one_spelling_per_instant():
    elsewhere = datetime.fromisoformat("2026-11-23T14:29:08+08:00")
    report = canonical_json(content(signed_at=elsewhere, pictures=(ECG,)))

    assert report == canonical_json(content(pictures=(ECG,)))
    assert b'"signed_at":"2026-11-23T06:29:08Z"' in report
    assert b"<svg" not in report
    assert hashlib.sha256(ECG.svg.encode()).hexdigest().encode() in report


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"signed_at": datetime(2026, 11, 23)},  # noqa: DTZ001
        {"replaces": replacement(version=1)},
    ],
)
def test_content_that_contradicts_itself_is_refused(changes):
    with pytest.raises(ContentInvalid):
        content(**changes)


def test_an_original_of_another_digest_is_refused():
    with pytest.raises(ContentInvalid):
        replacement(original=b"x", sha256="0" * 64)


def test_report_content_is_frozen():
    assert dataclasses.fields(ReportContent)
    with pytest.raises(dataclasses.FrozenInstanceError):
        content().version = 3  # type: ignore[misc]
