"""How does the gateway call a device?

The one place that opens associations: bounded in time at every step, over TLS where the device asks
for it, with the gateway's own title or the one by which the device knows it. What goes wrong is a
Refusal (UNREACHABLE) that says why in one sentence.
"""

import select
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pynetdicom import build_role, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

from gateway.assemble import Parts
from gateway.dicom.tls import CIPHERS
from gateway.settings import Settings
from storage.part10 import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from worklist.errors import Code, Refusal
from worklist.site import Device

# seconds: TCP and TLS; the answer to a request for association or release; one DIMSE answer
CONNECT_WITHIN, ACSE_WITHIN, DIMSE_WITHIN = 5.0, 10.0, 30.0
_MOST_PDU = 1 << 18

Handlers = Sequence[tuple[evt.EventType, Callable[..., Any], list[Any]]]

# PS3.8 table 9-21, by source and reason
_REJECTED = {
    (1, 1): "without a reason",
    (1, 2): "it does not know the application context",
    (1, 3): "it does not know our AE Title {calling}",
    (1, 7): "it does not answer to the AE Title {called}",
    (2, 2): "it does not know the protocol version",
    (3, 1): "it is busy",
    (3, 2): "it has too many associations",
}


@dataclass(frozen=True)
class Endpoint:
    """Where an association goes, and under which names."""

    host: str
    port: int
    calling: str
    called: str
    tls: bool = False


def connect(
    device: Device,
    contexts: Sequence[PresentationContext],
    parts: Parts,
    *,
    scp_of: Iterable[str] = (),
    handlers: Handlers = (),
) -> Association:
    """An established association with a device; at least one context is accepted.

    `scp_of` are SOP classes for which we propose to be SCP (PS3.7 annex D.3.3.4). The caller ends
    it with `hang_up`.

    Raises:
        Refusal: UNREACHABLE; INVALID where the device has no address, or TLS is not set up.
    """
    return associate(
        endpoint_of(device, parts.settings),
        contexts,
        parts.settings,
        scp_of=scp_of,
        handlers=handlers,
    )


@contextmanager
def calling(
    device: Device, contexts: Sequence[PresentationContext], parts: Parts, **given: Any
) -> Iterator[Association]:
    """`connect`, and `hang_up` at the end."""
    association = connect(device, contexts, parts, **given)
    try:
        yield association
    finally:
        hang_up(association)


def endpoint_of(device: Device, settings: Settings) -> Endpoint:
    """Where a device is called."""
    if not device.host or not device.port:
        raise Refusal(Code.INVALID, f"Device {device.ae_title} has no host and port.")
    own = device.called or settings.ae_title
    return Endpoint(device.host, device.port, own, device.ae_title, device.tls)


def associate(
    to: Endpoint,
    contexts: Sequence[PresentationContext],
    settings: Settings,
    *,
    scp_of: Iterable[str] = (),
    handlers: Handlers = (),
) -> Association:
    """An established association with this endpoint. See `connect`."""
    ae = _Caller(to.calling)
    ae.implementation_class_uid = IMPLEMENTATION_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION
    ae.connection_timeout = CONNECT_WITHIN
    ae.acse_timeout = ACSE_WITHIN
    ae.dimse_timeout = ae.network_timeout = DIMSE_WITHIN
    ae.tls = client_context(settings) if to.tls else None
    ae.to = to
    heard = _Heard()
    association = ae.associate(
        "127.0.0.1" if ":" not in to.host else "::1",  # in name only: the socket knows where
        to.port,
        contexts=list(contexts),
        ae_title=to.called,
        max_pdu=_MOST_PDU,
        ext_neg=[build_role(name, scp_role=True) for name in scp_of],
        evt_handlers=[(evt.EVT_PDU_RECV, heard.pdu), *handlers],
    )
    if association.is_established:
        return association
    failure = _of(association).failure
    hang_up(association)
    raise Refusal(Code.UNREACHABLE, f"{to.called} {failure or heard.failure(to)}.")


def hang_up(association: Association) -> None:
    """Release what still stands, abort what does not answer, and close the connection."""
    try:
        if association.is_established:
            association.release()
        if association.is_alive():
            association.join(ACSE_WITHIN)
    finally:
        _of(association).finish()


