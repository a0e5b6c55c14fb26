"""In which characters is this data set's text written, really?

Specific Character Set (0008,0005; PS3.3 C.12.1.1.2, PS3.5 section 6.1) says so, and devices often
leave it out or say ISO_IR 100 over GB18030. Where the bytes contradict the label, what they are is
found out and said.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

from storage.scan import Scan

# places whose bytes vote when the label is doubted
_VOTERS: Final = (
    *(
        0x00100010,
        0x00081030,
        0x0008103E,
        0x00080080,
        0x00080090,
        0x00081040,
        0x00181030,
        0x00081050,
    ),
    *(
        0x00081070,
        0x00081080,
        0x00180015,
        0x001021B0,
        0x00104000,
        0x00204000,
        0x00321032,
        0x00321030,
    ),
    *(0x00321060, 0x00420010, 0x00080050, 0x00100020, 0x00200010, 0x00401002),
)
_HIGH = re.compile(rb"[\x80-\xff]")
_ESCAPED = re.compile(rb"(\x1b[^\x1b]*)")
_ESC = b"\x1b"
_ASCII = "ascii"
_GB = "gb18030"  # the superset of GB2312 and GBK
_FAMILY = {"gbk": _GB, "gb2312": _GB, "iso_ir_58": _GB, "gb18030": _GB, "iso8859": _ASCII}
_TERMS = {_GB: "GB18030", "utf-8": "ISO_IR 192", "latin-1": "ISO_IR 100"}
# labels that are written wrongly often enough to be understood
_MISSPELT = {"UTF8": "utf-8", "UTF 8": "utf-8", "UNICODE": "utf-8", "GB2312": _GB, "GB 18030": _GB}
_JAPANESE = frozenset({"iso2022_jp", "iso2022_jp_2"})
_RESETS = re.compile(rb"[\\^=\r\n\f]")


@dataclass(frozen=True)
class Text:
    """The text of one data set (or item), decoded, without control characters, bounded."""

    scan: Scan
    decode: Callable[[bytes], str]
    character_set: tuple[str, ...]
    guessed: bool

    def line(self, tag: int, most: int = 256) -> str | None:
        """One value as a single line of at most `most` characters; None when absent or empty."""
        raw = self.scan.raw(tag, most * 4)
        return safe(self.decode(raw), most) or None if raw else None

    def block(self, tag: int, most: int = 4096) -> str | None:
        """A longer text (LT, ST, UT); its line breaks become spaces."""
        return self.line(tag, most)

    def person(self, tag: int) -> tuple[str, str, str]:
        """Alphabetic, ideographic and phonetic group of the first name (PS3.5 section 6.2.1)."""
        raw = self.scan.raw(tag, 2048)
        first = self.decode(raw).partition("\\")[0] if raw else ""
        groups = [safe(group, 256).rstrip("^ ") for group in first.split("=")]
        alphabetic, ideographic, phonetic = (*groups, "", "", "")[:3]
        return alphabetic, ideographic, phonetic

    def number(self, tag: int) -> float | None:
        """The first value of a DS or IS; None when it is not a sensible number."""
        try:
            value = float((self.line(tag, 64) or "").partition("\\")[0])
        except ValueError:
            return None
        return value if abs(value) < 1e12 else None  # also drops nan and infinity

    def integer(self, tag: int) -> int | None:
        """The first value of an IS that fits 32 bits."""
        value = self.number(tag)
        return int(value) if value is not None and abs(value) < 2**31 else None

    def short(self, tag: int) -> int | None:
        """A US value."""
        raw = self.scan.raw(tag, 2)
        if raw is None or len(raw) != 2:
            return None
        return int.from_bytes(raw, "little" if self.scan.coding.little else "big")


def text_of(scan: Scan, parent: Text | None = None) -> Text:
    """How to read a data set's text; an item without a label of its own follows its parent."""
    label = scan.raw(0x00080005, 256)
    if parent is not None and label is None:
        return Text(scan, parent.decode, parent.character_set, parent.guessed)
    terms = _terms(label or b"")
    encodings = [_encoding(term) for term in terms]
    values = [raw for tag in _VOTERS if (raw := scan.raw(tag, 16_384)) and _HIGH.search(raw)]
    actual = _really(encodings, values)
    if actual is None:
        return Text(scan, _decoder(encodings), terms, False)
    return Text(scan, _decoder([actual]), (_TERMS[actual],), True)


def safe(text: str, most: int) -> str:
    """The text as one bounded line, without control or direction-changing characters."""
    if not text.isprintable():
        text = "".join(_kept(character) for character in text)
    return text.strip()[:most].rstrip()


def _kept(character: str) -> str:
    if character in "\r\n\t\f\v\u2028\u2029\u3000\xa0":
        return " "
    return "" if unicodedata.category(character) in ("Cc", "Cf", "Cs") else character


# --- what the label says -----------------------------------------------------------------------


def _terms(label: bytes) -> tuple[str, ...]:
    """The defined terms as written, upper case, with the usual misspellings mended."""
    text = label.decode("ascii", "replace").strip("\0 ")
    terms = []
    for term in text.split("\\"):
        words = re.sub(r"[\s_-]+", " ", term.strip().upper())
        single = re.fullmatch(r"ISO ?IR ?(\d+)", words)
        several = re.fullmatch(r"ISO ?2022 ?IR ?(\d+)", words)
        if single:
            words = f"ISO_IR {single[1]}"
        elif several:
            words = f"ISO 2022 IR {several[1]}"
        terms.append(words)
    return tuple(terms) if any(terms) else ()


