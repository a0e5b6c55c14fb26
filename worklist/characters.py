"""How is text written in a data set (PS3.5 section 6.1, PS3.3 C.12.1.1.2)?

Defined terms of Specific Character Set (0008,0005), with and without code extensions (ISO 2022).
Reading never fails: what a set cannot hold becomes U+FFFD. Writing says first whether it can.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

UNICODE: Final = "ISO_IR 192"
DEFAULT: Final = "ISO_IR 6"

# Sets that are complete by themselves: no escape sequences, only the first value counts.
_WHOLE: Final = {UNICODE: "utf-8", "GB18030": "gb18030", "GBK": "gb18030"}

# The upper half (G1) of each set that has one byte a character, and the escape that calls it.
_SINGLE: Final = {
    "100": ("latin-1", b"\x1b-A"),
    "101": ("iso8859-2", b"\x1b-B"),
    "109": ("iso8859-3", b"\x1b-C"),
    "110": ("iso8859-4", b"\x1b-D"),
    "126": ("iso8859-7", b"\x1b-F"),
    "127": ("iso8859-6", b"\x1b-G"),
    "138": ("iso8859-8", b"\x1b-H"),
    "144": ("iso8859-5", b"\x1b-L"),
    "148": ("iso8859-9", b"\x1b-M"),
    "166": ("iso8859-11", b"\x1b-T"),
    "203": ("iso8859-15", b"\x1b-b"),
    "13": ("jis-x0201", b"\x1b)I"),
}
_PAIRS: Final = {"149": ("euc-kr", b"\x1b$)C"), "58": ("gb18030", b"\x1b$)A")}
# Sets of two bytes below 0x80 (G0): Python reads them behind their own escape sequence.
_LOWER: Final = {"87": ("iso2022_jp", b"\x1b$B"), "159": ("iso2022_jp_2", b"\x1b$(D")}

_ASCII_G0: Final = b"\x1b(B"
_ROMAN_G0: Final = b"\x1b(J"  # JIS X 0201: yen sign and overline for backslash and tilde
_UPPER_BY_ESCAPE: Final = {escape: codec for codec, escape in (_SINGLE | _PAIRS).values()}
_LOWER_BY_ESCAPE: Final = {escape: codec for codec, escape in _LOWER.values()} | {
    b"\x1b$@": "iso2022_jp"  # JIS C 6226, before 1983
}
_ESCAPES = re.compile(rb"(\x1b(?:\$[()]?|[()-])[@-~])")
_ENDS: Final = {"PN": b"\\^=\r\n\f\t", "": b"\\\r\n\f\t", "long": b"\r\n\f\t"}
_RUNS = re.compile(rb"[\x00-\x7f]+|[\x80-\xff]+")
_LONG: Final = frozenset({"LT", "ST", "UT"})  # one value; a backslash is a backslash

# labels that are written wrongly often enough to be understood
_MISSPELT: Final = {
    **dict.fromkeys(("UTF8", "UTF 8", "UNICODE", "ISO 2022 IR 192"), UNICODE),
    **dict.fromkeys(("GB2312", "GB 2312", "GB 18030", "GB18030 2000", "CP936"), "GB18030"),
    **dict.fromkeys(("LATIN1", "LATIN 1", "ISO8859 1", "ISO 8859 1"), "ISO_IR 100"),
    "ASCII": DEFAULT,
}


def terms_of(label: str | bytes | Iterable[str] | None) -> tuple[str, ...]:
    """The defined terms of a Specific Character Set as it stands, the usual misspellings mended.

    "" stands for an empty first value; () for an absent or empty attribute. Terms that nobody knows
    stay as they are, in upper case.
    """
    if isinstance(label, bytes):
        label = label.decode("ascii", "replace")
    if isinstance(label, str):
        label = label.split("\\")
    terms = tuple(_mended(str(term)) for term in label or ())
    return terms if any(terms) else ()


def is_known(terms: Sequence[str]) -> bool:
    """Whether every term is one of the standard's."""
    return all(not term or term == "ISO 2022 IR 6" or _is_defined(term) for term in terms)


