"""Which performed procedure steps are there?"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from storage.tables import procedure_step, scheduled_step
from worklist.errors import Code, Refusal
from worklist.procedure import ProcedureStep, Scheduled, StepState

_row, _item = procedure_step.c, scheduled_step.c
_by_id = select(procedure_step).where(_row.id == bindparam("step_key"))
_by_uid = select(procedure_step).where(
    _row.site == bindparam("at_site"), _row.sop_uid == bindparam("uid")
)
_lock = _by_uid.with_for_update()
_items = (
    select(scheduled_step)
    .where(_item.procedure_step_id == bindparam("step_key"))
    .order_by(_item.number)
)
_set = update(procedure_step).where(_row.id == bindparam("step_key"))
_of_order = (
    select(procedure_step)
    .where(
        _row.id.in_(
            select(_item.procedure_step_id).where(
                _item.service_request_id == bindparam("order_key")
            )
        )
    )
    .order_by(_row.created_at, _row.id)
)
_of_studies = (
    select(procedure_step)
    .where(
        _row.site == bindparam("at_site"),
        _row.id.in_(
            select(_item.procedure_step_id).where(
                _item.study_uid.in_(bindparam("uids", expanding=True))
            )
        ),
    )
    .order_by(_row.created_at, _row.id)
)


class ProcedureSteps:
    """Rows of procedure steps in one transaction. Implements `worklist.ports.ProcedureSteps`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, at_site: str, sop_uid: str) -> ProcedureStep | None:
        """The Site's step of this UID, or None."""
        return self._one(_by_uid, {"at_site": at_site, "uid": sop_uid})

    def lock(self, at_site: str, sop_uid: str) -> ProcedureStep:
        """The step, held until the end of the transaction. NOT_FOUND where there is none."""
        found = self._one(_lock, {"at_site": at_site, "uid": sop_uid})
        if found is None:
            raise Refusal(Code.NOT_FOUND, "There is no such procedure step.")
        return found

    def by_id(self, step_id: str) -> ProcedureStep | None:
        """The step, or None."""
        return self._one(_by_id, {"step_key": step_id})

    def add(self, one: ProcedureStep) -> None:
        """Write a new step. ALREADY_EXISTS where another transaction was faster."""
        values = {**_columns(one), "id": one.id, "site": one.site, "sop_uid": one.sop_uid}
        try:
            self._connection.execute(insert(procedure_step), values)
        except IntegrityError as error:
            raise Refusal(Code.ALREADY_EXISTS, "This procedure step has just begun.") from error
        rows = [
            {
                "procedure_step_id": one.id,
                "number": number,
                "study_uid": item.study_uid,
                "accession": item.accession,
                "service_request_id": item.order_id,
            }
            for number, item in enumerate(one.scheduled, 1)
        ]
        if rows:
            self._connection.execute(insert(scheduled_step), rows)

    def save(self, one: ProcedureStep) -> None:
        """Write a changed step; what it was done for stays."""
        self._connection.execute(_set, {**_columns(one), "step_key": one.id})

    def of_order(self, order_id: str) -> list[ProcedureStep]:
        """The steps that answer an order, oldest first."""
        return self._all(_of_order, {"order_key": order_id})

    def of_studies(self, at_site: str, study_uids: Iterable[str]) -> list[ProcedureStep]:
        """The Site's steps that were done for one of these studies, oldest first."""
        return self._all(_of_studies, {"at_site": at_site, "uids": sorted(study_uids)})

    def _one(self, statement: Select[Any], parameters: dict[str, Any]) -> ProcedureStep | None:
        row = self._connection.execute(statement, parameters).one_or_none()
        return None if row is None else self._step(row)

    def _all(self, statement: Select[Any], parameters: dict[str, Any]) -> list[ProcedureStep]:
        return [self._step(row) for row in self._connection.execute(statement, parameters).all()]

    def _step(self, row: Row[Any]) -> ProcedureStep:
        values = {column.name: getattr(row, column.name) for column in procedure_step.c}
        values["state"] = StepState(row.state)
        values["instances"] = frozenset(row.instances)
        values["why"] = tuple(row.why) if row.why else None
        items = self._connection.execute(_items, {"step_key": row.id})
        scheduled = tuple(
            Scheduled(item.study_uid, item.accession, item.service_request_id) for item in items
        )
        return ProcedureStep(**values, scheduled=scheduled)


def _columns(one: ProcedureStep) -> dict[str, Any]:
    return {
        "state": one.state,
        "station": one.station,
        "modality": one.modality,
        "started_at": one.started_at,
        "ended_at": one.ended_at,
        "created_at": one.created_at,
        "changed_at": one.changed_at,
        "instances": sorted(one.instances),
        "why": list(one.why) if one.why else None,
        "attributes": dict(one.attributes),
        "version": one.version,
    }
