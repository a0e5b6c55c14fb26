"""What is ordered, changed and cancelled, and what stands on the worklists of the devices?"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.assemble import Parts
from gateway.web import values
from gateway.web.auth import Who
from gateway.web.values import Json
from storage.index import IndexUnit
from storage.orders import Place
from worklist import order as orders
from worklist.errors import Code, Refusal
from worklist.order import Asked, Numbers, Order, OrderState, ProcedureCode
from worklist.person import Caller
from worklist.priority import Priority
from worklist.procedure import ProcedureStep
from worklist.site import Site

MOST = 200
_MOST_VERSIONS = 2**31 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Given(BaseModel):
    """A word that nobody knows is refused: a misspelt field must not be lost in silence."""

    model_config = ConfigDict(extra="forbid")


class CodeGiven(_Given):
    """A coded procedure (PS3.3 table 8.8-1)."""

    value: str = Field(max_length=16)
    scheme: str = Field(max_length=16)
    meaning: str = Field(max_length=64)


class PatientGiven(_Given):
    """The patient. `name` as it is written, `name_latin` and `name_phonetic` where they differ;
    family and given name may be parted by "^"."""

    id: str = Field(max_length=64)
    name: str = Field(max_length=64)
    name_latin: str | None = Field(None, max_length=64)
    name_phonetic: str | None = Field(None, max_length=64)
    sex: Literal["M", "F", "O"] | None = None
    birth_date: date | None = None
    phone: str | None = Field(None, max_length=32)


class OrderGiven(_Given):
    """What is asked. `scheduled_at` without an offset is by the clock of the Site, without a value
    it is now; `station` is the AE Title of a device of the Site, without a value any device. The
    Accession Number and the ids (each at most 16 characters) are issued where they are not given.
    """

    patient: PatientGiven
    modality: str = Field(max_length=16)
    procedure: str = Field(max_length=64)
    code: CodeGiven | None = None
    priority: Priority = Priority.ROUTINE
    scheduled_at: datetime | None = None
    station: str | None = Field(None, max_length=16)
    requester: str | None = Field(None, max_length=64)
    question: str | None = Field(None, max_length=1000)
    accession: str | None = Field(None, max_length=16)
    requested_procedure_id: str | None = Field(None, max_length=16)
    step_id: str | None = Field(None, max_length=16)


class OrderPlaced(OrderGiven):
    """A new order. `request_id` is made once for each order: the same again gives the first result.
    `site` is the caller's own where it is not given."""

    request_id: UUID
    site: str | None = Field(None, max_length=32)


class OrderChange(OrderGiven):
    """The whole order as it shall be, and the version it was changed from."""

    version: int = Field(ge=1, lt=_MOST_VERSIONS)


class Cancelling(_Given):
    """Why, and the version that was seen."""

    version: int = Field(ge=1, lt=_MOST_VERSIONS)
    reason: str = Field(max_length=200)


