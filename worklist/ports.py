"""What do the rules need from outside? One transaction, and the repositories it opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # the rules import this module; it only names their values
    from worklist.arrival import Study
    from worklist.critical import CriticalResult
    from worklist.delivery import Delivery
    from worklist.events import Fact
    from worklist.report import Draft, Report
    from worklist.task import ReadingTask


VERSION_DIGITS = 16


def version_of(digest: str) -> str:
    """What names one content of an instance outside: the first hex digits of its digest."""
    return digest[:VERSION_DIGITS]


@dataclass(frozen=True)
class Instance:
    """One current instance of a study. `number` counts the study's instances in the order of their
    commits; `digest` is the SHA-256 (hex) of its data-set bytes; `viewable` is false for what is
    not shown to a reader."""

    sop_uid: str
    number: int
    digest: str
    viewable: bool

    @property
    def seen_as(self) -> tuple[str, str]:
        """What a page names that has painted this very content: SOP Instance UID and version."""
        return self.sop_uid, version_of(self.digest)


class Studies(Protocol):
    """Rows of studies. `lock` holds the study's row until the end of the transaction."""

    def get(self, study_id: int) -> Study | None: ...
    def lock(self, study_id: int) -> Study: ...
    def save(self, study: Study) -> None: ...
    def instances(self, study_id: int) -> list[Instance]: ...


class Tasks(Protocol):
    """Rows of reading tasks; `of_study` gives the newest first."""

    def get(self, task_id: str) -> ReadingTask | None: ...
    def lock(self, task_id: str) -> ReadingTask: ...
    def add(self, task: ReadingTask) -> None: ...
    def save(self, task: ReadingTask) -> None: ...
    def of_study(self, study_id: int) -> list[ReadingTask]: ...


class Drafts(Protocol):
    """One draft for each task and author."""

    def get(self, task_id: str, author: str) -> Draft | None: ...
    def save(self, draft: Draft) -> None: ...


class Reports(Protocol):
    """Signed versions. `in_force_of_study` gives every signed or final one, oldest first."""

    def get(self, report_id: str) -> Report | None: ...
    def lock(self, report_id: str) -> Report: ...
    def add(self, report: Report) -> None: ...
    def save(self, report: Report) -> None: ...
    def of_request(self, author: str, request_id: str) -> Report | None: ...
    def of_study(self, study_id: int) -> list[Report]: ...
    def in_force_of_study(self, study_id: int) -> list[Report]: ...


class Deliveries(Protocol):
    """One row for each version that went out."""

    def lock(self, report_id: str) -> Delivery | None: ...
    def add(self, delivery: Delivery) -> None: ...
    def save(self, delivery: Delivery) -> None: ...


class Criticals(Protocol):
    """Clocks of critical results."""

    def lock(self, critical_id: str) -> CriticalResult | None: ...
    def of_report(self, report_id: str) -> CriticalResult | None: ...
    def add(self, result: CriticalResult) -> None: ...
    def save(self, result: CriticalResult) -> None: ...


class Notices(Protocol):
    """What people who opened a version must be told about it afterwards."""

    def tell_openers(self, report: Report, what: str, now: datetime) -> None: ...
    def tell_doctors(self, report: Report, what: str, now: datetime) -> None: ...


class Facts(Protocol):
    """The journal."""

    def add(self, fact: Fact) -> None: ...


class Jobs(Protocol):
    """Due work, one row for each key. `put` sets a new time, `bring_forward` never makes it
    later."""

    def put(self, kind: str, key: str, due_at: datetime, payload: Mapping[str, Any]) -> None: ...
    def bring_forward(self, key: str, due_at: datetime) -> None: ...
    def drop(self, key: str) -> None: ...


class Unit(Protocol):
    """One transaction. Everything a rule changes, the facts it tells and the jobs it leaves commit
    together."""

    @property
    def studies(self) -> Studies: ...
    @property
    def tasks(self) -> Tasks: ...
    @property
    def drafts(self) -> Drafts: ...
    @property
    def reports(self) -> Reports: ...
    @property
    def deliveries(self) -> Deliveries: ...
    @property
    def criticals(self) -> Criticals: ...
    @property
    def notices(self) -> Notices: ...
    @property
    def facts(self) -> Facts: ...
    @property
    def jobs(self) -> Jobs: ...
