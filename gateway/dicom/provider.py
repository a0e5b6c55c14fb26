"""How do pynetdicom's service classes speak through an association's own thread?

They call a DUL and a DIMSE provider. These are stand-ins without threads and queues: what is sent
goes out in the caller's thread, what is waited for is read in it.
"""

from collections.abc import Callable
from typing import Any, Final

from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA

_config.LOG_HANDLER_LEVEL = "none"  # its handlers format every message, debugging or not
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False  # they name patients

ABORTED: Final = (
    b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x00"  # by the service provider, reason not specified
)
_LEAST_PDU, _MOST_PDU = 128, 1 << 20  # what we send at once, whatever a peer asks for


class Provider(DULServiceProvider):
    """Sends in the caller's thread; the thread this class wants to be is never started."""

    def __init__(self, association: Association, transmit: Callable[[bytes], None]) -> None:
        super().__init__(association)
        self._transmit = transmit

    def is_alive(self) -> bool:
        """No thread of its own."""
        return False

    def stop_dul(self) -> bool:
        """Nothing to stop."""
        return True

    def send_encoded(self, raw: bytes) -> None:
        """Send PDUs as they are."""
        self._transmit(raw)

    def send_pdu(self, primitive: Any) -> None:
        """Encode and send at once."""
        if isinstance(primitive, P_DATA):
            self._transmit(P_DATA_TF(primitive).encode())
        elif isinstance(primitive, A_ASSOCIATE):
            accepted = primitive.result == 0
            pdu = A_ASSOCIATE_AC(primitive) if accepted else A_ASSOCIATE_RJ(primitive)
            self._transmit(pdu.encode())
        else:  # an abort from inside of pynetdicom
            self._transmit(ABORTED)


class Messages(DIMSEServiceProvider):
    """What a service class sends, waits for, and looks for between its responses."""

    def __init__(
        self,
        association: Association,
        respond: Callable[[], tuple[int, Any] | None],
        look: Callable[[], None],
    ) -> None:
        self._respond = respond
        self._look = look
        self._cancelled: dict[int, Any] = {}
        super().__init__(association)

    def get_msg(self, block: bool = False) -> Any:
        """The next response of the peer to a request of ours, read here and now."""
        return (self._respond() if block else None) or (None, None)

    @property
    def cancel_req(self) -> dict[int, Any]:
        """C-CANCEL requests by message; asking for them reads what the peer has sent meanwhile."""
        self._look()
        return self._cancelled

    @cancel_req.setter
    def cancel_req(self, found: dict[int, Any]) -> None:
        self._cancelled = found

    def cancel(self, message: int) -> None:
        """Note that the peer wants no more responses to this message."""
        self._cancelled[message] = True

    @property
    def maximum_pdu_size(self) -> int:
        """The largest PDU to send: what the peer takes, within reason (0 is no limit)."""
        asked = int(self.assoc.requestor.maximum_length or 0)
        return min(max(asked, _LEAST_PDU), _MOST_PDU) if asked else _MOST_PDU