def decode(raw: bytes, character_set: str | Iterable[str] | None, vr: str = "LO") -> str:
    """Text of a string value. Several values stay joined by backslashes: split after decoding, for
    a byte 0x5C may be half of a character (GB18030, ISO 2022 IR 87). Never raises.

    Trailing padding is taken off. `vr` decides at which delimiters code extensions are reset (PS3.5
    section 6.1.2.5.3).
    """
    raw = raw.rstrip(b"\0 ")
    if raw.isascii() and b"\x1b" not in raw:
        plain = raw.decode("ascii")
        return _roman(plain, vr) if _number_of_first(character_set) == "13" else plain
    return _decoder(terms_of(character_set), vr)(raw)


def _number_of_first(character_set: str | Iterable[str] | None) -> str:
    terms = terms_of(character_set)
    return _number(terms[0]) if terms else "6"


def codec_of(terms: Sequence[str]) -> str | None:
    """Python's codec of a set without code extensions; None where escapes may matter or nobody
    knows the term."""
    if not terms or terms[0] == DEFAULT:
        return "ascii"
    if terms[0] in _WHOLE:
        return _WHOLE[terms[0]]
    number = _number(terms[0])
    if not _is_defined(terms[0]) or number == "13":
        return None
    return (_SINGLE | _PAIRS).get(number, (None,))[0]


def values(raw: bytes, character_set: str | Iterable[str] | None, vr: str = "LO") -> list[str]:
    """The values of an attribute, decoded, each without its padding."""
    text = decode(raw, character_set, vr)
    if vr in _LONG or vr == "UR":
        return [text] if text else []
    return [one.strip(" \0") for one in text.split("\\")] if text else []


@dataclass(frozen=True)
class Encoder:
    """Writes text in one Specific Character Set. `character_set` are the terms to send along."""

    character_set: tuple[str, ...]

    def fits(self, text: str, vr: str = "LO") -> bool:
        """Whether every character can be written."""
        return self._written(text, vr) is not None

    def encode(self, text: str, vr: str = "LO") -> bytes:
        """Bytes of the text, without padding; "?" for what cannot be written (see `fits`)."""
        found = self._written(text, vr)
        if found is not None:
            return found
        return b"".join(self._written(char, vr) or b"?" for char in text)

    def _written(self, text: str, vr: str) -> bytes | None:
        terms = self.character_set
        if text.isascii() and "~" not in text:
            return text.encode("ascii")
        whole = _WHOLE.get(terms[0]) if terms else None
        try:
            if whole is not None:
                return text.encode("gbk" if terms[0] == "GBK" else whole)
            return _extended(text, terms, vr) if is_known(terms) else None
        except UnicodeEncodeError:
            return None


@lru_cache(maxsize=256)
def encoder(character_set: str | tuple[str, ...] | None) -> Encoder:
    """The encoder of a requester's Specific Character Set; with unknown terms only ASCII fits."""
    return Encoder(terms_of(character_set))


def encoder_for(
    requested: str | Iterable[str] | None, texts: Iterable[str], vr: str = "PN"
) -> Encoder:
    """In which set an answer is written: the requester's if every text fits, else ISO_IR 192."""
    asked = Encoder(terms_of(requested))
    if is_known(asked.character_set) and all(asked.fits(text, vr) for text in texts):
        return asked
    return Encoder((UNICODE,))


# --- terms -------------------------------------------------------------------------------------


def _mended(term: str) -> str:
    words = re.sub(r"[\s_-]+", " ", term.strip("\0 ").upper())
    if (single := re.fullmatch(r"ISO ?IR ?(\d+)", words)) is not None:
        return f"ISO_IR {single[1]}"
    if (several := re.fullmatch(r"ISO ?2022 ?IR ?(\d+)", words)) is not None:
        words = f"ISO 2022 IR {several[1]}"
    return _MISSPELT.get(words, words)


def _number(term: str) -> str:
    """The ISO registration of a term; "6" for the default repertoire."""
    return term.rpartition(" ")[2] if term else "6"


