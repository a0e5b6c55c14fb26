"""What do the pages show? Lists over several tables, limited to the Sites a caller may see.

Every statement is built once for each shape; what varies goes in as bind parameters. Long lists are
paged by key: `after` is the key of the last row that was shown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    CursorResult,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    case,
    false,
    func,
    or_,
    select,
    tuple_,
)

from storage.jobs import Jobs
from storage.studies import study_of
from storage.tables import (
    account,
    commitment,
    critical,
    delivery,
    draft,
    instance,
    report,
    site,
    study,
    task,
    transmission,
)
from storage.tasks import task_of
from worklist.arrival import Study
from worklist.critical import CriticalResult
from worklist.delivery import Delivery
from worklist.priority import Priority
from worklist.report import ReportState, Result
from worklist.task import ReadingTask, TaskState

ACTIVE = (TaskState.OPEN, TaskState.CLAIMED)
# what a center may see of a report: never one whose grace time runs or that was taken back
OUT = (ReportState.FINAL, ReportState.REPLACED, ReportState.WITHDRAWN)
IN_FORCE = (ReportState.SIGNED, ReportState.FINAL)

_INITIALS = range(2, 6)  # letters of pinyin initials that are searched as such


@dataclass(frozen=True)
class SiteName:
    """A Site as lists name it."""

    key: str
    name: str
    name_en: str


@dataclass(frozen=True)
class TaskRow:
    """A task with its study, its Site and its holder; `drafts` maps authors to the last save."""

    task: ReadingTask
    study: Study
    site: SiteName
    holder: tuple[str, str] | None
    drafts: dict[str, datetime]


@dataclass(frozen=True)
class Filter:
    """What a worklist is limited to; `specialty` is "ecg" or "images", `holder` an account."""

    specialty: str | None = None
    holder: str | None = None
    priority: Priority | None = None
    site: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class ReportBrief:
    """A signed version as lists show it: everything but findings and instances."""

    id: str
    task_id: str
    study_id: int
    version: int
    state: ReportState
    result: Result
    impression: str
    author: str
    signed_at: datetime
    effective_at: datetime
    study_newer: bool
    replaced_by: str | None


@dataclass(frozen=True)
class ReportRow:
    """A signed version with its study, its place, its author's name and what became of it."""

    report: ReportBrief
    study: Study
    site: SiteName
    author: str
    delivery: Delivery | None


@dataclass(frozen=True)
class CenterRow:
    """A study as its center follows it: newest task, newest version that went out.

    `in_grace` says that a version has been signed and has not gone out yet.
    """

    study: Study
    task: ReadingTask | None
    reader: str | None
    report: ReportBrief | None
    delivery: Delivery | None
    critical: CriticalResult | None
    in_grace: bool


@dataclass(frozen=True)
class EarlierRow:
    """An earlier study of the same patient at the same Site, with its report in force."""

    study: Study
    report: ReportBrief | None


@dataclass(frozen=True)
class GivenUp:
    """Jobs of one kind that were given up; `since` is when the first of them was."""

    kind: str
    count: int
    since: datetime


# -- statements -----------------------------------------------------------------------------------

