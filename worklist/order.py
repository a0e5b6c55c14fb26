"""What was asked, and how far is it?"""

import re
import unicodedata
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.patient import Patient
from worklist.person import Caller, Role
from worklist.ports import Unit
from worklist.priority import Priority
from worklist.site import checked_ae_title


class OrderState(StrEnum):
    """States of an order, from the steps that devices report."""

    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    DISCONTINUED = "discontinued"
    CANCELLED = "cancelled"


_ALLOWED = frozenset(
    {
        (OrderState.SCHEDULED, OrderState.IN_PROGRESS),
        (OrderState.SCHEDULED, OrderState.CANCELLED),
        (OrderState.IN_PROGRESS, OrderState.COMPLETED),
        (OrderState.IN_PROGRESS, OrderState.DISCONTINUED),
        (OrderState.IN_PROGRESS, OrderState.SCHEDULED),  # the device had picked the wrong entry
        (OrderState.IN_PROGRESS, OrderState.CANCELLED),
        (OrderState.COMPLETED, OrderState.IN_PROGRESS),  # one more step of the same order
        (OrderState.DISCONTINUED, OrderState.IN_PROGRESS),  # tried again
        (OrderState.DISCONTINUED, OrderState.CANCELLED),
    }
)

WAITING = frozenset({OrderState.SCHEDULED, OrderState.IN_PROGRESS})
"""States in which an order stands on the Modality Worklist."""

_MAY_ORDER = (Role.DOCTOR, Role.COORDINATOR)
_FARTHEST = timedelta(days=3660)
_LONGEST_LIFE = timedelta(days=55_000)  # 150 years


