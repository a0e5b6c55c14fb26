"""Which reading tasks and drafts are there?"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from storage.statement import Statement
from storage.tables import draft, task
from storage.upsert import upsert
from worklist.errors import Code, Refusal
from worklist.priority import Priority
from worklist.report import Draft, Result
from worklist.task import ReadingTask, TaskState

_by_key = select(task).where(task.c.id == bindparam("task_key"))
_by_id = Statement(_by_key)
_lock = Statement(_by_key.with_for_update())
_of_study = Statement(
    select(task).where(task.c.study_id == bindparam("study_key")).order_by(task.c.opened_as.desc())
)
_opened = Statement(
    select(func.coalesce(func.max(task.c.opened_as), 0).label("newest")).where(
        task.c.study_id == bindparam("study_key")
    )
)
_add = Statement(insert(task).inline())
# an update without values sets the columns that are named among its parameters
_set = update(task).where(task.c.id == bindparam("task_key"))
_draft = select(draft).where(
    draft.c.task_id == bindparam("task_key"), draft.c.author == bindparam("by")
)


class Tasks:
    """Rows of reading tasks in one transaction. Implements `worklist.ports.Tasks`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, task_id: str) -> ReadingTask | None:
        """The task, or None."""
        return self._one(_by_id, task_id)

    def lock(self, task_id: str) -> ReadingTask:
        """The task, held until the end of the transaction. NOT_FOUND where there is none."""
        found = self._one(_lock, task_id)
        if found is None:
            raise Refusal(Code.NOT_FOUND, "There is no such task.")
        return found

    def add(self, one: ReadingTask) -> None:
        """Write a new task; the study is locked, so its tasks are numbered in order."""
        opened = _opened.one(self._connection, {"study_key": one.study_id}).newest
        _add.run(self._connection, {**_columns(one), "id": one.id, "opened_as": opened + 1})

    def save(self, one: ReadingTask) -> None:
        """Write a changed task."""
        self._connection.execute(_set, {**_columns(one), "task_key": one.id})

    def of_study(self, study_id: int) -> list[ReadingTask]:
        """The study's tasks, newest first."""
        rows = _of_study.all(self._connection, {"study_key": study_id})
        return [task_of(row) for row in rows]

    def _one(self, statement: Statement, task_id: str) -> ReadingTask | None:
        row = statement.one(self._connection, {"task_key": task_id})
        return None if row is None else task_of(row)


class Drafts:
    """Rows of drafts in one transaction. Implements `worklist.ports.Drafts`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, task_id: str, author: str) -> Draft | None:
        """What this author has written for this task."""
        row = self._connection.execute(_draft, {"task_key": task_id, "by": author}).one_or_none()
        if row is None:
            return None
        return Draft(
            row.task_id,
            row.author,
            row.version,
            row.findings,
            row.impression,
            Result(row.result) if row.result else None,
            row.key_image,
            row.saved_at,
        )

    def save(self, one: Draft) -> None:
        """Keep the draft."""
        upsert(
            self._connection,
            draft,
            {"task_id": one.task_id, "author": one.author},
            {
                "version": one.version,
                "findings": one.findings,
                "impression": one.impression,
                "result": one.result,
                "key_image": one.key_image,
                "saved_at": one.saved_at,
            },
        )


def task_of(row: Row[Any]) -> ReadingTask:
    """The task of a row that has all columns of the table under their names."""
    return ReadingTask(
        id=row.id,
        study_id=row.study_id,
        site=row.site,
        kind=row.kind,
        priority=Priority(row.priority),
        state=TaskState(row.state),
        received_at=row.received_at,
        due_at=row.due_at,
        claimed_by=row.claimed_by,
        claimed_at=row.claimed_at,
        lease_until=row.lease_until,
        seen_up_to=row.seen_up_to,
        follows_task=row.follows_task,
        follows_report=row.follows_report,
        return_reason=row.return_reason,
        return_note=row.return_note,
        version=row.version,
    )


def _columns(one: ReadingTask) -> dict[str, Any]:
    return {
        "study_id": one.study_id,
        "site": one.site,
        "kind": one.kind,
        "priority": one.priority,
        "priority_rank": one.priority.rank,
        "state": one.state,
        "received_at": one.received_at,
        "due_at": one.due_at,
        "claimed_by": one.claimed_by,
        "claimed_at": one.claimed_at,
        "lease_until": one.lease_until,
        "seen_up_to": one.seen_up_to,
        "follows_task": one.follows_task,
        "follows_report": one.follows_report,
        "return_reason": one.return_reason,
        "return_note": one.return_note,
        "version": one.version,
    }
