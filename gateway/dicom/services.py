"""Which services are offered on an association, and which function serves each?

The modules of the services give their SOP classes and their handlers; pynetdicom's service classes
call these. It allows one handler for an event, so C-FIND is handed on by its SOP class.
"""

import inspect
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from types import ModuleType
from typing import Any, Final

from pynetdicom import evt

from gateway.assemble import Parts
from gateway.dicom import commitment, mpps, query, retrieve, worklist
from gateway.dicom.status import SUCCESS, status_of
from gateway.dicom.store import where
from worklist.errors import Code, Refusal

log = logging.getLogger("teleread.dicom")

VERIFICATION: Final = "1.2.840.10008.1.1"

Handler = tuple[Callable[..., Any], list[Any] | None]

_EVENTS: Mapping[int, evt.InterventionEvent] = {  # PS3.7 table E.1-1, Command Field
    0x0010: evt.EVT_C_GET,
    0x0020: evt.EVT_C_FIND,
    0x0021: evt.EVT_C_MOVE,
    0x0030: evt.EVT_C_ECHO,
    0x0100: evt.EVT_N_EVENT_REPORT,
    0x0110: evt.EVT_N_GET,
    0x0120: evt.EVT_N_SET,
    0x0130: evt.EVT_N_ACTION,
    0x0140: evt.EVT_N_CREATE,
    0x0150: evt.EVT_N_DELETE,
}


C_FIND_RQ: Final = 0x0020
FIRST_N_SERVICE: Final = 0x0100


def name_of(command_field: int) -> str:
    """The name of a request's service, as in C-FIND."""
    return _EVENTS[command_field].name[4:].replace("_", "-")


class Services:
    """Everything that is offered besides storage, bound once and shared by all associations."""

    def __init__(self, parts: Parts) -> None:
        modules = _modules()
        self._parts = parts
        self._waiting = [
            (module.SOP_CLASSES, module.established)
            for module in modules
            if hasattr(module, "established")
        ]
        self._finders = {
            name: module.find
            for module in modules
            if hasattr(module, "find")
            for name in module.SOP_CLASSES
        }
        self.sop_classes: frozenset[str] = frozenset({VERIFICATION}).union(
            *(module.SOP_CLASSES for module in modules)
        )
        self.handlers: dict[evt.EventType, Any] = {evt.EVT_C_ECHO: (_verified, None)}
        self._served = {(evt.EVT_C_ECHO, VERIFICATION)}
        self._served |= {(evt.EVT_C_FIND, name) for name in self._finders}
        for module in modules:
            for event, function, *more in module.handlers(parts):
                self._served |= {(event, name) for name in module.SOP_CLASSES}
                self.handlers[event] = (_watched(event, function), more[0] if more else None)
        if self._finders:
            self.handlers[evt.EVT_C_FIND] = (_watched(evt.EVT_C_FIND, self._find), [parts])

    def opened(self, agreed: Collection[str], association: Callable[[], Any]) -> None:
        """A device has opened an association with these SOP classes: services that wait for it may
        leave work for later on it."""
        for names, established in self._waiting:
            if not names.isdisjoint(agreed):
                established(association(), self._parts)

    def serves(self, command_field: int, sop_class: str) -> bool:
        """Whether there is a function for this kind of request of this SOP class."""
        return (_EVENTS.get(command_field), sop_class) in self._served

    def _find(self, event: evt.Event, parts: Parts) -> Iterator[tuple[int, Any]]:
        yield from self._finders[str(event.request.AffectedSOPClassUID)](event, parts)


def _modules() -> list[ModuleType]:
    return [query, retrieve, worklist, mpps, commitment]


def _verified(_: evt.Event) -> int:
    return SUCCESS


def _watched(event: evt.EventType, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; what it breaks on is one log line. A refusal of a C-FIND is its answer."""

    def broke(caught: evt.Event, error: Exception) -> None:
        said = error.code if isinstance(error, Refusal) else where(error)
        name, association = event.name[4:].replace("_", "-"), getattr(caught.assoc, "id", "")
        log.warning("%s failed: %s (association %s)", name, said, association)

    def stream(caught: evt.Event, *more: Any) -> Iterator[Any]:
        try:
            yield from function(caught, *more)
        except Refusal as refusal:
            broke(caught, refusal)
            if event is not evt.EVT_C_FIND:
                raise
            yield _find_status(refusal.code), None
        except Exception as error:
            broke(caught, error)
            raise

    def answer(caught: evt.Event, *more: Any) -> Any:
        try:
            return function(caught, *more)
        except Refusal as refusal:
            broke(caught, refusal)
            return status_of(refusal.code), None
        except Exception as error:
            broke(caught, error)
            raise

    return stream if inspect.isgeneratorfunction(function) else answer


def _find_status(code: Code) -> int:
    """PS3.4 table C.4-1: a C-FIND fails by out of resources, a wrong identifier, or unable to
    process."""
    return {Code.OUT_OF_RESOURCES: 0xA700, Code.COMMAND_DISAGREES: 0xA900}.get(code, 0xC000)
