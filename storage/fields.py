"""What may the answers to a query hold, level by level, and in which order do they come?"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, select

from storage.conditions import Level
from storage.tables import instance, series, study

_LAST = 2**31 - 1  # where what has no number stands

_other = study.alias("other")
_of_patient = (_other.c.site == study.c.site, _other.c.patient_id == study.c.patient_id)
_classes = (
    select(instance.c.sop_class)
    .where(instance.c.study_id == study.c.id, instance.c.current)
    .correlate(study)
    .distinct()
    .order_by(instance.c.sop_class)
    .subquery()
)


def _of_all_studies(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return select(value).where(*_of_patient).correlate(study).scalar_subquery()


FIELDS: Mapping[str, ColumnElement[Any]] = {
    "site": study.c.site,
    "study_key": study.c.id,
    "patient_id": study.c.patient_id,
    "patient_name": study.c.patient_name,
    "birth_date": study.c.patient_birth_date,
    "sex": study.c.patient_sex,
    "patient_studies": _of_all_studies(func.count()),
    "patient_series": _of_all_studies(func.sum(_other.c.series_count)),
    "patient_instances": _of_all_studies(func.sum(_other.c.instance_count)),
    "study_uid": study.c.study_uid,
    "study_date": study.c.study_date,
    "study_time": study.c.study_time,
    "accession": study.c.accession,
    "description": study.c.description,
    "requester": study.c.requester,
    "modalities": study.c.modalities,
    "sop_classes": select(func.aggregate_strings(_classes.c.sop_class, "\\")).scalar_subquery(),
    "series_count": study.c.series_count,
    "instance_count": study.c.instance_count,
    "attributes": study.c.attributes,
    "series_uid": series.c.series_uid,
    "modality": series.c.modality,
    "series_number": series.c.number,
    "series_description": series.c.description,
    "body_part": series.c.body_part,
    "series_attributes": series.c.attributes,
    "series_instances": series.c.instance_count,
    "sop_uid": instance.c.sop_uid,
    "sop_class": instance.c.sop_class,
    "instance_number": instance.c.number,
    "frames": instance.c.frames,
    "rows": instance.c.rows,
    "columns": instance.c.columns,
    "transfer_syntax": instance.c.transfer_syntax,
    "locator": instance.c.locator,
    "offset": instance.c.offset,
    "length": instance.c.length,
}
"""What can be asked of each match, by name."""

IDS: Mapping[Level, ColumnElement[int]] = {
    "patients": study.c.id,
    "studies": study.c.id,
    "series": series.c.id,
    "instances": instance.c.id,
}
JOINED: Mapping[Level, Callable[[Select[Any]], Select[Any]]] = {
    "patients": lambda one: one.select_from(study),
    "studies": lambda one: one.select_from(study),
    "series": lambda one: one.select_from(series.join(study, study.c.id == series.c.study_id)),
    "instances": lambda one: one.select_from(
        instance.join(series, series.c.id == instance.c.series_id).join(
            study, study.c.id == instance.c.study_id
        )
    ),
}
# a patient is shown by the newest study of this Patient ID at the Site
_newest = ~exists().where(*_of_patient, _other.c.id > study.c.id)
EXISTING: Mapping[Level, tuple[ColumnElement[bool], ...]] = {
    "patients": (study.c.patient_id.is_not(None), _newest),
    "studies": (),
    "series": (series.c.instance_count > 0,),
    "instances": (instance.c.current,),
}
BY_NUMBERS: tuple[ColumnElement[Any], ...] = (
    func.coalesce(series.c.number, _LAST),
    series.c.id,
    func.coalesce(instance.c.number, _LAST),
    instance.c.number_in_study,
)
"""The instances of a study: by the numbers of series and instance."""
ORDERS: Mapping[Level, tuple[ColumnElement[Any], ...]] = {
    "patients": (study.c.id.desc(),),
    "studies": (study.c.id.desc(),),
    "series": (series.c.study_id.desc(), func.coalesce(series.c.number, _LAST), series.c.id),
    "instances": (instance.c.study_id.desc(), *BY_NUMBERS),
}