_SITES: BindParameter[Any] = bindparam("sites", expanding=True)
_study_columns = [column for column in study.c if column.name != "attributes"]
_brief = [
    column
    for column in report.c
    if column.name in {*ReportBrief.__dataclass_fields__, "hospital", "site"}
]
_task_rows = (
    select(
        task,
        *_study_columns,
        site.c.key,
        site.c.name,
        site.c.name_en,
        account.c.display,
        account.c.display_en,
    )
    .join(study, study.c.id == task.c.study_id)
    .join(site, site.c.key == task.c.site)
    .outerjoin(account, account.c.name == task.c.claimed_by)
)
_active = task.c.state.in_(ACTIVE)
_seen_tasks = task.c.site.in_(_SITES)
_place = tuple_(task.c.priority_rank, task.c.due_at, task.c.id)
_tasks_by_id = _task_rows.where(task.c.id.in_(bindparam("ids", expanding=True)))
_active_of_studies = select(task.c.id).where(
    _active, task.c.study_id.in_(bindparam("ids", expanding=True))
)
_sites_of_tasks = (
    select(site.c.key, site.c.name, site.c.name_en)
    .where(site.c.key.in_(_SITES), site.c.kind == "center")
    .order_by(site.c.key)
)
_is_ecg = task.c.kind == "ECG"
_counts = select(
    func.count(),
    func.count(case((_is_ecg, 1))),
    func.count(case((task.c.claimed_by == bindparam("me"), 1))),
).where(_active, _seen_tasks)
_drafts = select(draft.c.task_id, draft.c.author, draft.c.saved_at).where(
    draft.c.task_id.in_(bindparam("ids", expanding=True))
)
_moment = func.coalesce(study.c.acquired_at, study.c.received_at)
_earlier = (
    select(*_study_columns)
    .where(
        study.c.site == bindparam("at_site"),
        study.c.patient_id == bindparam("patient"),
        study.c.id != bindparam("this_study"),
        _moment <= bindparam("until"),
    )
    .order_by(_moment.desc(), study.c.id.desc())
    .limit(20)
)
_reports_of = (
    select(*_brief)
    .where(report.c.study_id.in_(bindparam("ids", expanding=True)))
    .order_by(report.c.version)
)
_report_rows = (
    select(
        *_brief,
        *_study_columns,
        site.c.key,
        site.c.name,
        site.c.name_en,
        account.c.display,
        delivery,
    )
    .join(study, study.c.id == report.c.study_id)
    .join(site, site.c.key == report.c.site)
    .join(account, account.c.name == report.c.author)
    .outerjoin(delivery, delivery.c.report_id == report.c.id)
    .where(report.c.site.in_(_SITES))
)
_report_place = tuple_(report.c.signed_at, report.c.id)
_report_order = (report.c.signed_at.desc(), report.c.id.desc())
_report_by_id = _report_rows.where(report.c.id == bindparam("report_key"))
_unopened = (
    _report_rows.where(
        report.c.state == ReportState.FINAL,
        delivery.c.opened_at.is_(None),
        delivery.c.sent_at <= bindparam("before"),
    )
    .order_by(delivery.c.sent_at)
    .limit(50)
)
_late = (
    _task_rows.where(_active, _seen_tasks, task.c.due_at <= bindparam("before"))
    .order_by(task.c.due_at)
    .limit(50)
)
_queue = select(task.c.due_at, task.c.received_at, task.c.id).where(_active, _seen_tasks)
_signed_since = (
    select(report.c.author, report.c.signed_at, task.c.due_at, report.c.replaces)
    .join(task, task.c.id == report.c.task_id)
    .where(
        report.c.site.in_(_SITES),
        report.c.signed_at >= bindparam("since"),
        report.c.state != ReportState.TAKEN_BACK,
    )
)
_held = select(task.c.claimed_by, task.c.kind, task.c.claimed_at).where(
    task.c.state == TaskState.CLAIMED, _seen_tasks
)
# what the payload of a job may name, and where that is
_places = {
    f"{table.name}_id": select(table.c.id, table.c.site).where(
        table.c.id.in_(bindparam("ids", expanding=True))
    )
    for table in (study, task, report, critical, transmission, commitment)
}
_latest_tasks = (
    select(task, account.c.display)
    .outerjoin(account, account.c.name == task.c.claimed_by)
    .where(task.c.study_id.in_(bindparam("ids", expanding=True)))
    .order_by(task.c.opened_as)
)
_deliveries = select(delivery).where(delivery.c.report_id.in_(bindparam("ids", expanding=True)))
_criticals = select(critical).where(critical.c.report_id.in_(bindparam("ids", expanding=True)))
_sent_within = select(report.c.study_id).where(
    report.c.site.in_(_SITES),
    report.c.state.in_(OUT),
    report.c.effective_at >= bindparam("begin"),
    report.c.effective_at < bindparam("end"),
)
_center_order = (study.c.received_at.desc(), study.c.id.desc())
_of_day = (
    select(*_study_columns)
    .where(
        study.c.site.in_(_SITES),
        or_(
            and_(study.c.received_at >= bindparam("begin"), study.c.received_at < bindparam("end")),
            study.c.id.in_(_sent_within),
        ),
    )
    .order_by(*_center_order)
    .limit(bindparam("most"))
)
_kinds_of_study = (
    select(instance.c.kind)
    .where(instance.c.study_id == bindparam("study_key"), instance.c.current)
    .distinct()
)


@cache
def _worklist(
    specialty: str | None, holder: bool, priority: bool, at: bool, text: bool, after: bool
) -> Select[Any]:
    """The worklist's statement for one set of filters."""
    found = _task_rows.where(_active, _seen_tasks)
    if specialty is not None:
        found = found.where(_is_ecg if specialty == "ecg" else ~_is_ecg)
    if holder:
        found = found.where(task.c.claimed_by == bindparam("holder"))
    if priority:
        found = found.where(task.c.priority == bindparam("priority"))
    if at:
        found = found.where(task.c.site == bindparam("at_site"))
    if text:
        found = found.where(_matches())
    if after:
        found = found.where(_place > _key("rank", "due", "id", like=_place))
    return found.order_by(task.c.priority_rank, task.c.due_at, task.c.id).limit(bindparam("most"))


