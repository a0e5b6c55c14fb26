"""Which signed versions are there, where have they gone, and which critical results wait?"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from storage.tables import critical, delivery, report
from worklist.critical import CriticalResult
from worklist.delivery import Delivery
from worklist.errors import Code, Refusal
from worklist.report import Report, ReportState, Result

_by_id = select(report).where(report.c.id == bindparam("report_key"))
_lock = _by_id.with_for_update()
_of_request = select(report).where(
    report.c.author == bindparam("by"), report.c.request_id == bindparam("request")
)
_of_verify_id = select(report).where(report.c.verify_id == bindparam("verify"))
_of_digest = select(report).where(report.c.pdf_digest == bindparam("digest"))
_of_study = (
    select(report).where(report.c.study_id == bindparam("study_key")).order_by(report.c.version)
)
_set = (
    update(report)
    .where(report.c.id == bindparam("report_key"))
    .values(
        state=bindparam("new_state"),
        replaced_by=bindparam("successor"),
        reason=bindparam("why"),
        study_newer=bindparam("newer"),
    )
)
_delivery = (
    select(delivery).where(delivery.c.report_id == bindparam("report_key")).with_for_update()
)
_set_delivery = update(delivery).where(delivery.c.report_id == bindparam("report_key"))
_critical = select(critical).where(critical.c.id == bindparam("critical_key")).with_for_update()
_critical_of = (
    select(critical).where(critical.c.report_id == bindparam("report_key")).with_for_update()
)
_set_critical = update(critical).where(critical.c.id == bindparam("critical_key"))
_open_criticals = (
    select(critical)
    .where(
        critical.c.site.in_(bindparam("sites", expanding=True)),
        critical.c.confirmed_at.is_(None),
        critical.c.closed_at.is_(None),
    )
    .order_by(critical.c.told_at)
)


class Reports:
    """Rows of reports in one transaction. Implements `worklist.ports.Reports`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, report_id: str) -> Report | None:
        """The version, or None."""
        return self._one(_by_id, {"report_key": report_id})

    def lock(self, report_id: str) -> Report:
        """The version, held until the end of the transaction. NOT_FOUND where there is none."""
        found = self._one(_lock, {"report_key": report_id})
        if found is None:
            raise Refusal(Code.NOT_FOUND, "There is no such report.")
        return found

    def add(self, one: Report) -> None:
        """Write a newly signed version."""
        values = {**asdict(one), "instances": [list(pair) for pair in one.instances]}
        self._connection.execute(insert(report), values)

    def save(self, one: Report) -> None:
        """Write what may change of a signed version: its state and its successor, never its
        content."""
        self._connection.execute(
            _set,
            {
                "report_key": one.id,
                "new_state": one.state,
                "successor": one.replaced_by,
                "why": one.reason,
                "newer": one.study_newer,
            },
        )

    def of_request(self, author: str, request_id: str) -> Report | None:
        """What this very request has made."""
        return self._one(_of_request, {"by": author, "request": request_id})

    def of_verify_id(self, verify_id: str) -> Report | None:
        """The version behind a public address."""
        return self._one(_of_verify_id, {"verify": verify_id})

    def of_digest(self, digest: str) -> Report | None:
        """The version whose PDF has this SHA-256 (hex)."""
        return self._one(_of_digest, {"digest": digest})

    def of_study(self, study_id: int) -> list[Report]:
        """Every signed version, oldest first."""
        rows = self._connection.execute(_of_study, {"study_key": study_id})
        return [report_of(row) for row in rows]

    def in_force_of_study(self, study_id: int) -> list[Report]:
        """Versions that are signed or final."""
        states = (ReportState.SIGNED, ReportState.FINAL)
        return [one for one in self.of_study(study_id) if one.state in states]

    def _one(self, statement: Select[Any], parameters: dict[str, Any]) -> Report | None:
        row = self._connection.execute(statement, parameters).one_or_none()
        return None if row is None else report_of(row)


class Deliveries:
    """Rows of deliveries in one transaction. Implements `worklist.ports.Deliveries`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lock(self, report_id: str) -> Delivery | None:
        """The delivery of this version, held until the end of the transaction."""
        row = self._connection.execute(_delivery, {"report_key": report_id}).one_or_none()
        return None if row is None else Delivery(**row._mapping)

    def add(self, one: Delivery) -> None:
        """Write a new delivery."""
        self._connection.execute(insert(delivery), asdict(one))

    def save(self, one: Delivery) -> None:
        """Write a changed delivery."""
        values = asdict(one)
        del values["report_id"]
        self._connection.execute(_set_delivery.values(**values), {"report_key": one.report_id})


class Criticals:
    """Rows of critical results in one transaction. Implements `worklist.ports.Criticals`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lock(self, critical_id: str) -> CriticalResult | None:
        """The critical result, held until the end of the transaction."""
        return self._one(_critical, {"critical_key": critical_id})

    def of_report(self, report_id: str) -> CriticalResult | None:
        """The critical result of this version."""
        return self._one(_critical_of, {"report_key": report_id})

    def open_at(self, sites: frozenset[str]) -> Sequence[CriticalResult]:
        """Those of these Sites that nobody has confirmed, oldest first."""
        rows = self._connection.execute(_open_criticals, {"sites": sorted(sites)})
        return [CriticalResult(**row._mapping) for row in rows]

    def add(self, one: CriticalResult) -> None:
        """Write a new critical result."""
        self._connection.execute(insert(critical), asdict(one))

    def save(self, one: CriticalResult) -> None:
        """Write a changed critical result."""
        values = asdict(one)
        del values["id"]
        self._connection.execute(_set_critical.values(**values), {"critical_key": one.id})

    def _one(self, statement: Select[Any], parameters: dict[str, Any]) -> CriticalResult | None:
        row = self._connection.execute(statement, parameters).one_or_none()
        return None if row is None else CriticalResult(**row._mapping)


def report_of(row: Row[Any]) -> Report:
    """The report of a row that has all columns of the table under their names."""
    values = {column.name: getattr(row, column.name) for column in report.c}
    values["state"] = ReportState(row.state)
    values["result"] = Result(row.result)
    values["instances"] = tuple((uid, digest) for uid, digest in row.instances)
    return Report(**values)
