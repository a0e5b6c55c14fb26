"""Which studies, series and instances are there?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from storage.tables import instance, patient, series, study
from worklist.arrival import Arrival, Study
from worklist.errors import Code, Refusal
from worklist.patient import Patient
from worklist.ports import Instance
from worklist.priority import Priority

_by_id = select(study).where(study.c.id == bindparam("study_key"))
_lock = _by_id.with_for_update()
_by_uid = (
    select(study)
    .where(study.c.site == bindparam("at_site"), study.c.study_uid == bindparam("uid"))
    .with_for_update()
)
_elsewhere = select(study.c.id).where(
    study.c.study_uid == bindparam("uid"), study.c.site != bindparam("at_site")
)
_add = insert(study).returning(study.c.id)
_add_series = insert(series).returning(series.c.id)
_add_instance = insert(instance)
_add_patient = insert(patient)
# an update without values sets the columns that are named among its parameters
_set = update(study).where(study.c.id == bindparam("study_key"))
_series = select(series).where(
    series.c.study_id == bindparam("study_key"), series.c.series_uid == bindparam("uid")
)
_set_series = update(series).where(series.c.id == bindparam("series_key"))
_one_less = (
    update(series)
    .where(series.c.id == bindparam("series_key"))
    .values(instance_count=series.c.instance_count - 1)
)
_all_series = select(series).where(series.c.study_id == bindparam("study_key"))
_current = (
    select(instance)
    .where(instance.c.study_id == bindparam("study_key"), instance.c.current)
    .order_by(instance.c.number_in_study)
)
_versions = (
    select(instance)
    .where(instance.c.site == bindparam("at_site"), instance.c.sop_uid == bindparam("uid"))
    .order_by(instance.c.version.desc())
)
_supersede = (
    update(instance)
    .where(instance.c.study_id == bindparam("study_key"), instance.c.sop_uid == bindparam("uid"))
    .values(current=False)
)
_patient = select(patient).where(
    patient.c.site == bindparam("at_site"), patient.c.patient_id == bindparam("pid")
)


class Studies:
    """Rows of studies in one transaction. Implements `worklist.ports.Studies`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, study_id: int) -> Study | None:
        """The study, or None."""
        return self._one(_by_id, {"study_key": study_id})

    def lock(self, study_id: int) -> Study:
        """The study, held until the end of the transaction. NOT_FOUND where there is none."""
        found = self._one(_lock, {"study_key": study_id})
        if found is None:
            raise Refusal(Code.NOT_FOUND, "There is no such study.")
        return found

    def by_uid(self, site: str, study_uid: str) -> Study | None:
        """The Site's study with this UID, held until the end of the transaction."""
        return self._one(_by_uid, {"at_site": site, "uid": study_uid})

    def elsewhere(self, site: str, study_uid: str) -> bool:
        """Whether another Site has a study of the same UID."""
        found = self._connection.execute(_elsewhere, {"at_site": site, "uid": study_uid})
        return found.first() is not None

    def add(self, one: Study, study_time: str | None, attributes: dict[str, Any]) -> Study:
        """Write a new study; returns it with its id."""
        values = {**_columns(one), "study_time": study_time, "attributes": attributes}
        study_id = self._connection.execute(_add, values).scalar_one()
        return replace(one, id=study_id)

    def save(self, one: Study) -> None:
        """Write a changed study."""
        self._connection.execute(_set, {**_columns(one), "study_key": one.id})

    def instances(self, study_id: int) -> list[Instance]:
        """Current instances in the order of their commits."""
        return [
            Instance(row.sop_uid, row.number_in_study, row.digest, row.kind != "other")
            for row in self.instance_rows(study_id)
        ]

    def instance_rows(self, study_id: int) -> Sequence[Row[Any]]:
        """All columns of the current instances in the order of their commits."""
        return self._connection.execute(_current, {"study_key": study_id}).all()

    def series_rows(self, study_id: int) -> Sequence[Row[Any]]:
        """All columns of the study's series."""
        return self._connection.execute(_all_series, {"study_key": study_id}).all()

    def series_of(self, study_id: int, series_uid: str) -> Row[Any] | None:
        """The series of this study with this UID."""
        return self._connection.execute(
            _series, {"study_key": study_id, "uid": series_uid}
        ).one_or_none()

    def add_series(self, **columns: Any) -> int:
        """Write a new series; returns its id."""
        series_id: int = self._connection.execute(_add_series, columns).scalar_one()
        return series_id

    def count_series(self, series_id: int, instance_count: int) -> None:
        """Set how many current instances a series has."""
        self._connection.execute(
            _set_series, {"instance_count": instance_count, "series_key": series_id}
        )

    def leave_series(self, series_id: int) -> None:
        """One current instance of this series has come anew in another one."""
        self._connection.execute(_one_less, {"series_key": series_id})

    def versions(self, site: str, sop_uid: str) -> Sequence[Row[Any]]:
        """Every version of one instance, newest first."""
        return self._connection.execute(_versions, {"at_site": site, "uid": sop_uid}).all()

    def add_instance(self, **columns: Any) -> None:
        """Write a new instance as the current version of its UID in its study."""
        if columns["version"] > 1:
            self._connection.execute(
                _supersede, {"study_key": columns["study_id"], "uid": columns["sop_uid"]}
            )
        self._connection.execute(_add_instance, columns)

    def known_patient(self, site: str, one: Patient) -> Patient | None:
        """The patient as this Site first knew this Patient ID; the first time, remember and return
        None."""
        if one.patient_id is None:
            return None
        row = self._connection.execute(
            _patient, {"at_site": site, "pid": one.patient_id}
        ).one_or_none()
        if row is not None:
            return Patient(row.name, row.name_latin, row.patient_id, row.sex, row.birth_date)
        self._connection.execute(
            _add_patient,
            {
                "site": site,
                "patient_id": one.patient_id,
                "name": one.name,
                "name_latin": one.name_latin,
                "sex": one.sex,
                "birth_date": one.birth_date,
            },
        )
        return None

    def _one(self, statement: Select[Any], parameters: dict[str, Any]) -> Study | None:
        row = self._connection.execute(statement, parameters).one_or_none()
        return None if row is None else study_of(row)


