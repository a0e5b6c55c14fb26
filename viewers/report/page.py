"""How does a report look on paper?

`report_pdf` prints one `ReportContent` as A4 in PDF/A-3b: report on portrait pages, each ECG
sheet on a landscape page at true scale, every page with patient, accession number, version and
page number. Text reaches the template as JSON values, never as markup, so nothing a person typed
can become layout. All fonts are embedded; a character no font has is an error, never a gap.
"""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import typst
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

from viewers.report.content import (
    EcgSheet,
    KeyImage,
    Patient,
    Replacement,
    ReportContent,
    canonical_json,
    content_digest,
)
from viewers.report.pictures import key_image, qr_svg, sheet
from viewers.report.revision import Revision
from viewers.report.words import (
    AGE_UNITS,
    MARKS,
    REPLACEMENTS,
    RESULTS,
    SEXES,
    TITLES,
    Words,
)

FONTS = Path(__file__).with_name("fonts")
"""The packaged fonts: Noto Sans SC, regular and bold (SIL Open Font License)."""

RARE_FONTS = Path("/usr/share/fonts/opentype/noto")
"""Where Debian's fonts-noto-cjk lies: asked for glyphs the packaged fonts lack, when present."""

_FAMILIES = ("Noto Sans SC", "Noto Sans CJK SC")
_TEMPLATE = Path(__file__).parent / "templates" / "report.typ"
_BIDI_CONTROLS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LONG_RUN = 24
_FOOT_NAME, _FOOT_ID = 20, 24


class PageFailed(RuntimeError):
    """The page could not be made; a fault of the template or the pictures, not of the words."""


class FontMissing(PageFailed):
    """Neither the packaged folder nor the fallback holds Noto Sans SC (run `make install`)."""


class MissingGlyph(ValueError):
    """A character cannot be printed; `character` is it, `field` where it stands (None: unknown)."""

    def __init__(self, character: str, field: str | None) -> None:
        self.character, self.field = character, field
        name = " ".join(f"U+{ord(c):04X}" for c in character)
        shown = f" {character}" if character.isprintable() else ""
        super().__init__(
            f"the character {name}{shown} in {field or 'the report'} cannot be printed"
        )


def report_pdf(
    content: ReportContent, *, fonts: Path = FONTS, rare_fonts: Path | None = RARE_FONTS
) -> bytes:
    """Return `content` as an unsigned PDF/A-3b; the same content gives the same bytes.

    The canonical JSON of the content is attached (`report.json`), and with a replacement whose
    bytes are given also the earlier signed file, byte for byte. Safe to call from any thread.

    Args:
        content: what to print.
        fonts: folder with Noto Sans SC.
        rare_fonts: a folder asked for characters the first lacks; None for nowhere.

    Raises:
        MissingGlyph: a character no font has, a control character, or a direction override (it can
            make a printed line read otherwise than it was written).
        PictureRefused: a picture that cannot be printed as it is.
        FontMissing: no Noto Sans SC in either folder.
        PageFailed: anything else that typst refuses.
    """
    for field, text in _texts(content):
        _printable(field, text)
    try:
        pdf = typst.compile(
            _template(),
            format="pdf",
            font_paths=_fonts(fonts, rare_fonts),
            sys_inputs={"data": json.dumps(_page_data(content))},
            pdf_standards=["a-3b"],
            timestamp=content.signed_at.astimezone(UTC),
        )
    except typst.TypstError as error:
        raise _failure(content, error) from error
    if not isinstance(pdf, bytes):
        raise PageFailed("typst returned no document")
    return _printed_at_true_size(pdf, content)


# --- what the template is given ----------------------------------------------------------------


