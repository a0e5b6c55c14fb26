"""Does an entry of the Modality Worklist match the keys of a query (PS3.4 sections C.2.2.2, K.2.2)?

Keys are read once into tests; a test takes the entry's text and says whether it matches.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeVar

from gateway.dicom.entries import (
    CHARACTER_SET,
    DATE,
    PATIENT_NAME,
    PERFORMER,
    STATION,
    STEP,
    TIME,
    Entry,
    Key,
    Keys,
    vr_of,
)
from gateway.dicom.identifier import WrongIdentifier, day_of_key
from storage.charset import Text, text_of
from storage.matching import Like, check_of, clock_range, is_wild, name_key, name_patterns, pattern
from storage.orders import Waiting
from storage.scan import Scan, scan
from worklist.errors import Refusal

Test = Callable[[str], bool]
_End = TypeVar("_End")

_MOST: Final = 1 << 12  # characters of one key
_DEEPEST: Final = 4  # sequences in sequences
# they speak of the query itself
_NOT_KEYS: Final = frozenset({CHARACTER_SET, 0x00080201})
# nobody in particular: then every device, every performer may take it
_ANYBODY: Final = frozenset({STATION, PERFORMER})
_FIRST, _LAST = "000000.000000", "235959.999999"
_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Query:
    """What a C-FIND asks for: its keys, and the character set it is written in. `unmatched` says
    that there are keys with a value that nothing here can be compared with."""

    keys: Keys
    tests: Mapping[int, "Test | Mapping[int, Test]"]
    moment: Callable[[str, str], bool] | None
    character_set: tuple[str, ...]
    unmatched: bool

    def matches(self, entry: Entry) -> bool:
        """Whether the entry is an answer."""
        for tag, test in self.tests.items():
            value = entry.get(tag, "")
            if isinstance(value, str):
                if not callable(test) or not test(value):
                    return False
            elif callable(test) or not any(_fits(item, test) for item in value):
                return False
        return self.moment is None or any(
            self.moment(str(step.get(DATE, "")), str(step.get(TIME, "")))
            for step in entry[STEP]
            if isinstance(step, Mapping)
        )


def read_query(raw: bytes, transfer_syntax: str) -> Query:
    """Read an identifier. Raises `WrongIdentifier` for what is none, and for a value that its VR
    does not allow."""
    try:
        found = scan(raw, transfer_syntax)
    except Refusal as refusal:
        raise WrongIdentifier(0xC000, "The identifier cannot be read.") from refusal
    text = text_of(found)
    keys = _keys(found, text, _DEEPEST)
    moment = _moment(keys)
    tests: dict[int, Test | Mapping[int, Test]] = {}
    unmatched = False
    for tag, key in keys.items():
        if key.item:
            inside, missed = _tests(key.item, _NESTED.get(tag, {}), moment is not None)
            unmatched = unmatched or missed
            if inside:
                tests[tag] = inside
    plain, missed = _tests({tag: key for tag, key in keys.items() if not key.item}, _TOP, False)
    return Query(keys, {**tests, **plain}, moment, text.character_set, unmatched or missed)


def limits_of(query: Query) -> Waiting:
    """What of the query the index can be asked: plain values, and a day of room on either side of
    dates, whose zone is that of each Site."""
    step = query.keys.get(STEP, Key("SQ")).item
    first, last = _days(_value(step, DATE))
    return Waiting(
        first=first - _A_DAY if first else None,
        last=last + 2 * _A_DAY if last else None,
        station=_single(step, STATION),
        modality=(_single(step, 0x00080060) or "").upper() or None,
        patient_id=_single(query.keys, 0x00100020),
        accession=_single(query.keys, 0x00080050),
        study_uid=_single(query.keys, 0x0020000D),
        name=_names(query.keys),
    )


# --- reading keys --------------------------------------------------------------------------------


def _keys(found: Scan, text: Text, depth: int) -> Keys:
    keys: dict[int, Key] = {}
    for tag, element in sorted(found.elements.items()):
        if tag in _NOT_KEYS or not tag & 0xFFFF:  # a group's length is no key
            continue
        vr = element.vr if element.vr not in ("", "UN") else vr_of(tag)
        if vr == "SQ":
            item = next(found.items(tag), None)
            deeper = _keys(item, text_of(item, text), depth - 1) if item and depth else {}
            keys[tag] = Key("SQ", item=deeper)
        else:
            keys[tag] = Key(vr, text.line(tag, _MOST) or "")
    return MappingProxyType(keys)


def _value(keys: Keys, tag: int) -> str:
    found = keys.get(tag)
    return "" if found is None else found.value.strip()


def _single(keys: Keys, tag: int) -> str | None:
    """A key's value where it is one that rows can be compared with."""
    value = _value(keys, tag)
    return value if value and not is_wild(value) and "\\" not in value else None


def _names(keys: Keys) -> tuple[str, ...] | None:
    value = _value(keys, PATIENT_NAME)
    return name_patterns(value) if value.strip("*^=? ") else None


# --- tests ---------------------------------------------------------------------------------------


