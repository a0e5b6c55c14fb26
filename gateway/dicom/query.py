"""What does a C-FIND of a device find (PS3.4 section C.4.1)?"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import evt

from gateway.assemble import Parts
from gateway.dicom.answers import Answers
from gateway.dicom.finding import CANCELLED, PENDING, PENDING_SOME_KEYS_UNMATCHED, Answer
from gateway.dicom.identifier import (
    MODELS,
    WrongIdentifier,
    keys_above,
    keys_to_match,
    read_identifier,
)
from storage.query import Query
from storage.scan import TRANSFER_SYNTAXES

SOP_CLASSES: frozenset[str] = frozenset(name for name in MODELS if name.endswith(".1"))

# rows that are read at once; between two readings nothing of the index is held
_PIECE: Final = 500
_LOOK: Final = 20  # answers between two looks for a C-CANCEL

# places in the application information of an extended negotiation (PS3.4 section C.5.1.1)
RELATIONAL, COMBINED = 0, 1
_OPTIONS: Final = b"\1\1\0\0\0"


def handlers(_: Parts) -> list[tuple[evt.EventType, Callable[..., Any], list[Any]]]:
    """Nothing besides `find`, which is shared with other services."""
    return []


def negotiate(event: evt.Event) -> dict[Any, bytes]:
    """SOP Class Extended Negotiation (PS3.4 section C.5): relational queries and retrievals, and
    date and time matched together; neither fuzzy names nor time zones."""
    asked: dict[Any, bytes] = event.app_info  # type: ignore[attr-defined]
    return {name: _agreed(name, options) for name, options in asked.items() if name in MODELS}


def _agreed(sop_class: str, asked: bytes) -> bytes:
    offered = _OPTIONS if sop_class in SOP_CLASSES else _OPTIONS[:1]
    return bytes(one & other for one, other in zip(asked, offered, strict=False))


def is_negotiated(association: Any, sop_class: str, option: int) -> bool:
    """Whether an option of the SOP class (RELATIONAL, COMBINED) was agreed on."""
    agreed = _agreed(sop_class, association.requestor.sop_class_extended.get(sop_class, b""))
    return len(agreed) > option and agreed[option] == 1


def find(event: evt.Event, parts: Parts) -> Iterator[Answer]:
    """The answers to one C-FIND, one by one: what matches within the Sites that the device sees."""
    try:
        yield from _found(event, parts)
    except WrongIdentifier as wrong:
        yield failure(wrong), None


def _found(event: evt.Event, parts: Parts) -> Iterator[Answer]:
    request: Any = event.request
    association: Any = event.assoc
    sop_class, syntax = str(request.AffectedSOPClassUID), str(event.context.transfer_syntax)
    identifier = read_identifier(request.Identifier.getvalue(), syntax, sop_class)
    asked = keys_to_match(identifier, combined=is_negotiated(association, sop_class, COMBINED))
    relational = is_negotiated(association, sop_class, RELATIONAL)
    above = {} if relational else keys_above(identifier, sop_class)
    answers = Answers(identifier, TRANSFER_SYNTAXES[syntax], association.called)
    status = PENDING_SOME_KEYS_UNMATCHED if asked.unmatched else PENDING
    with parts.view() as unit:
        sites = unit.people.visible_from(association.device.site)
        query = Query(unit.connection)
        ids = query.matching(identifier.level, sites, {**asked.keys, **above})
    for start in range(0, len(ids), _PIECE):
        piece = ids[start : start + _PIECE]
        with parts.view() as unit:
            rows = Query(unit.connection).fields(identifier.level, piece, answers.fields)
        for number, row in enumerate(rows):
            if number % _LOOK == 0 and event.is_cancelled:
                yield CANCELLED, None
                return
            yield status, answers.answer(row)


def failure(wrong: WrongIdentifier) -> Dataset:
    """The status of a request that cannot be served (PS3.7 annex C)."""
    status = Dataset()
    status.Status = wrong.status
    status.ErrorComment = wrong.comment[:64]
    if wrong.element is not None:
        status.OffendingElement = wrong.element
    return status