def _page_data(content: ReportContent) -> dict[str, Any]:
    """Return everything the template prints, already in words; see `templates/report.typ`."""
    zone = ZoneInfo(content.time_zone)
    digest = content_digest(content)
    return {
        "families": list(_FAMILIES),
        "title": TITLES[content.kind],
        "hospital": _institution(content.hospital),
        "center": _institution(content.center),
        "patient": _patient(content.patient),
        "rows": _rows(content, zone),
        "question": _lines(content.question or ""),
        "findings": _lines(content.findings),
        "impression": _lines(content.impression),
        "result": {"code": content.result, "words": RESULTS[content.result]},
        "critical": content.result == "critical",
        "withdrawal": content.replaces is not None and content.replaces.kind == "withdrawal",
        "marks": [MARKS[mark] for mark in content.marks],
        "replaces": content.replaces and _replacement(content.replaces, zone),
        "reader": _reader(content),
        "signed_at": _moment(content.signed_at, zone, seconds=True),
        "call_back": content.call_back,
        "qr": qr_svg(content.verify_url),
        "verify_url": _breakable(content.verify_url),
        "verify_code": content.verify_code,
        "version": content.version,
        "accession": content.study.accession or "",
        "digest": digest,
        "images": [key_image(p) for p in content.pictures if isinstance(p, KeyImage)],
        "sheets": [sheet(p) for p in content.pictures if isinstance(p, EcgSheet)],
        "instances_read": len(content.instances),
        "attachment": canonical_json(content).decode(),
        "when": [*content.signed_at.astimezone(UTC).timetuple()[:6]],
    }


def _institution(institution: Any) -> dict[str, str]:
    return {"name": institution.name, "en": institution.name_en or ""}


def _patient(patient: Patient) -> dict[str, Any]:
    sex = SEXES[patient.sex] if patient.sex else None
    return {
        "name": _breakable(patient.name),
        "latin": _breakable(patient.name_latin or ""),
        "sex": sex and Words(sex.zh, sex.en),
        "age": _age(patient.age),
        "id": _breakable(patient.id or ""),
        # The foot has room for one line; the head of the first page says both in full.
        "foot_name": _clipped(patient.name, _FOOT_NAME),
        "foot_id": _clipped(patient.id or "", _FOOT_ID),
    }


def _rows(content: ReportContent, zone: ZoneInfo) -> list[list[str]]:
    """Return label (zh, en) and value (and a second line) of each detail that is known."""
    study = content.study
    acquired = "记录时间" if content.kind == "ECG" else "检查时间"
    acquired_en = "Recorded" if content.kind == "ECG" else "Acquired"
    rows: list[tuple[str, str, str | None, str | None]] = [
        ("检查项目", "Study", study.description, ""),
        (acquired, acquired_en, _moment(study.acquired_at, zone), ""),
        ("检查号", "Accession", study.accession, ""),
        ("接收时间", "Received", _moment(study.received_at, zone), ""),
        ("送检机构", "From", content.center.name, content.center.name_en),
        ("机构电话", "Phone", content.center.phone, ""),
        ("申请医师", "Requester", content.requester, ""),
        ("设备", "Device", study.device, ""),
        ("出生日期", "Born", _date(content.patient.birth_date), ""),
    ]
    return [[zh, en, _breakable(value), more or ""] for zh, en, value, more in rows if value]


def _reader(content: ReportContent) -> dict[str, str]:
    reader = content.reader
    return {
        "name": _both(reader.display, reader.display_en),
        "title": reader.title or "",
        "licence": _breakable(reader.licence_number or ""),
    }


def _replacement(replaces: Replacement, zone: ZoneInfo) -> dict[str, Any]:
    words = REPLACEMENTS[replaces.kind]
    return {
        "zh": words.zh.format(version=replaces.version),
        "en": words.en.format(version=replaces.version),
        "signed_at": _moment(replaces.signed_at, zone, seconds=True),
        "signed_by": replaces.signed_by,
        "reason": _lines(replaces.reason),
        "sha256": replaces.sha256 or "",
        "version": replaces.version,
        # The template's data is text: bytes travel as numbers.
        "original": None if replaces.original is None else list(replaces.original),
    }


def _both(zh: str, en: str | None) -> str:
    return f"{zh}  {en}" if en and en != zh else zh


def _clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _age(age: str | None) -> list[str]:
    """Return a DICOM Age String in both languages ("058Y" → "58 岁", "58 y"); as sent when odd."""
    if not age:
        return []
    figure, unit = age[:-1], age[-1]
    if unit not in AGE_UNITS or not (figure.isascii() and figure.isdigit()):
        return [age, ""]
    words = AGE_UNITS[unit]
    return [f"{int(figure)} {words.zh}", f"{int(figure)} {words.en}"]


