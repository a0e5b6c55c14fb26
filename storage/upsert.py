"""How is a row written whether or not it is there already, on both engines?"""

from functools import cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from storage.statement import Statement

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def upsert(
    connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]
) -> None:
    """Insert key and values; where the key exists, set the values. Statements are built once for
    each shape."""
    statement = _statement(connection.dialect.name, table, tuple(key), tuple(values))
    statement.run(connection, {**key, **values})


@cache
def _statement(
    dialect: str, table: Table, key: tuple[str, ...], values: tuple[str, ...]
) -> Statement:
    insert: Any = _INSERT[dialect](table)
    return Statement(
        insert.inline().on_conflict_do_update(
            index_elements=[table.c[name] for name in key],
            set_={name: insert.excluded[name] for name in values},
        )
    )
