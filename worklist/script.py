"""In which encoding are these bytes, and how sure is that?

Devices write GB18030 or UTF-8 and say ISO_IR 100, or nothing. Every reading of the bytes that comes
into question is weighed: how likely would somebody write this text in this encoding? Characters of
a script cost the logarithm of how often they are met in names or descriptions; letters beside
Chinese signs, capitals inside of words and symbols inside of names cost extra. The confidence is
the share of one reading among all, under what each label lets expect.
"""

import codecs
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from worklist.characters import DEFAULT, UNICODE
from worklist.hanzi import (
    IN_NAMES,
    IN_TEXT,
    JAPANESE,
    KOREAN_SURNAMES,
    KOREAN_SYLLABLES,
    SURNAMES,
)

LATIN: Final = "ISO_IR 100"
CHINESE: Final = "GB18030"
SURE: Final = 0.8
"""From here on a reading is shown although a Latin label says otherwise."""
EVEN: Final = 0.5
"""Below, a text without a label is shown as Latin-1: unreadable is better than another name."""
UNLIKELY: Final = 0.05
"""Below, a Latin label is wrong even where the better reading is not sure."""
MOST_WEIGHED: Final = 256
"""Bytes of one value that are weighed."""
SHARPNESS: Final = 0.5
"""Characters of a text are not independent: half of what they seem to say is believed."""

# Readings that come into question, and how often each is met where no label says anything. What has
# no defined term cannot be proposed; it stands against those that can.
_READINGS: Final[Mapping[str, tuple[str | None, float]]] = {
    "gb18030": (CHINESE, 0.45),
    "utf-8": (UNICODE, 0.35),
    "latin-1": (LATIN, 0.08),
    "euc-kr": ("ISO 2022 IR 149", 0.02),
    "iso8859-2": ("ISO_IR 101", 0.01),
    "iso8859-5": ("ISO_IR 144", 0.01),
    "iso8859-6": ("ISO_IR 127", 0.01),
    "iso8859-7": ("ISO_IR 126", 0.01),
    "iso8859-8": ("ISO_IR 138", 0.005),
    "iso8859-11": ("ISO_IR 166", 0.01),
    "cp932": (None, 0.01),
    "euc_jp": (None, 0.005),
    "big5": (None, 0.005),
    "cp1251": (None, 0.01),
    "koi8-r": (None, 0.005),
}
_OFTEN: Final = frozenset({CHINESE, UNICODE, LATIN})
# Labels over which something else stands often enough to doubt them, and how the label reads.
_DOUBTED: Final = {
    "": None,
    DEFAULT: None,
    "ISO 2022 IR 6": None,
    LATIN: "latin-1",
    "ISO 2022 IR 100": "latin-1",
    "ISO_IR 101": "iso8859-2",
    "ISO_IR 109": "iso8859-3",
    "ISO_IR 110": "iso8859-4",
    "ISO_IR 148": "iso8859-9",
    "ISO_IR 203": "iso8859-15",
}
# A label that names another set among its extensions makes it likely without escapes too.
_EXTENSIONS: Final = {"58": "gb18030", "149": "euc-kr", "87": "euc_jp"}
_HIGH = re.compile(rb"[\x80-\xff]")
_WORDS = re.compile(r"[^ \t\r\n\f^=\\.,;:/()\[\]<>\"'+*_-]+")


@dataclass(frozen=True)
class Reading:
    """How bytes are read: the defined term, whether that differs from what the label says, how
    sure that is (0 to 1), and against which other reading it stands."""

    term: str
    guessed: bool
    confidence: float
    rival: str | None = None


@dataclass(frozen=True)
class Value:
    """A string value as it was received, and whether it is a person's name."""

    raw: bytes
    name: bool


def recognised(values: Sequence[Value], terms: tuple[str, ...]) -> Reading | None:
    """How values under this label are to be read; None where the label may be right.

    `terms` are defined terms (`worklist.characters.terms_of`).
    """
    heard = tuple(value for value in values if _HIGH.search(value.raw))
    if not heard or any(b"\x1b" in value.raw for value in heard):
        return None
    found = _weighed(heard, terms)
    return found if found.guessed else None