@dataclass(frozen=True)
class ProcedureCode:
    """A coded procedure: Code Value, Coding Scheme Designator, Code Meaning (PS3.3 table 8.8-1)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Asked:
    """What the one who orders says.

    `name` is the name as it is written (ideographic where there is one), `name_latin` and
    `name_phonetic` the other groups when they differ; family and given name may be parted by "^".
    `station` is the AE Title of the device that shall do it, None for any device of the Site.
    `scheduled_at` is an instant.
    """

    name: str
    patient_id: str
    modality: str
    procedure: str
    scheduled_at: datetime
    name_latin: str | None = None
    name_phonetic: str | None = None
    sex: str | None = None
    birth_date: date | None = None
    phone: str | None = None
    station: str | None = None
    code: ProcedureCode | None = None
    priority: Priority = Priority.ROUTINE
    requester: str | None = None
    question: str | None = None

    @property
    def patient(self) -> Patient:
        """The patient, with names as they are read."""
        latin = _spoken(self.name_latin) if self.name_latin else None
        return Patient(_spoken(self.name), latin, self.patient_id, self.sex, self.birth_date)

    @property
    def name_groups(self) -> tuple[str, str, str]:
        """Alphabetic, ideographic and phonetic group of the name (PS3.5 section 6.2.1).

        A name in one script stands in the first group: many devices show no other one.
        """
        phonetic = _with_caret(self.name_phonetic or "")
        if self.name_latin is None:
            return _with_caret(self.name), "", phonetic
        return _with_caret(self.name_latin), _with_caret(self.name), phonetic


@dataclass(frozen=True)
class Numbers:
    """What an order is called: Accession Number, Requested Procedure ID, Scheduled Procedure Step
    ID (each SH, at most 16 characters); None where it is to be issued here."""

    accession: str | None = None
    requested_procedure_id: str | None = None
    step_id: str | None = None


@dataclass(frozen=True)
class Order:
    """One order of one Site. Changes return a new value; the transaction writes it.

    `study_uid` is issued here: the device puts it into the images. `number` counts the Accession
    Numbers that the Site issued itself. `version` grows with every change.
    """

    id: str
    site: str
    accession: str
    requested_procedure_id: str
    step_id: str
    study_uid: str
    asked: Asked
    created_by: str
    created_at: datetime
    request_id: str
    changed_by: str
    changed_at: datetime
    number: int | None = None
    state: OrderState = OrderState.SCHEDULED
    reason: str | None = None
    version: int = 1

    def moved(self, state: OrderState, who: str, at: datetime) -> "Order":
        """The order in another state."""
        if (self.state, state) not in _ALLOWED:
            raise Refusal(Code.WRONG_STATE, f"An order that is {self.state} cannot become {state}.")
        return self._changed(who, at, state=state)

    def asking(self, asked: Asked, who: str, at: datetime) -> "Order":
        """The order with other content; only before a device has begun."""
        if self.state is not OrderState.SCHEDULED:
            raise Refusal(Code.WRONG_STATE, f"An order that is {self.state} cannot be changed.")
        return self._changed(who, at, asked=asked)

    def cancelled(self, reason: str, who: str, at: datetime) -> "Order":
        """The order that is not to be done any more."""
        return replace(self.moved(OrderState.CANCELLED, who, at), reason=reason)

    def fact(self, what: Happened, who: str | None, at: datetime) -> Fact:
        """Something that happened to the order."""
        return Fact(what, at, self.site, who=who, data={"order_id": self.id})

    def _changed(self, who: str, at: datetime, **changes: object) -> "Order":
        changes |= {"changed_by": who, "changed_at": at, "version": self.version + 1}
        return replace(self, **changes)  # type: ignore[arg-type]


# -- what people and programs may do --------------------------------------------------------------


def place(
    unit: Unit,
    who: Caller,
    site: str,
    zone: ZoneInfo,
    asked: Asked,
    numbers: Numbers,
    request_id: str,
    now: datetime,
) -> Order:
    """A new order. The same request again gives the first result, whatever became of it."""
    may_order(who, site)
    first = unit.orders.of_request(who.name, request_id)
    if first is not None:
        return first
    asked = checked(unit, site, asked, now)
    numbers = _checked_numbers(numbers)
    accession, number = numbers.accession, None
    if accession is None:
        accession, number = _issued(unit, site, now.astimezone(zone).date())
    elif unit.orders.of_accession(site, accession) is not None:
        raise Refusal(
            Code.ALREADY_EXISTS, "There is an order of this Accession Number.", field="accession"
        )
    order = Order(
        id=uuid.uuid4().hex,
        site=site,
        accession=accession,
        requested_procedure_id=numbers.requested_procedure_id or accession,
        step_id=numbers.step_id or accession,
        study_uid=f"2.25.{uuid.uuid4().int}",
        asked=asked,
        created_by=who.name,
        created_at=now,
        request_id=request_id,
        changed_by=who.name,
        changed_at=now,
        number=number,
    )
    unit.orders.add(order)
    unit.facts.add(order.fact(Happened.ORDER_PLACED, who.name, now))
    return order


def change(
    unit: Unit,
    who: Caller,
    order_id: str,
    version: int,
    asked: Asked,
    numbers: Numbers,
    now: datetime,
) -> Order:
    """Other content for the version that was seen. The same change again is a success that changes
    nothing."""
    order = _own(unit, who, order_id)
    _require_same(order, numbers)
    asked = checked(unit, order.site, asked, now, before=order.asked)
    repeated = order.asked == asked and version in (order.version, order.version - 1)
    if repeated and order.state is OrderState.SCHEDULED:
        return order
    _require_version(order, version)
    order = order.asking(asked, who.name, now)
    unit.orders.save(order)
    unit.facts.add(order.fact(Happened.ORDER_CHANGED, who.name, now))
    return order


def cancel(
    unit: Unit, who: Caller, order_id: str, version: int, reason: str, now: datetime
) -> Order:
    """Not to be done any more, and why. Once a device has begun, only a coordinator says so."""
    order = _own(unit, who, order_id)
    reason = _text("reason", reason, 200) or ""
    if not reason:
        raise Refusal(Code.REASON_MISSING, "Say why the order is cancelled.", field="reason")
    if order.state is OrderState.CANCELLED and order.reason == reason:
        return order
    _require_version(order, version)
    if order.state is not OrderState.SCHEDULED:
        who.require(Role.COORDINATOR)
    order = order.cancelled(reason, who.name, now)
    unit.orders.save(order)
    unit.facts.add(order.fact(Happened.ORDER_CANCELLED, who.name, now))
    return order


def may_order(who: Caller, site: str) -> None:
    """Refuse unless the caller may order for this Site: doctors for their own, coordinators for
    every Site they see."""
    who.require_site(site)
    who.require(*_MAY_ORDER)
    if site != who.site:
        who.require(Role.COORDINATOR)


def _own(unit: Unit, who: Caller, order_id: str) -> Order:
    order = unit.orders.lock(order_id)
    may_order(who, order.site)
    return order


def _require_version(order: Order, version: int) -> None:
    if order.version != version:
        raise Refusal(Code.ORDER_CHANGED, "The order has changed meanwhile.", version=order.version)


def _require_same(order: Order, numbers: Numbers) -> None:
    """An order keeps its numbers for good: labels and device screens already carry them."""
    for field in fields(Numbers):
        given = getattr(numbers, field.name)
        if given is not None and given.strip() != getattr(order, field.name):
            raise _invalid(field.name, "An order keeps its numbers.")


def _issued(unit: Unit, site: str, day: date) -> tuple[str, int]:
    """A new Accession Number: the Site's day and its running number."""
    number = unit.orders.next_number(site)
    while unit.orders.of_accession(site, f"{day:%y%m%d}{number:05d}") is not None:
        number += 1  # a program has brought this one from elsewhere
    return f"{day:%y%m%d}{number:05d}", number


# -- what may stand in an order -------------------------------------------------------------------

_MODALITY = re.compile(r"[A-Z0-9_]{1,16}")
_WILD = re.compile(r"[*?]")
_CHINESE = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff·]+")


