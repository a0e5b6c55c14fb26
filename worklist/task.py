"""What is a reading task, and which states may it pass through?"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from worklist.errors import Code, Refusal
from worklist.priority import Priority


class TaskState(StrEnum):
    """States of a reading task (a UPS Workitem, PS3.4 CC.1.1, seen from the reader)."""

    OPEN = "OPEN"
    CLAIMED = "CLAIMED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    RETURNED = "RETURNED"


_ALLOWED = frozenset(
    {
        (TaskState.OPEN, TaskState.CLAIMED),
        (TaskState.OPEN, TaskState.CANCELLED),
        (TaskState.CLAIMED, TaskState.OPEN),  # released, or the lease ran out
        (TaskState.CLAIMED, TaskState.COMPLETED),  # signed
        (TaskState.CLAIMED, TaskState.RETURNED),
        (TaskState.CLAIMED, TaskState.CANCELLED),
        (TaskState.COMPLETED, TaskState.CLAIMED),  # the signature was taken back in its grace time
    }
)

RETURN_REASONS = frozenset(
    {"electrodes", "noise", "wrong_patient", "incomplete_series", "positioning", "other"}
)


@dataclass(frozen=True)
class ReadingTask:
    """One study to be read by one person. Changes return a new value; the transaction writes it.

    `seen_up_to` is the number of the newest instance of the study that its reader has seen or
    accepted; instances with a higher number came late. `version` grows with every change.
    """

    id: str
    study_id: int
    site: str
    kind: str
    priority: Priority
    state: TaskState
    received_at: datetime
    due_at: datetime
    claimed_by: str | None = None
    claimed_at: datetime | None = None
    lease_until: datetime | None = None
    seen_up_to: int = 0
    follows_task: str | None = None
    follows_report: str | None = None
    return_reason: str | None = None
    return_note: str | None = None
    version: int = 1

    @property
    def active(self) -> bool:
        """Whether somebody still has to read."""
        return self.state in (TaskState.OPEN, TaskState.CLAIMED)

    def claimed(
        self, reader: str, at: datetime, lease_until: datetime, newest: int
    ) -> "ReadingTask":
        """The task in the hands of a reader who opens the study as it is now."""
        return self._to(
            TaskState.CLAIMED,
            claimed_by=reader,
            claimed_at=at,
            lease_until=lease_until,
            seen_up_to=newest,
        )

    def extended(self, lease_until: datetime) -> "ReadingTask":
        """The same claim with a later end."""
        return replace(self, lease_until=lease_until)

    def having_seen(self, newest: int) -> "ReadingTask":
        """The same claim after its reader has seen what came late."""
        return replace(self, seen_up_to=max(self.seen_up_to, newest), version=self.version + 1)

    def released(self) -> "ReadingTask":
        """Free for everybody again."""
        return self._to(TaskState.OPEN, claimed_by=None, claimed_at=None, lease_until=None)

    def completed(self) -> "ReadingTask":
        """Signed. The reader stays on record."""
        return self._to(TaskState.COMPLETED, lease_until=None)

    def returned(self, reason: str, note: str | None) -> "ReadingTask":
        """Given back to the center for a repeat, with a coded reason."""
        if reason not in RETURN_REASONS:
            raise Refusal(Code.INVALID, f"Reasons are {', '.join(sorted(RETURN_REASONS))}.")
        return self._to(
            TaskState.RETURNED, lease_until=None, return_reason=reason, return_note=note
        )

    def held_by(self, reader: str, now: datetime) -> "ReadingTask":
        """This task if the reader holds a live claim on it, else a refusal that says who does."""
        lost = self.lease_until is not None and self.lease_until <= now
        if self.state is not TaskState.CLAIMED or self.claimed_by != reader or lost:
            who = self.claimed_by if self.claimed_by != reader and not lost else None
            raise Refusal(
                Code.LEASE_LOST, "This case is no longer yours. Your draft is kept.", who=who
            )
        return self

    def _to(self, state: TaskState, **changes: object) -> "ReadingTask":
        if (self.state, state) not in _ALLOWED:
            raise Refusal(Code.WRONG_STATE, f"A task that is {self.state} cannot become {state}.")
        return replace(self, state=state, version=self.version + 1, **changes)  # type: ignore[arg-type]