def _date(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def _moment(moment: datetime | None, zone: ZoneInfo, *, seconds: bool = False) -> str:
    """Return an instant as the clock on the wall showed it, with its distance from UTC if exact."""
    if moment is None:
        return ""
    local = moment.astimezone(zone)
    if not seconds:
        return local.strftime("%Y-%m-%d %H:%M")
    offset = local.strftime("%z")
    return f"{local:%Y-%m-%d %H:%M:%S} (UTC{offset[:3]}:{offset[3:5]})"


def _lines(text: str) -> list[str]:
    return [_breakable(line) for line in _normal(text).strip("\n").split("\n")] if text else []


def _normal(text: str) -> str:
    """Return `text` with one kind of line end and blanks in place of tabs."""
    for end in ("\r\n", "\r", "\u2028", "\u2029", "\x85"):
        text = text.replace(end, "\n")
    return text.replace("\t", "    ")


def _breakable(text: str) -> str:
    """Return `text` with invisible places to break in runs no line could hold.

    A run of 24 Latin characters without a blank would leave the page at the right edge, and words
    of a report would be lost. Chinese breaks anywhere by itself.
    """
    out, run = [], 0
    for character in text:
        run = 0 if character.isspace() or ord(character) >= 0x2E80 else run + 1
        out.append(character)
        if run == _LONG_RUN:
            out.append("\u200b")
            run = 0
    return "".join(out)


# --- characters ---------------------------------------------------------------------------------


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a content value with the name of its field."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(item, path)
    elif hasattr(value, "__dataclass_fields__"):
        for field in fields(value):
            if field.name != "svg":
                name = f"{path}.{field.name}" if path else field.name
                yield from _texts(getattr(value, field.name), name)


def _printable(field: str, text: str) -> None:
    for character in _normal(text):
        refused = unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn") and character != "\n"
        if refused or character in _BIDI_CONTROLS:
            raise MissingGlyph(character, field)


def _failure(content: ReportContent, error: typst.TypstError) -> Exception:
    """Translate typst's refusal; a missing glyph is told with its character and field.

    Source: typst's PDF/A export, 'the text "…" could not be displayed with font'.
    """
    head, _, rest = error.message.partition('the text `"')
    text, found, _ = rest.partition('"` could not be displayed')
    if not found:
        return PageFailed(head.split("\n")[0])
    character = _unescaped(text)
    field = next((name for name, value in _texts(content) if character in value), None)
    return MissingGlyph(character, field)


def _unescaped(text: str) -> str:
    if text.startswith("\\u{") and text.endswith("}"):
        return chr(int(text[3:-1], 16))
    return text


# --- the document -------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _template() -> bytes:
    return _TEMPLATE.read_bytes()


@lru_cache(maxsize=8)
def _fonts(fonts: Path, rare_fonts: Path | None) -> typst.Fonts:
    """Return the fonts of both folders, looked at once per process; never those of the system."""
    folders = [str(folder) for folder in (fonts, rare_fonts) if folder and folder.is_dir()]
    found = typst.Fonts(
        include_system_fonts=False, include_embedded_fonts=False, font_paths=folders
    )
    if not set(_FAMILIES) & set(found.families()):
        raise FontMissing(f"no Noto Sans SC in {' or '.join(folders) or fonts}")
    return found


def _printed_at_true_size(pdf: bytes, content: ReportContent) -> bytes:
    """Ask viewers not to shrink the pages (ISO 32000-1, 12.2, PrintScaling): 10 mm stay 10 mm."""
    writer: IncrementalPdfFileWriter = Revision(pdf, content_digest(content).encode())
    preferences = writer.root.setdefault(
        generic.pdf_name("/ViewerPreferences"), generic.DictionaryObject()
    )
    preferences[generic.pdf_name("/PrintScaling")] = generic.pdf_name("/None")
    preferences[generic.pdf_name("/DisplayDocTitle")] = generic.BooleanObject(True)
    writer.update_root()
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()
