"""Which studies, series and instances match the keys of a query (QIDO-RS, C-FIND)?

Every statement is built once for each shape of a query; values go in as bind parameters.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
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
)

from storage.tables import instance, series, study

Level = Literal["studies", "series", "instances"]

_LAST = 2**31 - 1  # where what has no number stands


@dataclass(frozen=True)
class OneOf:
    """Equal to one of these (list of UID matching, PS3.4 C.2.2.2.2)."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Like:
    """Like one of these patterns of SQL's LIKE with backslash as escape; case does not count."""

    patterns: tuple[str, ...]


@dataclass(frozen=True)
class Between:
    """From `first` to `last`, both included; None is open (range matching, PS3.4 C.2.2.2.5)."""

    first: date | None
    last: date | None


Match = OneOf | Like | Between
Keys = Mapping[str, Match]

# the columns a key is compared with; more than one: any of them may match
_COLUMNS: Mapping[str, tuple[ColumnElement[Any], ...]] = {
    "study_uid": (study.c.study_uid,),
    "patient_id": (study.c.patient_id,),
    "patient_name": (study.c.patient_name, study.c.patient_name_latin),
    "birth_date": (study.c.patient_birth_date,),
    "sex": (study.c.patient_sex,),
    "study_date": (study.c.study_date,),
    "accession": (study.c.accession,),
    "description": (study.c.description,),
    "requester": (study.c.requester,),
    "series_uid": (series.c.series_uid,),
    "modality": (series.c.modality,),
    "series_number": (series.c.number,),
    "sop_uid": (instance.c.sop_uid,),
    "sop_class": (instance.c.sop_class,),
    "instance_number": (instance.c.number,),
}
MODALITIES = "modalities"
"""The key for studies that hold a series of one of these modalities."""

KEYS: Mapping[Level, frozenset[str]] = {
    "studies": frozenset(list(_COLUMNS)[:9]) | {MODALITIES},
    "series": frozenset(list(_COLUMNS)[:12]) | {MODALITIES},
    "instances": frozenset(_COLUMNS) | {MODALITIES},
}
"""The keys that each level knows."""

_at_sites = study.c.site.in_(bindparam("sites", expanding=True))
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


class Query:
    """Queries over the rows of one transaction, limited to the Sites a caller may see."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(
        self, level: Level, sites: Iterable[str], keys: Keys, most: int, skip: int
    ) -> Sequence[Row[Any]]:
        """At most `most` rows after the first `skip`: newest studies first, then by numbers."""
        shape = tuple(sorted((name, type(match), _count(match)) for name, match in keys.items()))
        values: dict[str, Any] = {"sites": sorted(sites), "most": most, "skip": skip}
        for name, match in keys.items():
            values |= _values(name, match)
        return self._connection.execute(_statement(level, shape), values).all()

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


_Shape = tuple[tuple[str, type[Match], int], ...]


@cache
def _statement(level: Level, shape: _Shape) -> Select[Any]:
    conditions = [_condition(*key) for key in shape]
    return _BASES[level].where(*conditions).limit(bindparam("most")).offset(bindparam("skip"))


def _condition(name: str, how: type[Match], count: int) -> ColumnElement[bool]:
    if name == MODALITIES:
        held: BindParameter[Any] = bindparam(name, expanding=True)
        return exists().where(series.c.study_id == study.c.id, series.c.modality.in_(held))
    columns = _COLUMNS[name]
    if how is OneOf:
        return or_(*(column.in_(bindparam(name, expanding=True)) for column in columns))
    if how is Like:
        return or_(
            *(
                func.lower(column).like(bindparam(f"{name}_{at}"), escape="\\")
                for column in columns
                for at in range(count)
            )
        )
    (column,) = columns
    bounds = []
    if count & 1:
        bounds.append(column >= bindparam(f"{name}_first", type_=column.type))
    if count & 2:
        bounds.append(column <= bindparam(f"{name}_last", type_=column.type))
    return and_(*bounds)


def _count(match: Match) -> int:
    """What of a match shapes the statement: how many patterns, which ends of a range."""
    if isinstance(match, Like):
        return len(match.patterns)
    if isinstance(match, Between):
        return (match.first is not None) + 2 * (match.last is not None)
    return 0


def _values(name: str, match: Match) -> dict[str, Any]:
    if isinstance(match, OneOf):
        return {name: list(match.values)}
    if isinstance(match, Like):
        return {f"{name}_{at}": pattern.lower() for at, pattern in enumerate(match.patterns)}
    ends = {f"{name}_first": match.first, f"{name}_last": match.last}
    return {end: day for end, day in ends.items() if day is not None}
