"""Which orders are there?"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from storage.matching import name_key
from storage.tables import device, service_request, site
from worklist.errors import Code, Refusal
from worklist.order import WAITING, Asked, Order, OrderState, ProcedureCode
from worklist.priority import Priority

_row = service_request.c
_by_id = select(service_request).where(_row.id == bindparam("order_key"))
_lock = _by_id.with_for_update()
_of_request = select(service_request).where(
    _row.created_by == bindparam("by"), _row.request_id == bindparam("request")
)
_of_accession = select(service_request).where(
    _row.site == bindparam("at_site"), _row.accession == bindparam("number")
)
_of_study_uid = select(service_request).where(_row.study_uid == bindparam("uid"))
_set = update(service_request).where(_row.id == bindparam("order_key"))
_hold_site = select(site.c.key).where(site.c.key == bindparam("at_site")).with_for_update()
_highest = select(func.max(_row.number)).where(_row.site == bindparam("at_site"))
_stations = select(device.c.ae_title).where(device.c.site == bindparam("at_site"))
_waiting = (
    select(service_request)
    .where(
        _row.state.in_([str(state) for state in sorted(WAITING)]),
        _row.site.in_(bindparam("sites", expanding=True)),
    )
    .order_by(_row.scheduled_at, _row.id)
    .limit(bindparam("most"))
)
_listed = (
    select(service_request)
    .where(_row.site.in_(bindparam("sites", expanding=True)))
    .order_by(_row.scheduled_at.desc(), _row.id.desc())
    .limit(bindparam("most"))
)

Place = tuple[datetime, str]
"""Where a page ends: the instant an order is scheduled for, and its id."""


@dataclass(frozen=True)
class Waiting:
    """What the orders on a worklist are limited to; None is anything. `station` finds the orders
    of any station too, `name` those of which a component group is like one of these patterns
    (`storage.matching.name_patterns`)."""

    first: datetime | None = None
    last: datetime | None = None
    station: str | None = None
    modality: str | None = None
    patient_id: str | None = None
    accession: str | None = None
    study_uid: str | None = None
    name: tuple[str, ...] | None = None


class Orders:
    """Rows of orders in one transaction. Implements `worklist.ports.Orders`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, order_id: str) -> Order | None:
        """The order, or None."""
        return self._one(_by_id, {"order_key": order_id})

    def lock(self, order_id: str) -> Order:
        """The order, held until the end of the transaction. NOT_FOUND where there is none."""
        found = self._one(_lock, {"order_key": order_id})
        if found is None:
            raise Refusal(Code.NOT_FOUND, "There is no such order.")
        return found

    def add(self, one: Order) -> None:
        """Write a new order. ALREADY_EXISTS where another transaction was faster."""
        try:
            self._connection.execute(insert(service_request), _columns(one))
        except IntegrityError as error:
            raise Refusal(Code.ALREADY_EXISTS, "This order was placed just now.") from error

    def save(self, one: Order) -> None:
        """Write a changed order."""
        values = _columns(one)
        del values["id"]
        self._connection.execute(_set, {**values, "order_key": one.id})

    def of_request(self, who: str, request_id: str) -> Order | None:
        """What this very request has made."""
        return self._one(_of_request, {"by": who, "request": request_id})

    def of_accession(self, at_site: str, accession: str) -> Order | None:
        """The Site's order of this Accession Number."""
        return self._one(_of_accession, {"at_site": at_site, "number": accession})

    def of_study_uid(self, study_uid: str) -> Order | None:
        """The order with which this Study Instance UID was issued."""
        return self._one(_of_study_uid, {"uid": study_uid})

    def next_number(self, at_site: str) -> int:
        """One more than the highest number the Site has issued; the Site's row is held, so that
        nobody else gets the same."""
        self._connection.execute(_hold_site, {"at_site": at_site})
        highest = self._connection.execute(_highest, {"at_site": at_site}).scalar_one()
        return int(highest or 0) + 1

    def stations(self, at_site: str) -> frozenset[str]:
        """The AE Titles of the Site's devices."""
        return frozenset(self._connection.execute(_stations, {"at_site": at_site}).scalars())

    def waiting(
        self, sites: Iterable[str], wanted: Waiting, after: Place | None, most: int
    ) -> Sequence[Order]:
        """Orders that devices may do, the earliest first; at most `most` after this place."""
        given: dict[str, Any] = {
            field.name: value
            for field in fields(Waiting)
            if (value := getattr(wanted, field.name)) is not None
        }
        names: tuple[str, ...] = given.pop("name", ())
        patterns: dict[str, Any] = {f"name_{at}": one for at, one in enumerate(names)}
        values = {"sites": sorted(sites), "most": most, **given, **patterns, **_place(after)}
        statement = _waiting_where(tuple(sorted(given)), len(names), after is not None)
        rows = self._connection.execute(statement, values)
        return [order_of(row) for row in rows]

    def listed(
        self, sites: Iterable[str], states: Iterable[str], after: Place | None, most: int
    ) -> Sequence[Order]:
        """Orders of these Sites (in these states, where there are any), the latest first."""
        wanted = sorted(states)
        values = {"sites": sorted(sites), "most": most, **_place(after)}
        if wanted:
            values["states"] = wanted
        rows = self._connection.execute(_listed_where(bool(wanted), after is not None), values)
        return [order_of(row) for row in rows]

    def _one(self, statement: Select[Any], parameters: dict[str, Any]) -> Order | None:
        row = self._connection.execute(statement, parameters).one_or_none()
        return None if row is None else order_of(row)


