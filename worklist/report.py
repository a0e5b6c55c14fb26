"""What is a report, and which states may a signed version pass through?"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened

# what a phrase leaves for the reader to fill in
BLANK = "__"


class Result(StrEnum):
    """The reader's class for the whole study: a field, not a word in the text."""

    NORMAL = "normal"
    ABNORMAL = "abnormal"
    CRITICAL = "critical"
    UNREADABLE = "unreadable"


class ReportState(StrEnum):
    """States of one signed version. In FHIR's DiagnosticReport.status: preliminary, final, final
    with a successor (amended), entered-in-error, and cancelled."""

    SIGNED = "signed"  # the grace time runs; nobody outside the hospital has it
    FINAL = "final"
    REPLACED = "replaced"
    WITHDRAWN = "withdrawn"
    TAKEN_BACK = "taken_back"


_ALLOWED = frozenset(
    {
        (ReportState.SIGNED, ReportState.FINAL),
        (ReportState.SIGNED, ReportState.TAKEN_BACK),
        (ReportState.FINAL, ReportState.REPLACED),
        (ReportState.FINAL, ReportState.WITHDRAWN),
    }
)


@dataclass(frozen=True)
class Draft:
    """What one author has written for one task so far. Kept until that author signs, lease or no
    lease."""

    task_id: str
    author: str
    version: int = 0
    findings: str = ""
    impression: str = ""
    result: Result | None = None
    key_image: dict[str, Any] | None = None
    saved_at: datetime | None = None

    def missing(self) -> list[str]:
        """The fields without which nothing can be signed."""
        return [
            name
            for name, value in (
                ("impression", self.impression.strip()),
                ("result", self.result),
            )
            if not value
        ]

    def unfilled(self) -> list[str]:
        """The fields in which a blank of a phrase still stands."""
        texts = (("findings", self.findings), ("impression", self.impression))
        return [name for name, text in texts if BLANK in text]


@dataclass(frozen=True)
class Report:
    """One signed version of a report. Text, instances and PDF never change; state and successors
    do.

    `instances` are (SOP Instance UID, SHA-256 of its data set) as they were read;
    `newest_instance` numbers the newest of them. `pdf` locates the sealed bytes, `pdf_digest` is
    their SHA-256 in hex. `replaces` is the id of the version this one corrects.
    """

    id: str
    task_id: str
    study_id: int
    site: str
    hospital: str
    version: int
    state: ReportState
    result: Result
    findings: str
    impression: str
    key_image: dict[str, Any] | None
    author: str
    signed_at: datetime
    effective_at: datetime
    verify_id: str
    request_id: str
    pdf: str
    pdf_digest: str
    content_digest: str
    certificate_serial: str
    instances: tuple[tuple[str, str], ...] = field(repr=False)
    newest_instance: int
    replaces: str | None = None
    replaced_by: str | None = None
    reason: str | None = None
    study_newer: bool = False

    def final(self) -> "Report":
        """The grace time is over: the version takes effect."""
        return self._to(ReportState.FINAL)

    def taken_back(self) -> "Report":
        """Withdrawn by its author before anyone had it."""
        if self.state is not ReportState.SIGNED:
            raise Refusal(
                Code.GRACE_OVER,
                "The report has gone out. It can be withdrawn or replaced with a reason.",
            )
        return self._to(ReportState.TAKEN_BACK)

    def withdrawn(self, reason: str) -> "Report":
        """Entered in error: it must not be used."""
        return self._to(ReportState.WITHDRAWN, reason=reasoned(reason))

    def replaced(self, by: str, reason: str) -> "Report":
        """A newer version has taken effect."""
        return self._to(ReportState.REPLACED, replaced_by=by, reason=reasoned(reason))

    def outdated(self) -> "Report":
        """The study has grown since this version was signed."""
        return replace(self, study_newer=True)

    def fact(self, what: Happened, who: str | None, at: datetime) -> Fact:
        """The fact that this happened to this version."""
        return Fact(
            what,
            at,
            self.site,
            who=who,
            study_id=self.study_id,
            task_id=self.task_id,
            report_id=self.id,
        )

    def _to(self, state: ReportState, **changes: object) -> "Report":
        if (self.state, state) not in _ALLOWED:
            raise Refusal(Code.WRONG_STATE, f"A report that is {self.state} cannot become {state}.")
        return replace(self, state=state, **changes)  # type: ignore[arg-type]


def reasoned(reason: str) -> str:
    """The reason without surrounding space; an empty one is refused."""
    reason = reason.strip()
    if not reason:
        raise Refusal(Code.REASON_MISSING, "Please give a reason.")
    return reason
