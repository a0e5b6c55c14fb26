"""What has happened, and who must be told of it?"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from storage.statement import Statement
from storage.tables import account, fact, notice
from worklist.events import Fact, Happened
from worklist.person import Role
from worklist.report import Report

_add = Statement(insert(fact).inline())
_newest = select(func.coalesce(func.max(fact.c.id), 0))
_after = (
    select(fact)
    .where(fact.c.id > bindparam("position"), fact.c.site.in_(bindparam("sites", expanding=True)))
    .order_by(fact.c.id)
    .limit(bindparam("most"))
)
_numbers = select(fact.c.id).where(
    fact.c.id > bindparam("position"), fact.c.id <= bindparam("until")
)
_present = select(fact.c.id).where(fact.c.id.in_(bindparam("ids", expanding=True)))
_these = (
    select(fact)
    .where(
        fact.c.id.in_(bindparam("ids", expanding=True)),
        fact.c.site.in_(bindparam("sites", expanding=True)),
    )
    .order_by(fact.c.id)
)
_of_study = select(fact).where(fact.c.study_id == bindparam("study")).order_by(fact.c.id)
_openers = (
    select(fact.c.who)
    .distinct()
    .where(
        fact.c.report_id == bindparam("report"),
        fact.c.what == Happened.REPORT_OPENED,
        fact.c.who.in_(select(account.c.name)),  # programs read too, but cannot be told
    )
)
_people_of = select(account.c.name, account.c.roles).where(account.c.site == bindparam("at_site"))
_told = select(notice.c.account).where(
    notice.c.report_id == bindparam("report"), notice.c.what == bindparam("of")
)
_tell = insert(notice)
_unseen = select(notice).where(notice.c.account == bindparam("who"), notice.c.seen_at.is_(None))
_saw = (
    update(notice)
    .where(
        notice.c.id == bindparam("notice_id"),
        notice.c.account == bindparam("who"),
        notice.c.seen_at.is_(None),
    )
    .values(seen_at=bindparam("now"))
)


class Journal:
    """The fact table in one transaction. Implements `worklist.ports.Facts`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, one: Fact) -> None:
        """Write the fact beside the change it tells of."""
        _add.run(
            self._connection,
            {
                "what": one.what,
                "at": one.at,
                "site": one.site,
                "who": one.who,
                "study_id": one.study_id,
                "task_id": one.task_id,
                "report_id": one.report_id,
                "data": one.data,
            },
        )

    def position(self) -> int:
        """The number of the newest fact."""
        return int(self._connection.execute(_newest).scalar_one())

    def after(self, position: int, sites: frozenset[str], most: int = 500) -> Sequence[Row[Any]]:
        """Facts with a higher number that concern these Sites, oldest first."""
        return self._connection.execute(
            _after, {"position": position, "sites": sorted(sites), "most": most}
        ).all()

    def missing(self, position: int, until: int) -> frozenset[int]:
        """Numbers after `position` up to `until` without a fact that can be seen: its transaction
        goes on, or was rolled back. None on SQLite: its writer numbers what it commits."""
        if self._connection.dialect.name == "sqlite":
            return frozenset()
        limits = {"position": position, "until": until}
        there = self._connection.execute(_numbers, limits).scalars()
        return frozenset(range(position + 1, until + 1)).difference(there)

    def present(self, ids: Iterable[int]) -> Sequence[int]:
        """Those of these numbers that can be seen."""
        return self._connection.execute(_present, {"ids": sorted(ids)}).scalars().all()

    def these(self, ids: Iterable[int], sites: frozenset[str]) -> Sequence[Row[Any]]:
        """Facts of these numbers that concern these Sites, oldest first."""
        values = {"ids": sorted(ids), "sites": sorted(sites)}
        return self._connection.execute(_these, values).all()

    def of_study(self, study_id: int) -> Sequence[Row[Any]]:
        """The story of a study, oldest first."""
        return self._connection.execute(_of_study, {"study": study_id}).all()


class Notices:
    """What people who opened a report must be told afterwards. Implements
    `worklist.ports.Notices`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tell_openers(self, report: Report, what: str, now: datetime) -> None:
        """One notice for everyone who has opened this version."""
        openers = self._connection.execute(_openers, {"report": report.id}).scalars()
        self._tell(set(openers) - {report.author}, report, what, now)

    def tell_doctors(self, report: Report, what: str, now: datetime) -> None:
        """One notice for every doctor of the report's center, opened or not."""
        people = self._connection.execute(_people_of, {"at_site": report.site})
        self._tell({row.name for row in people if Role.DOCTOR in row.roles}, report, what, now)

    def _tell(self, people: set[str], report: Report, what: str, now: datetime) -> None:
        told = self._connection.execute(_told, {"report": report.id, "of": what}).scalars()
        rows = [
            {"account": who, "report_id": report.id, "what": what, "told_at": now}
            for who in sorted(people - set(told))
        ]
        if rows:
            self._connection.execute(_tell, rows)

    def unseen(self, who: str) -> Sequence[Row[Any]]:
        """Notices this person has not put away yet."""
        return self._connection.execute(_unseen, {"who": who}).all()

    def saw(self, notice_id: int, who: str, now: datetime) -> bool:
        """The person has read it. False when there is no such notice."""
        done = self._connection.execute(_saw, {"notice_id": notice_id, "who": who, "now": now})
        return bool(done.rowcount)