def routes(parts: Parts) -> APIRouter:
    """Orders of the Sites a caller may see."""
    router = APIRouter(prefix="/api/orders", tags=["orders"])

    @router.post("", status_code=201)
    def place(given: OrderPlaced, who: Who, response: Response) -> Json:
        """Order an examination. It is on the devices' Modality Worklist at once."""
        now = parts.now()
        with _by_place(), parts.new_unit() as unit:
            site = _site(unit, given.site or who.site, who)
            asked = _asked(given, site.zone, now)
            request_id = str(given.request_id)
            placed = orders.place(
                unit, who, site.key, site.zone, asked, _numbers(given), request_id, now
            )
            shown = _one(unit, placed)
        response.headers["Location"] = f"/api/orders/{placed.id}"
        return shown

    @router.get("")
    def listed(
        who: Who,
        site: Annotated[str | None, Query(max_length=32)] = None,
        state: Annotated[list[OrderState] | None, Query()] = None,
        after: Annotated[str | None, Query(max_length=256)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    ) -> Json:
        """Orders, those scheduled for latest first; `after` is `next` of the page before."""
        sites = who.sites if site is None else who.sites & {site}
        with parts.view() as unit:
            found = unit.orders.listed(sites, state or (), _after(after), limit + 1)
            names = unit.people.sites()
        shown = found[:limit]
        return {
            "orders": [_order(one, names) for one in shown],
            "next": _next(shown[-1]) if len(found) > limit else None,
            "as_of": values.instant(parts.now()),
        }

    @router.get("/{order_id}")
    def one(order_id: str, who: Who) -> Json:
        """One order with what devices told of it."""
        with parts.view() as unit:
            return _one(unit, _visible(unit, order_id, who))

    @router.put("/{order_id}")
    def change(order_id: str, given: OrderChange, who: Who) -> Json:
        """Change an order that no device has begun. The same change again changes nothing."""
        now = parts.now()
        with _by_place(), parts.new_unit() as unit:
            before = _visible(unit, order_id, who)
            zone = unit.people.site(before.site).zone
            asked = _asked(given, zone, before.asked.scheduled_at)
            changed = orders.change(unit, who, order_id, given.version, asked, _numbers(given), now)
            return _one(unit, changed)

    @router.post("/{order_id}/cancel")
    def cancel(order_id: str, given: Cancelling, who: Who) -> Json:
        """Cancel an order; once a device has begun, only a coordinator may."""
        with parts.new_unit() as unit:
            _visible(unit, order_id, who)
            cancelled = orders.cancel(unit, who, order_id, given.version, given.reason, parts.now())
            return _one(unit, cancelled)

    return router


# where a field of the rules stands in a body
_PLACES = {
    "patient_id": "patient.id",
    **{
        name: f"patient.{name}"
        for name in ("name", "name_latin", "name_phonetic", "sex", "birth_date", "phone")
    },
}


@contextmanager
def _by_place() -> Iterator[None]:
    """A refusal that names a field names it as the body does."""
    try:
        yield
    except Refusal as refusal:
        field = refusal.details.get("field")
        if field in _PLACES:
            refusal.details["field"] = _PLACES[field]
        raise


def _site(unit: IndexUnit, key: str, who: Caller) -> Site:
    who.require_site(key)
    return unit.people.site(key)


def _visible(unit: IndexUnit, order_id: str, who: Caller) -> Order:
    found = unit.orders.get(order_id)
    if found is None or not who.may_see(found.site):
        raise Refusal(Code.NOT_FOUND, "There is no such order.")
    return found


# -- in -------------------------------------------------------------------------------------------


def _asked(given: OrderGiven, zone: ZoneInfo, default: datetime) -> Asked:
    patient, code = given.patient, given.code
    return Asked(
        name=patient.name,
        patient_id=patient.id,
        modality=given.modality,
        procedure=given.procedure,
        scheduled_at=_instant(given.scheduled_at, zone, default),
        name_latin=patient.name_latin,
        name_phonetic=patient.name_phonetic,
        sex=patient.sex,
        birth_date=patient.birth_date,
        phone=patient.phone,
        station=given.station,
        code=ProcedureCode(code.value, code.scheme, code.meaning) if code else None,
        priority=given.priority,
        requester=given.requester,
        question=given.question,
    )


def _numbers(given: OrderGiven) -> Numbers:
    return Numbers(given.accession, given.requested_procedure_id, given.step_id)


def _instant(value: datetime | None, zone: ZoneInfo, default: datetime) -> datetime:
    """To the second: a worklist says no more, and a change must compare equal."""
    if value is None:
        return default.replace(microsecond=0)
    try:
        whole = value if value.tzinfo else value.replace(tzinfo=zone)
        return whole.astimezone(UTC).replace(microsecond=0)
    except (OverflowError, ValueError) as error:
        raise Refusal(Code.INVALID, "That is too far away.", field="scheduled_at") from error


# -- out ------------------------------------------------------------------------------------------


def _one(unit: IndexUnit, one: Order) -> Json:
    steps = [_step(step) for step in unit.procedure_steps.of_order(one.id)]
    return {**_order(one, unit.people.sites()), "steps": steps}


def _order(one: Order, sites: Mapping[str, Site]) -> Json:
    asked = one.asked
    on = one.created_at.astimezone(sites[one.site].zone).date()
    return {
        "id": one.id,
        "version": one.version,
        "state": one.state,
        "site": values.site_name(sites[one.site]),
        "accession": one.accession,
        "requested_procedure_id": one.requested_procedure_id,
        "step_id": one.step_id,
        "study_uid": one.study_uid,
        "patient": {
            **values.patient(asked.patient, on),
            "name_phonetic": asked.name_phonetic,
            "phone": asked.phone,
            "name_as_given": asked.name,
            "name_latin_as_given": asked.name_latin,
        },
        "modality": asked.modality,
        "procedure": asked.procedure,
        "code": _code(asked.code),
        "priority": asked.priority,
        "scheduled_at": values.instant(asked.scheduled_at),
        "station": asked.station,
        "requester": asked.requester,
        "question": asked.question,
        "reason": one.reason,
        "created_by": one.created_by,
        "created_at": values.instant(one.created_at),
        "changed_by": one.changed_by,
        "changed_at": values.instant(one.changed_at),
    }


def _code(code: ProcedureCode | None) -> Json | None:
    if code is None:
        return None
    return {"value": code.value, "scheme": code.scheme, "meaning": code.meaning}


def _step(one: ProcedureStep) -> Json:
    return {
        "sop_uid": one.sop_uid,
        "state": one.state,
        "station": one.station,
        "started_at": values.instant(one.started_at),
        "ended_at": values.maybe(one.ended_at),
        "instance_count": len(one.instances),
    }


def _next(one: Order) -> str:
    at = (one.asked.scheduled_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(json.dumps([at, one.id]).encode()).decode()


def _after(text: str | None) -> Place | None:
    if not text:
        return None
    try:
        at, order_id = json.loads(base64.urlsafe_b64decode(text))
        return _EPOCH + timedelta(microseconds=int(at)), str(order_id)
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        raise Refusal(Code.INVALID, "There is no such page of the list.") from error