def _is_defined(term: str) -> bool:
    if term in _WHOLE or term == DEFAULT:
        return True
    number = _number(term)
    if term.startswith("ISO_IR "):
        return number in _SINGLE
    return term.startswith("ISO 2022 IR ") and number in (_SINGLE | _PAIRS | _LOWER)


# --- reading -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _State:
    """What low (G0) and high (G1) bytes mean now. `pairs` is the codec of a two-byte G0."""

    upper: str | None
    roman: bool = False
    pairs: str | None = None
    escape: bytes = b""


@lru_cache(maxsize=256)
def _decoder(terms: tuple[str, ...], vr: str) -> Callable[[bytes], str]:
    whole = _WHOLE.get(terms[0]) if terms else None
    if whole is not None:
        return lambda raw: _cleared(raw).decode(whole, "replace")
    first = _first_state(terms)
    ends = _ENDS["long" if vr in _LONG else "PN" if vr == "PN" else ""]
    resets = re.compile(b"[" + re.escape(ends) + b"]")
    return lambda raw: "".join(_stretches(raw, first, resets, vr))


def _cleared(raw: bytes) -> bytes:
    """Complete sets know no escapes; some devices write them nevertheless."""
    return _ESCAPES.sub(b"", raw) if b"\x1b" in raw else raw


def _first_state(terms: tuple[str, ...]) -> _State:
    """What is in force at the beginning and after each delimiter: the first value's set."""
    number = _number(terms[0]) if terms else "6"
    codec = (_SINGLE | _PAIRS).get(number, (None,))[0]
    return _State(codec, roman=number == "13")


def _stretches(raw: bytes, first: _State, resets: re.Pattern[bytes], vr: str) -> Iterator[str]:
    state = first
    for part in _ESCAPES.split(raw):
        if part.startswith(b"\x1b") and _ESCAPES.fullmatch(part):
            state = _after(state, part, first)
            continue
        rest = part
        while rest:
            text, rest, ended = _up_to_reset(rest, state, resets)
            yield _meaning(text, state, vr)
            if ended:
                state = first
                yield _meaning(rest[:1], state, vr)
                rest = rest[1:]


def _up_to_reset(
    part: bytes, state: _State, resets: re.Pattern[bytes]
) -> tuple[bytes, bytes, bool]:
    """Bytes of one state, the rest, and whether a delimiter begins it. In a two-byte G0 delimiters
    are halves of characters; only control characters end it."""
    if state.pairs is not None:
        control = re.search(rb"[\x00-\x1a\x1c-\x1f]", part)
        cut = control.start() if control else len(part)
        return part[:cut], part[cut:], control is not None
    found = resets.search(part)
    cut = found.start() if found else len(part)
    return part[:cut], part[cut:], found is not None


def _after(state: _State, escape: bytes, first: _State) -> _State:
    if escape in (_ASCII_G0, _ROMAN_G0):
        return _State(state.upper, roman=escape == _ROMAN_G0)
    if escape in _LOWER_BY_ESCAPE:
        return _State(state.upper, state.roman, _LOWER_BY_ESCAPE[escape], escape)
    if escape in _UPPER_BY_ESCAPE:
        return _State(_UPPER_BY_ESCAPE[escape], state.roman, state.pairs, state.escape)
    return state  # nobody knows it: it says nothing


def _meaning(part: bytes, state: _State, vr: str) -> str:
    if not part:
        return ""
    if state.pairs is not None:
        single = _State(state.upper, state.roman)
        return "".join(
            (state.escape + run).decode(state.pairs, "replace")
            if run[0] < 0x80
            else _meaning(run, single, vr)
            for run in _RUNS.findall(part)
        )
    if state.upper == "jis-x0201":
        return _japanese(part, state.roman, vr)
    text = part.decode(state.upper or "ascii", "replace")
    return _roman(text, vr) if state.roman else text


def _roman(text: str, vr: str) -> str:
    """JIS X 0201: 0x7E is an overline; 0x5C a yen sign where it cannot be a delimiter."""
    text = text.replace("~", "\u203e")
    return text.replace("\\", "\u00a5") if vr in _LONG else text