def _encoding(term: str) -> str | None:
    """Python's codec of a defined term, None for one that nobody knows."""
    codec = _MISSPELT.get(term) or python_encoding.get(term)
    if codec is None:
        return None
    codec = {"utf8": "utf-8", "latin_1": "latin-1"}.get(codec.lower(), codec.lower())
    return _FAMILY.get(codec, codec)


# --- what the bytes say ------------------------------------------------------------------------


def _really(encodings: list[str | None], values: list[bytes]) -> str | None:
    """The codec the bytes are in when the label cannot be right; None when it may be."""
    if not values or any(_ESC in value for value in values):
        return None
    said = (encodings[0] if encodings else None) or _ASCII
    as_utf8 = _decoded(values, "utf-8")
    if said in (_ASCII, "latin-1"):
        return _beyond_latin(encodings, said, values, as_utf8)
    if said == _GB and as_utf8 is not None and _all_chinese(as_utf8):
        return "utf-8"  # GB18030 would read it as nonsense; the reverse does not happen by chance
    if _all_decode(values, said):
        return None
    if as_utf8 is not None and _plausible(as_utf8):
        return "utf-8"
    return _GB if said != _GB and _is_chinese(values, strict=False) else None


def _beyond_latin(
    encodings: list[str | None], said: str, values: list[bytes], as_utf8: str | None
) -> str | None:
    """High bytes under no label, or under ISO_IR 100, which devices write by default."""
    if as_utf8 is not None and _plausible(as_utf8):
        return "utf-8"
    if _is_chinese(values, strict=True):
        return _GB
    return _guess_without_label(encodings, values) if said == _ASCII else None


def _guess_without_label(encodings: list[str | None], values: list[bytes]) -> str:
    """High bytes under no label: single accents are Latin-1, the rest is most likely Chinese."""
    likely = _GB in encodings[1:] or any(re.search(rb"[\x80-\xff]{2}", value) for value in values)
    return _GB if likely and _all_decode(values, _GB) else "latin-1"


def _all_decode(values: Iterable[bytes], codec: str) -> bool:
    return _decoded(values, codec) is not None


def _decoded(values: Iterable[bytes], codec: str) -> str | None:
    try:
        return "".join(value.decode(codec) for value in values)
    except (UnicodeDecodeError, LookupError):
        return None


def _plausible(text: str) -> bool:
    """Whether decoded text looks like something a person typed."""
    beyond = [character for character in text if character > "\x7f"]
    return all(unicodedata.category(character)[0] in "LNPSZ" for character in beyond)


def _all_chinese(text: str) -> bool:
    return all(_CHINESE_SIGNS.match(character) for character in text if character > "\x7f")


def _is_chinese(values: list[bytes], *, strict: bool) -> bool:
    """Whether bytes are GB18030 rather than accented Latin letters.

    `strict` where Latin-1 is possible and "Müller" or "Assunção" must stay what they are: the
    Chinese reading then needs pairs of two high bytes (GB2312 proper) or bytes that Latin-1 does
    not use, and more than single signs inside of Latin words.
    """
    text = _decoded(values, _GB)
    if text is None or not _all_chinese(text):
        return False
    if not strict:
        return True
    chinese = sum(character > "\x7f" for character in text)
    joined = b" ".join(values)
    pairs = sum(len(run) // 2 for run in re.findall(rb"[\xa1-\xfe]{2,}", joined))
    unused = re.search(rb"[\x80-\x9f]", joined) is not None
    apart = all(len(run) == 1 for run in _RUNS.findall(text)) and _BESIDE_LETTERS.search(text)
    return (unused or pairs * 2 >= chinese) and not apart


_RUNS = re.compile(r"[\u3400-\u9fff]+")
_BESIDE_LETTERS = re.compile(r"[A-Za-z][\u3400-\u9fff]|[\u3400-\u9fff][A-Za-z]")
_CHINESE_SIGNS = re.compile(
    r"[\u2010-\u22ff\u2460-\u25ff\u3000-\u303f\u3400-\u9fff\uff00-\uffef·×°±℃]"
)


# --- reading -----------------------------------------------------------------------------------


def _decoder(encodings: list[str | None]) -> Callable[[bytes], str]:
    """Bytes to text by these codecs; never fails: what nobody can read becomes a replacement."""
    known = [codec for codec in encodings if codec] or [_ASCII]
    first = known[0]

    def decode(raw: bytes) -> str:
        raw = raw.rstrip(b"\0 ")
        if _ESC in raw:
            return "".join(_fragment(part, first) for part in _ESCAPED.split(raw) if part)
        for codec in (first, "utf-8", _GB):
            with suppress(UnicodeDecodeError, LookupError):
                return raw.decode(codec)
        return raw.decode(_ASCII, "replace")

    return decode


def _fragment(part: bytes, first: str) -> str:
    """One stretch of code extension (PS3.5 section 6.1.2.5): escape sequence, then text in its set.

    At a delimiter the first set is in force again.
    """
    length = 4 if part.startswith((b"\x1b$(", b"\x1b$)")) else 3
    codec = CODES_TO_ENCODINGS.get(part[:length])
    if codec is None:
        return part.decode(first, "replace")
    if codec in _JAPANESE:
        return part.decode(codec, "replace")  # Python reads these escape sequences itself
    body = part[length:]
    reset = _RESETS.search(body)
    cut = reset.start() if reset else len(body)
    codec = _FAMILY.get(codec, codec)
    return body[:cut].decode(codec, "replace") + body[cut:].decode(first, "replace")
