"""What is agreed on with a device: presentation contexts, roles, sizes?

pynetdicom's ACSE decides. It takes milliseconds (16 for 128 contexts), and a device asks for the
same thing every time, so the answer to a request is remembered by the request's bytes.
"""

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext

from gateway.dicom.contexts import contexts_for
from gateway.dicom.messages import PDU, ProtocolError
from gateway.dicom.provider import Provider
from gateway.dicom.query import negotiate
from gateway.dicom.status import Rejection

ASSOCIATE_RQ: Final = 1
_HEAD = struct.Struct(">H2x16s16s32x")  # PS3.8 table 9-11 up to the variable items
_ITEM = struct.Struct(">BxH")
# items of a request, what is inside of them and behind how many bytes (PS3.8 section 9.3.2, PS3.7
# annex D.3.3). User identity (58H) is not looked at, and no answer to it means just that
_KNOWN: Mapping[int, tuple[int, frozenset[int]]] = MappingProxyType(
    {
        0x10: (0, frozenset()),
        0x20: (4, frozenset({0x30, 0x40})),
        0x50: (0, frozenset(range(0x51, 0x58))),
    }
)
_LARGEST_REMEMBERED: Final = 1 << 16
_MOST_REMEMBERED: Final = 1 << 20  # bytes of requests; what is made of them takes ten times that


@dataclass(frozen=True)
class Asked:
    """What stands first in an A-ASSOCIATE-RQ: enough to decide who calls. Titles are without
    padding; where one is not `legible` (not printable ASCII), question marks stand in it."""

    calling: str
    called: str
    legible: bool
    version: int
    raw: bytes


@dataclass(frozen=True)
class Agreement:
    """The outcome: accepted contexts by id, pynetdicom's primitive of the request, and the bytes of
    the A-ASSOCIATE-AC. Shared by associations; nobody changes it."""

    application_context: str
    contexts: Mapping[int, PresentationContext]
    request: A_ASSOCIATE
    answer: bytes


def asked(raw: bytes) -> Asked:
    """The head of an association request (the whole PDU), or a ProtocolError."""
    if len(raw) < PDU.size + _HEAD.size:
        raise ProtocolError("an association request that was cut")
    version, called, calling = _HEAD.unpack_from(raw, PDU.size)
    (caller, clear), (here, also) = _title(calling), _title(called)
    return Asked(caller, here, clear and also, version, raw)


def rejection(why: Rejection) -> bytes:
    """The A-ASSOCIATE-RJ (PS3.8 table 9-21)."""
    return b"\x03\x00\x00\x00\x00\x04\x00" + bytes(why)


class Negotiator:
    """Agrees with devices on what is offered. Its methods may be called from any thread."""

    def __init__(self, ae: ApplicationEntity, most_pdu: int, offered: frozenset[str]) -> None:
        self._ae = ae
        self._most_pdu = most_pdu
        self._offered = offered
        self._mutex = threading.Lock()
        self._known: OrderedDict[bytes, Agreement] = OrderedDict()
        self._remembered = 0

    def agree(self, asked_for: Asked) -> Agreement:
        """The agreement for a request, or a ProtocolError when nobody can read it."""
        raw = asked_for.raw
        with self._mutex:
            known = self._known.get(raw)
            if known is not None:
                self._known.move_to_end(raw)
                return known
        made = self._negotiated(raw)
        if len(raw) <= _LARGEST_REMEMBERED:
            with self._mutex:
                self._remember(raw, made)
        return made

    def _remember(self, raw: bytes, made: Agreement) -> None:
        self._remembered += len(raw) if raw not in self._known else 0
        self._known[raw] = made
        while self._remembered > _MOST_REMEMBERED:
            self._remembered -= len(self._known.popitem(last=False)[0])

    def _negotiated(self, raw: bytes) -> Agreement:
        try:
            pdu = A_ASSOCIATE_RQ()
            pdu.decode(_known(raw))
            request = pdu.to_primitive()
            sent: list[bytes] = []
            one = _Acceptor(self._ae, sent.append)
            one.requestor.primitive = request
            one.acceptor.ae_title = self._ae.ae_title
            one.acceptor.maximum_length = self._most_pdu
            one.acceptor.implementation_class_uid = self._ae.implementation_class_uid
            one.acceptor.implementation_version_name = self._ae.implementation_version_name
            proposed = request.presentation_context_definition_list
            one.acceptor.supported_contexts = contexts_for(proposed, self._offered)
            one.bind(evt.EVT_SOP_EXTENDED, negotiate)
            one.acse.negotiate_association()
        except Exception as error:
            name = type(error).__name__
            raise ProtocolError(f"an association request nobody can read ({name})") from None
        if not sent or not one.is_established:
            raise ProtocolError("an association request nobody can agree to")
        return Agreement(
            str(request.application_context_name or ""), one.accepted, request, sent[0]
        )


def _known(raw: bytes) -> bytes:
    """The request without items that are none of ours: they are to be ignored (PS3.8 section
    9.3.1), and pynetdicom breaks on them."""
    body = raw[PDU.size : PDU.size + _HEAD.size]
    for kind, value in _items(raw, PDU.size + _HEAD.size):
        if kind not in _KNOWN:
            continue
        behind, inside = _KNOWN[kind]
        kept = (_packed(*one) for one in _items(value, behind) if one[0] in inside)
        body += _packed(kind, value[:behind] + b"".join(kept) if inside else value)
    return PDU.pack(ASSOCIATE_RQ, len(body)) + body


def _items(raw: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at < len(raw):
        kind, length = _ITEM.unpack_from(raw, at)
        at += _ITEM.size + length
        if at > len(raw):
            raise ProtocolError("an association request that was cut")
        yield kind, raw[at - length : at]


def _packed(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


class _Acceptor(Association):
    """pynetdicom's association for the time of a negotiation."""

    def __init__(self, ae: ApplicationEntity, transmit: Callable[[bytes], Any]) -> None:
        super().__init__(ae, "acceptor")
        self.dul = Provider(self, transmit)

    @property
    def accepted(self) -> dict[int, PresentationContext]:
        return dict(self._accepted_cx)


def _title(raw: bytes) -> tuple[str, bool]:
    plain = raw.strip(b" \0")
    shown = bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in plain)
    return shown.decode("ascii"), shown == plain