def _japanese(part: bytes, roman: bool, vr: str) -> str:
    """Half-width katakana; kanji too, which devices write in Shift JIS under this label."""
    if re.search(rb"[\x80-\xa0\xe0-\xff]", part):
        return part.decode("cp932", "replace")
    text = "".join(chr(0xFEC0 + byte) if byte > 0xA0 else chr(byte) for byte in part)
    return _roman(text, vr) if roman else text


# --- writing -----------------------------------------------------------------------------------


def _extended(text: str, terms: tuple[str, ...], vr: str) -> bytes:
    """Text with code extensions; UnicodeEncodeError where no set of these terms has a character."""
    ends = _ENDS["long" if vr in _LONG else "PN" if vr == "PN" else ""].decode("ascii")
    written = bytearray()
    for part in re.split(f"([{re.escape(ends)}])", text):
        written += part.encode("ascii") if part and part in ends else _fragment(part, terms)
    return bytes(written)


def _fragment(text: str, terms: tuple[str, ...]) -> bytes:
    """Text between two delimiters: it begins and ends with the first value's set in force."""
    numbers = [_number(term) for term in terms] or ["6"]
    roman = numbers[0] == "13"
    home = _ROMAN_G0 if roman else _ASCII_G0
    lower, upper = home, (_SINGLE | _PAIRS).get(numbers[0], ("", b""))[1]
    written = bytearray()
    for char in text:
        escape, code = _code_of(char, numbers, roman, upper)
        if escape in (_ASCII_G0, _ROMAN_G0) or escape in _LOWER_BY_ESCAPE:
            written += escape if escape != lower else b""
            lower = escape
        else:  # readers do not expect high bytes while two low ones are a character
            written += home if lower != home else b""
            written += escape if escape != upper else b""
            lower, upper = home, escape
        written += code
    return bytes(written) + (home if lower != home else b"")


def _code_of(char: str, numbers: list[str], roman: bool, upper: bytes) -> tuple[bytes, bytes]:
    """The escape sequence a character stands behind, and its bytes."""
    if roman and char in "\u00a5\u203e":
        return _ROMAN_G0, b"\\" if char == "\u00a5" else b"~"
    if char.isascii():
        if roman and char == "~" and not {"6", "100"} & set(numbers):
            raise UnicodeEncodeError("ascii", char, 0, 1, "not in JIS X 0201")
        return _ROMAN_G0 if roman and char != "~" else _ASCII_G0, char.encode("ascii")
    for number in numbers:
        found = _in_set(char, number)
        if found is not None:
            return found
    raise UnicodeEncodeError("ascii", char, 0, 1, "in none of the sets")


@lru_cache(maxsize=4096)
def _in_set(char: str, number: str) -> tuple[bytes, bytes] | None:
    try:
        if number == "13":
            half = 0xFF61 <= ord(char) <= 0xFF9F
            return (b"\x1b)I", bytes([ord(char) - 0xFEC0])) if half else None
        if number in _SINGLE:
            codec, escape = _SINGLE[number]
            return escape, char.encode(codec)
        if number in _PAIRS:
            _, escape = _PAIRS[number]
            return escape, char.encode("euc-kr" if number == "149" else "gb2312")
        if number in _LOWER:
            codec, escape = _LOWER[number]
            written = char.encode(codec)
            return (escape, written[len(escape) : -3]) if written.startswith(escape) else None
    except UnicodeEncodeError:
        return None
    return None


def _known_codecs() -> None:
    """Every codec named above exists in this Python; found out at import, not at a bedside."""
    for codec, _ in (*_SINGLE.values(), *_PAIRS.values(), *_LOWER.values()):
        if codec != "jis-x0201":
            codecs.lookup(codec)


_known_codecs()


def known_terms() -> tuple[str, ...]:
    """Every defined term that is understood: those that stand alone, then those with code
    extensions (PS3.3 tables C.12-2 to C.12-5)."""
    alone = (DEFAULT, *_WHOLE, *(f"ISO_IR {number}" for number in _SINGLE))
    extended = (*_SINGLE, *_PAIRS, *_LOWER)
    return (*alone, *(f"ISO 2022 IR {number}" for number in extended))