def _tests(
    keys: Keys, known: Mapping[int, Callable[[str], Test]], combined: bool
) -> tuple[dict[int, Test], bool]:
    """The tests of keys that say something, and whether there are others that nobody knows."""
    tests: dict[int, Test] = {}
    unmatched = False
    for tag, key in keys.items():
        if not any(_said(key)) or (combined and tag in (DATE, TIME)):
            continue
        if tag not in known or key.item:
            unmatched = True
            continue
        try:
            test = known[tag](key.value.strip())
        except (ValueError, OverflowError) as error:
            comment = "A key has a value that its VR does not allow."
            raise WrongIdentifier(0xC000, comment, tag) from error
        tests[tag] = _or_anybody(test) if tag in _ANYBODY else test
    return tests, unmatched


def _said(key: Key) -> Iterator[bool]:
    yield bool(key.value.strip(" *"))
    for inner in key.item.values():
        yield from _said(inner)


def _fits(item: Entry, tests: Mapping[int, Test]) -> bool:
    return all(test(str(item.get(tag, ""))) for tag, test in tests.items())


def _or_anybody(test: Test) -> Test:
    return lambda value: not value or test(value)


def _text(key: str) -> Test:
    if is_wild(key):
        check = check_of(Like((pattern(key),), case=True))
        return lambda value: check is not None and check(value)
    values = {one.strip() for one in key.split("\\")}
    return lambda value: value in values


def _code(key: str) -> Test:
    return _text(key.upper())


def _name(key: str) -> Test:
    check = check_of(Like(name_patterns(key), case=True))

    def test(value: str) -> bool:
        groups = [name_key(group) for group in value.split("=")]
        return check is not None and check(*groups)

    return test


def _date(key: str) -> Test:
    first, last = _ends(key, _da)
    return lambda value: bool(value) and (first or "") <= value <= (last or "99991231")


def _time(key: str) -> Test:
    first, last = _times(key)
    return lambda value: bool(value) and first <= f"{value}.000000" <= last


def _times(key: str) -> tuple[str, str]:
    start, end = _ends(key, _tm)
    return (start[0] if start else _FIRST), (end[1] if end else _LAST)


def _ends(key: str, read: Callable[[str], _End]) -> tuple[_End | None, _End | None]:
    """Both ends of a range, the same twice for a single value; None for an open end."""
    first, dash, last = re.sub(r"\s", "", key).partition("-")
    if dash and not first and not last:
        raise ValueError("a range without ends")
    if not dash:
        return read(first), read(first)
    return read(first) if first else None, read(last) if last else None


def _da(text: str) -> str:
    return day_of_key(text).isoformat().replace("-", "")


def _tm(text: str) -> tuple[str, str]:
    """First and last moment of a time: what it leaves out may be anything."""
    found = clock_range(text)
    if found is None:
        raise ValueError("not a time")
    return f"{found[0]:%H%M%S.%f}", f"{found[1]:%H%M%S.%f}"


def _days(key: str) -> tuple[datetime | None, datetime | None]:
    if not key.strip(" *"):
        return None, None
    first, last = (
        None if end is None else datetime.strptime(end, "%Y%m%d").replace(tzinfo=UTC)
        for end in _ends(key, _da)
    )
    return first, last


def _moment(keys: Keys) -> Callable[[str, str], bool] | None:
    """Ranges of date and time taken together: from the first moment to the last (table K.6-1).

    Where one of the two is a single value or nothing, each is matched by itself.
    """
    step = keys.get(STEP, Key("SQ")).item
    days, clocks = _value(step, DATE), _value(step, TIME)
    if "-" not in days or "-" not in clocks:
        return None
    try:
        (day_1, day_2), (clock_1, clock_2) = _ends(days, _da), _times(clocks)
    except ValueError as error:
        comment = "A key has a value that its VR does not allow."
        raise WrongIdentifier(0xC000, comment, STEP) from error
    first = (day_1 or "") + clock_1 if day_1 else ""
    last = day_2 + clock_2 if day_2 else "9" * 8
    return lambda day, clock: bool(day) and first <= f"{day}{clock}.000000" <= last


_STEP_TESTS: Mapping[int, Callable[[str], Test]] = MappingProxyType(
    {
        0x00080060: _code,
        STATION: _text,
        DATE: _date,
        TIME: _time,
        PERFORMER: _name,
        0x00400007: _text,
        0x00400009: _text,
        0x00400020: _code,
    }
)
_CODE_TESTS: Mapping[int, Callable[[str], Test]] = MappingProxyType(
    {0x00080100: _text, 0x00080102: _text, 0x00080104: _text}
)
_TOP: Mapping[int, Callable[[str], Test]] = MappingProxyType(
    {
        0x00080050: _text,
        0x00080090: _name,
        PATIENT_NAME: _name,
        0x00100020: _text,
        0x00100030: _date,
        0x00100040: _code,
        0x00102154: _text,
        0x0020000D: _text,
        0x00321032: _name,
        0x00321060: _text,
        0x00401001: _text,
        0x00401003: _code,
    }
)
_NESTED: Mapping[int, Mapping[int, Callable[[str], Test]]] = MappingProxyType(
    {STEP: _STEP_TESTS, 0x00321064: _CODE_TESTS}
)
MATCHED: Final = frozenset(_TOP), {tag: frozenset(tests) for tag, tests in _NESTED.items()}
"""Every key that is matched: at the top, and in which sequences."""
