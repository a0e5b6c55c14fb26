"""What do pynetdicom's service classes see of a device's connection?

Storage needs nothing of it; it is made when a device asks for any other service.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import uid_to_service_class

from gateway.dicom.finding import Finding
from gateway.dicom.limits import Limits
from gateway.dicom.negotiation import Agreement
from gateway.dicom.provider import Messages, Provider
from gateway.dicom.retrieve import SERVICE_CLASSES as RETRIEVING
from worklist.site import Device

if TYPE_CHECKING:
    from gateway.dicom.dialogue import Dialogue

__all__ = ["DeviceAssociation", "Limits"]

for _name in (
    *("association", "acse", "dimse", "dsutils", "service_class", "presentation", "utils"),
    *("pdu", "pdu_items", "pdu_primitives", "dimse_messages", "dimse_primitives", "validators"),
    *("events", "fsm", "dul", "transport", "ae"),
):
    # They log values of the peer. What is worth a line is said here, with ids only.
    logging.getLogger(f"pynetdicom.{_name}").setLevel(logging.CRITICAL)


class DeviceAssociation(Association):
    """A device's association, for the functions that serve it. It lives on the connection's thread:
    `send_c_store` and `send_n_event_report` work from there, and from there alone."""

    def __init__(self, ae: ApplicationEntity, dialogue: "Dialogue", agreed: Agreement) -> None:
        super().__init__(ae, "acceptor")
        connection = dialogue.connection
        self.id: str = connection.id
        self.device: Device = dialogue.device
        self.called: str = connection.called
        self.calling: str = connection.calling
        self.peer_address: str = connection.address
        self._dialogue = dialogue
        self.dul = Provider(self, dialogue.transmit)
        self.messages = self.dimse = Messages(self, dialogue.respond, dialogue.look)
        self.acceptor.ae_title = ae.ae_title
        self.requestor.primitive = agreed.request
        self.requestor.ae_title = agreed.request.calling_ae_title
        self.dimse_timeout = connection.wire.limits.response_seconds
        self._accepted_cx = dict(agreed.contexts)
        self._is_paused = True  # there is no reactor that could be in the way
        self.is_established = True

    def later(self, work: Callable[[], None]) -> bool:
        """Do this on the association's own thread when it is idle; false when it has ended. May be
        called from any thread. What is still to do when the association ends is dropped: what must
        not be lost needs a job."""
        return self._dialogue.connection.later(work)

    def serve(self, primitive: Any, context: PresentationContext) -> None:
        """Let the service class of the context serve a request."""
        self.dimse.cancel_req = {}
        name = str(context.abstract_syntax)
        own = Finding if isinstance(primitive, C_FIND) else RETRIEVING.get(name)
        service = (own or uid_to_service_class(name))(self)
        service.SCP(primitive, context)
        self.dimse.cancel_req = {}

    def release(self) -> None:
        """Devices release; the gateway does not."""
        raise NotImplementedError

    def _bind_defaults(self) -> None:
        """Its handlers are those of the gateway's services, shared by all associations."""

    def bind_services(self, handlers: dict[Any, Any]) -> None:
        """Use these handlers."""
        self._handlers = handlers

    def _abort_blocking(self, block: bool = True) -> None:
        self.is_aborted = True
        self._dialogue.abort()