@lru_cache(256)
def _waiting_where(given: tuple[str, ...], names: int, paged: bool) -> Select[Any]:
    statement = _waiting.where(*(_LIMITS[name] for name in given))
    if names:
        patterns: list[BindParameter[Any]] = [bindparam(f"name_{at}") for at in range(names)]
        alike = (key.like(one, escape="\\") for key in _KEYS for one in patterns)
        statement = statement.where(or_(*alike))
    after = tuple_(_row.scheduled_at, _row.id) > tuple_(*_after)
    return statement.where(after) if paged else statement


@lru_cache(256)
def _listed_where(by_state: bool, paged: bool) -> Select[Any]:
    statement = _listed
    if by_state:
        statement = statement.where(_row.state.in_(bindparam("states", expanding=True)))
    after = tuple_(_row.scheduled_at, _row.id) < tuple_(*_after)
    return statement.where(after) if paged else statement


_after = (
    bindparam("after_at", type_=_row.scheduled_at.type),
    bindparam("after_id", type_=_row.id.type),
)
_KEYS = (_row.key_alphabetic, _row.key_ideographic, _row.key_phonetic)
_KEPT = [name for name in _row.keys() if name not in {key.name for key in _KEYS}]  # noqa: SIM118
_LIMITS: dict[str, ColumnElement[bool]] = {
    "first": _row.scheduled_at >= bindparam("first", type_=_row.scheduled_at.type),
    "last": _row.scheduled_at <= bindparam("last", type_=_row.scheduled_at.type),
    "station": or_(_row.station.is_(None), _row.station == bindparam("station")),
    "modality": _row.modality == bindparam("modality"),
    "patient_id": _row.patient_id == bindparam("patient_id"),
    "accession": _row.accession == bindparam("accession"),
    "study_uid": _row.study_uid == bindparam("study_uid"),
}


def _place(after: Place | None) -> dict[str, Any]:
    return {} if after is None else {"after_at": after[0], "after_id": after[1]}


def order_of(row: Row[Any]) -> Order:
    """The order of a row that has all columns of the table under their names."""
    values = {name: getattr(row, name) for name in _KEPT}
    asked = {field.name: values.pop(field.name) for field in fields(Asked)}
    asked["priority"] = Priority(asked["priority"])
    asked["code"] = ProcedureCode(**asked["code"]) if asked["code"] else None
    values["state"] = OrderState(values["state"])
    return Order(**values, asked=Asked(**asked))


def _columns(one: Order) -> dict[str, Any]:
    values = asdict(one)
    keys = (name_key(group) for group in one.asked.name_groups)
    found_by = {column.name: key for column, key in zip(_KEYS, keys, strict=True)}
    return {**values, **values.pop("asked"), **found_by}