@lru_cache(maxsize=512)
def _weighed(values: tuple[Value, ...], terms: tuple[str, ...]) -> Reading:
    label = terms[0] if terms else ""
    own = _codec_of_label(label)
    holds = own is not None and _holds(values, own)
    contested = label in _DOUBTED or (own == "gb18030" and _holds(values, "utf-8"))
    if holds and not contested:
        return Reading(label, False, 1.0)
    shares = _shares(values, own if holds else None, terms)
    ranked = sorted(shares, key=lambda codec: -shares[codec])
    best, rival = ranked[0], ranked[1]
    if best == own:
        return Reading(label, False, _rounded(shares[best]), rival)
    term = _READINGS[best][0] if best in _READINGS else None
    sure = shares[best] >= (EVEN if term in _OFTEN else SURE)
    if holds and own is not None:
        sure = sure and (shares[best] >= SURE or shares[own] < UNLIKELY)
        if term is None or not sure:
            return Reading(label, False, _rounded(shares[own]), best)
    if term is None or not sure:
        best, rival, term = "latin-1", best if best != "latin-1" else rival, LATIN
    return Reading(term, True, _rounded(shares[best]), rival)


def _codec_of_label(label: str) -> str | None:
    """The codec a label stands for; None where it gives high bytes no meaning."""
    if label in _DOUBTED:
        return _DOUBTED[label]
    if label == "GBK":
        return "gb18030"
    return next((codec for codec, (term, _) in _READINGS.items() if term == label), _other(label))


def _other(label: str) -> str | None:
    return {"ISO_IR 13": "cp932", "ISO 2022 IR 13": "cp932"}.get(label)


def _holds(values: Sequence[Value], codec: str) -> bool:
    return all("\ufffd" not in _text(value.raw, codec) for value in values)


def _shares(values: Sequence[Value], own: str | None, terms: tuple[str, ...]) -> dict[str, float]:
    """Each reading's share of belief; they sum up to one."""
    weights = {codec: prior for codec, (_, prior) in _READINGS.items()}
    if own is not None:
        others = sum(weights.values())
        weights = {codec: 0.45 * prior / others for codec, prior in weights.items()}
        weights[own] = weights.get(own, 0.0) + 0.55
    for term in terms[1:]:
        extension = _EXTENSIONS.get(term.rpartition(" ")[2])
        if extension is not None:
            weights[extension] *= 20
    logs = {
        codec: math.log(weight) + SHARPNESS * sum(_likelihood(value, codec) for value in values)
        for codec, weight in weights.items()
    }
    most = max(logs.values())
    raised = {codec: math.exp(log - most) for codec, log in logs.items()}
    whole = sum(raised.values())
    return {codec: share / whole for codec, share in raised.items()}


def _rounded(share: float) -> float:
    """Nobody is ever quite sure."""
    return min(max(round(share, 3), 0.001), 0.999)


@lru_cache(maxsize=4096)
def _text(raw: bytes, codec: str) -> str:
    """The beginning of a value; a character that is cut at the end is left out."""
    decoder = codecs.getincrementaldecoder(codec)("replace")
    return decoder.decode(raw[:MOST_WEIGHED], len(raw) <= MOST_WEIGHED)


# --- how likely is a text ----------------------------------------------------------------------


def _likelihood(value: Value, codec: str) -> float:
    """The logarithm of how likely this text is in this encoding."""
    text = _text(value.raw, codec)
    total = 0.0
    first = True
    for group in text.split("="):
        first = True
        for word in _WORDS.findall(group):
            total += _of_word(word, value.name, first, codec)
            first = first and word.isascii()
    total -= 6.0 * max(len(_alphabets(text)) - 1, 0)
    return total - 3.3 * sum(not character.isalnum() for character in text if character < "\x80")


def _alphabets(text: str) -> set[str]:
    """Which alphabets beyond ASCII stand in a text; nobody has a name in two."""
    return {_alphabet(ord(one)) for one in text if one.isalpha() and 0x7F < ord(one) < 0x2E80}


def _alphabet(point: int) -> str:
    return next((name for first, last, name in _ALPHABETS if first <= point <= last), "other")


_ALPHABETS: Final = (
    (0x00A0, 0x024F, "Latin"),
    (0x0384, 0x03CE, "Greek"),
    (0x0401, 0x045F, "Cyrillic"),
    (0x05D0, 0x05EA, "Hebrew"),
    (0x0621, 0x0652, "Arabic"),
    (0x0E01, 0x0E4E, "Thai"),
)


def _of_word(word: str, name: bool, first: bool, codec: str) -> float:
    if word.isascii():
        return sum(_of_plain(character, name) for character in word)
    total = _of_case(word) + _of_neighbours(word, name)
    if name and len(word) == 1 and ord(word) < 0x2E80:
        total -= 4.0  # a family name of one letter
    for character in word:
        if character < "\x80":
            total += _of_plain(character, name)
        else:
            total += _of_character(character, name, first, codec)
        first = False
    return total


def _of_plain(character: str, name: bool) -> float:
    return -3.3 if character.isalpha() or not name else -6.0


