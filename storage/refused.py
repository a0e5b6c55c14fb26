"""Which callers were turned away? Rows that do not grow without bound."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from storage.tables import refused_caller

MOST_ROWS = 1000
_KEY = ("calling", "called", "address", "certificate")

_is_it = [refused_caller.c[name] == bindparam(f"of_{name}") for name in _KEY]
_again = (
    update(refused_caller)
    .where(*_is_it)
    .values(
        why=bindparam("because"),
        times=refused_caller.c.times + bindparam("more"),
        last_at=bindparam("now"),
    )
)
_count = select(func.count()).select_from(refused_caller)
_oldest = select(*(refused_caller.c[name] for name in _KEY)).order_by(refused_caller.c.last_at)
_drop = delete(refused_caller).where(*_is_it)
_admitted = delete(refused_caller).where(refused_caller.c.calling == bindparam("of_calling"))


@dataclass(frozen=True)
class RefusedCall:
    """Calls of one caller that were turned away since the last time it was written down. Titles
    are printable ASCII; `certificate` is "" where none was shown."""

    calling: str
    called: str
    address: str
    certificate: str
    why: str
    times: int
    first_at: datetime
    last_at: datetime


def note(connection: Connection, calls: Iterable[RefusedCall]) -> None:
    """Add to what is known of these callers; of too many, those that called longest ago go."""
    for one in calls:
        of = {f"of_{name}": getattr(one, name) for name in _KEY}
        seen = {"because": one.why, "more": one.times, "now": one.last_at}
        if not connection.execute(_again, of | seen).rowcount:
            connection.execute(insert(refused_caller), vars(one))
    over = int(connection.execute(_count).scalar_one()) - MOST_ROWS
    if over > 0:
        gone: list[dict[str, Any]] = [
            {f"of_{name}": getattr(row, name) for name in _KEY}
            for row in connection.execute(_oldest.limit(over))
        ]
        connection.execute(_drop, gone)


def admitted(connection: Connection, calling: str, called: str | None, address: str | None) -> None:
    """A device was registered: the calls it would have made are no longer refused ones."""
    statement = _admitted
    if called is not None:
        statement = statement.where(refused_caller.c.called == called)
    if address is not None:
        statement = statement.where(refused_caller.c.address == address)
    connection.execute(statement, {"of_calling": calling})