def client_context(settings: Settings) -> ssl.SSLContext:
    """TLS as we call with it (PS3.15 annex B.12): version 1.2 or later, our own certificate, the
    device's checked. Under a CA of one's own, addresses stand for names; under the system's, the
    name must match."""
    try:
        context = ssl.create_default_context(cafile=settings.dicom_tls_ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(":".join(CIPHERS))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the CA may be one device's own
        context.check_hostname = settings.dicom_tls_ca is None
        if settings.dicom_tls_cert is not None:
            context.load_cert_chain(settings.dicom_tls_cert, settings.dicom_tls_key)
    except OSError as error:
        raise Refusal(
            Code.INVALID,
            "TELEREAD_DICOM_TLS_CERT, TELEREAD_DICOM_TLS_KEY, TELEREAD_DICOM_TLS_CA: "
            f"cannot be used ({error.strerror or error}).",
        ) from error
    return context


class _Caller(ApplicationEntity):
    """An Application Entity that calls, with our kind of socket."""

    to: Endpoint
    tls: ssl.SSLContext | None

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: Any
    ) -> AssociationSocket:
        made = _Socket(assoc, address=address)
        made.to, made.tls = self.to, self.tls
        return made


class _Socket(AssociationSocket):
    """Connects within its time to a name or an address, without Nagle's delay, and says why not.

    pynetdicom's own waits for ever once it is connected, fails above descriptor 1023, does TLS
    without a limit and forgets to close where the peer was faster.
    """

    to: Endpoint
    tls: ssl.SSLContext | None = None
    failure = ""
    _raw: socket.socket | None = None

    def _create_socket(self, address: AddressInformation) -> Any:
        self._is_connected = False

    def connect(self, primitive: T_CONNECT) -> None:
        try:
            self.socket = self._raw = self._connected()
            self._is_connected = True
            evt.trigger(self.assoc, evt.EVT_CONN_OPEN, {"address": primitive.address_info.as_tuple})
            primitive.result = "Evt2"
        except OSError as error:
            self.failure = _why(error, self.to)
            self.socket = None
            primitive.result = "Evt17"
        finally:
            self.provider_queue.put(primitive)
            self._ready.set()

    def _connected(self) -> socket.socket:
        made = socket.create_connection((self.to.host, self.to.port), CONNECT_WITHIN)
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                made = self.tls.wrap_socket(made, server_hostname=self.to.host)
            made.settimeout(DIMSE_WITHIN)
        except OSError:
            made.close()
            raise
        return made

    @property
    def ready(self) -> bool:
        if self.socket is None or not self._is_connected:
            return False
        try:
            if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
                return True
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False

    def finish(self) -> None:
        """Close whatever is still open."""
        if self._raw is not None:
            with suppress(OSError):
                self._raw.close()


class _Heard:
    """What a peer said instead of accepting."""

    def __init__(self) -> None:
        self._rejected: tuple[int, int] | None = None
        self._aborted = False

    def pdu(self, event: evt.Event) -> None:
        """Look at each PDU: the association's own flags come too late for some."""
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            self._rejected = (event.pdu.source or 0, event.pdu.reason_diagnostic or 0)
        elif isinstance(event.pdu, A_ABORT_RQ):
            self._aborted = True

    def failure(self, to: Endpoint) -> str:
        """Why there is no association, in half a sentence."""
        if self._rejected is not None:
            why = _REJECTED.get(self._rejected, "without a reason we know")
            return "rejects the association: " + why.format(calling=to.calling, called=to.called)
        if self._aborted:
            return "aborts instead of answering"
        return "accepts none of what was proposed, or does not answer in DICOM"


def _of(association: Association) -> _Socket:
    """Its socket; pynetdicom keeps it after the connection is gone."""
    made = association.dul.socket
    assert isinstance(made, _Socket)  # noqa: S101 - `_Caller` makes no other
    return made


def _why(error: OSError, to: Endpoint) -> str:
    at = f"{to.host}:{to.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"shows a certificate that is not trusted here ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"does not speak TLS with us at {at} ({error.reason or 'handshake failed'})"
    if isinstance(error, TimeoutError):
        return f"does not answer at {at} within {CONNECT_WITHIN:g} s"
    if isinstance(error, socket.gaierror):
        return f"has a host that cannot be found: {to.host}"
    return f"cannot be reached at {at} ({error.strerror or type(error).__name__})"
