"""How does a key of a query read as SQL, and what of it does SQL leave open?

The shape of a query makes its statement; values go in as bind parameters.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Row,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    true,
    union,
)

from storage.matching import (
    Between,
    Check,
    Item,
    Keys,
    Like,
    Match,
    Moment,
    OneOf,
    after,
    beginning,
    check_of,
    is_plain,
)
from storage.requested import requests_of
from storage.tables import instance, series, study

Level = Literal["patients", "studies", "series", "instances"]

# the columns a key is compared with; more than one: any of them may match
_COLUMNS: Mapping[str, tuple[ColumnElement[Any], ...]] = {
    "study_uid": (study.c.study_uid,),
    "patient_id": (study.c.patient_id,),
    "patient_name": (study.c.name_alphabetic, study.c.name_ideographic, study.c.name_phonetic),
    "birth_date": (study.c.patient_birth_date,),
    "sex": (study.c.patient_sex,),
    "study_date": (study.c.study_date,),
    "study_time": (study.c.study_time,),
    "accession": (study.c.accession,),
    "description": (study.c.description,),
    "requester": (study.c.requester,),
    "series_uid": (series.c.series_uid,),
    "modality": (series.c.modality,),
    "series_number": (series.c.number,),
    "series_description": (series.c.description,),
    "body_part": (series.c.body_part,),
    "sop_uid": (instance.c.sop_uid,),
    "sop_class": (instance.c.sop_class,),
    "instance_number": (instance.c.number,),
}
MODALITIES = "modalities"
"""The key for studies that hold a series of one of these modalities."""
SOP_CLASSES = "sop_classes"
"""The key for studies that hold an instance of one of these SOP classes."""
STUDY_ID = "study_id"
"""The key for Study ID (0020,0010), which stands among the study's attributes."""
REQUESTED = "requested"
"""The key for Request Attributes Sequence (0040,0275), among the series' attributes."""
MOMENT = "moment"
"""The key for the study's date and time taken together."""
_STUDY_KEYS = frozenset(list(_COLUMNS)[:10]) | {MODALITIES, SOP_CLASSES, STUDY_ID, MOMENT}
_SERIES_KEYS = _STUDY_KEYS | frozenset(list(_COLUMNS)[10:15]) | {REQUESTED}

KEYS: Mapping[Level, frozenset[str]] = {
    "patients": frozenset({"patient_id", "patient_name", "birth_date", "sex"}),
    "studies": _STUDY_KEYS,
    "series": _SERIES_KEYS,
    "instances": _SERIES_KEYS | frozenset(_COLUMNS),
}
"""The keys that each level knows."""

_BESIDE: Mapping[str, tuple[ColumnElement[Any], ...]] = {
    MOMENT: (study.c.study_date, study.c.study_time),
    STUDY_ID: (study.c.attributes,),
    REQUESTED: (series.c.attributes,),
}
_IN_JSON = frozenset({STUDY_ID, REQUESTED})  # what stands in a JSON column is looked at again

Kind = str
Shape = tuple[tuple[str, type[Match], tuple[Kind, ...]], ...]


def shape_of(keys: Keys) -> Shape:
    """What of a query makes its statement: names and kinds of its keys, no value."""
    return tuple(sorted((name, type(match), _kinds(match)) for name, match in keys.items()))


def values_of(keys: Keys) -> dict[str, Any]:
    """The bind parameters of a query's statement."""
    values: dict[str, Any] = {}
    for name, match in keys.items():
        values |= _values(name, match) if name not in _IN_JSON else {}
    return values


def columns_of(name: str) -> tuple[ColumnElement[Any], ...]:
    """The columns a key is compared with."""
    return _BESIDE.get(name) or _COLUMNS[name]


def leads(shape: Shape) -> bool:
    """Whether a key says where to look, so that its index is better than that of the Site."""
    return any(
        (name == "patient_name" and _is_begun(kinds))
        or (name in ("series_uid", "sop_uid") and how is OneOf)
        for name, how, kinds in shape
    )


def _is_begun(kinds: tuple[Kind, ...]) -> bool:
    """Whether every pattern says how a name begins."""
    return not any(kind.startswith("open") for kind in kinds)


_HELD: Mapping[str, tuple[ColumnElement[Any], tuple[ColumnElement[bool], ...]]] = {
    MODALITIES: (
        series.c.modality,
        (series.c.study_id == study.c.id, series.c.instance_count > 0),
    ),
    SOP_CLASSES: (
        instance.c.sop_class,
        (instance.c.study_id == study.c.id, instance.c.current),
    ),
}


def condition(
    name: str, how: type[Match], kinds: tuple[Kind, ...], *, ranges: bool = False
) -> ColumnElement[bool]:
    """A key as a condition. `ranges`: whether text sorts by its bytes, so that a beginning is a
    range of an index."""
    if name in _HELD:
        return _any_held(name, how, kinds, *_HELD[name])
    if name in _IN_JSON:
        return true()
    columns = columns_of(name)
    if how is OneOf:
        return _equal(name, columns)
    if name == "patient_name" and how is Like and _is_begun(kinds):
        return _name_begins(columns, kinds)
    if how is Like:
        folded = name == "patient_name"
        return or_(
            *(
                _like(f"{name}_{at}", column, kind, folded, ranges=ranges)
                for column in columns
                for at, kind in enumerate(kinds)
            )
        )
    return _between(name, columns[0], kinds)


