"""Which status does a refusal have on a DICOM association?"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from worklist.errors import Code

SUCCESS: Final = 0x0000
# Anything not named below: Processing failure (PS3.7 annex C.4.2)
_FAILED: Final = 0x0110
# An error of our own, not of the instance: Refused, out of resources. Devices try again later.
BROKEN_INSIDE: Final = 0xA7FF

# C-STORE: PS3.4 table B.2-1 and PS3.7 section 9.1.1.1.9
_STATUSES: Mapping[Code, int] = MappingProxyType(
    {
        Code.OUT_OF_RESOURCES: 0xA700,  # Refused: out of resources
        Code.COMMAND_DISAGREES: 0xA900,  # Data set does not match SOP Class
        Code.UNREADABLE: 0xC000,  # Cannot understand
        Code.TRUNCATED: 0xC001,
        Code.MISSING_UID: 0xC002,
        Code.INVALID_UID: 0xC003,
        Code.UNKNOWN_CALLER: 0x0124,  # Refused: not authorised
        Code.AMBIGUOUS_CALLER: 0x0124,
        Code.NOT_ALLOWED: 0x0124,
        Code.NOT_FOUND: 0x0112,  # No such SOP Instance
        Code.ALREADY_EXISTS: 0x0111,  # Duplicate SOP Instance
        Code.INVALID: 0x0106,  # Invalid attribute value
    }
)


# What no service answers: PS3.7 annex C
UNKNOWN_CLASS: Final = 0x0122  # SOP class not supported, for DIMSE-C
NO_SUCH_CLASS: Final = 0x0118  # no such SOP class, for DIMSE-N
UNKNOWN_OPERATION: Final = 0x0211  # unrecognised operation
INVALID_ARGUMENT: Final = 0x0115  # for DIMSE-N
UNABLE: Final = 0xC000  # unable to process, for DIMSE-C


class Rejection(NamedTuple):
    """Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

    result: int
    source: int
    reason: int


CALLER_UNKNOWN: Final = Rejection(1, 1, 3)  # permanent: calling AE Title not recognised
CALLED_UNKNOWN: Final = Rejection(1, 1, 7)  # permanent: called AE Title not recognised
CONTEXT_NAME_UNKNOWN: Final = Rejection(1, 1, 2)  # permanent: application context name
VERSION_UNKNOWN: Final = Rejection(1, 2, 2)  # permanent: protocol version not supported
TOO_MANY: Final = Rejection(2, 3, 2)  # transient: local limit exceeded
NOT_NOW: Final = Rejection(2, 3, 1)  # transient: temporary congestion


def status_of(code: Code) -> int:
    """The DIMSE status (0000,0900) of a refusal."""
    return _STATUSES.get(code, _FAILED)
