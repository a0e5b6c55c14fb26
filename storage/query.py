"""Which studies, series and instances match the keys of a query (QIDO-RS, C-FIND)?

A statement is built once for each shape of a query.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BindParameter, ColumnElement, Connection, Row, Select, bindparam, select

from storage.conditions import (
    KEYS,
    MODALITIES,
    MOMENT,
    REQUESTED,
    SOP_CLASSES,
    STUDY_ID,
    Level,
    Shape,
    again,
    checks_of,
    columns_of,
    condition,
    leads,
    shape_of,
    values_of,
)
from storage.fields import BY_NUMBERS, EXISTING, FIELDS, IDS, JOINED, ORDERS
from storage.matching import Keys
from storage.tables import instance, series, study

__all__ = [
    "FIELDS",
    "KEYS",
    "MODALITIES",
    "MOMENT",
    "REQUESTED",
    "SOP_CLASSES",
    "STUDY_ID",
    "Level",
    "Query",
]

# statements that are remembered; callers decide which keys they combine
_MOST_SHAPES: Final = 256

_sites: BindParameter[Any] = bindparam("sites", expanding=True)
_at_sites = study.c.site.in_(_sites)
_shown_series = series.c.instance_count > 0
_of_study = (study.c.site, study.c.study_uid)
_BASES: Mapping[Level, Select[Any]] = {
    "studies": select(study).order_by(study.c.received_at.desc(), study.c.id.desc()),
    "series": select(series, *_of_study)
    .join(study, study.c.id == series.c.study_id)
    .where(_shown_series)
    .order_by(*ORDERS["series"]),
    "instances": select(instance, series.c.series_uid, series.c.modality, study.c.study_uid)
    .join(series, series.c.id == instance.c.series_id)
    .join(study, study.c.id == instance.c.study_id)
    .where(instance.c.current)
    .order_by(*ORDERS["instances"]),
}
_in_study = (
    select(instance, series.c.series_uid)
    .join(series, series.c.id == instance.c.series_id)
    .where(instance.c.study_id == bindparam("study_key"))
    .order_by(*BY_NUMBERS)
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
        values = {**values_of(keys), "sites": sorted(sites), "most": most, "skip": skip}
        return self._connection.execute(_statement(level, shape_of(keys)), values).all()

    def matching(self, level: Level, sites: Iterable[str], keys: Keys) -> "array[int]":
        """The number of every match, eight bytes each: newest studies first, then by numbers.
        What matches is one moment's; `fields` may then be asked piece by piece."""
        checks = checks_of(keys)
        values = {**values_of(keys), "sites": sorted(sites)}
        ranges = self._connection.dialect.name == "sqlite"
        statement = _matching(level, shape_of(keys), tuple(checks), ranges)
        rows = self._connection.execute(statement, values)
        if not checks:
            return array("q", (row[0] for row in rows))
        fits = again(checks)
        return array("q", (row[0] for row in rows if fits(row)))

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


@lru_cache(_MOST_SHAPES)
def _statement(level: Level, shape: Shape) -> Select[Any]:
    conditions = [condition(*key) for key in shape]
    statement = _BASES[level].where(_within(shape), *conditions)
    return statement.limit(bindparam("most")).offset(bindparam("skip"))


@lru_cache(_MOST_SHAPES)
def _matching(level: Level, shape: Shape, checked: tuple[str, ...], ranges: bool) -> Select[Any]:
    """Ids of what matches, and the columns of the keys that are looked at again."""
    looked_at = [column for name in checked for column in columns_of(name)]
    conditions = [condition(*key, ranges=ranges) for key in shape]
    statement = JOINED[level](select(IDS[level], *looked_at))
    return statement.where(_within(shape), *EXISTING[level], *conditions).order_by(*ORDERS[level])


def _within(shape: Shape) -> ColumnElement[bool]:
    """Limited to Sites. `+ ""` keeps SQLite from their index where another is better."""
    return (study.c.site + "").in_(_sites) if leads(shape) else _at_sites


@lru_cache(_MOST_SHAPES)
def _fields(level: Level, names: tuple[str, ...]) -> Select[Any]:
    own = IDS[level]
    fields = [FIELDS[name].label(name) for name in names]
    statement = JOINED[level](select(own.label("own_id"), *fields))
    return statement.where(own.in_(bindparam("ids", expanding=True)))
