"""How does a rule say no?"""

from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Every reason for which a rule refuses. The value is public: edges and clients rely on it."""

    # the caller
    UNKNOWN_CALLER = "unknown_caller"
    AMBIGUOUS_CALLER = "ambiguous_caller"
    NOT_FOUND = "not_found"
    NOT_ALLOWED = "not_allowed"
    NOT_SIGNED_IN = "not_signed_in"
    WRONG_CREDENTIALS = "wrong_credentials"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    LOCKED = "locked"
    FORGED = "forged_request"
    # an instance at the door
    UNREADABLE = "unreadable_dataset"
    TRUNCATED = "truncated_dataset"
    MISSING_UID = "missing_uid"
    INVALID_UID = "invalid_uid"
    COMMAND_DISAGREES = "command_disagrees"
    OUT_OF_RESOURCES = "out_of_resources"
    # a reading task
    ALREADY_CLAIMED = "already_claimed"
    NOT_OPEN = "not_open"
    LEASE_LOST = "lease_lost"
    DRAFT_CONFLICT = "draft_conflict"
    # a report
    DRAFT_CHANGED = "draft_changed"
    WRONG_STUDY = "wrong_study"
    STUDY_CHANGED = "study_changed"
    NOT_PAINTED = "not_painted"
    REPORT_INCOMPLETE = "report_incomplete"
    SIGNING_LOCKED = "signing_locked"
    NOT_PRINTABLE = "not_printable"
    CERTIFICATE_ENDED = "certificate_ended"
    GRACE_OVER = "grace_over"
    WRONG_STATE = "wrong_state"
    REASON_MISSING = "reason_missing"
    READ_BACK_WRONG = "read_back_wrong"
    # an order
    ORDER_CHANGED = "order_changed"
    # another machine
    UNREACHABLE = "unreachable"
    # what a person or an engineer enters
    INVALID = "invalid_value"
    ALREADY_EXISTS = "already_exists"


class Refusal(Exception):
    """A rule says no, with a stable code, one sentence for people and the facts a client may show.

    The sentence and the details never hold a patient's name, Patient ID or report text: they reach
    logs. `details` are JSON values, merged beside `code` and `message` in an HTTP answer.
    """

    def __init__(self, code: Code, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
