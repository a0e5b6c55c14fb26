"""How are the rows of an index written down so that either engine can take them?

Lines of JSON, compressed: what it is, then for each table its columns and its rows. Instants are
microseconds since 1970, dates ISO 8601, bytes base64, JSON columns the text as it is kept.
"""

import base64
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    LargeBinary,
    Table,
    TableClause,
    Text,
    cast,
    column,
    inspect,
    select,
    table,
    text,
    type_coerce,
)
from sqlalchemy.types import UserDefinedType

from storage.migrate import revision_of
from storage.tables import Instant, metadata
from worklist.errors import Code, Refusal

FORMAT: Final = 1
_BATCH: Final = 500


class _JsonText(UserDefinedType[str]):
    """A JSON column that is given and gives its text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "JSON"


@dataclass(frozen=True)
class Rows:
    """Some rows of one table: name to value as `take` writes them."""

    table: str
    columns: Mapping[str, str]
    rows: list[dict[str, Any]]


def write_index(connection: Connection, path: Path, seen: Callable[[int], None]) -> dict[str, int]:
    """Write every row this transaction sees; how many of each table. `seen` is told how many
    more."""
    counts: dict[str, int] = {}
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        head = {"format": FORMAT, "schema": revision_of(connection)}
        file.write(json.dumps(head) + "\n")
        for one in metadata.sorted_tables:
            kinds = {each.name: _kind(each) for each in one.columns}
            file.write(json.dumps({"table": one.name, "columns": kinds}) + "\n")
            counts[one.name] = 0
            for batch in _read(connection, one, kinds):
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch)
                counts[one.name] += len(batch)
                seen(len(batch))
        file.write(json.dumps({"end": counts}) + "\n")
    return counts


def schema_of(path: Path) -> str:
    """The schema of the index that was written down."""
    with _open(path) as lines:
        return str(_head(lines)["schema"])


def read_index(path: Path) -> Iterator[Rows]:
    """All rows, some at a time, tables in an order in which none names one that is not there yet.
    Refuses (TRUNCATED) what has no end."""
    with _open(path) as lines:
        _head(lines)
        name, batch = "", list[Any]()
        kinds: dict[str, str] = {}
        for line in lines:
            found = json.loads(line)
            if isinstance(found, list):
                batch.append(found)
            if batch and (isinstance(found, dict) or len(batch) >= _BATCH):
                yield _rows(name, kinds, batch)
                batch = []
            if isinstance(found, dict) and "end" in found:
                return
            if isinstance(found, dict):
                name, kinds = found["table"], found["columns"]
    raise Refusal(Code.TRUNCATED, f"{path.name} has no end.")


def take(connection: Connection, given: Rows) -> None:
    """Insert rows."""
    if given.rows:
        connection.execute(_target(given.table, given.columns).insert(), given.rows)


def number_on(connection: Connection) -> None:
    """Let new rows be numbered after those that were inserted with their numbers."""
    if connection.dialect.name != "postgresql":
        return
    for one in inspect(connection).get_table_names():
        sequence = (
            connection.execute(
                text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": one}
            ).scalar()
            if _has_id(connection, one)
            else None
        )
        if sequence:
            highest = f'SELECT setval(:of, coalesce(max(id), 1), max(id) IS NOT NULL) FROM "{one}"'  # noqa: S608
            connection.execute(text(highest), {"of": sequence})


def _has_id(connection: Connection, name: str) -> bool:
    return any(each["name"] == "id" for each in inspect(connection).get_columns(name))


def _kind(one: Column[Any]) -> str:
    for kind, of in (
        ("int", Instant),
        ("json", JSON),
        ("date", Date),
        ("bool", Boolean),
        ("bytes", LargeBinary),
    ):
        if isinstance(one.type, of):
            return kind
    return "plain"


_TYPES: Final[Mapping[str, Any]] = {
    "int": BigInteger(),
    "json": _JsonText(),
    "date": Date(),
    "bool": Boolean(),
    "bytes": LargeBinary(),
}
_TO_JSON: Final[Mapping[str, Callable[[Any], Any]]] = {
    "date": date.isoformat,
    "bytes": lambda value: base64.b64encode(value).decode(),
}
_FROM_JSON: Final[Mapping[str, Callable[[Any], Any]]] = {
    "date": date.fromisoformat,
    "bytes": base64.b64decode,
}


def _read(
    connection: Connection, one: Table, kinds: Mapping[str, str]
) -> Iterator[list[list[Any]]]:
    columns = [_raw(each, kinds[each.name]) for each in one.columns]
    encoded = [(at, _TO_JSON[kind]) for at, kind in enumerate(kinds.values()) if kind in _TO_JSON]
    statement = select(*columns).order_by(*one.primary_key.columns)
    found = connection.execution_options(yield_per=_BATCH).execute(statement)
    for part in found.partitions():
        batch = [list(row) for row in part]
        for at, encode in encoded:
            for row in batch:
                if row[at] is not None:
                    row[at] = encode(row[at])
        yield batch


def _raw(one: Column[Any], kind: str) -> Any:
    if kind == "json":
        return cast(one, Text)
    return type_coerce(one, BigInteger) if kind == "int" else one


def _rows(name: str, kinds: Mapping[str, str], batch: list[list[Any]]) -> Rows:
    decoders = [_FROM_JSON.get(kind) for kind in kinds.values()]
    rows = [
        {
            key: value if decode is None or value is None else decode(value)
            for key, decode, value in zip(kinds, decoders, row, strict=True)
        }
        for row in batch
    ]
    return Rows(name, kinds, rows)


def _target(name: str, kinds: Mapping[str, str]) -> TableClause:
    return table(name, *(column(key, _TYPES.get(kind)) for key, kind in kinds.items()))


def _open(path: Path) -> Any:
    return gzip.open(path, "rt", encoding="utf-8")


def _head(lines: Iterator[str]) -> dict[str, Any]:
    head: dict[str, Any] = json.loads(next(lines, "{}"))
    if head.get("format") != FORMAT:
        raise Refusal(Code.UNREADABLE, "This is not an index that this version wrote down.")
    return head