@cache
def _found(after: bool) -> Select[Any]:
    """Studies by name or number, newest first."""
    found = select(*_study_columns).where(study.c.site.in_(_SITES), _matches())
    if after:
        place = tuple_(study.c.received_at, study.c.id)
        found = found.where(place < _key("received", "id", like=place))
    return found.order_by(*_center_order).limit(bindparam("most"))


@cache
def _signed_by(after: bool) -> Select[Any]:
    """What one author has signed, newest first."""
    found = _report_rows.where(report.c.author == bindparam("by"))
    if after:
        found = found.where(_report_place < _key("signed", "id", like=_report_place))
    return found.order_by(*_report_order).limit(bindparam("most"))


def _key(*names: str, like: Any) -> Any:
    """A row value of bind parameters with the types of the columns it is compared with."""
    return tuple_(
        *(
            bindparam(f"after_{name}", type_=column.type)
            for name, column in zip(names, like.clauses, strict=True)
        )
    )


def _matches() -> ColumnElement[bool]:
    pattern: BindParameter[str] = bindparam("pattern")
    initials: BindParameter[str] = bindparam("initials")
    columns = (
        study.c.patient_name,
        study.c.patient_name_latin,
        study.c.patient_id,
        study.c.accession,
    )
    latin = func.lower(func.coalesce(study.c.patient_name_latin, study.c.patient_name))
    return or_(
        false(),
        *(func.lower(column).like(pattern, escape="\\") for column in columns),
        latin.like(initials, escape="\\"),
    )


def _text(words: str) -> dict[str, str]:
    """Patterns for a part of a name or number, and for initials ("dy" finds "Ding Yangli")."""
    words = " ".join(words.split()).lower()
    plain = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    pattern = f"%{plain}%"
    letters = words.isascii() and words.isalpha() and len(words) in _INITIALS
    initials = f"{words[0]}%" + "".join(f" {one}%" for one in words[1:]) if letters else pattern
    return {"pattern": pattern, "initials": initials}


# -- reads ----------------------------------------------------------------------------------------


