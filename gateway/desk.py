"""From where does a command that looks at everything work, and who writes for it?

It reads in its own process, so that a running gateway goes on undisturbed: on SQLite from a
read-only opening of the file. What it has to write it hands to whoever owns the index: the running
gateway, or itself where none runs.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from gateway import commands
from gateway.assemble import assemble, own
from gateway.local import hand_over
from gateway.settings import Settings
from gateway.stores import open_index, open_objects, reaching
from storage.index import Index, IndexUnit, open_engine, sqlite_path
from storage.migrate import require_current_of
from storage.objects import Objects
from storage.reader import read_index
from worklist.errors import Code, Refusal

SAY_EVERY = 5.0  # seconds between two lines of progress


@dataclass(frozen=True)
class Desk:
    """What is kept, to be read; and a way to write."""

    settings: Settings
    index: Index
    objects: Objects

    def view(self) -> AbstractContextManager[IndexUnit]:
        """One transaction that only reads."""
        return self.index.view()

    def write(self, command: str, given: dict[str, Any]) -> dict[str, Any]:
        """Let the owner of the index do this command of `gateway.upkeep`; what it answers."""
        answer = hand_over(self.settings.data_dir, {"command": command, "given": given})
        if answer is None:
            parts = assemble(self.settings)
            try:
                answer = commands.run(parts, command, given)
            finally:
                parts.close()
        if answer["error"]:
            raise Refusal(Code.INVALID, answer["error"])
        found: dict[str, Any] = json.loads(answer["out"])
        return found


@contextmanager
def desk(settings: Settings) -> Iterator[Desk]:
    """Open what the settings name, for reading."""
    path = sqlite_path(settings.index_url)
    if path is None:
        index = open_index(settings)
    else:
        try:
            index = read_index(path)
        except FileNotFoundError as error:
            raise Refusal(Code.NOT_FOUND, f"There is no index at {path}.") from error
    try:
        with index.engine.connect() as connection:
            require_current_of(connection)
        yield Desk(settings, index, open_objects(settings, sweeps=False))
    finally:
        index.close()


def is_running(settings: Settings) -> bool:
    """Whether a gateway may be running over this index. On PostgreSQL: whether anybody else of
    this program is connected."""
    if sqlite_path(settings.index_url):
        try:
            own(settings).close()
        except Refusal:
            return True
        return False
    engine = open_engine(settings.index_url, threads=1)
    try:
        with reaching(settings.index_url), engine.connect() as connection:
            return bool(connection.execute(_OTHERS).scalar_one())
    finally:
        engine.dispose()


_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name = 'teleread' AND pid <> pg_backend_pid()"
)


@dataclass
class Progress:
    """Lines on standard error while something takes long; nothing where it does not."""

    what: str
    total: int = 0
    done: int = 0
    size: int = 0
    _began: float = field(default_factory=time.monotonic)
    _said: float = field(default_factory=time.monotonic)

    def add(self, count: int = 1, size: int = 0) -> None:
        """So many more are done."""
        self.done += count
        self.size += size
        now = time.monotonic()
        if now - self._said >= SAY_EVERY:
            self._said = now
            print(f"teleread: {self.what}: {self}", file=sys.stderr)

    def __str__(self) -> str:
        of = f" of about {self.total}" if self.total else ""
        rate = self.size / max(time.monotonic() - self._began, 0.001) / 1e6
        return f"{self.done}{of}" + (f", {rate:.0f} MB/s" if self.size else "")
