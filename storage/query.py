"""Which studies, series and instances match the keys of a query (QIDO-RS, C-FIND)?

Every statement is built once for each shape of a query; values go in as bind parameters.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    true,
)

from storage.matching import (
    Between,
    Check,
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
from storage.tables import instance, series, study

Level = Literal["patients", "studies", "series", "instances"]

_LAST = 2**31 - 1  # where what has no number stands

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
MOMENT = "moment"
"""The key for the study's date and time taken together."""
_STUDY_KEYS = frozenset(list(_COLUMNS)[:10]) | {MODALITIES, SOP_CLASSES, STUDY_ID, MOMENT}
_SERIES_KEYS = _STUDY_KEYS | frozenset(list(_COLUMNS)[10:15])

KEYS: Mapping[Level, frozenset[str]] = {
    "patients": frozenset({"patient_id", "patient_name", "birth_date", "sex"}),
    "studies": _STUDY_KEYS,
    "series": _SERIES_KEYS,
    "instances": _SERIES_KEYS | frozenset(_COLUMNS),
}
"""The keys that each level knows."""

_sites: BindParameter[Any] = bindparam("sites", expanding=True)
_at_sites = study.c.site.in_(_sites)
_shown_series = series.c.instance_count > 0
_of_study = (study.c.site, study.c.study_uid)
_BASES: Mapping[Level, Select[Any]] = {
    "studies": select(study)
    .where(_at_sites)
    .order_by(study.c.received_at.desc(), study.c.id.desc()),
    "series": select(series, *_of_study)
    .join(study, study.c.id == series.c.study_id)
    .where(_at_sites, _shown_series)
    .order_by(series.c.study_id.desc(), func.coalesce(series.c.number, _LAST), series.c.id),
    "instances": select(instance, series.c.series_uid, series.c.modality, study.c.study_uid)
    .join(series, series.c.id == instance.c.series_id)
    .join(study, study.c.id == instance.c.study_id)
    .where(_at_sites, instance.c.current)
    .order_by(
        instance.c.study_id.desc(),
        func.coalesce(series.c.number, _LAST),
        series.c.id,
        func.coalesce(instance.c.number, _LAST),
        instance.c.number_in_study,
    ),
}
_in_study = (
    select(instance, series.c.series_uid)
    .join(series, series.c.id == instance.c.series_id)
    .where(instance.c.study_id == bindparam("study_key"))
    .order_by(
        func.coalesce(series.c.number, _LAST),
        series.c.id,
        func.coalesce(instance.c.number, _LAST),
        instance.c.number_in_study,
    )
)
_current = _in_study.where(instance.c.current)
_current_of_series = _current.where(series.c.series_uid == bindparam("series"))
_versions = _in_study.where(
    series.c.series_uid == bindparam("series"), instance.c.sop_uid == bindparam("sop")
)
_by_uid = select(study).where(_at_sites, study.c.study_uid == bindparam("uid"))

# --- what an answer may hold, and by which number a match is remembered ------------------------

_other = study.alias("other")
_of_patient = (_other.c.site == study.c.site, _other.c.patient_id == study.c.patient_id)
_classes = (
    select(instance.c.sop_class)
    .where(instance.c.study_id == study.c.id, instance.c.current)
    .correlate(study)
    .distinct()
    .order_by(instance.c.sop_class)
    .subquery()
)


