"""How does a device's connection live, from its first byte to its last?

On a thread of its own: TLS where the port asks for it, negotiation, then one message after the
other until one side has had enough. Whatever breaks PS3.8, is too slow or too large ends this
connection and no other.
"""

import logging
import os
import socket
import ssl
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Final, Protocol

from gateway.dicom.admission import Refused
from gateway.dicom.dialogue import Dialogue, Servants
from gateway.dicom.limits import Limits
from gateway.dicom.messages import PDU, ProtocolError
from gateway.dicom.negotiation import ASSOCIATE_RQ, Agreement, Asked, asked, rejection
from gateway.dicom.provider import ABORTED
from gateway.dicom.status import VERSION_UNKNOWN
from gateway.dicom.store import where
from gateway.dicom.wire import PeerGoneError, Wire
from worklist.site import Device

log = logging.getLogger("teleread.dicom")

_MOST_REQUEST: Final = 1 << 18  # 128 contexts of 64 transfer syntaxes each


class Owner(Servants, Protocol):
    """Who decides for a connection: the edge it came in by."""

    limits: Limits

    def admit(self, connection: "Connection", request: Asked) -> Device | Refused:
        """The calling device, or why it is rejected."""

    def agree(self, request: Asked) -> Agreement | Refused:
        """What is agreed on with an admitted device."""

    def opened(self, dialogue: Dialogue, agreed: Agreement) -> None:
        """An association stands. Called once, on its thread."""

    def released(self, connection: "Connection") -> None:
        """The device will send nothing more. Called once, for an admitted device."""

    def ended(self, connection: "Connection", why: str, *, well: bool) -> None:
        """The last word is said. Called once."""

    def gone(self, connection: "Connection") -> None:
        """The connection is closed. Called once."""


class Connection:
    """One connection of a device."""

    def __init__(
        self, client: socket.socket, address: str, owner: Owner, security: ssl.SSLContext | None
    ) -> None:
        self.id = uuid.uuid4().hex
        self.address = address
        self.calling = self.called = ""
        self.certificate: str | None = None  # SHA-256 of what the client showed
        self.device: Device | None = None
        self.dialogue: Dialogue | None = None
        self.began = time.monotonic()
        self.wire = Wire(client, owner.limits, security)
        self.done = threading.Event()
        self._owner = owner
        self._limits = owner.limits
        self._why = ""
        self._told = self._said = False
        self._quiet = self._last = False
        self._stopped = ""
        self._work: deque[Callable[[], None]] = deque()
        self._bell: int | None = None
        self._mutex = threading.Lock()

    @property
    def state(self) -> str:
        """asking, idle, receiving or serving."""
        if self.dialogue is None:
            return "asking"
        return "idle" if self._quiet else self.dialogue.state

    # --- for any thread --------------------------------------------------------------------------

    def stop(self, why: str = "stopped", *, now: bool = False) -> None:
        """End after the message in flight; `now`: at once."""
        with self._mutex:
            self._stopped = self._stopped or why
            if now:
                self.wire.cut(socket.SHUT_RDWR)
            elif self._bell is not None:
                os.eventfd_write(self._bell, 1)

    def later(self, work: Callable[[], None]) -> bool:
        """Do something on this thread when the device is idle; false when that will not be."""
        with self._mutex:
            if self._bell is None or self._stopped:
                return False
            self._work.append(work)
            os.eventfd_write(self._bell, 1)
            return True

    # --- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Negotiate, serve, close."""
        why, well, said_last = "", False, True
        try:
            self.wire.hurry(self._limits.request_seconds)
            agreed = self._negotiate()
            if agreed is not None:
                self.wire.settle()
                well = self._serve(agreed)
            why = self._why
        except PeerGoneError as gone:
            why, said_last = str(gone), False
        except ProtocolError as error:
            why = str(error)
            self._abort()
        except Exception as error:  # the thread's last resort: this association ends, no other
            why = where(error)
            self._abort()
        finally:
            self._end(why, well=well, said_last=said_last)

    def _end(self, why: str, *, well: bool, said_last: bool) -> None:
        self._silence()
        if self.dialogue is not None:
            self.dialogue.close()
        self._tell_released()
        self._tell_ended(self._stopped or why, well=well or self._stopped == "stopped")
        self.wire.close(said_last=said_last and not self._stopped)
        self._owner.gone(self)
        self.done.set()

    def _silence(self) -> None:
        """Nothing more is taken on for later."""
        with self._mutex:
            bell, self._bell = self._bell, None
            self._work.clear()
        if bell is not None:
            os.close(bell)

    def _negotiate(self) -> Agreement | None:
        if self.wire.tls:
            shown = self.wire.handshake()
            self.certificate = sha256(shown).hexdigest() if shown else None
        kind, length = self.wire.unpack(PDU)
        if kind != ASSOCIATE_RQ or length > _MOST_REQUEST:
            raise ProtocolError("no association request")
        request = asked(PDU.pack(kind, length) + self.wire.exact(length))
        self.calling, self.called = request.calling, request.called
        decision = self._decide(request)
        if isinstance(decision, Refused):
            self._tell_ended(f"rejected: {decision.why}", well=False)
            self.wire.send(rejection(decision.answer))
            return None
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.wire.send(decision.answer)
        return decision

    def _decide(self, request: Asked) -> Agreement | Refused:
        if not request.version & 1:
            return Refused(VERSION_UNKNOWN, "protocol version")
        decision = self._owner.admit(self, request)
        if isinstance(decision, Refused):
            return decision
        self.device = decision
        return self._owner.agree(request)

    def _serve(self, agreed: Agreement) -> bool:
        """Until the end; whether it was a good one."""
        assert self.device is not None  # noqa: S101 - admitted
        self.dialogue = dialogue = Dialogue(self, self.device, agreed, self._owner)
        self._owner.opened(dialogue, agreed)
        while dialogue.open:
            if dialogue.unfinished:
                dialogue.go_on()
            elif not self._may_go_on():
                self._abort()
                return False
            elif self.wire.ready(0):
                dialogue.go_on()
            elif self._work:
                self._do(self._work.popleft())
            elif not self._wait():
                self._abort()
                return False
        self._why = dialogue.ended
        if dialogue.ended == "released":
            self._tell_released()
            dialogue.answer_release()
            return True
        return False

    def _may_go_on(self) -> bool:
        """Between messages. When we stop, one that has begun to come is still taken; no more."""
        if not self._stopped:
            return True
        if self._last:
            return False
        self._last = True
        return self.wire.ready(0)

    def _wait(self) -> bool:
        """Until something is to be done, or we stop; false when the device sleeps."""
        self._rest(quiet=True)
        ready = self.wire.ready(self._limits.idle_seconds, self._bell)
        self._rest(quiet=False)
        if not ready:
            self._why = "idle too long"
        elif self._bell is not None:
            with suppress(BlockingIOError):
                os.eventfd_read(self._bell)
        return ready

    def _rest(self, *, quiet: bool) -> None:
        with self._mutex:
            self._quiet = quiet

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except PeerGoneError:
            raise
        except Exception as error:  # what was left for later must not end what goes on now
            log.error("left for later, and failed: %s (association %s)", where(error), self.id)

    def _abort(self) -> None:
        with suppress(PeerGoneError):
            self.wire.send(ABORTED)

    def _tell_ended(self, why: str, *, well: bool) -> None:
        if not self._said:
            self._said = True
            self._owner.ended(self, why, well=well)

    def _tell_released(self) -> None:
        if self.device is not None and not self._told:
            self._told = True
            self._owner.released(self)
