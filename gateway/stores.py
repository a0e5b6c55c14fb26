"""Which index and which object store do the settings name, and can they be used?

What is wrong is said by the setting's name and a reason of ours: sentences of drivers and stores
may hold a part of a password.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from types import ModuleType

from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from gateway.settings import Settings
from storage.index import Index, open_engine, sqlite_path
from storage.migrate import require_current, upgrade
from storage.objects import LocalObjects, Objects
from worklist.errors import Code, Refusal

_POSTGRES = "postgresql+psycopg://"
# what a driver's sentence says of the reason
_REASONS = (
    ("password authentication failed", "the user or the password is wrong"),
    ("no password supplied", "a password is missing"),
    ("does not exist", "there is no such database or user"),
    ("refused", "nobody answers there"),
    ("timeout", "nobody answers there in time"),
    ("timed out", "nobody answers there in time"),
    ("resolve host", "there is no such host"),
    ("translate host", "there is no such host"),
    ("too many", "the server has no connection left"),
    ("starting up", "the server is just starting"),
    ("SSL", "TLS could not be agreed on"),
)


def open_index(settings: Settings) -> Index:
    """The index. SQLite is brought to the schema of this version; PostgreSQL must have it."""
    url = settings.index_url
    if sqlite_path(url):
        upgrade(url)
        return Index(open_engine(url))
    with reaching(url):
        require_current(url)
        return Index(open_engine(url))


def upgrade_index(settings: Settings) -> bool:
    """Bring the schema to this version. True when something was done."""
    url = settings.index_url
    with nullcontext() if sqlite_path(url) else reaching(url):
        return upgrade(url)


def open_objects(settings: Settings, *, sweeps: bool = True) -> Objects:
    """The object store, not yet asked anything. `sweeps`: what a killed process left half written
    goes."""
    if settings.objects == "files":
        folder = settings.data_dir / "objects"
        return LocalObjects(folder, settings.min_free_bytes, sweeps=sweeps)
    opened: Objects = _s3().opened(settings)
    return opened


def prove(objects: Objects) -> None:
    """Refuse where the store cannot be written, read and deleted from."""
    if not isinstance(objects, LocalObjects):
        _s3().prove(objects)


def _s3() -> ModuleType:
    """The client takes room that a gateway with files has no use for."""
    return import_module("gateway.s3_store")


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Say by the setting's name why the server of this index cannot be used."""
    try:
        if not url.startswith(_POSTGRES):
            raise Refusal(Code.INVALID, "SQLite and PostgreSQL are known")
        yield
        return
    except Refusal as refusal:
        reason = refusal.message.rstrip(".")
    except (ArgumentError, ValueError):
        reason = "this is not a URL such as postgresql://user:password@host/database"
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", "") or "")
        reason = next((why for part, why in _REASONS if part in said), "it cannot be used")
    raise Refusal(Code.INVALID, f"TELEREAD_DATABASE_URL: {reason}.")
