"""How is a statement run again and again without building or compiling it each time?

SQLAlchemy Core writes the SQL once for each engine and shape of parameters; after that the driver's
own cursor runs it, inside the transaction of the connection that is handed in. For paths where
hundreds of statements a second go by: some ten times less work a statement.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Dialect, Executable
from sqlalchemy.exc import DBAPIError


class Running(Protocol):
    """What a statement needs of a connection."""

    @property
    def dialect(self) -> Dialect:
        """The engine's way to write SQL."""

    @property
    def connection(self) -> Any:
        """The driver's connection."""


class Glance(NamedTuple):
    """A connection of the driver, as it comes from the pool."""

    dialect: Dialect
    connection: Any


_Convert = Callable[[Any], Any] | None


class Statement:
    """One Core statement. Parameters are those of its `bindparam`s; of an insert, or an update
    without values, also the columns that are named among them."""

    def __init__(self, clause: Executable) -> None:
        self._clause: Any = clause
        self._ready: dict[tuple[str, tuple[str, ...]], _Ready] = {}

    def all(self, connection: Running, parameters: Mapping[str, Any]) -> list[Any]:
        """Every row, as a named tuple."""
        ready, cursor = self._run(connection, parameters)
        return [ready.row(row) for row in cursor.fetchall()]

    def one(self, connection: Running, parameters: Mapping[str, Any]) -> Any:
        """The first row, as a named tuple; None where there is none."""
        ready, cursor = self._run(connection, parameters)
        rows = cursor.fetchall()  # to the end: only then a statement is over
        return ready.row(rows[0]) if rows else None

    def run(self, connection: Running, parameters: Mapping[str, Any]) -> int:
        """How many rows were written."""
        _, cursor = self._run(connection, parameters)
        return int(cursor.rowcount)

    def _run(self, connection: Running, parameters: Mapping[str, Any]) -> tuple["_Ready", Any]:
        dialect = connection.dialect
        shape = (dialect.name, tuple(parameters))
        ready = self._ready.get(shape)
        if ready is None:
            ready = self._ready[shape] = _Ready(self._clause, dialect, shape[1])
        cursor = connection.connection.cursor()
        try:
            cursor.execute(ready.text, ready.bound(parameters))
        except dialect.loaded_dbapi.Error as error:
            raise DBAPIError.instance(
                None, None, error, dialect.loaded_dbapi.Error, hide_parameters=True, dialect=dialect
            ) from error
        return ready, cursor


class _Ready:
    """The statement as one engine takes it."""

    def __init__(self, clause: Any, dialect: Dialect, given: tuple[str, ...]) -> None:
        compiled = clause.compile(dialect=dialect, column_keys=list(given))
        self.text = str(compiled)
        self._binds = [
            (name, _converter(bind.type, dialect, "bind_processor"), bind.value, name in given)
            for name, bind in compiled.binds.items()
        ]
        self._order: list[str] | None = compiled.positiontup
        if self._order is not None:  # by place, each as often as it stands there
            by_name = {bind[0]: bind for bind in self._binds}
            self._binds = [by_name[name] for name in self._order]
        columns = list(getattr(clause, "exported_columns", ()))
        self._converters = [
            _converter(one.type, dialect, "result_processor", None) for one in columns
        ]
        self._named = _named([one.key for one in columns])
        self._plain = not any(self._converters)

    def bound(self, parameters: Mapping[str, Any]) -> Any:
        """The parameters as the driver takes them."""
        values = [
            (
                (parameters[name] if convert is None else convert(parameters[name]))
                if is_given
                else (value if convert is None else convert(value))
            )
            for name, convert, value, is_given in self._binds
        ]
        if self._order is not None:
            return values
        return dict(zip([bind[0] for bind in self._binds], values, strict=True))

    def row(self, raw: Any) -> Any:
        """One row of the driver with the types of the table."""
        if self._plain:
            return self._named(raw)
        pairs = zip(self._converters, raw, strict=True)
        return self._named([one if to is None else to(one) for to, one in pairs])


def _named(names: list[str]) -> Callable[[Any], Any]:
    row: Any = namedtuple("Row", names)  # type: ignore[misc]
    make: Callable[[Any], Any] = row._make
    return make


def _converter(kind: Any, dialect: Dialect, which: str, *given: Any) -> _Convert:
    convert: _Convert = getattr(kind.dialect_impl(dialect), which)(dialect, *given)
    return convert
