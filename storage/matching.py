"""When does a value match a key of a query (PS3.4 section C.2.2.2)?

What can be said in SQL is said in SQL (`storage.query`); `check_of` says the rest.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Final

_TM = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")
_GAPS = re.compile(r"[\^\s]+")
_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff·]")
_ACCENTS = re.compile(r"[\u0300-\u036f]")
_STROKES: Final = str.maketrans("øđłıħŧ", "odliht")  # one for one, so that `?` stays one character
_LETTER = re.compile(r"[^\W\d_]")
_MOST_PATTERNS: Final = 6
_BEYOND: Final = "\U0010ffff"  # no text has anything after it
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")


@dataclass(frozen=True)
class OneOf:
    """Equal to one of these (single value and list of UID matching, C.2.2.2.1 and C.2.2.2.2)."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Like:
    """Like one of these patterns of SQL's LIKE with backslash as escape; whether case counts."""

    patterns: tuple[str, ...]
    case: bool = False


@dataclass(frozen=True)
class Between:
    """From `first` to `last`, both included; None is open (range matching, C.2.2.2.5)."""

    first: date | None
    last: date | None


@dataclass(frozen=True)
class Clock:
    """From `first` to `last` on the clock, both included; None is open."""

    first: time | None
    last: time | None


@dataclass(frozen=True)
class Moment:
    """From `first` to `last`, date and time taken together (C.2.2.2.5.2); None is open."""

    first: datetime | None
    last: datetime | None


@dataclass(frozen=True)
class Item:
    """An item of a sequence in which each of these tags matches (sequence matching, C.2.2.2.6)."""

    keys: Mapping[int, "OneOf | Like"]


Match = OneOf | Like | Between | Clock | Moment | Item
Keys = Mapping[str, Match]


# --- patterns ----------------------------------------------------------------------------------


def is_wild(value: str) -> bool:
    """Whether `*` or `?` stand in it."""
    return "*" in value or "?" in value


def pattern(value: str) -> str:
    """A pattern of LIKE: `*` any number of characters, `?` one (C.2.2.2.4)."""
    plain = re.sub(r"([\\%_])", r"\\\1", value)
    return re.sub(r"\*+", "%", plain).replace("?", "_")


def beginning(like: str) -> str:
    """What stands before the first wildcard of a pattern of LIKE, unescaped."""
    plain = re.match(r"(?:\\.|[^\\%_])*", like, re.DOTALL)
    return re.sub(r"\\(.)", r"\1", plain[0] if plain else "", flags=re.DOTALL)


def is_plain(like: str) -> bool:
    """Whether a pattern of LIKE has no wildcard: it is equality."""
    return re.fullmatch(r"(?:\\.|[^\\%_])*", like, re.DOTALL) is not None


def after(text: str) -> str:
    """An upper bound: what begins with `text` stands before it."""
    return text + _BEYOND


# --- names -------------------------------------------------------------------------------------


def name_key(group: str) -> str | None:
    """What one component group of a name is found by: no case, no accents, one space between
    components, none between Chinese ones; None where it says nothing."""
    folded = _folded(group)
    gap = "" if _HAN.search(folded) and not _LETTER.search(_HAN.sub("", folded)) else " "
    return _GAPS.sub(gap, folded.strip(" ^")) or None


def name_keys(
    attributes: Mapping[str, Any], name: str, latin: str | None
) -> tuple[str | None, str | None, str | None]:
    """The keys of the three component groups: of Patient's Name (0010,0010) among the attributes
    (a DICOM JSON object), else of the name as it is shown."""
    values = attributes.get("00100010", {}).get("Value") or [{}]
    groups = tuple(name_key(values[0].get(group, "")) for group in _GROUPS)
    if any(groups):
        return groups[0], groups[1], groups[2]
    if latin is not None:
        return name_key(latin), name_key(name), None
    key = name_key(name)
    return (None, key, None) if key and _HAN.search(key) else (key, None, None)


