"""What if the wire between the gateway and an engine is slow, cut, or changes what it carries?"""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress


class Wire:
    """A port of this machine that leads to another one. What is set holds for bytes from then on.

    `delay` seconds for each piece towards the engine; `change` makes other bytes of it; `deaf`
    takes everything and answers nothing.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.delay = 0.0
        self.deaf = False
        self.change: Callable[[bytes], bytes] | None = None
        self.connections = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Nobody listens any more, and what is open ends."""
        self._end(self._listener)
        while self._open:
            self._end(self._open.pop())

    def mend(self) -> None:
        """Listen again on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        listener = self._listener
        while True:
            try:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self.connections += 1
            self._open += [here, there]
            for pair in ((here, there, True), (there, here, False)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, outwards: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                if outwards and self.delay:
                    time.sleep(self.delay)
                if outwards and self.change:
                    piece = self.change(piece)
                if not self.deaf:
                    target.sendall(piece)
        self._end(target)

    @staticmethod
    def _end(one: socket.socket) -> None:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