class Search:
    """Reads over the rows of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tasks(
        self,
        sites: Iterable[str],
        wanted: Filter,
        after: tuple[int, datetime, str] | None,
        most: int,
    ) -> list[TaskRow]:
        """Open and claimed tasks by priority, then deadline."""
        statement = _worklist(
            wanted.specialty,
            wanted.holder is not None,
            wanted.priority is not None,
            wanted.site is not None,
            bool(wanted.text),
            after is not None,
        )
        values: dict[str, Any] = {
            "sites": sorted(sites),
            "most": most,
            "holder": wanted.holder,
            "priority": wanted.priority,
            "at_site": wanted.site,
            **(_text(wanted.text) if wanted.text else {}),
        }
        if after is not None:
            values |= dict(zip(("after_rank", "after_due", "after_id"), after, strict=True))
        return self._task_rows(statement, values)

    def tasks_by_id(self, ids: Iterable[str]) -> list[TaskRow]:
        """These tasks in whatever state, from whatever Site: the caller limits."""
        return self._task_rows(_tasks_by_id, {"ids": sorted(ids)})

    def active_tasks_of(self, study_ids: Iterable[int]) -> list[str]:
        """Ids of open and claimed tasks of these studies."""
        rows = self._connection.execute(_active_of_studies, {"ids": sorted(study_ids)})
        return list(rows.scalars())

    def counts(self, sites: Iterable[str], me: str) -> dict[str, int]:
        """How many open and claimed tasks each tab has."""
        row = self._connection.execute(_counts, {"sites": sorted(sites), "me": me}).one()
        return {"all": row[0], "ecg": row[1], "images": row[0] - row[1], "mine": row[2]}

    def centers(self, sites: Iterable[str]) -> list[SiteName]:
        """The centers among these Sites."""
        rows = self._connection.execute(_sites_of_tasks, {"sites": sorted(sites)})
        return [SiteName(*row) for row in rows]

    def kinds(self, study_id: int) -> set[str]:
        """Which kinds of instances a study holds."""
        rows = self._connection.execute(_kinds_of_study, {"study_key": study_id})
        return set(rows.scalars())

    def earlier(self, one: Study) -> list[EarlierRow]:
        """Earlier studies of the same Patient ID at the same Site, newest first."""
        if one.patient.patient_id is None:
            return []
        rows = self._connection.execute(
            _earlier,
            {
                "at_site": one.site,
                "patient": one.patient.patient_id,
                "this_study": one.id,
                "until": one.acquired_at or one.received_at,
            },
        )
        studies = [study_of(row) for row in rows]
        reports = self._reports([found.id for found in studies], (ReportState.FINAL,))
        return [EarlierRow(found, reports.get(found.id)) for found in studies]

    # -- reports

    def signed_by(
        self, author: str, sites: Iterable[str], after: tuple[datetime, str] | None, most: int
    ) -> list[ReportRow]:
        """What this author has signed, newest first."""
        values = {"sites": sorted(sites), "by": author, "most": most}
        if after is not None:
            values |= {"after_signed": after[0], "after_id": after[1]}
        return self._report_rows(_signed_by(after is not None), values)

    def report(self, report_id: str, sites: Iterable[str]) -> ReportRow | None:
        """One version, if it is of these Sites."""
        found = self._report_rows(_report_by_id, {"sites": sorted(sites), "report_key": report_id})
        return found[0] if found else None

    def versions(self, study_id: int) -> list[ReportBrief]:
        """Every version of a study's report, oldest first."""
        return [_report(row) for row in self._connection.execute(_reports_of, {"ids": [study_id]})]

    # -- the center's page

    def center_day(
        self, sites: Iterable[str], begin: datetime, end: datetime, most: int
    ) -> list[CenterRow]:
        """Studies that came within this time, or whose report did."""
        values = {"sites": sorted(sites), "begin": begin, "end": end, "most": most}
        return self._center_rows(self._connection.execute(_of_day, values).all())

    def center_found(
        self, sites: Iterable[str], text: str, after: tuple[datetime, int] | None, most: int
    ) -> list[CenterRow]:
        """Studies of a patient by name or number, newest first."""
        values: dict[str, Any] = {"sites": sorted(sites), "most": most, **_text(text)}
        if after is not None:
            values |= {"after_received": after[0], "after_id": after[1]}
        return self._center_rows(self._connection.execute(_found(after is not None), values).all())

    def center_study(self, one: Study) -> CenterRow:
        """One study as its center follows it."""
        return self._followed([one])[0]

    # -- the board

    def queue(self, sites: Iterable[str]) -> Sequence[Row[Any]]:
        """(due_at, received_at, id) of every open and claimed task."""
        rows: CursorResult[Any] = self._connection.execute(_queue, {"sites": sorted(sites)})
        return rows.all()

    def due_before(self, sites: Iterable[str], instant: datetime) -> list[TaskRow]:
        """Active tasks whose deadline is before this instant, the first ones first; at most 50."""
        return self._task_rows(_late, {"sites": sorted(sites), "before": instant})

    def unopened_since(self, sites: Iterable[str], instant: datetime) -> list[ReportRow]:
        """Reports in force that went out before this instant and nobody has opened; at most 50."""
        return self._report_rows(_unopened, {"sites": sorted(sites), "before": instant})

    def signed_since(self, sites: Iterable[str], instant: datetime) -> Sequence[Row[Any]]:
        """(author, signed_at, due_at, replaces) of what was signed since then."""
        rows: CursorResult[Any] = self._connection.execute(
            _signed_since, {"sites": sorted(sites), "since": instant}
        )
        return rows.all()

    def held(self, sites: Iterable[str]) -> Sequence[Row[Any]]:
        """(claimed_by, kind, claimed_at) of every claimed task."""
        rows: CursorResult[Any] = self._connection.execute(_held, {"sites": sorted(sites)})
        return rows.all()

    def given_up(self, sites: Iterable[str]) -> list[GivenUp]:
        """Dead letters that touch these Sites, by kind, oldest first. One that names nothing, or
        nothing that is there, is everybody's."""
        dead = Jobs(self._connection).dead()
        at = self._sites_of([one.payload for one in dead]) if dead else {}
        allowed, found = set(sites), dict[str, GivenUp]()
        for one in dead:
            touched = {at[item] for item in one.payload.items() if item in at}
            if touched and not touched & allowed:
                continue
            first = found.setdefault(one.kind, GivenUp(one.kind, 0, one.dead_at))
            found[one.kind] = replace(first, count=first.count + 1)
        return list(found.values())

    def _sites_of(self, payloads: list[dict[str, Any]]) -> dict[tuple[str, Any], str]:
        """The Site of every study, task, report and critical result these payloads name."""
        found: dict[tuple[str, Any], str] = {}
        for name, statement in _places.items():
            ids = {payload[name] for payload in payloads if name in payload}
            rows = self._connection.execute(statement, {"ids": list(ids)}) if ids else ()
            found |= {(name, row.id): row.site for row in rows}
        return found

    # -- rows to values

    def _task_rows(self, statement: Select[Any], values: dict[str, Any]) -> list[TaskRow]:
        rows = self._connection.execute(statement, values).all()
        drafts: dict[str, dict[str, datetime]] = {}
        ids = [row._mapping[task.c.id] for row in rows]
        for one in self._connection.execute(_drafts, {"ids": ids}) if ids else ():
            drafts.setdefault(one.task_id, {})[one.author] = one.saved_at
        return [_task_row(row, drafts) for row in rows]

    def _report_rows(self, statement: Select[Any], values: dict[str, Any]) -> list[ReportRow]:
        return [_report_row(row) for row in self._connection.execute(statement, values)]

    def _center_rows(self, rows: Sequence[Row[Any]]) -> list[CenterRow]:
        return self._followed([study_of(row) for row in rows])

    def _followed(self, studies: list[Study]) -> list[CenterRow]:
        ids = [one.id for one in studies]
        if not ids:
            return []
        tasks: dict[int, tuple[ReadingTask, str | None]] = {}
        for row in self._connection.execute(_latest_tasks, {"ids": ids}):
            tasks[row.study_id] = (task_of(_latest_task(row)), row.display)
        out = self._reports(ids, OUT)
        grace = self._reports(ids, (ReportState.SIGNED,))
        shown = [one.id for one in out.values()]
        deliveries = {
            row.report_id: Delivery(**row._mapping)
            for row in self._connection.execute(_deliveries, {"ids": shown})
        }
        criticals = {
            row.report_id: CriticalResult(**row._mapping)
            for row in self._connection.execute(_criticals, {"ids": shown})
        }
        rows = []
        for one in studies:
            latest, reader = tasks.get(one.id, (None, None))
            found = out.get(one.id)
            rows.append(
                CenterRow(
                    study=one,
                    task=latest,
                    reader=reader,
                    report=found,
                    delivery=deliveries.get(found.id) if found else None,
                    critical=criticals.get(found.id) if found else None,
                    in_grace=one.id in grace,
                )
            )
        return rows

    def _reports(
        self, study_ids: list[int], states: tuple[ReportState, ...]
    ) -> dict[int, ReportBrief]:
        """The newest version in one of these states, by study."""
        rows = self._connection.execute(_reports_of, {"ids": study_ids}) if study_ids else ()
        return {row.study_id: _report(row) for row in rows if row.state in states}