def _equal(name: str, columns: tuple[ColumnElement[Any], ...]) -> ColumnElement[bool]:
    wanted: BindParameter[Any] = bindparam(name, expanding=True)
    equal = or_(*(column.in_(wanted) for column in columns))
    if name != "sop_uid":
        return equal
    sites: BindParameter[Any] = bindparam("sites", expanding=True)
    return and_(instance.c.site.in_(sites), equal)  # the index begins with the Site


def _between(name: str, column: ColumnElement[Any], kinds: tuple[Kind, ...]) -> ColumnElement[bool]:
    bounds: list[ColumnElement[bool]] = [column.is_not(None)]
    if "first" in kinds:
        bounds.append(column >= bindparam(f"{name}_first", type_=column.type))
    if "last" in kinds:
        bounds.append(column <= bindparam(f"{name}_last", type_=column.type))
    return and_(*bounds)


def _name_begins(
    columns: tuple[ColumnElement[Any], ...], kinds: tuple[Kind, ...]
) -> ColumnElement[bool]:
    """Studies found by the index of each component group: one range of it for each pattern. In one
    statement with `OR` between them, engines read the whole table."""
    found = [
        select(study.c.id).where(_like(f"patient_name_{at}", column, kind, True, ranges=True))
        for column in columns
        for at, kind in enumerate(kinds)
    ]
    return study.c.id.in_(union(*found) if len(found) > 1 else found[0])


def _any_held(
    name: str,
    how: type[Match],
    kinds: tuple[Kind, ...],
    column: ColumnElement[Any],
    of_study: tuple[ColumnElement[bool], ...],
) -> ColumnElement[bool]:
    """A study that holds something whose column matches."""
    if how is OneOf:
        held: BindParameter[Any] = bindparam(name, expanding=True)
        return exists().where(*of_study, column.in_(held)).correlate(study)
    alike = (_like(f"{name}_{at}", column, kind, False) for at, kind in enumerate(kinds))
    return exists().where(*of_study, or_(*alike)).correlate(study)


def _like(
    name: str, column: ColumnElement[Any], kind: Kind, folded: bool, *, ranges: bool = False
) -> ColumnElement[bool]:
    """One pattern against one column. Folded columns hold no capitals."""
    if folded and kind == "plain":
        return column == bindparam(f"{name}_from")
    cased = "cased" in kind
    compared = column if folded or cased else func.lower(column)
    alike = compared.like(bindparam(name), escape="\\")
    if not ranges or "begun" not in kind or not (folded or cased):
        return alike
    return and_(column >= bindparam(f"{name}_from"), column < bindparam(f"{name}_to"), alike)


def _kinds(match: Match) -> tuple[Kind, ...]:
    """What of a match shapes the statement: its patterns' kinds, the ends of its range."""
    if isinstance(match, Like):
        return tuple(_kind(one, match.case) for one in match.patterns)
    if isinstance(match, Between | Moment):
        ends = (("first", match.first), ("last", match.last))
        return tuple(name for name, value in ends if value is not None)
    return ()


def _kind(like: str, case: bool) -> Kind:
    kind = "plain" if is_plain(like) else "begun" if beginning(like) else "open"
    return f"{kind} cased" if case else kind


def _values(name: str, match: Match) -> dict[str, Any]:
    if isinstance(match, OneOf):
        return {name: list(match.values)}
    if isinstance(match, Like):
        patterns = match.patterns if match.case else [one.lower() for one in match.patterns]
        values: dict[str, Any] = {}
        for at, one in enumerate(patterns):
            start = beginning(one)
            values |= {
                f"{name}_{at}": one,
                f"{name}_{at}_from": start,
                f"{name}_{at}_to": after(start),
            }
        return values
    if isinstance(match, Between):
        ends = {f"{name}_first": match.first, f"{name}_last": match.last}
        return {end: day for end, day in ends.items() if day is not None}
    if isinstance(match, Moment):
        moments = {f"{name}_first": match.first, f"{name}_last": match.last}
        return {end: at.date() for end, at in moments.items() if at is not None}
    return {}


# --- what is looked at again -------------------------------------------------------------------


def checks_of(keys: Keys) -> dict[str, Check]:
    """What the statement leaves open, by key, over the values of `columns_of`."""
    return {name: check for name, match in keys.items() if (check := _check(name, match))}


def _check(name: str, match: Match) -> Check | None:
    """What the statement leaves open of a key, over the values of `_columns`."""
    if name in (MODALITIES, SOP_CLASSES):
        return None
    if name == STUDY_ID:
        fits = _text_check(match)
        return lambda held: any(map(fits, held.get("00200010", {}).get("Value") or ()))
    if isinstance(match, Item):
        tests = {tag: _text_check(one) for tag, one in match.keys.items()}
        return lambda held: any(
            all(fits(item.get(tag, "")) for tag, fits in tests.items())
            for item in requests_of(held)
        )
    return check_of(match)


def _text_check(match: Match) -> Callable[[str], bool]:
    """Whether one text matches, case and all."""
    if isinstance(match, OneOf):
        return lambda text: text in match.values
    alike = check_of(Like(match.patterns if isinstance(match, Like) else (), case=True))
    return lambda text: alike is not None and alike(text)


def again(checks: Mapping[str, Check]) -> Callable[[Row[Any]], bool]:
    """What the statement left open, over rows of (id, columns of each key)."""
    places: list[tuple[Check, slice]] = []
    at = 1
    for name, check in checks.items():
        width = len(columns_of(name))
        places.append((check, slice(at, at + width)))
        at += width
    return lambda row: all(check(*row[place]) for check, place in places)
