"""How far have looks at what is kept come, and which objects are not what they should be?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from storage.condition import Named
from storage.statement import Running, Statement
from storage.tables import fault, study, upkeep
from storage.upsert import upsert
from worklist.events import Fact, Happened

CHECK, SCRUB, BACKUP = "check", "scrub", "backup"
DAMAGED: Final = "damaged"
"""The mark of a study some of whose objects are gone or changed."""
_KEPT: Final = 50  # passes of each kind

_last = (
    select(upkeep)
    .where(upkeep.c.kind == bindparam("of_kind"))
    .order_by(upkeep.c.id.desc())
    .limit(bindparam("most"))
)
_set = update(upkeep).where(upkeep.c.id == bindparam("pass_id"))
_older = delete(upkeep).where(
    upkeep.c.kind == bindparam("of_kind"), upkeep.c.id <= bindparam("until")
)
_fault = select(fault.c.what).where(fault.c.locator == bindparam("of_locator"))
_known_fault = Statement(_fault)
_gone = delete(fault).where(fault.c.locator == bindparam("of_locator")).returning(fault.c.study_id)
_left = select(func.count()).select_from(fault).where(fault.c.study_id == bindparam("of_study"))
_marks = select(study.c.marks).where(study.c.id == bindparam("of_study")).with_for_update()
_mark = update(study).where(study.c.id == bindparam("of_study"))


def known_fault(connection: Running, locator: str) -> bool:
    """Whether this object has been found to be gone or changed."""
    return _known_fault.one(connection, {"of_locator": locator}) is not None


@dataclass(frozen=True)
class Pass:
    """One pass over what is kept. `objects`, `bytes` and `faults` count what it has seen so far."""

    kind: str
    began_at: datetime
    seen_at: datetime
    ended_at: datetime | None = None
    phase: str = ""
    position: str = ""
    objects: int = 0
    bytes: int = 0
    faults: int = 0
    id: int = 0


class Upkeep:
    """Rows of passes and faults in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def last(self, kind: str, most: int = 1) -> list[Pass]:
        """The newest passes of this kind, newest first."""
        found = self._connection.execute(_last, {"of_kind": kind, "most": most})
        return [Pass(**row._mapping) for row in found]

    def save(self, one: Pass) -> Pass:
        """Write how far it is; a new one gets its id, and old ones are forgotten."""
        values = asdict(one)
        pass_id = values.pop("id")
        if pass_id:
            self._connection.execute(_set, {**values, "pass_id": pass_id})
            return one
        made = insert(upkeep).values(values).returning(upkeep.c.id)
        new: int = self._connection.execute(made).scalar_one()
        self._connection.execute(_older, {"of_kind": one.kind, "until": new - _KEPT})
        return replace(one, id=new)

    def faults(self, most: int = 1000) -> Sequence[Row[Any]]:
        """Objects that are not what their rows say, oldest first."""
        return self._connection.execute(
            select(fault).order_by(fault.c.found_at, fault.c.locator).limit(most)
        ).all()

    def locators(self) -> frozenset[str]:
        """The objects that have been found to be gone or changed."""
        return frozenset(self._connection.execute(select(fault.c.locator)).scalars())

    def found(self, one: Named, what: str, now: datetime) -> Fact | None:
        """Keep that this object is gone or changed, and mark its study. The fact to tell where it
        is news."""
        known = self._connection.execute(_fault, {"of_locator": one.locator}).scalar_one_or_none()
        values = {
            "what": what,
            "site": one.site,
            "study_id": one.study_id,
            "instance_id": one.instance_id,
            "report_id": one.report_id,
            "found_at": now,
        }
        if known == what:
            return None
        upsert(self._connection, fault, {"locator": one.locator}, values)
        self._remark(one.study_id, add=True)
        return Fact(
            Happened.OBJECT_DAMAGED,
            now,
            one.site,
            study_id=one.study_id,
            report_id=one.report_id,
            data={"instance_id": one.instance_id, "what": what},
        )

    def is_whole(self, locator: str) -> None:
        """The object is what its row says again; without another fault the mark goes."""
        study_id = self._connection.execute(_gone, {"of_locator": locator}).scalar_one_or_none()
        if study_id is None:
            return
        if not self._connection.execute(_left, {"of_study": study_id}).scalar_one():
            self._remark(study_id, add=False)

    def _remark(self, study_id: int, *, add: bool) -> None:
        before = set(self._connection.execute(_marks, {"of_study": study_id}).scalar_one())
        after = before | {DAMAGED} if add else before - {DAMAGED}
        if after != before:
            self._connection.execute(_mark.values(marks=sorted(after)), {"of_study": study_id})
