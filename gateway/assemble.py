"""Which concrete parts make up this gateway? The only place that knows."""

import fcntl
import os
import resource
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from gateway.policy_file import read_policy
from gateway.settings import Settings
from gateway.stores import open_index, open_objects
from gateway.vault import Vault, open_vault
from storage.index import Index, IndexUnit, sqlite_path
from storage.ingest import Ingest
from storage.objects import Objects
from worklist.errors import Code, Refusal
from worklist.policy import Policy

OPEN_FILES = 65536


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Parts:
    """Everything an edge or a command is handed."""

    settings: Settings
    policy: Policy
    index: Index
    objects: Objects
    ingest: Ingest
    vault: Vault
    now: Callable[[], datetime]
    lock: TextIO | None

    def new_unit(self) -> AbstractContextManager[IndexUnit]:
        """One transaction that writes: `with parts.new_unit() as unit:`; leaving it means
        committed and synced."""
        return self.index.unit()

    def view(self) -> AbstractContextManager[IndexUnit]:
        """One transaction that only reads."""
        return self.index.view()

    def close(self) -> None:
        """End connections and give the data folder free."""
        self.index.close()
        self.objects.close()
        if self.lock is not None:
            self.lock.close()


def assemble(settings: Settings, now: Callable[[], datetime] = utc_now) -> Parts:
    """Open the data folder and everything in it. Refuses when another process owns it."""
    policy = read_policy(settings.policy)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = own(settings) if sqlite_path(settings.index_url) else None
    index = None
    try:
        index = open_index(settings)
        _require_secret(settings, index)
        objects = open_objects(settings)
    except Refusal:
        if index is not None:
            index.close()
        if lock is not None:
            lock.close()
        raise
    vault = open_vault(settings.secret_path)
    ingest = Ingest(index, objects, policy, now)
    return Parts(settings, policy, index, objects, ingest, vault, now, lock)


def _require_secret(settings: Settings, index: Index) -> None:
    """Refuse to make a new secret where keys are kept under one that is gone."""
    if settings.secret_path.exists():
        return
    with index.view() as unit:
        if unit.people.authorities():
            raise Refusal(
                Code.INVALID,
                f"TELEREAD_SECRET_FILE: {settings.secret_path} is not there, and the keys of this "
                "index open with no other one. Put it back from the backup.",
            )


def own(settings: Settings) -> TextIO:
    """Take the data folder for this process, or refuse because another one has it."""
    lock = (settings.data_dir / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise Refusal(
            Code.ALREADY_EXISTS, f"Another process is using {settings.data_dir}. Stop it first."
        ) from error
    lock.seek(0)
    lock.truncate()
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def raise_limits() -> None:
    """As many open files as the system allows: every association and every browser needs some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
