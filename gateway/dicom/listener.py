"""Who waits at the door?

One thread accepts on every port and keeps the connections that have not said a word: they cost a
descriptor each, no thread. Who begins to speak is handed on; who stays silent is closed, and who
hangs up is forgotten.
"""

import logging
import select
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gateway.dicom.limits import Limits
from gateway.dicom.store import where
from worklist.errors import Code, Refusal

log = logging.getLogger("teleread.dicom")

_BACKLOG: Final = 1024
_LOOK: Final = 0.5  # seconds between two looks at who has been silent for too long
_BREATH: Final = 0.2  # out of descriptors: without a pause this would spin

# client, address, the TLS of the port it came in by
Speaks = Callable[[socket.socket, str, ssl.SSLContext | None], None]


def listen(host: str, port: int, settings: str) -> socket.socket:
    """A listening socket. A port that is taken is refused with the names of its settings."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Refusal(
            Code.INVALID, f"{settings}: cannot listen on {host}:{port} ({error.strerror})."
        ) from error
    listener.setblocking(False)
    return listener


class Door:
    """The thread that accepts. `speaks` is called on it for each connection that says something,
    and must not wait."""

    def __init__(
        self, listeners: dict[socket.socket, ssl.SSLContext | None], limits: Limits, speaks: Speaks
    ) -> None:
        self._listeners = {one.fileno(): (one, security) for one, security in listeners.items()}
        self._limits = limits
        self._speaks = speaks
        # by descriptor, the oldest first
        self._silent: OrderedDict[int, tuple[socket.socket, str, ssl.SSLContext | None, float]] = (
            OrderedDict()
        )
        self._epoll = select.epoll()
        self._pause_until = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dicom-door", daemon=True)

    @property
    def waiting(self) -> int:
        """Connections that have not said a word."""
        return len(self._silent)

    def start(self) -> None:
        """Open the door."""
        for descriptor in self._listeners:
            self._epoll.register(descriptor, select.EPOLLIN)
        self._thread.start()

    def close(self) -> None:
        """Let nobody in any more."""
        self._stopping.set()
        for listener, _ in self._listeners.values():
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        if self._thread.ident is not None:
            self._thread.join(2.0)
        for listener, _ in self._listeners.values():
            listener.close()
        for client, *_ in self._silent.values():
            client.close()
        self._silent.clear()
        self._epoll.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                ready = self._epoll.poll(_LOOK)
                for descriptor, _ in ready:
                    if self._stopping.is_set():
                        return
                    if descriptor in self._listeners:
                        self._accept(*self._listeners[descriptor])
                    else:
                        self._spoke(descriptor)
                self._tidy()
            except Exception as error:  # one bad connection must not close the door
                log.error("at the door: %s", where(error))
                self._stopping.wait(_BREATH)

    def _accept(self, listener: socket.socket, security: ssl.SSLContext | None) -> None:
        """Everybody who stands there now."""
        for _ in range(_BACKLOG):
            try:
                client, address = listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if not self._stopping.is_set():
                    log.error("no connection accepted: %s", where(error))
                    self._stopping.wait(_BREATH)
                return
            self._keep(client, str(address[0]), security)

    def _keep(self, client: socket.socket, address: str, security: ssl.SSLContext | None) -> None:
        if len(self._silent) >= self._limits.waiting:
            self._drop(next(iter(self._silent)))
        until = time.monotonic() + self._limits.request_seconds
        self._silent[client.fileno()] = (client, address, security, until)
        self._epoll.register(client, select.EPOLLIN | select.EPOLLRDHUP)

    def _spoke(self, descriptor: int) -> None:
        client, address, security, _ = self._silent.pop(descriptor)
        self._epoll.unregister(descriptor)
        try:
            said = client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            said = b""
        if not said:
            client.close()
            return
        try:
            _prepare(client)
            self._speaks(client, address, security)
        except Exception as error:  # a connection that died at once, or no thread left
            log.warning("connection not served: %s", where(error))
            client.close()

    def _tidy(self) -> None:
        now = time.monotonic()
        while self._silent:
            oldest = next(iter(self._silent))
            if self._silent[oldest][3] > now:
                return
            self._drop(oldest)

    def _drop(self, descriptor: int) -> None:
        client, *_ = self._silent.pop(descriptor)
        self._epoll.unregister(descriptor)
        client.close()


def _prepare(client: socket.socket) -> None:
    client.setblocking(True)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
