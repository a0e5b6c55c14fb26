"""Which studies, series and instances are there?"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, bindparam, exists, insert, select, update

from storage.matching import name_keys
from storage.statement import Running, Statement
from storage.tables import instance, patient, series, site, study
from worklist.arrival import Arrival, Study
from worklist.errors import Code, Refusal
from worklist.patient import Patient
from worklist.ports import Instance
from worklist.priority import Priority

_by_key = select(study).where(study.c.id == bindparam("study_key"))
_by_id = Statement(_by_key)
_lock = Statement(_by_key.with_for_update())
_by_uid = Statement(
    select(study)
    .where(study.c.site == bindparam("at_site"), study.c.study_uid == bindparam("uid"))
    .with_for_update()
)
_elsewhere = Statement(
    select(study.c.id)
    .where(study.c.study_uid == bindparam("uid"), study.c.site != bindparam("at_site"))
    .limit(1)
)
_add = Statement(insert(study).returning(study.c.id))
_add_series = Statement(insert(series).returning(series.c.id))
_add_instance = Statement(insert(instance).inline())
_add_patient = Statement(insert(patient).inline())
# an update without values sets the columns that are named among its parameters
_set = Statement(update(study).where(study.c.id == bindparam("study_key")))
_series = Statement(
    select(series).where(
        series.c.study_id == bindparam("study_key"), series.c.series_uid == bindparam("uid")
    )
)
_set_series = Statement(update(series).where(series.c.id == bindparam("series_key")))
_one_less = Statement(
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
_versions = Statement(
    select(instance)
    .where(instance.c.site == bindparam("at_site"), instance.c.sop_uid == bindparam("uid"))
    .order_by(instance.c.version.desc())
)
# an update without values sets the columns that are named among its parameters
_anew = Statement(update(instance).where(instance.c.locator == bindparam("lost")))
_supersede = Statement(
    update(instance)
    .where(instance.c.study_id == bindparam("study_key"), instance.c.sop_uid == bindparam("uid"))
    .values(current=False)
)
_patient = Statement(
    select(patient).where(
        patient.c.site == bindparam("at_site"), patient.c.patient_id == bindparam("pid")
    )
)
_zone = Statement(select(site.c.timezone).where(site.c.key == bindparam("at_site")))
_same_person = (
    study.c.patient_name == bindparam("of_name"),
    *(
        study.c[f"patient_{one}"].is_not_distinct_from(bindparam(f"of_{one}"))
        for one in ("id", "name_latin", "sex", "birth_date")
    ),
)
_has_series = exists(
    select(series.c.id).where(
        series.c.study_id == study.c.id,
        series.c.series_uid == bindparam("of_series"),
        series.c.modality == bindparam("of_modality"),
    )
)
# one more of what is arriving: the same patient, kind and series, not yet settled, not yet quiet
_one_more = Statement(
    update(study)
    .where(
        study.c.site == bindparam("at_site"),
        study.c.study_uid == bindparam("uid"),
        study.c.arrival == Arrival.RECEIVING.value,
        study.c.last_received_at > bindparam("still"),
        study.c.kind == bindparam("of_kind"),
        *_same_person,
        _has_series,
    )
    .values(
        instance_count=study.c.instance_count + 1,
        newest_instance=study.c.newest_instance + 1,
        last_received_at=bindparam("now"),
    )
    .returning(study.c.id, study.c.newest_instance)
)
_one_more_of_series = Statement(
    update(series)
    .where(
        series.c.study_id == bindparam("study_key"),
        series.c.series_uid == bindparam("of_series"),
    )
    .values(instance_count=series.c.instance_count + 1)
    .returning(series.c.id)
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
        found = _elsewhere.one(self._connection, {"uid": study_uid, "at_site": site})
        return found is not None

    def add(self, one: Study, study_time: str | None, attributes: dict[str, Any]) -> Study:
        """Write a new study; returns it with its id."""
        names = name_keys(attributes, one.patient.name, one.patient.name_latin)
        values = {
            **_columns(one),
            "study_time": study_time,
            "attributes": attributes,
            **dict(
                zip(("name_alphabetic", "name_ideographic", "name_phonetic"), names, strict=True)
            ),
        }
        return replace(one, id=_add.one(self._connection, values).id)

    def save(self, one: Study) -> None:
        """Write a changed study."""
        _set.run(self._connection, {**_columns(one), "study_key": one.id})

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
        found: Row[Any] | None = _series.one(
            self._connection, {"study_key": study_id, "uid": series_uid}
        )
        return found

    def add_series(self, **columns: Any) -> int:
        """Write a new series; returns its id."""
        series_id: int = _add_series.one(self._connection, columns).id
        return series_id

    def count_series(self, series_id: int, instance_count: int) -> None:
        """Set how many current instances a series has."""
        values = {"instance_count": instance_count, "series_key": series_id}
        _set_series.run(self._connection, values)

    def leave_series(self, series_id: int) -> None:
        """One current instance of this series has come anew in another one."""
        _one_less.run(self._connection, {"series_key": series_id})

    def versions(self, site: str, sop_uid: str) -> Sequence[Row[Any]]:
        """Every version of one instance, newest first."""
        return versions_of(self._connection, site, sop_uid)

    def keep_anew(
        self, lost: str, locator: str, came: tuple[str, datetime], **columns: Any
    ) -> bool:
        """Another object with the same content for the row of a lost one; `came` is (calling AE
        Title, time of receipt), as its file meta says. False where the row has another one."""
        calling, at = came
        values = {"locator": locator, "calling_ae_title": calling, "received_at": at, **columns}
        return bool(_anew.run(self._connection, {**values, "lost": lost}))

    def add_instance(self, **columns: Any) -> None:
        """Write a new instance as the current version of its UID in its study."""
        if columns["version"] > 1:
            this = {"study_key": columns["study_id"], "uid": columns["sop_uid"]}
            _supersede.run(self._connection, this)
        _add_instance.run(self._connection, columns)

    def one_more(
        self,
        site: str,
        study_uid: str,
        kind: str,
        person: Patient,
        series: tuple[str, str],
        times: tuple[datetime, datetime],
    ) -> tuple[int, int, int] | None:
        """Count one more instance of a study that is arriving and of a series it has; returns
        (study id, series id, the instance's number in the study).

        `series` is (Series Instance UID, Modality); `times` are now, and the instant after which
        the last instance must have come. None, and nothing counted, where anything differs from
        what came before.
        """
        counted = _one_more.one(
            self._connection,
            {
                "at_site": site,
                "uid": study_uid,
                "of_kind": kind,
                "of_name": person.name,
                "of_id": person.patient_id,
                "of_name_latin": person.name_latin,
                "of_sex": person.sex,
                "of_birth_date": person.birth_date,
                "of_series": series[0],
                "of_modality": series[1],
                "now": times[0],
                "still": times[1],
            },
        )
        if counted is None:
            return None
        of = {"study_key": counted.id, "of_series": series[0]}
        return (
            counted.id,
            _one_more_of_series.one(self._connection, of).id,
            counted.newest_instance,
        )

    def zone(self, site: str) -> ZoneInfo:
        """The time zone of a Site."""
        return ZoneInfo(_zone.one(self._connection, {"at_site": site}).timezone)

    def known_patient(self, site: str, one: Patient) -> Patient | None:
        """The patient as this Site first knew this Patient ID; the first time, remember and return
        None."""
        if one.patient_id is None:
            return None
        row = _patient.one(self._connection, {"at_site": site, "pid": one.patient_id})
        if row is not None:
            return Patient(row.name, row.name_latin, row.patient_id, row.sex, row.birth_date)
        _add_patient.run(
            self._connection,
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

    def _one(self, statement: Statement, parameters: dict[str, Any]) -> Study | None:
        row = statement.one(self._connection, parameters)
        return None if row is None else study_of(row)


def versions_of(connection: Running, site: str, sop_uid: str) -> Sequence[Row[Any]]:
    """Every version of one instance, newest first."""
    return _versions.all(connection, {"at_site": site, "uid": sop_uid})


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