def _of_character(character: str, name: bool, first: bool, codec: str) -> float:
    point = ord(character)
    if 0x3400 <= point <= 0x9FFF or 0x20000 <= point <= 0x3FFFF or 0xF900 <= point <= 0xFAFF:
        return _of_ideograph(character, name, first, codec)
    if 0xAC00 <= point <= 0xD7A3:
        return _of_hangul(character, name, first)
    if character == "\ufffd" or point < 0xA0 or unicodedata.category(character) in ("Cn", "Co"):
        return -20.0
    if unicodedata.category(character)[0] in "LM":
        return _of_letter(point, codec)
    return _of_sign(character, name, codec)


def _of_ideograph(character: str, name: bool, first: bool, codec: str) -> float:
    if codec in ("cp932", "euc_jp"):
        return _of_kanji(character)
    if codec == "big5":
        return -8.3 if character.encode("big5", "replace") < b"\xc9" else -12.5
    return _of_han(character, name, first)


def _of_han(character: str, name: bool, first: bool) -> float:
    if name and first and character in SURNAMES:
        return -6.1
    usual, often = (IN_NAMES, -7.4) if name else (IN_TEXT, -6.5)
    if character in usual:
        return often - (2.2 if name and first else 0.0)
    if not name and character in IN_NAMES:
        return -9.4
    return _RARE[_level(character)]


_RARE: Final = (-10.8, -11.8, -13.0, -14.0)


@lru_cache(maxsize=4096)
def _level(character: str) -> int:
    """0 and 1: level of GB 2312; 2: GBK; 3: only in GB 18030."""
    code = character.encode("gb18030")
    if len(code) != 2:
        return 3
    if code[0] < 0xB0 or code[1] < 0xA1:
        return 2
    return 0 if code[0] < 0xD8 else 1


def _of_kanji(character: str) -> float:
    if character in JAPANESE:
        return -6.2
    code = character.encode("cp932", "replace")
    return -8.0 if len(code) == 2 and code < b"\x98\x9f" else -12.0


def _of_hangul(character: str, name: bool, first: bool) -> float:
    if not name:
        return -7.0
    if first and character in KOREAN_SURNAMES:
        return -4.4
    return -4.8 if character in KOREAN_SYLLABLES else -9.0


_USUAL_LATIN: Final = frozenset("áàâäãåæçéèêëíìîïñóòôöõøœúùûüýßÁÀÂÄÅÆÇÉÈÊÍÎÑÓÔÖÕØÚÜÝ")


def _of_letter(point: int, codec: str) -> float:
    """A letter of an alphabet."""
    if point < 0x0250:
        if codec in ("gb18030", "cp932", "euc_jp", "big5", "euc-kr"):
            return -14.0
        return -6.2 if chr(point) in _USUAL_LATIN else -8.0
    if 0x3040 <= point <= 0x30FF or 0xFF66 <= point <= 0xFF9F:
        return -4.2 if codec in ("cp932", "euc_jp", "utf-8") else -14.0
    if codec in ("gb18030", "cp932", "euc_jp", "big5", "euc-kr"):
        return -14.0  # Greek and Cyrillic stand in these sets too, but nobody writes them there
    return -12.0 if _alphabet(point) == "other" else -3.5


def _of_sign(character: str, name: bool, codec: str) -> float:
    """Punctuation and symbols."""
    if codec in ("latin-1", "iso8859-15", "iso8859-9"):
        return -12.0 if name else -8.5 if character in "°±²³µ·×ª" else -10.5
    if character in "（），。、：；·－／＋×±℃～":
        return -6.5 if not name or character == "·" else -11.0
    return -13.0 if name else -11.0


# --- how likely is a word ----------------------------------------------------------------------


def _of_case(word: str) -> float:
    """Capitals after small letters, and words of accented letters only, are not written."""
    total = 0.0
    for one, two in pairwise(word):
        if max(ord(one), ord(two)) > 0x7F and one.islower() and two.isupper():
            total -= 4.0
    if word[0].islower() and 0x370 <= ord(word[0]) <= 0x52F:
        total -= 2.0  # Greek and Cyrillic words of a header begin with a capital
    letters = [character for character in word if character.isalpha()]
    if len(letters) > 1 and all(0x80 < ord(character) < 0x250 for character in letters):
        total -= 5.0
    return total


def _of_neighbours(word: str, name: bool) -> float:
    """Letters beside signs of another kind."""
    total = 0.0
    for one, two in pairwise(word):
        low, other = (one, two) if one < "\x80" else (two, one)
        if low >= "\x80" or ord(other) < 0x250 or not low.isalpha():
            continue
        han = ord(other) > 0x2E00
        total -= 7.0 if name or not han else 4.0 if low.islower() else 0.0
    return total