def _of_all_studies(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return select(value).where(*_of_patient).correlate(study).scalar_subquery()


FIELDS: Mapping[str, ColumnElement[Any]] = {
    "site": study.c.site,
    "study_key": study.c.id,
    "patient_id": study.c.patient_id,
    "patient_name": study.c.patient_name,
    "birth_date": study.c.patient_birth_date,
    "sex": study.c.patient_sex,
    "patient_studies": _of_all_studies(func.count()),
    "patient_series": _of_all_studies(func.sum(_other.c.series_count)),
    "patient_instances": _of_all_studies(func.sum(_other.c.instance_count)),
    "study_uid": study.c.study_uid,
    "study_date": study.c.study_date,
    "study_time": study.c.study_time,
    "accession": study.c.accession,
    "description": study.c.description,
    "requester": study.c.requester,
    "modalities": study.c.modalities,
    "sop_classes": select(func.aggregate_strings(_classes.c.sop_class, "\\")).scalar_subquery(),
    "series_count": study.c.series_count,
    "instance_count": study.c.instance_count,
    "attributes": study.c.attributes,
    "series_uid": series.c.series_uid,
    "modality": series.c.modality,
    "series_number": series.c.number,
    "series_description": series.c.description,
    "body_part": series.c.body_part,
    "series_instances": series.c.instance_count,
    "sop_uid": instance.c.sop_uid,
    "sop_class": instance.c.sop_class,
    "instance_number": instance.c.number,
    "frames": instance.c.frames,
    "rows": instance.c.rows,
    "columns": instance.c.columns,
    "transfer_syntax": instance.c.transfer_syntax,
    "locator": instance.c.locator,
    "offset": instance.c.offset,
    "length": instance.c.length,
}
"""What can be asked of each match, by name."""

_IDS: Mapping[Level, ColumnElement[int]] = {
    "patients": study.c.id,
    "studies": study.c.id,
    "series": series.c.id,
    "instances": instance.c.id,
}
_JOINED: Mapping[Level, Callable[[Select[Any]], Select[Any]]] = {
    "patients": lambda one: one.select_from(study),
    "studies": lambda one: one.select_from(study),
    "series": lambda one: one.select_from(series.join(study, study.c.id == series.c.study_id)),
    "instances": lambda one: one.select_from(
        instance.join(series, series.c.id == instance.c.series_id).join(
            study, study.c.id == instance.c.study_id
        )
    ),
}
# a patient is shown by the newest study of this Patient ID at the Site
_newest = ~exists().where(*_of_patient, _other.c.id > study.c.id)
_EXISTING: Mapping[Level, tuple[ColumnElement[bool], ...]] = {
    "patients": (study.c.patient_id.is_not(None), _newest),
    "studies": (),
    "series": (_shown_series,),
    "instances": (instance.c.current,),
}
_ORDERS: Mapping[Level, tuple[ColumnElement[Any], ...]] = {
    "patients": (study.c.id.desc(),),
    "studies": (study.c.id.desc(),),
    "series": (series.c.study_id.desc(), func.coalesce(series.c.number, _LAST), series.c.id),
    "instances": (
        instance.c.study_id.desc(),
        func.coalesce(series.c.number, _LAST),
        series.c.id,
        func.coalesce(instance.c.number, _LAST),
        instance.c.number_in_study,
    ),
}


class Query:
    """Queries over the rows of one transaction, limited to the Sites a caller may see."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(
        self, level: Level, sites: Iterable[str], keys: Keys, most: int, skip: int
    ) -> Sequence[Row[Any]]:
        """At most `most` rows after the first `skip`: newest studies first, then by numbers."""
        values: dict[str, Any] = {"sites": sorted(sites), "most": most, "skip": skip}
        for name, match in keys.items():
            values |= _values(name, match)
        return self._connection.execute(_statement(level, _shape(keys)), values).all()

    def matching(self, level: Level, sites: Iterable[str], keys: Keys) -> "array[int]":
        """The number of every match, eight bytes each: newest studies first, then by numbers.
        What matches is one moment's; `fields` may then be asked piece by piece."""
        checks = {name: check for name, match in keys.items() if (check := _check(name, match))}
        values: dict[str, Any] = {"sites": sorted(sites)}
        for name, match in keys.items():
            values |= _values(name, match) if name != STUDY_ID else {}
        ranges = self._connection.dialect.name == "sqlite"
        statement = _matching(level, _shape(keys), tuple(checks), ranges)
        rows = self._connection.execute(statement, values)
        if not checks:
            return array("q", (row[0] for row in rows))
        again = _again(checks)
        return array("q", (row[0] for row in rows if again(row)))

    def fields(
        self, level: Level, ids: Sequence[int], names: tuple[str, ...]
    ) -> Sequence[Row[Any]]:
        """These of `FIELDS` for the matches of these numbers, in their order; `own_id` first."""
        rows = self._connection.execute(_fields(level, names), {"ids": list(ids)})
        by_id = {row[0]: row for row in rows}
        return [by_id[one] for one in ids if one in by_id]

    def studies_of_uid(self, study_uid: str, sites: Iterable[str]) -> Sequence[Row[Any]]:
        """Every study of this UID at these Sites, all columns."""
        return self._connection.execute(_by_uid, {"uid": study_uid, "sites": sorted(sites)}).all()

    def instances(self, study_id: int, series_uid: str | None = None) -> Sequence[Row[Any]]:
        """Current instances of a study, or of one series of it, by their numbers."""
        if series_uid is None:
            return self._connection.execute(_current, {"study_key": study_id}).all()
        values = {"study_key": study_id, "series": series_uid}
        return self._connection.execute(_current_of_series, values).all()

    def versions(self, study_id: int, series_uid: str, sop_uid: str) -> Sequence[Row[Any]]:
        """Every version of one instance of this series."""
        values = {"study_key": study_id, "series": series_uid, "sop": sop_uid}
        return self._connection.execute(_versions, values).all()


def _check(name: str, match: Match) -> Check | None:
    """What the statement leaves open of a key, over the values of `_columns`."""
    if name in (MODALITIES, SOP_CLASSES):
        return None
    if name != STUDY_ID:
        return check_of(match)
    patterns = match.patterns if isinstance(match, Like) else ()
    held = match.values if isinstance(match, OneOf) else ()
    alike = check_of(Like(patterns, case=True))

    def check(attributes: Mapping[str, Any]) -> bool:
        values = attributes.get("00200010", {}).get("Value") or ()
        return any(value in held or (alike is not None and alike(value)) for value in values)

    return check


def _again(checks: Mapping[str, Check]) -> Callable[[Row[Any]], bool]:
    """What the statement left open, over rows of `_matching`."""
    places: list[tuple[Check, slice]] = []
    at = 1
    for name, check in checks.items():
        width = len(_columns(name))
        places.append((check, slice(at, at + width)))
        at += width
    return lambda row: all(check(*row[place]) for check, place in places)


_Kind = str
_Shape = tuple[tuple[str, type[Match], tuple[_Kind, ...]], ...]


def _shape(keys: Keys) -> _Shape:
    """What of a query makes its statement: names and kinds of its keys, no value."""
    return tuple(sorted((name, type(match), _kinds(match)) for name, match in keys.items()))


@cache
def _statement(level: Level, shape: _Shape) -> Select[Any]:
    conditions = [_condition(*key) for key in shape]
    return _BASES[level].where(*conditions).limit(bindparam("most")).offset(bindparam("skip"))


@cache
def _matching(level: Level, shape: _Shape, checked: tuple[str, ...], ranges: bool) -> Select[Any]:
    """Ids of what matches, and the columns of the keys that are looked at again."""
    again = [column for name in checked for column in _columns(name)]
    conditions = [_condition(*key, ranges=ranges) for key in shape]
    statement = _JOINED[level](select(_IDS[level], *again))
    sites = _at_sites if not _by_name(shape) else (study.c.site + "").in_(_sites)
    return statement.where(sites, *_EXISTING[level], *conditions).order_by(*_ORDERS[level])


def _by_name(shape: _Shape) -> bool:
    """Whether the name says where to look: its index is better than that of the Site, which SQLite
    takes otherwise."""
    return any(
        name == "patient_name" and not any(kind.startswith("open") for kind in kinds)
        for name, _, kinds in shape
    )


@cache
def _fields(level: Level, names: tuple[str, ...]) -> Select[Any]:
    own = _IDS[level]
    fields = [FIELDS[name].label(name) for name in names]
    statement = _JOINED[level](select(own.label("own_id"), *fields))
    return statement.where(own.in_(bindparam("ids", expanding=True)))


_BESIDE: Mapping[str, tuple[ColumnElement[Any], ...]] = {
    MOMENT: (study.c.study_date, study.c.study_time),
    STUDY_ID: (study.c.attributes,),
}


def _columns(name: str) -> tuple[ColumnElement[Any], ...]:
    return _BESIDE.get(name) or _COLUMNS[name]


def _condition(
    name: str, how: type[Match], kinds: tuple[_Kind, ...], *, ranges: bool = False
) -> ColumnElement[bool]:
    """`ranges`: whether text sorts by its bytes, so that a beginning is a range of an index."""
    if name == MODALITIES:
        of_study = (series.c.study_id == study.c.id, series.c.instance_count > 0)
        return _any_held(name, how, kinds, series.c.modality, of_study)
    if name == SOP_CLASSES:
        of_study = (instance.c.study_id == study.c.id, instance.c.current)
        return _any_held(name, how, kinds, instance.c.sop_class, of_study)
    if name == STUDY_ID:
        return true()  # what stands in a JSON column is looked at again
    columns = _columns(name)
    if how is OneOf:
        return or_(*(column.in_(bindparam(name, expanding=True)) for column in columns))
    if how is Like:
        folded = name == "patient_name"
        return or_(
            *(
                _like(f"{name}_{at}", column, kind, folded, ranges=folded or ranges)
                for column in columns
                for at, kind in enumerate(kinds)
            )
        )
    column = columns[0]
    bounds: list[ColumnElement[bool]] = [column.is_not(None)]
    if "first" in kinds:
        bounds.append(column >= bindparam(f"{name}_first", type_=column.type))
    if "last" in kinds:
        bounds.append(column <= bindparam(f"{name}_last", type_=column.type))
    return and_(*bounds)


def _any_held(
    name: str,
    how: type[Match],
    kinds: tuple[_Kind, ...],
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
    name: str, column: ColumnElement[Any], kind: _Kind, folded: bool, *, ranges: bool = False
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


def _kinds(match: Match) -> tuple[_Kind, ...]:
    """What of a match shapes the statement: its patterns' kinds, the ends of its range."""
    if isinstance(match, Like):
        return tuple(_kind(one, match.case) for one in match.patterns)
    if isinstance(match, Between | Moment):
        ends = (("first", match.first), ("last", match.last))
        return tuple(name for name, value in ends if value is not None)
    return ()


def _kind(like: str, case: bool) -> _Kind:
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
