"""How does a command beside a running server hand its work over?

On SQLite one process owns every write. A command that finds the data folder taken sends its
arguments over a local socket in that folder (mode 0600: only the same user reaches it); the server
runs the very same function and sends back what it printed.
"""

import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from worklist.errors import Code, Refusal

log = logging.getLogger("teleread.local")

_LENGTH = struct.Struct(">I")
_LARGEST = 64 * 1024 * 1024
SOCKET = "control"


class LocalServer:
    """Answers commands of the same user. `run` gets a request and returns an answer, both JSON
    values."""

    def __init__(self, folder: Path, run: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._path = folder / SOCKET
        self._run = run
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._accept, name="local", daemon=True)

    def start(self) -> None:
        """Listen. The folder's lock is held, so an old socket file belongs to nobody."""
        self._path.unlink(missing_ok=True)
        with _short(self._path) as address:
            self._socket.bind(address)
        self._path.chmod(0o600)
        self._socket.listen(16)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(60)
                _send(connection, self._run(_receive(connection)))
            except Exception:
                log.exception("a command could not be answered")


def hand_over(folder: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """Let the server that owns the folder do it. None when no server listens there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        try:
            with _short(folder / SOCKET) as address:
                connection.connect(address)
        except OSError:
            return None
        _send(connection, request)
        return _receive(connection)


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """The address of a socket file: below 108 bytes even where the folder's own path is longer."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _send(connection: socket.socket, value: dict[str, Any]) -> None:
    data = json.dumps(value).encode()
    connection.sendall(_LENGTH.pack(len(data)) + data)


def _receive(connection: socket.socket) -> dict[str, Any]:
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > _LARGEST:
        raise Refusal(Code.INVALID, "The request is too large.")
    value: dict[str, Any] = json.loads(_exactly(connection, length))
    return value


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise Refusal(Code.TRUNCATED, "The other side has hung up.")
        data += part
    return data
