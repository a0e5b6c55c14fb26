"""Which orders does a device find on its Modality Worklist (PS3.4 annex K)?"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from pynetdicom import evt

from gateway.assemble import Parts
from gateway.dicom.criteria import Query, limits_of, read_query
from gateway.dicom.entries import STATION, STEP, Entry, answer, answered, entry_of
from gateway.dicom.finding import CANCELLED, PENDING, PENDING_SOME_KEYS_UNMATCHED, Answer
from gateway.dicom.identifier import WrongIdentifier
from gateway.dicom.query import failure
from storage.orders import Waiting
from storage.scan import TRANSFER_SYNTAXES
from worklist.order import Order
from worklist.site import Device

SOP_CLASSES: frozenset[str] = frozenset({"1.2.840.10008.5.1.4.31"})

# orders that are read at once; between two readings nothing of the index is held
_PIECE: Final = 200
_LOOK: Final = 20  # orders between two looks for a C-CANCEL


def handlers(parts: Parts) -> list[tuple[evt.EventType, Callable[..., Any], list[Any]]]:
    """What pynetdicom calls for this service besides `find`."""
    return []


def find(event: evt.Event, parts: Parts) -> Iterator[Answer]:
    """The answers to one C-FIND, one by one: orders that wait at the device's own Site, and at the
    centers its Site reads for."""
    syntax = str(event.context.transfer_syntax)
    try:
        query = read_query(event.request.Identifier.getvalue(), syntax)  # type: ignore[union-attr]
        wanted = limits_of(query)
    except WrongIdentifier as wrong:
        yield failure(wrong), None
        return
    coding, wanted_back = TRANSFER_SYNTAXES[syntax], answered(query.keys)
    status = PENDING_SOME_KEYS_UNMATCHED if query.unmatched else PENDING
    device: Device = event.assoc.device  # type: ignore[attr-defined]
    for number, found in enumerate(_orders(parts, device, wanted)):
        if number % _LOOK == 0 and event.is_cancelled:
            yield CANCELLED, None
            return
        entry = entry_of(found.order, found.zone)
        if query.matches(entry):
            named = _for_device(entry, query, device)
            yield status, answer(named, wanted_back, coding, query.character_set)


@dataclass(frozen=True)
class _Found:
    order: Order
    zone: ZoneInfo


def _orders(parts: Parts, device: Device, wanted: Waiting) -> Iterator[_Found]:
    with parts.view() as unit:
        visible = unit.people.visible_from(device.site)
        zones = {key: site.zone for key, site in unit.people.sites().items() if key in visible}
    after = None
    while True:
        with parts.view() as unit:
            orders = unit.orders.waiting(visible, wanted, after, _PIECE)
        for order in orders:
            yield _Found(order, zones[order.site])
        if len(orders) < _PIECE:
            return
        after = (orders[-1].asked.scheduled_at, orders[-1].id)


def _for_device(entry: Entry, query: Query, device: Device) -> Entry:
    """An order for any station names the one that was asked for, else the one that asks: Scheduled
    Station AE Title is never empty."""
    steps = entry[STEP]
    if isinstance(steps, str):
        return entry
    asked = query.keys[STEP].item.get(STATION) if STEP in query.keys else None
    plain = asked.value.strip() if asked and not set(asked.value) & set("*?\\") else ""
    title = plain or device.ae_title
    named: tuple[Mapping[int, Any], ...] = tuple(
        {**step, STATION: step[STATION] or title} for step in steps
    )
    return {**entry, STEP: named}
