"""Who calls, and may it come in?"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.assemble import Parts
from gateway.dicom.names import Names, plain_address
from gateway.dicom.negotiation import Asked
from gateway.dicom.status import (
    CALLED_UNKNOWN,
    CALLER_UNKNOWN,
    CONTEXT_NAME_UNKNOWN,
    NOT_NOW,
    Rejection,
)
from gateway.dicom.store import where
from storage.people import callers_of
from worklist.errors import Code, Refusal
from worklist.site import Device, device_of

# PS3.7 annex A.2.1, the only application context there is
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"


@dataclass(frozen=True)
class Refused:
    """The answer to a caller that does not come in, and the reason in a word."""

    answer: Rejection
    why: str


class Admission:
    """Decides by calling title, called title, address and certificate. Asked on the association's
    own thread; may wait for a name server, briefly."""

    def __init__(self, parts: Parts, addresses: Callable[[str], frozenset[str]] | None = None):
        self._parts = parts
        self._addresses = addresses or Names().addresses

    def decide(
        self, request: Asked, address: str, certificate: str | None, *, tls: bool
    ) -> Device | Refused:
        """The calling device, or why it is not let in."""
        if not request.legible:
            return Refused(CALLER_UNKNOWN, Code.UNKNOWN_CALLER)
        try:
            with self._parts.index.glance() as connection:
                registered = callers_of(connection, request.calling)
            device = device_of(
                registered,
                request.called,
                plain_address(address),
                certificate=certificate,
                tls=tls,
                addresses=self._addresses,
            )
        except Refusal as refusal:
            if refusal.code is Code.OUT_OF_RESOURCES:  # the index does not answer: try again
                return Refused(NOT_NOW, refusal.code)
            why = "tls_required" if refusal.code is Code.NOT_ALLOWED else refusal.code
            return Refused(CALLER_UNKNOWN, why)
        except Exception as error:  # the index is out of reach: the device may try again
            return Refused(NOT_NOW, where(error))
        if request.called not in (self._parts.settings.ae_title, device.called):
            return Refused(CALLED_UNKNOWN, "unknown_called")
        return device


def spoken(application_context: str) -> Refused | None:
    """DICOM has one application context."""
    if application_context == APPLICATION_CONTEXT:
        return None
    return Refused(CONTEXT_NAME_UNKNOWN, "application_context")
