"""How is PostgreSQL spoken to, and how do processes over one index hear of each other's commits?

Whoever cannot be reached, is full or does not answer is a refusal, never a traceback. After commits
each process says so once in `GATHER` seconds, on a connection of its own: a NOTIFY inside each
transaction would make their commits wait for one another (PostgreSQL holds a lock of the whole
cluster from NOTIFY to the end of the commit; measured: half the commits a second).
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as NoConnection

from storage.conflict import Undecided, overtaken, state_of
from worklist.errors import Code, Refusal

log = logging.getLogger("teleread.index")

GATHER: Final = 0.05
"""Commits within this many seconds are told of together."""
LOOK: Final = 5.0
"""After this many quiet seconds listeners look by themselves: who was killed said nothing."""
AGAIN: Final = 1.0  # seconds until a lost connection is made anew
_CHANNEL = "teleread"
# SQLAlchemy's, and the driver's own where a connection is borrowed bare
_LOST = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)

CONNECT: Final[dict[str, Any]] = {
    "connect_timeout": 3,
    "application_name": "teleread",
    # a network that is cut shows after seconds, here ...
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    # ... and there: a gateway that has vanished holds no row for long
    "options": "-c idle_in_transaction_session_timeout=60s -c lock_timeout=20s "
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 "
    "-c timezone=UTC",
}


class PooledWriter:
    """Units on a server engine: a connection from the pool each, the engine orders them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction. `Undecided` where nobody can say whether it was committed."""
        with refusing(), self._engine.connect() as connection:
            begun = connection.begin()
            try:
                yield connection
            except BaseException:
                begun.rollback()
                raise
            try:
                begun.commit()
            except DBAPIError as error:
                if overtaken(error):
                    raise
                raise Undecided from error

    def close(self) -> None:
        """Nothing of its own to end."""


@contextmanager
def refusing() -> Iterator[None]:
    """Refuse (OUT_OF_RESOURCES) where PostgreSQL cannot be reached, is full or does not answer in
    time. Its own sentences may hold values: only its code is told."""
    try:
        yield
    except _LOST as error:
        if overtaken(error):
            raise
        state = state_of(error) or "no answer"
        raise Refusal(Code.OUT_OF_RESOURCES, f"The index is not available ({state}).") from error
    except NoConnection as error:
        raise Refusal(Code.OUT_OF_RESOURCES, "The index is too busy.") from error


class Bell:
    """Tells other processes of commits here, and calls `heard` for commits there."""

    def __init__(self, engine: Engine, heard: Callable[[], None]) -> None:
        self._engine = engine
        self._heard = heard
        self._me = uuid.uuid4().hex
        self._closed = threading.Event()
        self._told = threading.Event()
        self._listens = threading.Event()
        self._mutex = threading.Lock()
        self._teller: threading.Thread | None = None
        self._listener: threading.Thread | None = None

    def tell(self) -> None:
        """Something was committed here."""
        if self._teller is None:
            with self._mutex:
                self._teller = self._teller or _started(self._tell, "bell-teller")
        self._told.set()

    def listen(self) -> None:
        """Begin to call `heard`. From the return on no commit is missed."""
        with self._mutex:
            self._listener = self._listener or _started(self._listen, "bell-listener")
        self._listens.wait(CONNECT["connect_timeout"])

    def close(self) -> None:
        """Tell what is left to tell, and end."""
        self._closed.set()
        self._told.set()
        for thread in (self._teller, self._listener):
            if thread is not None:
                thread.join(AGAIN)

    def _tell(self) -> None:
        is_last = False
        while not is_last:
            self._told.wait()
            is_last = self._closed.wait(GATHER)
            self._told.clear()
            try:
                with self._engine.connect() as connection, connection.begin():
                    connection.execute(
                        text("SELECT pg_notify(:channel, :me)"),
                        {"channel": _CHANNEL, "me": self._me},
                    )
            except SQLAlchemyError:  # whoever listens looks by itself before long
                log.warning("other processes could not be told of a commit")

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                with self._connected() as connection:
                    connection.execute(f"LISTEN {_CHANNEL}".encode())
                    if self._listens.is_set():  # again, or late
                        self._heard()
                    self._listens.set()
                    self._hear(connection)
            except psycopg.Error:
                log.warning("commits of other processes are not heard; trying again")
                self._listens.set()
                self._closed.wait(AGAIN)

    def _hear(self, connection: "psycopg.Connection[Any]") -> None:
        quiet_since = time.monotonic()
        while not self._closed.is_set():
            news = connection.notifies(timeout=0.5, stop_after=1)
            others = [one for one in news if one.payload != self._me]
            if not others and time.monotonic() - quiet_since < LOOK:
                continue
            if not others:
                connection.execute(b"SELECT 1")  # is it still there?
            quiet_since = time.monotonic()
            self._heard()

    def _connected(self) -> "psycopg.Connection[Any]":
        arguments, options = self._engine.dialect.create_connect_args(self._engine.url)
        return psycopg.connect(*arguments, **{**options, **CONNECT}, autocommit=True)


def _started(run: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
