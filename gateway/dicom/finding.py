"""How do the answers of a C-FIND go out (PS3.7 section 9.1.2)?

Matches come as encoded identifiers, and go out under a command that is packed once: pynetdicom
takes ten times as long for each. What is sent is gathered by the association's own thread, a few
hundred at a time; C-CANCEL, abort and release are read between.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import QueryRetrieveServiceClass
from pynetdicom.status import QR_FIND_SERVICE_CLASS_STATUS

from gateway.dicom.messages import NO_DATA_SET, command_set, data_pdus
from gateway.dicom.wire import PeerGoneError

PENDING: Final = 0xFF00
PENDING_SOME_KEYS_UNMATCHED: Final = 0xFF01
CANCELLED: Final = 0xFE00
SUCCESS: Final = 0x0000
UNABLE: Final = 0xC000
_C_FIND_RSP: Final = 0x8020

Answer = tuple[int | Dataset, bytes | None]
"""A pending status with an encoded identifier, or the last status with None."""


class Finding(QueryRetrieveServiceClass):
    """pynetdicom's service class for Query/Retrieve and Modality Worklist, with answers that come
    encoded."""

    def SCP(self, req: Any, context: PresentationContext) -> None:
        """Serve one request."""
        if not isinstance(req, C_FIND):
            raise ValueError("not a query")
        self.statuses = QR_FIND_SERVICE_CLASS_STATUS
        attributes = {
            "request": req,
            "context": context.as_tuple,
            "_is_cancelled": self.is_cancelled,
        }
        last: int | Dataset = SUCCESS
        try:
            answers: Any = evt.trigger(self.assoc, evt.EVT_C_FIND, attributes)
            pending = self._pending(req, int(context.context_id or 0))
            for status, found in answers:
                if not self.assoc.is_established:
                    return
                if found is None:
                    last = status
                    break
                pending(status, found)
        except PeerGoneError:
            raise
        except Exception:  # one line was written where it broke
            last = UNABLE
        self._finish(req, context, last)

    def _pending(self, req: Any, context: int) -> Callable[[int, bytes], None]:
        """A function that sends one match."""
        most = int(self.dimse.maximum_pdu_size or 0)
        send: Callable[[bytes], None] = self.assoc.dul.send_encoded  # type: ignore[attr-defined]
        commands: dict[int, bytes] = {}

        def one(status: int, identifier: bytes) -> None:
            command = commands.get(status)
            if command is None:
                packed = _response(req, status, b"\0\0")
                command = commands[status] = data_pdus(context, packed, most, 1)
            send(command + data_pdus(context, identifier, most, 0))

        return one

    def _finish(self, req: Any, context: PresentationContext, status: int | Dataset) -> None:
        number = int(context.context_id or 0)
        if isinstance(status, int):
            most = int(self.dimse.maximum_pdu_size or 0)
            packed = _response(req, status, NO_DATA_SET)
            self.assoc.dul.send_encoded(data_pdus(number, packed, most, 1))  # type: ignore[attr-defined]
            return
        answer = C_FIND()
        answer.MessageID = answer.MessageIDBeingRespondedTo = req.MessageID
        answer.AffectedSOPClassUID = req.AffectedSOPClassUID
        self.validate_status(status, answer)
        self.dimse.send_msg(answer, number)


def _response(req: Any, status: int, data_set_type: bytes) -> bytes:
    """The command set of a C-FIND-RSP (PS3.7 table 9.3-4)."""
    short = struct.Struct("<H").pack
    return command_set(
        (
            (0x0002, str(req.AffectedSOPClassUID).encode("ascii")),
            (0x0100, short(_C_FIND_RSP)),
            (0x0120, short(req.MessageID)),
            (0x0800, data_set_type),
            (0x0900, short(status)),
        )
    )
