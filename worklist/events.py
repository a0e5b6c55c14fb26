"""What has happened? Facts: past-tense rows of the journal, for people, audit and live pages."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Happened(StrEnum):
    """Every kind of fact."""

    INSTANCE_STORED = "InstanceStored"
    INSTANCE_CAME_LATE = "InstanceCameLate"
    TEXT_REPAIR_PROPOSED = "TextRepairProposed"
    TEXT_REPAIR_DECIDED = "TextRepairDecided"
    STUDY_SETTLED = "StudySettled"
    OBJECT_DAMAGED = "ObjectDamaged"
    STUDY_OPENED = "StudyOpened"
    TASK_OPENED = "TaskOpened"
    TASK_CLAIMED = "TaskClaimed"
    TASK_RELEASED = "TaskReleased"
    TASK_RETURNED = "TaskReturned"
    LEASE_EXPIRED = "LeaseExpired"
    DRAFT_SAVED = "DraftSaved"
    REPORT_SIGNED = "ReportSigned"
    REPORT_TAKEN_BACK = "ReportTakenBack"
    REPORT_BECAME_FINAL = "ReportBecameFinal"
    REPORT_OUTDATED = "ReportOutdated"
    REPORT_WITHDRAWN = "ReportWithdrawn"
    REPORT_REPLACED = "ReportReplaced"
    REPORT_SENT = "ReportSent"
    REPORT_OPENED = "ReportOpened"
    REPORT_ACKNOWLEDGED = "ReportAcknowledged"
    REPORT_TRANSMITTED = "ReportTransmitted"
    REPORT_NOT_TRANSMITTED = "ReportNotTransmitted"
    CRITICAL_RAISED = "CriticalRaised"
    CRITICAL_ESCALATED = "CriticalEscalated"
    CRITICAL_CONFIRMED = "CriticalConfirmed"
    CRITICAL_CLOSED = "CriticalClosed"
    ORDER_PLACED = "OrderPlaced"
    ORDER_CHANGED = "OrderChanged"
    ORDER_CANCELLED = "OrderCancelled"
    PROCEDURE_STARTED = "ProcedureStarted"
    PROCEDURE_COMPLETED = "ProcedureCompleted"
    PROCEDURE_DISCONTINUED = "ProcedureDiscontinued"
    SIGNED_IN = "SignedIn"
    SIGN_IN_REFUSED = "SignInRefused"
    SIGNED_OUT = "SignedOut"
    SIGNING_UNLOCKED = "SigningUnlocked"
    CERTIFICATE_ISSUED = "CertificateIssued"
    CERTIFICATE_REVOKED = "CertificateRevoked"
    ADMINISTERED = "Administered"


@dataclass(frozen=True)
class Fact:
    """One row of the journal, written in the transaction of the change it tells of.

    `who` is an account, a token or an AE Title; None for the gateway itself. `site` says who may
    see it. Ids only: `data` never holds a name, a Patient ID or report text.
    """

    what: Happened
    at: datetime
    site: str
    who: str | None = None
    study_id: int | None = None
    task_id: str | None = None
    report_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
