"""Who may open an association, how many at once, and how does it all end?"""

import logging
import socket
import threading
import time
from collections import Counter

from pynetdicom.ae import ApplicationEntity

from gateway.assemble import Parts
from gateway.dicom.association import DeviceAssociation, Limits
from gateway.dicom.status import (
    CALLED_UNKNOWN,
    CALLER_UNKNOWN,
    CONTEXT_NAME_UNKNOWN,
    NOT_NOW,
    TOO_MANY,
    Rejection,
)
from gateway.dicom.store import Answer, StoreRequest, store, where
from storage.part10 import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from worklist.errors import Code, Refusal
from worklist.site import Device

log = logging.getLogger("teleread.dicom")

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"  # PS3.7 annex A.2.1, the only one there is
_BACKLOG = 512


class DicomEdge:
    """The gateway's Application Entity: a listener, and one thread for each association.

    Verification and every Storage class (private ones too). Only registered devices get in, each
    with its own limit; a connection that never asks for an association is closed, and keeps nobody
    out.
    """

    def __init__(self, parts: Parts, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._ingest = parts.ingest
        self._settings = parts.settings
        self._ae = ApplicationEntity(parts.settings.ae_title)
        self._ae.implementation_class_uid = IMPLEMENTATION_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION
        self._ae.maximum_associations = 1 << 30  # counted here, by device
        self._mutex = threading.Lock()
        self._waiting: dict[DeviceAssociation, None] = {}
        self._open: set[DeviceAssociation] = set()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def port(self) -> int:
        """The port that is listened on (the system's choice when the setting is 0)."""
        assert self._listener is not None, "not started"  # noqa: S101
        return int(self._listener.getsockname()[1])

    @property
    def associations(self) -> int:
        """How many associations are open."""
        return len(self._open)

    def start(self) -> None:
        """Listen. A port that is taken is refused with the setting's name."""
        address = (self._settings.dicom_host, self._settings.dicom_port)
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            self._listener = socket.create_server(address, family=family, backlog=_BACKLOG)
        except OSError as error:
            raise Refusal(
                Code.INVALID,
                "TELEREAD_DICOM_HOST, TELEREAD_DICOM_PORT: "
                f"cannot listen on {address[0]}:{address[1]} ({error.strerror}).",
            ) from error
        self._thread = threading.Thread(target=self._accept, name="dicom-listener", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Take nothing new, let the objects in flight finish, and end within `timeout` seconds."""
        end = time.monotonic() + timeout
        self._stopping.set()
        if self._listener is not None:
            _close_listener(self._listener)
        if self._thread is not None:
            self._thread.join(1.0)
        open_ones = self._all()
        for association in open_ones:
            association.stop()
        for association in open_ones:
            association.join(max(end - 0.5 - time.monotonic(), 0.0))
        for association in self._all():
            association.stop(now=True)
            association.join(max(end - time.monotonic(), 0.0))

    # --- what an association asks its owner ----------------------------------------------------

    def admit(self, association: DeviceAssociation) -> Device | Rejection:
        """Decide who calls. Every refusal is one log line."""
        try:
            decision, why = self._decide(association)
        except Exception as error:  # the index is out of reach: the device may try again
            decision, why = NOT_NOW, where(error)
        with self._mutex:
            self._waiting.pop(association, None)
            if isinstance(decision, Device):
                decision, why = self._within_limits(association, decision)
        if isinstance(decision, Rejection):
            log.warning(
                "association of %a calling %a from %s rejected: %s",
                association.calling,
                association.called,
                association.peer_address,
                why,
            )
        return decision

    def store(self, request: StoreRequest) -> Answer:
        """Keep an instance."""
        return store(self._ingest, request)

    def released(self, association: DeviceAssociation) -> None:
        """Tell the door that this device has sent all it will send."""
        device = association.device
        if device is None:
            return
        try:
            self._ingest.association_ended(device, association.id)
        except Exception as error:  # its studies settle by their quiet time alone
            log.error("end of association %s not noted: %s", association.id, where(error))

    def gone(self, association: DeviceAssociation) -> None:
        """Forget a closed connection."""
        with self._mutex:
            self._waiting.pop(association, None)
            self._open.discard(association)

    # --- inside --------------------------------------------------------------------------------

    def _decide(self, association: DeviceAssociation) -> tuple[Device | Rejection, str]:
        if association.application_context != _APPLICATION_CONTEXT:
            return CONTEXT_NAME_UNKNOWN, "not DICOM"
        called = association.called
        try:
            device = self._ingest.caller(association.calling, called, association.peer_address)
        except Refusal as refusal:
            return CALLER_UNKNOWN, refusal.code
        if called not in (self._settings.ae_title, device.called):
            return CALLED_UNKNOWN, "unknown called AE Title"
        return device, ""

    def _within_limits(
        self, association: DeviceAssociation, device: Device
    ) -> tuple[Device | Rejection, str]:
        counts = Counter(one.device.id for one in self._open if one.device)
        if self._stopping.is_set() or len(self._open) >= self.limits.associations:
            return TOO_MANY, "too many associations"
        if counts[device.id] >= self.limits.per_device:
            return TOO_MANY, "too many associations of this device"
        association.device = device
        self._open.add(association)
        return device, ""

    def _all(self) -> list[DeviceAssociation]:
        with self._mutex:
            return [*self._waiting, *self._open]

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101 - the thread starts after the listener
        while not self._stopping.is_set():
            try:
                client, address = self._listener.accept()
            except OSError as error:
                if self._stopping.is_set():
                    return
                log.error("no connection accepted: %s", where(error))
                time.sleep(0.2)  # out of file descriptors: without a pause this would spin
                continue
            try:
                self._begin(client, address)
            except Exception as error:  # a connection that died at once, or no thread left
                log.warning("connection not served: %s", where(error))
                client.close()

    def _begin(self, client: socket.socket, address: tuple[str, int]) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
        association = DeviceAssociation(self._ae, client, address, self)
        with self._mutex:
            oldest = next(iter(self._waiting), None)
            if oldest is not None and len(self._waiting) >= self.limits.waiting:
                oldest.stop(now=True)
                del self._waiting[oldest]
            self._waiting[association] = None
        try:
            association.start()
        except RuntimeError:
            self.gone(association)
            raise


def _close_listener(listener: socket.socket) -> None:
    try:
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
    except OSError:
        pass
    finally:
        listener.close()
