"""Where do the bytes of one instance go while they arrive?

Into a buffer of the pool; when it fills, into a larger one; when that would be too much, on to the
door, part by part.
"""

import hashlib
from dataclasses import replace

from gateway.dicom.messages import Command, ProtocolError
from gateway.dicom.pool import Pool
from gateway.dicom.store import Answer, StoreRequest, Stream, store
from gateway.dicom.wire import Wire
from storage.ingest import MOST_IN_MEMORY, Ingest


class Arriving:
    """A C-STORE whose data set is on its way. `request` says whose and which; its data come now."""

    def __init__(
        self, ingest: Ingest, pool: Pool, context: int, command: Command, request: StoreRequest
    ) -> None:
        self.context = context
        self.command = command
        self.size = 0
        self._sha = hashlib.sha256()
        self._ingest = ingest
        self._pool = pool
        self._request = request
        self._stream: Stream | None = None
        self._buffer = pool.take(0)
        self._view = memoryview(self._buffer)
        self._filled = 0

    def expect(self, size: int) -> None:
        """As much as the device's last instance had; asked before the first byte."""
        if size > len(self._view):
            self._change(size)

    def read(self, wire: Wire, size: int, most: int) -> None:
        """Take the next fragment from the wire."""
        self.size += size
        if self.size > most:
            raise ProtocolError(f"an object larger than {most} bytes")
        while size:
            part = min(len(self._view) - self._filled, size)
            if not part:
                self._make_room()
                continue
            end = self._filled + part
            with self._view[self._filled : end] as arrived:
                wire.into(arrived)
                self._sha.update(arrived)  # while the kernel takes what comes next
            self._filled = end
            size -= part

    def finish(self) -> Answer:
        """All of it has come: keep it, and say how that went."""
        digest = self._sha.digest()
        with self._view[: self._filled] as part:
            if self._stream is None:
                return store(self._ingest, replace(self._request, data=part), digest)
            self._stream.write(part)
        return self._stream.keep(digest)

    def close(self) -> None:
        """Give everything back; what has not been kept is forgotten."""
        if self._stream is not None:
            self._stream.abandon()
        self._view.release()
        self._pool.give(self._buffer)

    def _make_room(self) -> None:
        if self._stream is None and len(self._view) < MOST_IN_MEMORY:
            before = len(self._view)
            self._change(before + 1)
            if len(self._view) > before:
                return
        with self._view[: self._filled] as part:
            if self._stream is None:
                self._stream = Stream(self._ingest, replace(self._request, data=part))
            else:
                self._stream.write(part)
        self._filled = 0

    def _change(self, size: int) -> None:
        """A larger buffer, if there is one."""
        buffer = self._pool.take(min(size, MOST_IN_MEMORY))
        if len(buffer) <= len(self._buffer):
            self._pool.give(buffer)
            return
        view = memoryview(buffer)
        view[: self._filled] = self._view[: self._filled]
        self._view.release()
        self._pool.give(self._buffer)
        self._buffer, self._view = buffer, view
