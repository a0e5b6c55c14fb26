"""In which characters is this data set's text written, really?

Specific Character Set (0008,0005; PS3.3 C.12.1.1.2) says so, and devices often leave it out or say
ISO_IR 100 over GB18030. Where the bytes contradict the label, what they are is found out
(`worklist.script`) and said; how each set is written is in `worklist.characters`.
"""

import codecs
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from storage.scan import Scan
from worklist.characters import (
    Encoder,
    codec_of,
    decode,
    encoder,
    encoder_for,
    terms_of,
    values,
)
from worklist.script import Value, recognised

__all__ = [
    "Encoder",
    "Text",
    "decode",
    "encoder",
    "encoder_for",
    "safe",
    "terms_of",
    "text_of",
    "values",
]

# Names and other texts whose bytes vote when the label is doubted.
_NAMES: Final = (0x00100010, 0x00080090, 0x00081050, 0x00081070, 0x00321032)
_OTHERS: Final = (
    *(0x00081030, 0x0008103E, 0x00080080, 0x00081040, 0x00181030, 0x00081080, 0x00180015),
    *(0x001021B0, 0x00104000, 0x00204000, 0x00321030, 0x00321060, 0x00420010, 0x00080050),
    *(0x00100020, 0x00200010, 0x00401002),
)


@dataclass(frozen=True)
class Text:
    """The text of one data set (or item), decoded, without control characters, bounded.

    `character_set` are the terms it is read by; where they are `guessed`, `labelled` is what the
    data set says and `confidence` (0 to 1) how sure the guess is.
    """

    scan: Scan
    decode: Callable[[bytes, str], str]
    character_set: tuple[str, ...]
    guessed: bool
    labelled: tuple[str, ...] = ()
    confidence: float = 1.0

    def line(self, tag: int, most: int = 256) -> str | None:
        """One value as a single line of at most `most` characters; None when absent or empty."""
        raw = self.scan.raw(tag, most * 4)
        vr = "PN" if tag in _NAMES else "LO"
        return safe(self.decode(raw, vr), most) or None if raw else None

    def block(self, tag: int, most: int = 4096) -> str | None:
        """A longer text (LT, ST, UT); its line breaks become spaces."""
        return self.line(tag, most)

    def person(self, tag: int) -> tuple[str, str, str]:
        """Alphabetic, ideographic and phonetic group of the first name (PS3.5 section 6.2.1)."""
        raw = self.scan.raw(tag, 2048)
        first = self.decode(raw, "PN").partition("\\")[0] if raw else ""
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
    terms = terms_of(label)
    guess = recognised(_heard(scan), terms)
    if guess is None:
        return Text(scan, _decoder(terms), terms, False, terms)
    return Text(scan, _decoder((guess.term,)), (guess.term,), True, terms, guess.confidence)


def _heard(scan: Scan) -> list[Value]:
    """The values with bytes beyond ASCII, where the label is tested by."""
    found = []
    for tags, name in ((_NAMES, True), (_OTHERS, False)):
        for tag in tags:
            raw = scan.raw(tag, 1024)
            if raw is not None and not raw.isascii():
                found.append(Value(raw.rstrip(b"\0 "), name))
            elif raw is not None and b"\x1b" in raw:
                found.append(Value(raw, name))
    return found


def safe(text: str, most: int) -> str:
    """The text as one bounded line, without control or direction-changing characters."""
    if not text.isprintable():
        text = "".join(_kept(character) for character in text)
    return text.strip()[:most].rstrip()


def _kept(character: str) -> str:
    if character in "\r\n\t\f\v\u2028\u2029\u3000\xa0":
        return " "
    return "" if unicodedata.category(character) in ("Cc", "Cf", "Cs") else character


def _decoder(terms: tuple[str, ...]) -> Callable[[bytes, str], str]:
    """Bytes to text by these terms; a single value that is in none of them is tried as UTF-8 and
    GB18030. Never fails: what nobody can read becomes a replacement."""
    codec = codec_of(terms)
    # every byte of ASCII stands for itself, as in all sets but ISO_IR 13: looked at once, not for
    # each of the forty values of a header
    as_ascii = decode(b"\\~", terms) == "\\~"

    def read(raw: bytes, vr: str) -> str:
        raw = raw.rstrip(b"\0 ")
        if as_ascii and raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii")
        if raw.isascii() or b"\x1b" in raw or codec is None:
            return decode(raw, terms, vr)
        for one in (codec, "utf-8", "gb18030"):
            text = _strictly(raw, one)
            if text is not None:
                return text if one != codec else decode(raw, terms, vr).rstrip("\ufffd")
        return decode(raw, terms, vr)

    return read


def _strictly(raw: bytes, codec: str) -> str | None:
    """The text, or None where it is not in this encoding. A value may have been cut inside of its
    last character."""
    try:
        return codecs.getincrementaldecoder(codec)().decode(raw)
    except UnicodeDecodeError:
        return None