class _Part:
    """One table's columns in the joined rows of a statement, where they stand side by side."""

    def __init__(self, statement: Select[Any], table: Table) -> None:
        columns = list(statement.selected_columns)
        mine = [at for at, one in enumerate(columns) if table.c.contains_column(one)]
        self._names = [columns[at].name for at in mine]
        self._places = slice(mine[0], mine[-1] + 1)

    def of(self, row: Row[Any]) -> Any:
        """The row's values under the columns' own names."""
        return SimpleNamespace(**dict(zip(self._names, row[self._places], strict=True)))


_task_of, _study_of, _site_of, _holder_of = (
    _Part(_task_rows, table).of for table in (task, study, site, account)
)
_sent_report, _sent_study, _sent_site, _sent_author, _sent = (
    _Part(_report_rows, table).of for table in (report, study, site, account, delivery)
)
_latest_task = _Part(_latest_tasks, task).of


def _task_row(row: Row[Any], drafts: dict[str, dict[str, datetime]]) -> TaskRow:
    found = task_of(_task_of(row))
    holder = _holder_of(row)
    return TaskRow(
        task=found,
        study=study_of(_study_of(row)),
        site=_site(_site_of(row)),
        holder=(holder.display, holder.display_en) if holder.display is not None else None,
        drafts=drafts.get(found.id, {}),
    )


def _report_row(row: Row[Any]) -> ReportRow:
    sent = _sent(row)
    return ReportRow(
        report=_report(_sent_report(row)),
        study=study_of(_sent_study(row)),
        site=_site(_sent_site(row)),
        author=_sent_author(row).display,
        delivery=None if sent.report_id is None else Delivery(**vars(sent)),
    )


def _site(found: Any) -> SiteName:
    return SiteName(found.key, found.name, found.name_en)


def _report(row: Any) -> ReportBrief:
    values = {name: getattr(row, name) for name in ReportBrief.__dataclass_fields__}
    values |= {"state": ReportState(row.state), "result": Result(row.result)}
    return ReportBrief(**values)