def checked(
    unit: Unit, site: str, asked: Asked, now: datetime, before: Asked | None = None
) -> Asked:
    """What was asked, trimmed, or a refusal that names the `field`."""
    station = asked.station.strip() if asked.station else None
    if station and (before is None or station != before.station):
        _require_station(unit, site, station)
    if abs(asked.scheduled_at - now) > _FARTHEST:
        raise _invalid("scheduled_at", "That is too far away.")
    modality = asked.modality.strip().upper()
    if not _MODALITY.fullmatch(modality):
        raise _invalid("modality", "A modality is a short code such as ECG, DX or CT.")
    return replace(
        asked,
        name=_required("name", _name("name", asked.name)),
        name_latin=_name("name_latin", asked.name_latin),
        name_phonetic=_name("name_phonetic", asked.name_phonetic),
        patient_id=_required("patient_id", _exact("patient_id", asked.patient_id, 64)),
        sex=_sex(asked.sex),
        birth_date=_birth_date(asked.birth_date, now),
        phone=_phone(asked.phone),
        modality=modality,
        station=station or None,
        procedure=_required("procedure", _text("procedure", asked.procedure, 64)),
        code=_code(asked.code),
        requester=_name("requester", asked.requester),
        question=_text("question", asked.question, 1000, lines=True),
    )


def _checked_numbers(numbers: Numbers) -> Numbers:
    given = {
        field.name: _exact(field.name, getattr(numbers, field.name), 16)
        for field in fields(Numbers)
    }
    return Numbers(**given)


def _invalid(field: str, message: str) -> Refusal:
    return Refusal(Code.INVALID, message, field=field)


def _required(field: str, value: str | None) -> str:
    if not value:
        raise _invalid(field, "This must not be empty.")
    return value


def _text(field: str, value: str | None, most: int, *, lines: bool = False) -> str | None:
    """One line (or several) without what DICOM text may not hold (PS3.5 table 6.2-1)."""
    value = unicodedata.normalize("NFC", (value or "").strip())
    if len(value) > most:
        raise _invalid(field, f"At most {most} characters.")
    plain = re.sub(r"[\r\n\t]", "", value) if lines else value
    if not plain.isprintable() or ("\\" in plain and not lines):
        raise _invalid(field, "No control characters, no backslash.")
    return value or None


def _name(field: str, value: str | None) -> str | None:
    value = _text(field, value, 64)
    if value is not None and ("=" in value or value.count("^") > 4 or _WILD.search(value)):
        raise _invalid(field, "A name holds no '=', '*' or '?', and at most five parts.")
    return value if value is not None and value.strip("^ ") else None


def _exact(field: str, value: str | None, most: int) -> str | None:
    """An identifier: a query with wildcards must never mean it."""
    value = _text(field, value, most)
    if value is not None and _WILD.search(value):
        raise _invalid(field, "No '*' and no '?'.")
    return value


def _sex(value: str | None) -> str | None:
    if value not in (None, "M", "F", "O"):
        raise _invalid("sex", "M, F or O.")
    return value


def _birth_date(value: date | None, now: datetime) -> date | None:
    tomorrow = now.date() + timedelta(days=1)  # it may be tomorrow already where the Site is
    if value is not None and not tomorrow - _LONGEST_LIFE <= value <= tomorrow:
        raise _invalid("birth_date", "Nobody alive was born on that day.")
    return value


def _phone(value: str | None) -> str | None:
    return _exact("phone", re.sub(r"\s", "", value or ""), 16)  # SH


def _code(code: ProcedureCode | None) -> ProcedureCode | None:
    if code is None:
        return None
    return ProcedureCode(
        _required("code.value", _exact("code.value", code.value, 16)),
        _required("code.scheme", _exact("code.scheme", code.scheme, 16)),
        _required("code.meaning", _text("code.meaning", code.meaning, 64)),
    )


def _require_station(unit: Unit, site: str, station: str) -> None:
    checked_ae_title(station)
    if station not in unit.orders.stations(site):
        raise _invalid("station", "No device of this site has this AE Title.")


# -- names ----------------------------------------------------------------------------------------


def _parts(name: str) -> list[str]:
    return [part.strip() for part in name.split("^")]


def _spoken(name: str) -> str:
    """A name as it is read; Chinese parts have no space between them."""
    spoken = [part for part in _parts(name) if part]
    gap = "" if all(_CHINESE.fullmatch(part) for part in spoken) else " "
    return gap.join(spoken)


def _with_caret(name: str) -> str:
    """Family^given: where nobody parted them, the family name ends at the first space."""
    if "^" not in name:
        family, _, given = name.partition(" ")
        name = f"{family}^{given.strip()}" if given else family
    return "^".join(_parts(name)).rstrip("^")


def after_steps(states: Iterable[OrderState]) -> OrderState:
    """The state of an order whose steps say this: one in progress counts most, one completed more
    than those discontinued; none at all: as if nothing had begun."""
    said = frozenset(states)
    for state in (OrderState.IN_PROGRESS, OrderState.COMPLETED, OrderState.DISCONTINUED):
        if state in said:
            return state
    return OrderState.SCHEDULED
