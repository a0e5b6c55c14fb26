"""How long is a store asked, and when is it left alone?

A request has `WITHIN` seconds in all: it is tried again after what may pass (no connection, no
answer, 500 to 504), as long as time is left. After `ENOUGH` requests in a row that came to nothing
the store is left alone for `REST` seconds: every request fails at once, then one tries again while
the others still fail. One that succeeds ends it.
"""

import logging
import threading
import time
from pathlib import Path
from typing import Any, ClassVar, Final

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

log = logging.getLogger("teleread.objects")

CONNECT: Final = 2.0  # seconds
ANSWER: Final = 10.0
WITHIN: Final = 12.0
ENOUGH: Final = 3
REST: Final = 2.0
CONNECTIONS: Final = 256
"""Connections that are kept: more than threads ever ask at once."""
_PAUSES = (0.1, 0.4, 1.0)
_MAY_PASS = frozenset({500, 502, 503, 504})


class Unanswered(HTTPError):
    """The store did not answer in time, or is being left alone."""


def patient_pool(ca_file: Path | None) -> PoolManager:
    """Connections to one store."""
    trust = {} if ca_file is None else {"ca_certs": str(ca_file)}
    return _PatientPool(maxsize=CONNECTIONS, cert_reqs="CERT_REQUIRED", **trust)


class _Http(HTTPConnection):
    def connect(self) -> None:
        """Connecting has a short time; sending what follows is not bound to it."""
        super().connect()
        self.sock.settimeout(ANSWER)


class _Https(HTTPSConnection):
    def connect(self) -> None:
        """See `_Http`."""
        super().connect()
        self.sock.settimeout(ANSWER)


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class _PatientPool(PoolManager):
    classes: ClassVar = {"http": _HttpPool, "https": _HttpsPool}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.pool_classes_by_scheme = self.classes
        self._breaker = Breaker()

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **kw: Any
    ) -> BaseHTTPResponse:
        """Ask until there is an answer or no time is left."""
        self._breaker.ask()
        try:
            response = self._tried(method, url, kw)
        except HTTPError as error:
            self._breaker.failed()
            raise Unanswered(type(error).__name__) from error
        if response.status in _MAY_PASS:
            self._breaker.failed()
        else:
            self._breaker.answered()
        return response

    def _tried(self, method: str, url: str, kw: dict[str, Any]) -> BaseHTTPResponse:
        end = time.monotonic() + WITHIN
        for pause in _PAUSES:
            try:
                response = self._once(method, url, end, kw)
                if response.status not in _MAY_PASS:
                    return response
            except HTTPError:
                if time.monotonic() + pause >= end:
                    raise
            else:
                if time.monotonic() + pause >= end:
                    return response
                response.drain_conn()
            time.sleep(pause)
        return self._once(method, url, end, kw)

    def _once(self, method: str, url: str, end: float, kw: dict[str, Any]) -> BaseHTTPResponse:
        left = max(end - time.monotonic(), 0.1)
        timeout = Timeout(total=left, connect=min(CONNECT, left), read=min(ANSWER, left))
        return super().urlopen(method, url, redirect=False, retries=False, timeout=timeout, **kw)


class Breaker:
    """Whether the store is asked at all."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._failures = 0
        self._rests_until = 0.0

    def ask(self) -> None:
        """Raises `Unanswered` while the store is left alone."""
        with self._mutex:
            if self._failures < ENOUGH:
                return
            now = time.monotonic()
            if now < self._rests_until:
                raise Unanswered("it is left alone for a moment")
            self._rests_until = now + WITHIN + REST  # this one tries; the others wait for it

    def failed(self) -> None:
        """A request came to nothing."""
        with self._mutex:
            self._failures += 1
            self._rests_until = time.monotonic() + REST
            begins = self._failures == ENOUGH
        if begins:
            log.error("the object store does not answer; it is left alone for moments")

    def answered(self) -> None:
        """A request was answered, whatever the answer was."""
        with self._mutex:
            ends, self._failures = self._failures >= ENOUGH, 0
        if ends:
            log.warning("the object store answers again")
