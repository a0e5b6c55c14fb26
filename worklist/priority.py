"""In which order are tasks read?"""

from enum import StrEnum


class Priority(StrEnum):
    """How urgent a task is. The order of the members is the order of the queue."""

    EMERGENCY = "emergency"
    URGENT = "urgent"
    ROUTINE = "routine"

    @property
    def rank(self) -> int:
        """0 for what comes first."""
        return list(Priority).index(self)


# (0040,1003) Requested Procedure Priority, PS3.3 C.4.11: STAT HIGH ROUTINE MEDIUM LOW; (0032,000C)
# is retired HIGH MED LOW
_DICOM = {
    "STAT": Priority.EMERGENCY,
    "HIGH": Priority.URGENT,
    "ROUTINE": Priority.ROUTINE,
    "MEDIUM": Priority.ROUTINE,
    "MED": Priority.ROUTINE,
    "LOW": Priority.ROUTINE,
}


_TO_DICOM = {Priority.EMERGENCY: "STAT", Priority.URGENT: "HIGH", Priority.ROUTINE: "ROUTINE"}


def to_dicom(priority: Priority) -> str:
    """Requested Procedure Priority (0040,1003)."""
    return _TO_DICOM[priority]


def from_dicom(value: str | None) -> Priority:
    """The priority a device sent, routine when it sent none or one that is not in the standard."""
    return _DICOM.get((value or "").strip().upper(), Priority.ROUTINE)
