"""What do these bytes say when their character set is missing or wrongly named?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from worklist.characters import codec_of, decode, terms_of
from worklist.script import Reading, Value, recognised

#: Names and other texts whose bytes vote when the label is doubted.
_NAMES = (0x00100010, 0x00080090, 0x00081050, 0x00081070, 0x00321032)
_OTHERS = (
    *(0x00081030, 0x0008103E, 0x00080080, 0x00081040, 0x00181030, 0x00081080, 0x00180015),
    *(0x001021B0, 0x00104000, 0x00204000, 0x00321030, 0x00321060, 0x00420010, 0x00080050),
    *(0x00100020, 0x00200010, 0x00401002),
)


def decode_text(
    raw: bytes, charsets: Sequence[str], *, person_name: bool = False
) -> tuple[str, bool]:
    """Text of a string value, and whether its character set had to be guessed.

    `charsets` is Specific Character Set (0008,0005) as it stands (PS3.3 C.12.1.1.2), possibly
    empty. Where the bytes contradict the label, or there is none, they are read as what they are
    most likely in (`worklist.script`). Never raises.
    """
    raw = raw.rstrip(b"\0")
    terms = terms_of(charsets)
    guess = recognised([Value(raw.rstrip(b" "), person_name)], terms)
    vr = "PN" if person_name else "LO"
    if guess is None:
        return decode_as(raw, terms, vr), False
    return decode_as(raw, (guess.term,), vr), True


def decode_as(raw: bytes, terms: Sequence[str], vr: str) -> str:
    """Text of a string value by these terms; a single value that is in none of them is tried as
    UTF-8 and GB18030. Never raises."""
    codec = codec_of(terms)
    if raw.isascii() or b"\x1b" in raw or codec is None or _is(raw, codec):
        return decode(raw, terms, vr)
    for other in ("utf-8", "gb18030"):
        if _is(raw, other):
            return raw.decode(other).rstrip("\0 ")
    return decode(raw, terms, vr)


def reading_of(dataset: Dataset) -> Reading | None:
    """How the text of a data set is to be read where its label cannot be right; None where it may
    be."""
    return recognised(list(_heard(dataset)), terms_of(charsets_of(dataset)))


def text_of(dataset: Dataset, tag: int, charsets: Sequence[str] | None = None) -> str:
    """Text of one string attribute of `dataset`, "" when absent; see `decode_text`.

    Several values stay joined by backslashes. `charsets` overrides the data set's own.
    """
    raw = raw_value(dataset, tag)
    if raw is None:
        return ""
    labels = charsets_of(dataset) if charsets is None else charsets
    text, _ = decode_text(raw, labels, person_name=tag in _NAMES)
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


def _heard(dataset: Dataset) -> Iterator[Value]:
    for tags, name in ((_NAMES, True), (_OTHERS, False)):
        for tag in tags:
            raw = raw_value(dataset, tag)
            if raw:
                yield Value(raw[:1024].rstrip(b"\0 "), name)


def _is(raw: bytes, codec: str) -> bool:
    try:
        raw.decode(codec)
    except UnicodeDecodeError:
        return False
    return True
