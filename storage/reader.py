"""How does another process read an index that a running gateway owns?

On SQLite one process owns every write and checkpoint. A reader opens the file read-only: it sees
what has been committed, one snapshot for each transaction, and writes nothing, not even when it is
the last to leave.
"""

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import QueuePool

from storage.index import Index

_CACHE_KB = 8000


def read_index(path: Path, threads: int = 8) -> Index:
    """The index of this file, to be read only. FileNotFoundError where there is none."""
    if not path.is_file():
        raise FileNotFoundError(path)
    address = f"file:{quote(str(path.resolve()))}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            address, uri=True, isolation_level=None, timeout=30, check_same_thread=False
        )

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=threads,
        max_overflow=2,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only=ON")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KB}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("writer"):
            connection.exec_driver_sql("BEGIN")

    return Index(engine)
