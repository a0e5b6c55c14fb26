"""Who may open an association, how many at once, and how does it all end?"""

import logging
import socket
import ssl
import threading
import time
from datetime import timedelta

from pynetdicom.ae import ApplicationEntity

from gateway.assemble import Parts
from gateway.dicom.admission import Admission, Refused, spoken
from gateway.dicom.arriving import Arriving
from gateway.dicom.association import DeviceAssociation
from gateway.dicom.connection import Connection
from gateway.dicom.dialogue import Dialogue
from gateway.dicom.limits import Limits
from gateway.dicom.listener import Door, listen
from gateway.dicom.live import Counters, LiveAssociation, status_class
from gateway.dicom.messages import Command
from gateway.dicom.negotiation import Agreement, Asked, Negotiator
from gateway.dicom.pool import Pool
from gateway.dicom.seen import Seen
from gateway.dicom.services import Services
from gateway.dicom.status import CALLED_UNKNOWN, CALLER_UNKNOWN, TOO_MANY
from gateway.dicom.store import StoreRequest, where
from gateway.dicom.tls import server_context
from gateway.dicom.turned_away import TurnedAway
from storage.part10 import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from worklist.site import Device

log = logging.getLogger("teleread.dicom")


class DicomEdge:
    """The gateway's Application Entity: a door, and one thread for each association.

    Only registered devices get in, each with its own limit; who never asks for an association keeps
    nobody out.
    """

    def __init__(self, parts: Parts, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.counters = Counters(parts.now())
        self._parts = parts
        self._settings = parts.settings
        self._ingest = parts.ingest
        self._ae = ApplicationEntity(parts.settings.ae_title)
        self._ae.implementation_class_uid = IMPLEMENTATION_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION
        self._ae.maximum_associations = 1 << 30  # counted here, by device
        self._services = Services(parts)
        self._negotiator = Negotiator(self._ae, self.limits.pdu_bytes, self._services.sop_classes)
        self._admission = Admission(parts)
        self._turned_away = TurnedAway(parts)
        self._seen = Seen(parts)
        self._pool = Pool(self.limits.memory_bytes)
        self._mutex = threading.Lock()
        self._asking: dict[Connection, None] = {}
        self._open: dict[Connection, Device] = {}
        self._of_device: dict[int, int] = {}
        self._door: Door | None = None
        self._ports: list[socket.socket] = []
        self._stopping = threading.Event()

    @property
    def port(self) -> int:
        """The port that is listened on (the system's choice when the setting is 0)."""
        return int(self._ports[0].getsockname()[1])

    @property
    def tls_port(self) -> int:
        """The port for TLS."""
        return int(self._ports[1].getsockname()[1])

    @property
    def associations(self) -> int:
        """How many associations are open."""
        return len(self._open)

    @property
    def waiting(self) -> int:
        """How many connections have not asked for an association (yet)."""
        return len(self._asking) + (self._door.waiting if self._door is not None else 0)

    def live(self) -> list[LiveAssociation]:
        """The open associations now."""
        with self._mutex:
            open_ones = list(self._open.items())
        now, moment = self._parts.now(), time.monotonic()
        return [
            LiveAssociation(
                id=one.id,
                device=device,
                called=one.called,
                address=one.address,
                tls=one.wire.tls,
                since=now - timedelta(seconds=moment - one.began),
                instances=one.dialogue.stored if one.dialogue else 0,
                bytes=one.wire.bytes_in,
                state=one.state,
            )
            for one, device in open_ones
        ]

    def start(self) -> None:
        """Listen. A port that is taken is refused with the setting's name."""
        settings = self._settings
        plain = listen(
            settings.dicom_host, settings.dicom_port, "TELEREAD_DICOM_HOST, TELEREAD_DICOM_PORT"
        )
        ports: dict[socket.socket, ssl.SSLContext | None] = {plain: None}
        self._ports = [plain]
        if settings.dicom_tls_port is not None:
            try:
                security = server_context(settings)
                names = "TELEREAD_DICOM_HOST, TELEREAD_DICOM_TLS_PORT"
                secured = listen(settings.dicom_host, settings.dicom_tls_port, names)
            except BaseException:
                plain.close()
                raise
            ports[secured] = security
            self._ports.append(secured)
        self._turned_away.start()
        self._seen.start()
        self._door = Door(ports, self.limits, self._begin)
        self._door.start()

    def stop(self, timeout: float) -> None:
        """Take nothing new, let the objects in flight finish, and end within `timeout` seconds."""
        end = time.monotonic() + timeout
        self._stopping.set()
        if self._door is not None:
            self._door.close()
        open_ones = self._all()
        for one in open_ones:
            one.stop(now=one.device is None)  # who only asks has nothing in flight
        for one in open_ones:
            one.done.wait(max(end - 0.5 - time.monotonic(), 0.0))
        for one in self._all():
            one.stop(now=True)
            one.done.wait(max(end - time.monotonic(), 0.0))
        self._turned_away.stop(max(end - time.monotonic(), 0.1))
        self._seen.stop(max(end - time.monotonic(), 0.1))

    # --- what a connection asks its owner --------------------------------------------------------

    def admit(self, connection: Connection, request: Asked) -> Device | Refused:
        """Decide who calls."""
        decision = self._admission.decide(
            request, connection.address, connection.certificate, tls=connection.wire.tls
        )
        if isinstance(decision, Refused):
            if decision.answer in (CALLER_UNKNOWN, CALLED_UNKNOWN):
                shown = connection.certificate or ""
                self._turned_away.add(
                    request.calling, request.called, connection.address, shown, decision.why
                )
            return decision
        with self._mutex:
            found = self._within_limits(connection, decision)
        with self.counters.mutex:
            self.counters.accepted += isinstance(found, Device)
        return found

    def agree(self, request: Asked) -> Agreement | Refused:
        """What is agreed on with an admitted device."""
        agreed = self._negotiator.agree(request)
        return spoken(agreed.application_context) or agreed

    def serves(self, command_field: int, sop_class: str) -> bool:
        """Whether there is a function for this kind of request."""
        return self._services.serves(command_field, sop_class)

    def association(self, dialogue: Dialogue, agreed: Agreement) -> DeviceAssociation:
        """pynetdicom's side of a connection."""
        made = DeviceAssociation(self._ae, dialogue, agreed)
        made.bind_services(self._services.handlers)
        return made

    def opened(self, dialogue: Dialogue, agreed: Agreement) -> None:
        """Let services that wait for this device know that it is there."""
        names = {str(context.abstract_syntax) for context in agreed.contexts.values()}
        try:
            self._services.opened(names, dialogue.association)
        except Exception as error:  # what waits goes on waiting
            log.error("nothing left for %s: %s", dialogue.connection.id, where(error))

    def arriving(self, context: int, command: Command, request: StoreRequest) -> Arriving:
        """A place for an instance."""
        return Arriving(self._ingest, self._pool, context, command, request)

    def released(self, connection: Connection) -> None:
        """Tell the door of instances that this device has sent all it will send."""
        device = connection.device
        if device is None or connection.dialogue is None or not connection.dialogue.stored:
            return
        try:
            self._ingest.association_ended(device, connection.id)
        except Exception as error:  # its studies settle by their quiet time alone
            log.error("end of association %s not noted: %s", connection.id, where(error))

    def ended(self, connection: Connection, why: str, *, well: bool) -> None:
        """Count it, and say it in one line."""
        self._count(connection, why, well=well)
        if connection.device is not None:
            self._seen.add(connection.device.id)
        level = logging.INFO if well else logging.WARNING
        device, dialogue = connection.device, connection.dialogue
        if device is None or dialogue is None:
            log.log(
                level,
                "association of %a calling %a from %s%s %s",
                connection.calling,
                connection.called,
                connection.address,
                " by TLS" if connection.wire.tls else "",
                why or "not asked for",
            )
            return
        served = ", ".join(f"{many} {name}" for name, many in sorted(dialogue.served.items()))
        log.log(
            level,
            "association %s of %s (%s) calling %a from %s%s: stored %d, refused %d%s, "
            "%d bytes in %.1f s; %s",
            connection.id,
            device.ae_title,
            device.site,
            connection.called,
            connection.address,
            " by TLS" if connection.wire.tls else "",
            dialogue.stored,
            dialogue.refused,
            f", {served}" if served else "",
            connection.wire.bytes_in,
            time.monotonic() - connection.began,
            why,
        )

    def gone(self, connection: Connection) -> None:
        """Forget a closed connection."""
        with self._mutex:
            self._asking.pop(connection, None)
            device = self._open.pop(connection, None)
            if device is not None:
                left = self._of_device[device.id] - 1
                self._of_device[device.id] = left
                if not left:
                    del self._of_device[device.id]

    # --- inside ----------------------------------------------------------------------------------

    def _within_limits(self, connection: Connection, device: Device) -> Device | Refused:
        if self._stopping.is_set() or len(self._open) >= self.limits.associations:
            return Refused(TOO_MANY, "too_many_associations")
        if self._of_device.get(device.id, 0) >= self.limits.per_device:
            return Refused(TOO_MANY, "too_many_of_this_device")
        self._asking.pop(connection, None)
        self._open[connection] = device
        self._of_device[device.id] = self._of_device.get(device.id, 0) + 1
        return device

    def _count(self, connection: Connection, why: str, *, well: bool) -> None:
        totals, dialogue = self.counters, connection.dialogue
        with totals.mutex:
            totals.bytes += connection.wire.bytes_in
            if dialogue is None:
                if why.startswith("rejected: "):
                    totals.rejected[why.removeprefix("rejected: ")] += 1
                return
            totals.aborted += not well
            totals.stored += dialogue.stored
            totals.refused += dialogue.refused
            totals.seconds += time.monotonic() - connection.began
            totals.services.update(dialogue.served)
            for status, many in dialogue.statuses.items():
                totals.statuses[status_class(status)] += many

    def _all(self) -> list[Connection]:
        with self._mutex:
            return [*self._asking, *self._open]

    def _begin(self, client: socket.socket, address: str, security: ssl.SSLContext | None) -> None:
        connection = Connection(client, address, self, security)
        crowded: Connection | None = None
        with self._mutex:
            if len(self._asking) >= self.limits.asking:
                crowded = next(iter(self._asking))
                del self._asking[crowded]
            self._asking[connection] = None
        if crowded is not None:
            crowded.stop("crowded out", now=True)
        thread = threading.Thread(
            target=connection.run, name=f"dicom-{connection.id[:8]}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            self.gone(connection)
            raise
