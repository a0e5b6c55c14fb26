"""What do these bytes say when their character set is missing or wrongly named?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataset import Dataset

_ESCAPE = 0x1B
_ASCII = 0x80
#: Labels that say nothing about Chinese text: absent, the default repertoire, Latin alphabets.
_SINGLE_BYTE = {"", "ISO_IR 6", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110"}
_GB_LABELS = {"GB18030", "GBK"}
_ESCAPE_SEQUENCE = re.compile(r"\x1b(\$?[()-][A-Z]|\$[A-Z])")
_BESIDE_LETTERS = re.compile(r"[A-Za-z][^\x00-\x7f]|[^\x00-\x7f][A-Za-z]")
_DELIMITERS = {"PN": {0x5C, 0x5E, 0x3D}, "TEXT": {0x5C, 0x0D, 0x0A, 0x09, 0x0C}}


def decode_text(
    raw: bytes, charsets: Sequence[str], *, person_name: bool = False
) -> tuple[str, bool]:
    """Text of a string value, and whether its character set had to be guessed.

    `charsets` is Specific Character Set (0008,0005) as it stands (PS3.3 C.12.1.1.2), possibly
    empty. Where the bytes contradict the label, or there is none, UTF-8 and GB18030 are tried, the
    two that devices in Chinese hospitals write without saying so. The guess is strict: bytes must
    decode without error, and for GB18030 into Chinese characters; else Latin-1 stands in, so that
    nothing is lost. Never raises.
    """
    raw = raw.rstrip(b"\0")
    if raw.isascii() and _ESCAPE not in raw:
        return raw.decode("ascii"), False
    labels = [label.strip().upper() for label in charsets]
    first = labels[0] if labels else ""
    if _ESCAPE in raw:
        return _by_label(raw, charsets, person_name), False
    if first == "ISO_IR 192":
        return _labelled(raw, "utf-8") or _guess(raw, latin=False)
    if first in _GB_LABELS:
        return _labelled_chinese(raw)
    if first in _SINGLE_BYTE or first.startswith("ISO 2022"):
        return _unlabelled(raw, charsets, first, person_name)
    return _by_label(raw, charsets, person_name), False


def text_of(dataset: Dataset, tag: int, charsets: Sequence[str] | None = None) -> str:
    """Text of one string attribute of `dataset`, "" when absent; see `decode_text`.

    Several values stay joined by backslashes. `charsets` overrides the data set's own.
    """
    raw = raw_value(dataset, tag)
    if raw is None:
        return ""
    labels = charsets_of(dataset) if charsets is None else charsets
    text, _ = decode_text(raw, labels)
    return text.strip(" \0")


def charsets_of(dataset: Dataset) -> tuple[str, ...]:
    """Specific Character Set of a data set as it stands, () when absent."""
    raw = raw_value(dataset, 0x00080005)
    if not raw:
        return ()
    return tuple(part.strip() for part in raw.decode("ascii", "replace").strip(" \0").split("\\"))


def raw_value(dataset: Dataset, tag: int) -> bytes | None:
    """Bytes of a string attribute as they arrived, None when absent.

    A value that pydicom has already decoded is encoded to UTF-8 again, which `decode_text`
    recognises.
    """
    if tag not in dataset:
        return None
    element = dataset.get_item(tag)
    value = getattr(element, "value", None)
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, Sequence) or hasattr(value, "__iter__"):
        return "\\".join(str(part) for part in value).encode()
    return str(value).encode()


def _by_label(raw: bytes, charsets: Sequence[str], person_name: bool) -> str:
    try:
        encodings = convert_encodings([str(label) for label in charsets] or None)
        text = decode_bytes(raw, encodings, _DELIMITERS["PN" if person_name else "TEXT"])
        # pydicom leaves the escape sequences of ISO 2022 IR 58 in the text.
        return _ESCAPE_SEQUENCE.sub("", text)
    except Exception:  # an unknown label must not hide the value
        return raw.decode("latin-1")


def _labelled(raw: bytes, codec: str) -> tuple[str, bool] | None:
    try:
        return raw.decode(codec), False
    except UnicodeDecodeError:
        return None


def _labelled_chinese(raw: bytes) -> tuple[str, bool]:
    """GB18030 is named; UTF-8 bytes under that name are a known device fault."""
    chinese = _decoded(raw, "gb18030")
    utf8 = _decoded(raw, "utf-8")
    if utf8 is not None and _only_han(utf8) and not _common(raw):
        return utf8, True
    if chinese is not None:
        return chinese, False
    return _guess(raw, latin=False)


def _unlabelled(
    raw: bytes, charsets: Sequence[str], first: str, person_name: bool
) -> tuple[str, bool]:
    latin = first not in {"", "ISO_IR 6"} and not first.startswith("ISO 2022")
    if first.startswith("ISO 2022") and first not in {"ISO 2022 IR 6"}:
        named = _by_label(raw, charsets, person_name)
        if "�" not in named and not first.endswith((" 6", " 100")):
            return named, False
    return _guess(raw, latin=latin)


def _guess(raw: bytes, *, latin: bool) -> tuple[str, bool]:
    """Text under no usable label; `latin` when a Latin label makes single letters plausible."""
    utf8 = _decoded(raw, "utf-8")
    if utf8 is not None and _has_han(utf8):
        return utf8, True
    chinese = _decoded(raw, "gb18030")
    if chinese is not None and _only_han(chinese):
        # Rare characters have a low second byte, as an accented letter before a plain one has.
        plausible = not latin and _BESIDE_LETTERS.search(chinese) is None
        if _high_pairs(raw) or plausible:
            return chinese, True
    if utf8 is not None:
        return utf8, True
    return raw.decode("latin-1"), not latin


def _decoded(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None


def _is_han(char: str) -> bool:
    point = ord(char)
    return (
        0x3400 <= point <= 0x9FFF  # ideographs and extension A
        or 0x20000 <= point <= 0x323AF  # further extensions
        or 0x3000 <= point <= 0x303F  # punctuation
        or 0xFF00 <= point <= 0xFFEF  # full-width forms
        or point in {0xB7, 0x2014, 0x2018, 0x2019, 0x201C, 0x201D, 0x2026, 0x2103, 0xB0, 0xB1, 0xD7}
    )


def _has_han(text: str) -> bool:
    return any(0x3400 <= ord(char) <= 0x323AF for char in text)


def _only_han(text: str) -> bool:
    return _has_han(text) and all(ord(char) < _ASCII or _is_han(char) for char in text)


def _common(raw: bytes) -> bool:
    """Whether every double byte lies in GB 2312 level 1, the 3755 most used characters."""
    pairs = _pairs(raw)
    return pairs is not None and all(
        0xB0 <= lead <= 0xD7 and trail >= 0xA1 for lead, trail in pairs
    )


def _high_pairs(raw: bytes) -> bool:
    """Whether high bytes come in pairs of the GB 2312 plane: two accented letters rarely do."""
    pairs = _pairs(raw)
    return pairs is not None and all(lead >= 0xA1 and trail >= 0xA1 for lead, trail in pairs)


def _pairs(raw: bytes) -> list[tuple[int, int]] | None:
    pairs, at = [], 0
    while at < len(raw):
        if raw[at] < _ASCII:
            at += 1
            continue
        if at + 1 >= len(raw):
            return None
        pairs.append((raw[at], raw[at + 1]))
        at += 2
    return pairs
