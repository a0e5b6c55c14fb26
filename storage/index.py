"""How does one transaction on the index begin and end?

`Index.unit()` is a transaction that writes, `Index.view()` one that only reads. On SQLite every
unit goes through one connection, first come first served, and units that wait for each other share
one synced commit.
"""

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from storage.commitments import Commitments
from storage.jobs import Jobs
from storage.journal import Journal, Notices
from storage.orders import Orders
from storage.people import People
from storage.procedures import ProcedureSteps
from storage.repairs import Repairs
from storage.reports import Criticals, Deliveries, Reports
from storage.statement import Glance
from storage.studies import Studies
from storage.tasks import Drafts, Tasks
from storage.transmissions import Transmissions
from storage.upkeep import Upkeep
from worklist.errors import Code, Refusal

if TYPE_CHECKING:
    from storage.postgres import Bell

log = logging.getLogger("teleread.index")

# a quota or a limit on the size of files shows as one of these
_NO_ROOM = frozenset({sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
_CACHE_KB = 2000  # for each of the pool's connections; the system caches the file for all
_WRITER_CACHE_KB = 16000
GROUP = 64  # units that may share one commit
CLOSE_WITHIN = 2.0  # seconds that closing waits for the unit in hand


class IndexUnit:
    """The repositories over one connection in one transaction. Implements `worklist.ports.Unit`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.studies = Studies(connection)
        self.tasks = Tasks(connection)
        self.drafts = Drafts(connection)
        self.reports = Reports(connection)
        self.deliveries = Deliveries(connection)
        self.criticals = Criticals(connection)
        self.transmissions = Transmissions(connection)
        self.commitments = Commitments(connection)
        self.orders = Orders(connection)
        self.procedure_steps = ProcedureSteps(connection)
        self.notices = Notices(connection)
        self.repairs = Repairs(connection)
        self.facts = Journal(connection)
        self.jobs = Jobs(connection)
        self.people = People(connection)
        self.upkeep = Upkeep(connection)


class _Writer(Protocol):
    @contextmanager
    def transaction(self) -> Iterator[Connection]: ...
    def close(self) -> None: ...


class Index:
    """The one index. `changed` is called after each commit, on the thread that committed."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._writer: _Writer
        self._bell: Bell | None = None
        self._refusing: Callable[[], AbstractContextManager[None]] = nullcontext
        if self._is_sqlite:
            self._writer = _SqliteWriter(engine)
        else:
            postgres = _postgres()
            self._writer = postgres.PooledWriter(engine)
            self._bell = postgres.Bell(engine, self._tell)
            self._refusing = postgres.refusing
        self._listeners: list[Callable[[], None]] = []

    @contextmanager
    def unit(self) -> Iterator[IndexUnit]:
        """A transaction that writes. Leaving it normally means: committed and synced. An exception
        rolls back."""
        with self._writer.transaction() as connection:
            yield IndexUnit(connection)
        self._tell()
        if self._bell is not None:
            self._bell.tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            try:
                listener()
            except Exception:  # what has committed has happened, whoever fails to hear of it
                log.exception("a listener failed after a commit")

    @contextmanager
    def view(self) -> Iterator[IndexUnit]:
        """A transaction that only reads, from one snapshot. It never waits for a writer."""
        with self._refusing(), self.engine.connect() as connection:
            if self._bell is not None:
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with connection.begin():
                yield IndexUnit(connection)

    @contextmanager
    def glance(self) -> Iterator[Glance]:
        """What has been committed, for a few prepared statements in a row: a view without its
        preparations."""
        with self._refusing():
            raw = self.engine.raw_connection()
            try:
                yield Glance(self.engine.dialect, raw)
            finally:
                raw.close()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call this, briefly, after every commit: those of this process at once, those of others
        soon."""
        self._listeners.append(listener)
        if self._bell is not None:
            self._bell.listen()

    def close(self) -> None:
        """End every connection. On SQLite this leaves the data in the main file."""
        if self._bell is not None:
            self._bell.close()
        self._writer.close()
        self.engine.dispose()


def open_engine(url: str, threads: int = 40) -> Engine:
    """An engine with the settings every connection needs: on SQLite WAL, synchronous=FULL, foreign
    keys."""
    options: dict[str, Any] = {"hide_parameters": True, "pool_size": threads, "max_overflow": 8}
    if not url.startswith("sqlite"):
        return create_engine(
            url, pool_pre_ping=True, pool_timeout=10, connect_args=_postgres().CONNECT, **options
        )
    engine = create_engine(
        url,
        poolclass=QueuePool,
        connect_args={"isolation_level": None, "timeout": 30, "check_same_thread": False},
        **options,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "busy_timeout=30000",
            f"cache_size=-{_CACHE_KB}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("writer"):
            connection.exec_driver_sql("BEGIN")

    return engine


def _postgres() -> Any:
    """The driver takes room that a gateway on SQLite has no use for."""
    return import_module("storage.postgres")


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite URL, else None."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def is_full(error: SQLAlchemyError) -> bool:
    """Whether SQLite found no room for what it had to write."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_FULL or code in _NO_ROOM


class _SqliteWriter:
    """Units on SQLite: one connection, a queue in front of it, and one commit for those who wait.

    Each unit runs inside a savepoint. When it is done and others wait, it hands the open
    transaction on; the last of the group commits, and only then does any of them return. SQLite's
    own busy handler is unfair (waits up to
    2.4 s among 16 writers; 0.16 s with this queue).
    """

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.connect().execution_options(
            isolation_level="AUTOCOMMIT", writer=True
        )
        self._run(f"PRAGMA cache_size=-{_WRITER_CACHE_KB}")
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._busy = False
        self._group: list[_Promise] = []
        self._open = False
        self._closed = False

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        promise = _Promise()
        try:
            with self._turn(promise) as connection:
                yield connection
            promise.wait()
        except SQLAlchemyError as error:
            if not is_full(error):
                raise
            raise Refusal(Code.OUT_OF_RESOURCES, "The disk of the index is full.") from error

    @contextmanager
    def _turn(self, promise: "_Promise") -> Iterator[Connection]:
        self._take_turn()
        try:
            self._begin()
            try:
                yield self._connection
                self._run("RELEASE unit")
            except BaseException as error:
                self._undo(error)
                raise
            self._group.append(promise)
        finally:
            self._end_turn()

    def close(self) -> None:
        """End the one connection, after the unit in hand; SQLite checkpoints the WAL into the main
        file. A unit that does not end is left alone: half of it must not slip through."""
        if not self._take_turn(CLOSE_WITHIN):
            return
        try:
            self._commit()
            self._closed = True
            self._connection.close()
        finally:
            self._end_turn()

    def _begin(self) -> None:
        if self._closed:
            raise RuntimeError("the index is closed")
        if not self._open:
            self._run("BEGIN IMMEDIATE")
            self._open = True
        self._run("SAVEPOINT unit")

    def _run(self, words: str) -> None:
        """Four times a unit: by the driver itself."""
        try:
            self._connection.connection.cursor().execute(words)
        except sqlite3.Error as error:
            raise DBAPIError.instance(
                words, None, error, sqlite3.Error, hide_parameters=True
            ) from error

    def _take_turn(self, timeout: float | None = None) -> bool:
        """Wait for the turn; False when it did not come in time."""
        with self._mutex:
            if not self._busy:
                self._busy = True
                return True
            turn = threading.Event()
            self._waiting.append(turn)
        try:
            if turn.wait(timeout):
                return True
        except BaseException:  # Ctrl-C
            self._leave_queue(turn)
            raise
        self._leave_queue(turn)
        return False

    def _leave_queue(self, turn: threading.Event) -> None:
        with self._mutex:
            waiting = turn in self._waiting
            if waiting:
                self._waiting.remove(turn)
        if not waiting:  # the turn has come meanwhile: pass it on
            self._end_turn()

    def _end_turn(self) -> None:
        """Hand the open transaction on, or commit it. Whatever breaks, the next one has a turn."""
        successor = self._successor() if len(self._group) < GROUP else None
        try:
            if successor is None:
                self._commit()
        finally:
            successor = successor or self._successor(last=True)
            if successor is not None:
                successor.set()

    def _successor(self, *, last: bool = False) -> threading.Event | None:
        with self._mutex:
            if self._waiting:
                return self._waiting.popleft()
            if last:
                self._busy = False
            return None

    def _undo(self, error: BaseException) -> None:
        """Take back this unit only. A full disk makes SQLite end the whole transaction: then the
        group is broken."""
        try:
            self._run("ROLLBACK TO unit")
            self._run("RELEASE unit")
        except BaseException:
            self._break_group(error)

    def _break_group(self, error: BaseException) -> None:
        group, self._group, self._open = self._group, [], False
        try:
            with suppress(SQLAlchemyError):  # there may be nothing left to roll back
                self._run("ROLLBACK")
        finally:
            for promise in group:
                promise.broken(error)

    def _commit(self) -> None:
        if not self._open:
            return
        try:
            self._run("COMMIT")
        except BaseException as error:
            self._break_group(error)
            if not isinstance(error, Exception):
                raise
            return
        group, self._group, self._open = self._group, [], False
        for promise in group:
            promise.kept()


class _Promise:
    """Whether the commit that carries a unit has come."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._error: BaseException | None = None

    def kept(self) -> None:
        self._done.set()

    def broken(self, error: BaseException) -> None:
        self._error = error
        self._done.set()

    def wait(self) -> None:
        self._done.wait()
        if self._error is None:
            return
        if isinstance(self._error, SQLAlchemyError) and is_full(self._error):
            raise Refusal(Code.OUT_OF_RESOURCES, "The disk of the index is full.") from self._error
        raise RuntimeError("the commit failed") from self._error
