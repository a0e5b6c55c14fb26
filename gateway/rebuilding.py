"""What does `teleread rebuild-index` make, and when does it take the old index's place?"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.assemble import own
from gateway.desk import Progress, is_running
from gateway.policy_file import read_policy
from gateway.restoring import put_in_place
from gateway.settings import Settings
from gateway.stores import open_objects, reaching
from storage import dump
from storage.index import Index, open_engine, sqlite_path
from storage.migrate import make, require_current_of, upgrade
from storage.reader import read_index
from storage.rebuild import Rebuilt, rebuild
from storage.restore import drop_all
from worklist.errors import Code, Refusal

NAME = "index.rebuilt.sqlite"


def run_rebuild(settings: Settings, *, replace: bool) -> int:
    """Make the index anew beside the old one; with `replace` in its place. 1 where an object made
    no row."""
    path = sqlite_path(settings.index_url)
    if not settings.data_dir.is_dir():
        raise Refusal(Code.NOT_FOUND, f"There is no data folder {settings.data_dir}.")
    if replace and path is None and is_running(settings):
        raise Refusal(Code.ALREADY_EXISTS, "A gateway is using this index. Stop it first.")
    with own(settings) if replace else nullcontext():
        fresh = settings.data_dir / NAME
        done = _rebuild(settings, fresh)
        if replace and path is not None:
            put_in_place(fresh, path, "before-rebuild")
        elif replace:
            _into_postgres(settings, fresh)
    where = "in the place of the old index" if replace else f"at {fresh}"
    print(f"The index is {where}.")
    for key in done.placeholders:
        print(f"site\t{key}: only its key is known; say the rest with teleread site add")
    for why, locator in done.left_out:
        print(f"{why}\t{locator}: no row")
    return 1 if done.left_out else 0


def _rebuild(settings: Settings, fresh: Path) -> Rebuilt:
    began = time.monotonic()
    for end in ("", "-wal", "-shm"):
        fresh.with_name(fresh.name + end).unlink(missing_ok=True)
    upgrade(f"sqlite:///{fresh}")
    engine = open_engine(f"sqlite:///{fresh}", threads=1)
    progress: dict[str, Progress] = {}

    def seen(what: str, count: int, size: int) -> None:
        progress.setdefault(what, Progress(what)).add(count, size)

    try:
        _unhurried(engine)
        objects = open_objects(settings, sweeps=False)
        policy = read_policy(settings.policy)
        with _old(settings) as old:
            done = rebuild(old, objects, engine, settings.data_dir, policy, seen)
    finally:
        engine.dispose()
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    seconds = max(time.monotonic() - began, 0.001)
    print(
        f"teleread: {done.instances} instances in {seconds:.1f} s "
        f"({done.instances / seconds:.0f} a second), {len(done.left_out)} objects make no row",
        file=sys.stderr,
    )
    return done


def _unhurried(engine: Engine) -> None:
    """The new file is synced once, at its end."""
    raw = engine.raw_connection()
    raw.cursor().execute("PRAGMA synchronous=OFF")
    raw.close()


@contextmanager
def _old(settings: Settings) -> Iterator[Connection | None]:
    """One transaction on the old index, as far as it can be read."""
    index = None
    try:
        index = _opened(settings)
        why = _why_not(index)
    except FileNotFoundError:
        why = "there is none"
    except (SQLAlchemyError, Refusal):
        why = "it cannot be read"
    try:
        if index is None or why:
            print(
                f"teleread: nothing is carried over from the old index: {why}. Institutions, "
                "people, orders and reports are not in the objects.",
                file=sys.stderr,
            )
            yield None
        else:
            with index.view() as unit:
                yield unit.connection
    finally:
        if index is not None:
            index.close()


def _opened(settings: Settings) -> Index:
    path = sqlite_path(settings.index_url)
    if path is not None:
        return read_index(path)
    with reaching(settings.index_url):
        return Index(open_engine(settings.index_url, threads=2))


def _why_not(index: Index) -> str:
    """Why this index cannot be carried over; "" where it can."""
    with index.engine.connect() as connection:
        try:
            require_current_of(connection)
        except Refusal:
            return "its schema is another one"
        if connection.dialect.name == "sqlite":
            found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
            return "" if found == "ok" else "its file is damaged"
    return ""


def _into_postgres(settings: Settings, fresh: Path) -> None:
    """Put the rows into the database, in one transaction."""
    written = fresh.with_suffix(".jsonl.gz")
    with read_index(fresh).view() as unit:
        dump.write_index(unit.connection, written, lambda _: None)
    engine = open_engine(settings.index_url, threads=1)
    try:
        with engine.begin() as connection:
            drop_all(connection)
            make(connection, dump.schema_of(written))
            for given in dump.read_index(written):
                dump.take(connection, given)
            dump.number_on(connection)
    finally:
        engine.dispose()
        written.unlink()
    fresh.unlink()