def study_of(row: Row[Any]) -> Study:
    """The study of a row that has all columns of the table under their names."""
    return Study(
        id=row.id,
        site=row.site,
        uid=row.study_uid,
        kind=row.kind,
        patient=Patient(
            row.patient_name,
            row.patient_name_latin,
            row.patient_id,
            row.patient_sex,
            row.patient_birth_date,
        ),
        priority=Priority(row.priority),
        arrival=Arrival(row.arrival),
        received_at=row.received_at,
        last_received_at=row.last_received_at,
        description=row.description,
        accession=row.accession,
        question=row.question,
        requester=row.requester,
        acquired_at=row.acquired_at,
        study_date=row.study_date,
        modalities=frozenset(row.modalities),
        series_count=row.series_count,
        instance_count=row.instance_count,
        newest_instance=row.newest_instance,
        marks=frozenset(row.marks),
    )


def _columns(one: Study) -> dict[str, Any]:
    return {
        "site": one.site,
        "study_uid": one.uid,
        "kind": one.kind,
        "arrival": one.arrival,
        "priority": one.priority,
        "patient_id": one.patient.patient_id,
        "patient_name": one.patient.name,
        "patient_name_latin": one.patient.name_latin,
        "patient_sex": one.patient.sex,
        "patient_birth_date": one.patient.birth_date,
        "accession": one.accession,
        "description": one.description,
        "question": one.question,
        "requester": one.requester,
        "study_date": one.study_date,
        "acquired_at": one.acquired_at,
        "received_at": one.received_at,
        "last_received_at": one.last_received_at,
        "modalities": sorted(one.modalities),
        "series_count": one.series_count,
        "instance_count": one.instance_count,
        "newest_instance": one.newest_instance,
        "marks": sorted(one.marks),
    }
