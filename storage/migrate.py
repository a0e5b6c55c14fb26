"""Is the schema the one this version works with, and how does it become so?"""

import os
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, inspect

from storage.index import open_engine, sqlite_path
from worklist.errors import Code, Refusal

_MIGRATIONS = Path(__file__).with_name("migrations")
_LOCK = 7_483_112  # any number that nobody else locks


def upgrade(url: str) -> bool:
    """Bring the schema to this version. SQLite: after a copy of the file. True when something was
    done.

    Refuses a schema that a newer version made.
    """
    engine = open_engine(url, threads=1)  # explicit BEGIN: SQLite then takes DDL back as well
    try:
        with engine.connect() as connection:
            before, wanted = _current(connection), _wanted()
            if before == wanted:
                return False
            _refuse_newer(before)
        path = sqlite_path(url)
        if path is not None and before is not None:
            _copy(path, before)
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":  # two upgrades at once: one does it
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            _run(connection, _wanted())
        return True
    finally:
        engine.dispose()


def require_current(url: str) -> None:
    """Refuse a schema that is not the one this version works with."""
    engine = open_engine(url, threads=1)
    try:
        with engine.connect() as connection:
            require_current_of(connection)
    finally:
        engine.dispose()


def require_current_of(connection: Connection) -> None:
    """The same for an index that is open."""
    before, wanted = _current(connection), _wanted()
    if before == wanted:
        return
    _refuse_newer(before)
    raise Refusal(
        Code.INVALID,
        f"The index has schema {before or 'none'}, this version works with {wanted}. "
        "Run: teleread upgrade.",
    )


def revision_of(connection: Connection) -> str | None:
    """Which schema an index has; None for an empty one."""
    return _current(connection)


def make(connection: Connection, revision: str) -> None:
    """Make the tables of this schema in an empty index. Refuses a schema of a newer version."""
    _refuse_newer(revision)
    _run(connection, revision)


def _refuse_newer(revision: str | None) -> None:
    if revision is not None and revision not in _revisions():
        raise Refusal(
            Code.INVALID,
            f"A newer version of Teleread made this index (schema {revision}). Use that version.",
        )


def _copy(path: Path, revision: str) -> None:
    """A consistent copy beside the file, made by SQLite itself, named after the schema it holds."""
    copy = path.with_name(f"{path.name}.before-{revision}")
    temporary = copy.with_suffix(".partial")
    with sqlite3.connect(path) as source, sqlite3.connect(temporary) as target:
        source.backup(target)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.rename(copy)
    folder = os.open(copy.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _wanted() -> str:
    return _revisions()[-1]


def _revisions() -> list[str]:
    """Every schema there has been, in order: the files of the migrations are named by them."""
    return sorted(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("0*.py"))


def _run(connection: Connection, revision: str) -> None:
    """Alembic takes time and room that most starts have no use for."""
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