def name_patterns(value: str) -> tuple[str, ...]:
    """Patterns for `name_key`, one or two for each component group that says something; a name
    matches where one of its own groups matches one of them (C.2.2.2.1)."""
    found: list[str] = []
    for group in value.split("="):
        if not group.strip("*^ "):
            continue
        folded = _folded(group).strip(" ^")
        found.append(_GAPS.sub(" ", folded))
        if _HAN.search(folded):
            found.append(_GAPS.sub("", folded))
        if re.search(r"[\^ ]\*+$", folded):  # nothing after the family name is any given name
            found.append(_GAPS.sub(" ", folded.rstrip("*^ ")))
    return tuple(dict.fromkeys(pattern(one) for one in found))[:_MOST_PATTERNS] or ("%",)


def _folded(text: str) -> str:
    """Without case, width and accents (C.2.2.2.1.1 allows it): half-width katakana and full-width
    letters are the same name, Müller and Muller too. Voiced kana and Korean syllables stay."""
    lower = unicodedata.normalize("NFKC", text).lower()
    if lower.isascii():
        return lower
    bare = _ACCENTS.sub("", unicodedata.normalize("NFD", lower)).translate(_STROKES)
    return unicodedata.normalize("NFC", bare)


# --- times -------------------------------------------------------------------------------------


def clock_range(text: str) -> tuple[time, time] | None:
    """First and last moment of a TM: what it leaves out may be anything. None when it is none."""
    found = _TM.fullmatch(text.strip())
    if found is None:
        return None
    hour, minute, second, fraction = found.groups()
    fraction = fraction or ""
    try:
        first = time(
            int(hour),
            int(minute or 0),
            min(int(second or 0), 59),  # 60 is a leap second
            int(fraction.ljust(6, "0")),
        )
    except ValueError:
        return None
    return first, first.replace(
        minute=first.minute if minute else 59,
        second=first.second if second else 59,
        microsecond=int(fraction.ljust(6, "9")),
    )


def at_time(day: date | None, clock: str | None) -> datetime | None:
    """A DA and a TM together, without zone; midnight where there is no time."""
    if day is None:
        return None
    found = clock_range(clock or "")
    return datetime.combine(day, found[0] if found else time())


# --- what SQL does not say ---------------------------------------------------------------------

Check = Callable[..., bool]


def check_of(match: Match) -> Check | None:
    """What must hold of the columns' values beyond the statement; None where it says all."""
    if isinstance(match, Like) and match.case:
        return _like_check(match.patterns)
    if isinstance(match, Clock):
        return _clock_check(match)
    if isinstance(match, Moment):
        return _moment_check(match)
    return None


def _like_check(patterns: Iterable[str]) -> Check:
    matchers = [_matcher(one) for one in patterns]

    def check(*values: str | None) -> bool:
        return any(matcher(value) for value in values if value is not None for matcher in matchers)

    return check


def _matcher(like: str) -> Callable[[str], bool]:
    """A pattern of LIKE as a function. What stands between two `%` is looked for from left to
    right, never back: no pattern takes long."""
    stretches: list[list[str]] = [[]]
    for part in _PARTS.findall(like):
        if part == "%":
            stretches.append([])
        else:
            stretches[-1].append("." if part == "_" else re.escape(part[-1]))
    first, *others = [re.compile("".join(one), re.DOTALL) for one in stretches]
    if not others:
        return lambda value: first.fullmatch(value) is not None
    *middle, last = others
    length = len(stretches[-1])

    def matches(value: str) -> bool:
        found = first.match(value)
        for stretch in middle:
            found = found and stretch.search(value, found.end())
        end = len(value) - length
        return found is not None and found.end() <= end and last.match(value, end) is not None

    return matches


_PARTS = re.compile(r"\\.|.", re.DOTALL)


def _clock_check(match: Clock) -> Check:
    first, last = match.first or time.min, match.last or time.max

    def check(clock: str | None) -> bool:
        found = clock_range(clock or "")
        return found is not None and first <= found[0] <= last

    return check


def _moment_check(match: Moment) -> Check:
    first = match.first or datetime.combine(date.min, time.min)
    last = match.last or datetime.combine(date.max, time.max)

    def check(day: date | None, clock: str | None) -> bool:
        found = at_time(day, clock)
        return found is not None and first <= found <= last

    return check
