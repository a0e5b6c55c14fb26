"""How do bytes come in and go out, and when is a peer too slow?

A plain connection is read by the kernel straight into the buffer of the instance, whole fragments
at once; a TLS connection record by record. What comes before (headers, commands) passes through a
small buffer of its own.
"""

import select
import socket
import ssl
import struct
import time
from contextlib import suppress
from typing import Any, Final

from gateway.dicom.limits import Limits

_SMALL: Final = 4096
_PIECE: Final = 1 << 14
_TIME = struct.Struct("ll")  # struct timeval
_FAREWELL: Final = 2.0  # seconds a peer has to close after our last word


class PeerGoneError(Exception):
    """The connection is of no use any more: closed, broken, or too slow."""


class _Pace:
    """Time spent waiting for the peer against bytes moved in it."""

    def __init__(self, limits: Limits) -> None:
        self._window = limits.window_seconds
        self._slowest = limits.slowest
        self.waited = 0.0
        self.moved = 0

    def add(self, seconds: float, moved: int) -> None:
        self.waited += seconds
        self.moved += moved
        if self.waited < self._window:
            return
        if self.moved < self._slowest * self.waited:
            raise PeerGoneError("the device is too slow" if self.moved else "the device is silent")
        self.begin()

    def begin(self) -> None:
        self.waited = 0.0
        self.moved = 0


class Wire:
    """One connection, used by one thread; `cut` may be called by any."""

    def __init__(
        self, client: socket.socket, limits: Limits, security: ssl.SSLContext | None
    ) -> None:
        self.limits = limits
        self.tls = security is not None
        if security is not None:
            client = security.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        self._client = client
        self._whole = 0 if self.tls else int(socket.MSG_WAITALL)
        self._deadline: float | None = None
        self._small = bytearray(_SMALL)
        self._view = memoryview(self._small)
        self._at = self._end = 0
        self._in = _Pace(limits)
        self._out = _Pace(limits)
        self.bytes_in = self.bytes_out = 0

    # --- how long --------------------------------------------------------------------------------

    def hurry(self, seconds: float) -> None:
        """Everything that is read or sent from now on must be there within so many seconds."""
        self._deadline = time.monotonic() + seconds

    def settle(self) -> None:
        """From now on a message may take as long as it moves on."""
        self._deadline = None
        seconds = self.limits.window_seconds
        self._client.settimeout(seconds if self.tls else None)
        whole, rest = divmod(seconds, 1)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._client.setsockopt(
                socket.SOL_SOCKET, option, _TIME.pack(int(whole), int(rest * 1e6))
            )

    def begin(self) -> None:
        """A new message begins; what was waited for before does not count."""
        self._in.begin()

    def _in_time(self) -> None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise PeerGoneError("it took too long to ask")
            self._client.settimeout(left)

    # --- TLS -------------------------------------------------------------------------------------

    def handshake(self) -> bytes | None:
        """Agree on keys before the deadline; the client's certificate (DER), if it showed one."""
        assert isinstance(self._client, ssl.SSLSocket)  # noqa: S101 - asked by who knows
        self._in_time()
        try:
            self._client.do_handshake()
            return self._client.getpeercert(binary_form=True)
        except TimeoutError:
            raise PeerGoneError("it took too long to ask") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise PeerGoneError(f"no TLS: {reason}") from None

    # --- in --------------------------------------------------------------------------------------

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        """The next few bytes as numbers."""
        while self._end - self._at < form.size:
            self._refill()
        values = form.unpack_from(self._small, self._at)
        self._at += form.size
        return values

    def exact(self, size: int) -> bytes:
        """The next `size` bytes. Room is made for what comes, not for what was claimed."""
        buffer = bytearray()
        while (at := len(buffer)) < size:
            buffer += bytes(min(size - at, _PIECE))
            with memoryview(buffer)[at:] as view:
                self.into(view)
        return bytes(buffer)

    def into(self, view: memoryview) -> None:
        """Fill the view with what comes next."""
        size = len(view)
        at = min(self._end - self._at, size)
        if at:
            view[:at] = self._view[self._at : self._at + at]
            self._at += at
        while at < size:
            at += self._receive(view[at:], self._whole)

    def _refill(self) -> None:
        left = self._end - self._at
        if left:
            self._small[:left] = self._small[self._at : self._end]
        self._at, self._end = 0, left
        self._end += self._receive(self._view[left:], 0)

    def _receive(self, view: memoryview, flags: int) -> int:
        self._in_time()
        began = time.monotonic()
        try:
            count = self._client.recv_into(view, 0, flags)
        except (BlockingIOError, TimeoutError):  # the whole time went by without a byte
            self._in.add(time.monotonic() - began, 0)
            return 0
        except OSError as error:
            raise PeerGoneError(f"the connection broke ({error.errno})") from None
        if not count:
            raise PeerGoneError("closed by the device without release")
        self.bytes_in += count
        self._in.add(time.monotonic() - began, count)
        return count

    # --- out -------------------------------------------------------------------------------------

    def send(self, raw: bytes | bytearray | memoryview) -> None:
        """Send everything, or raise."""
        self._out.begin()
        with memoryview(raw) as view:
            at = 0
            while at < len(view):
                at += self._send(view[at:])

    def _send(self, view: memoryview) -> int:
        self._in_time()
        began = time.monotonic()
        try:
            count = self._client.send(view)
        except (BlockingIOError, TimeoutError):
            count = 0
        except OSError as error:
            raise PeerGoneError(f"the device takes no answer ({error.errno})") from None
        self.bytes_out += count
        self._out.add(time.monotonic() - began, count)
        return count

    # --- between messages ------------------------------------------------------------------------

    def ready(self, seconds: float, bell: int | None = None) -> bool:
        """Wait until there is something to read, or somebody rings the bell (a descriptor)."""
        if self._end > self._at or (
            isinstance(self._client, ssl.SSLSocket) and self._client.pending()
        ):
            return True
        poll = select.poll()
        try:
            poll.register(self._client, select.POLLIN)
        except ValueError:  # cut meanwhile
            raise PeerGoneError("cut") from None
        if bell is not None:
            poll.register(bell, select.POLLIN)
        return bool(poll.poll(max(seconds, 0.0) * 1000))  # less than nothing would be for ever

    def cut(self, how: int) -> None:
        """Shut the connection down, from any thread. SSLSocket's own method would take the keys
        away from the thread that uses them."""
        with suppress(OSError):
            socket.socket.shutdown(self._client, how)

    def close(self, *, said_last: bool) -> None:
        """Close; after a last word of ours the peer should do so first (PS3.8 section 9.2, Sta13).

        A close with unread bytes, or one that overtakes the last PDU, would destroy that PDU.
        """
        end = time.monotonic() + _FAREWELL
        with suppress(OSError, ValueError):
            if isinstance(self._client, ssl.SSLSocket):
                self._client.settimeout(_FAREWELL if said_last else 0.2)
                self._client.unwrap()  # close_notify, RFC 8446 section 6.1
            while said_last and (left := end - time.monotonic()) > 0:
                self._client.settimeout(left)
                said_last = bool(self._client.recv(65536))
        self._client.close()
