"""Which repairs of text are proposed, and what do they change in the rows?"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from storage.charset import safe
from storage.header import Header, shown_name
from storage.matching import name_keys
from storage.tables import series, study, text_repair
from worklist.repair import Decision, TextRepair, as_labelled

_by_study = select(text_repair).where(text_repair.c.study_id == bindparam("study_key"))
_lock = _by_study.with_for_update()
_name = (
    select(study.c.patient_name, text_repair.c.kept)
    .join(text_repair, study.c.id == text_repair.c.study_id)
    .where(study.c.id == bindparam("study_key"))
)
_of_uid = (
    select(text_repair)
    .join(study, study.c.id == text_repair.c.study_id)
    .where(study.c.site == bindparam("at_site"), study.c.study_uid == bindparam("uid"))
)
_several = select(text_repair).where(
    text_repair.c.study_id.in_(bindparam("study_keys", expanding=True))
)
_set = update(text_repair).where(text_repair.c.study_id == bindparam("study_key"))
_study = select(study).where(study.c.id == bindparam("study_key")).with_for_update()
_set_study = update(study).where(study.c.id == bindparam("study_key"))
_series = select(series).where(series.c.study_id == bindparam("study_key"))
_set_series = update(series).where(series.c.id == bindparam("series_key"))

_TEXTS = ("description", "question", "requester")
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_NAME_KEYS = ("name_alphabetic", "name_ideographic", "name_phonetic")
GUESSED = "charset"
"""The key in a series' attributes that says by which terms its text was read against its label."""


class Repairs:
    """Rows of proposals in one transaction. Implements `worklist.ports.Repairs`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, study_id: int) -> TextRepair | None:
        """The study's proposal, or None."""
        return self._one(_by_study, {"study_key": study_id})

    def lock(self, study_id: int) -> TextRepair | None:
        """The study's proposal, held until the end of the transaction."""
        return self._one(_lock, {"study_key": study_id})

    def of_studies(self, study_ids: list[int]) -> dict[int, TextRepair]:
        """The proposals of these studies by their ids."""
        found = self._connection.execute(_several, {"study_keys": study_ids})
        return {row.study_id: _repair(row) for row in found}

    def add(self, one: TextRepair) -> None:
        """Write a new proposal."""
        self._connection.execute(insert(text_repair), {**_columns(one), "kept": None})

    def decide(self, before: TextRepair, after: TextRepair) -> None:
        """Write the decision, and what the rows show from now on."""
        values = _columns(after)
        del values["study_id"]
        if after.state is Decision.REJECTED:
            values["kept"] = self._show_as_labelled(after)
        elif before.state is Decision.REJECTED:
            self._show_again(after.study_id)
            values["kept"] = None
        self._connection.execute(_set, {**values, "study_key": after.study_id})

    def name_as_proposed(self, one: TextRepair) -> str:
        """The patient's name as the proposal reads it, whatever has been decided."""
        found = self._connection.execute(_name, {"study_key": one.study_id}).one()
        kept = (found.kept or {}).get("study") or {}
        return str(kept.get("patient_name", found.patient_name))

    def as_decided(self, site: str, header: Header) -> Header:
        """A header whose text was read against its label; as labelled where the study's proposal
        has been rejected."""
        found = self._one(_of_uid, {"at_site": site, "uid": header.study_uid})
        if found is None or found.state is not Decision.REJECTED:
            return header
        return header_as_labelled(header)

    def _show_as_labelled(self, repair: TextRepair) -> dict[str, Any]:
        """Change the texts of the rows; returns what they said, by column."""
        key = {"study_key": repair.study_id}
        reread = _Reread(repair.proposed, repair.labelled)
        row = self._connection.execute(_study, key).one()
        kept: dict[str, Any] = {"study": None, "series": {}}
        if repair.of_study:
            shown = _study_as_labelled(row, reread)
            kept["study"] = {name: getattr(row, name) for name in shown}
            self._connection.execute(_set_study, {**shown, **key})
        for one in self._connection.execute(_series, key).all():
            if GUESSED in one.attributes and one.description:
                kept["series"][str(one.id)] = one.description
                text = reread.text(one.description)
                self._connection.execute(_set_series, {"description": text, "series_key": one.id})
        return kept

    def _show_again(self, study_id: int) -> None:
        row = self._connection.execute(_by_study, {"study_key": study_id}).one()
        kept = row.kept or {}
        if kept.get("study"):
            self._connection.execute(_set_study, {**kept["study"], "study_key": study_id})
        for series_id, text in kept.get("series", {}).items():
            self._connection.execute(
                _set_series, {"description": text, "series_key": int(series_id)}
            )

    def _one(self, statement: Select[Any], values: dict[str, Any]) -> TextRepair | None:
        row = self._connection.execute(statement, values).one_or_none()
        return None if row is None else _repair(row)


def header_as_labelled(header: Header) -> Header:
    """The same header with its text as the label reads it."""
    reread = _Reread(header.character_set[0], header.labelled)
    attributes = reread.attributes(header.attributes)
    name, latin = reread.name(attributes, header.patient.name, header.patient.name_latin)
    return replace(
        header,
        study_description=reread.text(header.study_description),
        series_description=reread.text(header.series_description),
        question=reread.text(header.question),
        requester=reread.text(header.requester),
        patient=replace(header.patient, name=name, name_latin=latin),
        attributes=attributes,
        character_set=header.labelled,
        charset_guessed=False,
    )


@dataclass(frozen=True)
class _Reread:
    """Texts that were read by `proposed`, as `labelled` reads them."""

    proposed: str
    labelled: tuple[str, ...]

    def text(self, text: str | None) -> str | None:
        if text is None:
            return None
        return safe(as_labelled(text, self.proposed, self.labelled), 1024)

    def group(self, group: str) -> str:
        return safe(as_labelled(group, self.proposed, self.labelled, "PN"), 256)

    def name(
        self, attributes: dict[str, Any], name: str, latin: str | None
    ) -> tuple[str, str | None]:
        """The name as shown and its Latin form, from attributes that have been read again."""
        values = attributes.get("00100010", {}).get("Value")
        if not values:
            return self.text(name) or "", self.text(latin)
        shown, beside = shown_name(*(values[0].get(group, "") for group in _GROUPS))
        return shown or "", beside

    def attributes(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """A DICOM JSON object (PS3.18 annex F)."""
        return {
            tag: {**element, "Value": [self._value(one) for one in element["Value"]]}
            if "Value" in element
            else element
            for tag, element in attributes.items()
        }

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: group for key, one in value.items() if (group := self.group(one))}
        return value


def _study_as_labelled(row: Row[Any], reread: _Reread) -> dict[str, Any]:
    """The columns of a study that hold text, as the label reads them."""
    attributes = reread.attributes(row.attributes)
    name, latin = reread.name(attributes, row.patient_name, row.patient_name_latin)
    keys = name_keys(attributes, name, latin)
    return {
        **{column: reread.text(getattr(row, column)) for column in _TEXTS},
        "patient_name": name,
        "patient_name_latin": latin,
        "attributes": attributes,
        **dict(zip(_NAME_KEYS, keys, strict=True)),
    }


def _repair(row: Row[Any]) -> TextRepair:
    values = {name: value for name, value in row._mapping.items() if name != "kept"}
    return TextRepair(**{**values, "labelled": tuple(row.labelled), "state": Decision(row.state)})


def _columns(one: TextRepair) -> dict[str, Any]:
    return {**asdict(one), "labelled": list(one.labelled)}
