"""Who is on the line, and what has come through the door since the start?"""

import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from worklist.site import Device


@dataclass(frozen=True)
class LiveAssociation:
    """An open association. `state` is idle, receiving or serving; `bytes` came in."""

    id: str
    device: Device
    called: str
    address: str
    tls: bool
    since: datetime
    instances: int
    bytes: int
    state: str

    @property
    def site(self) -> str:
        """The calling device's Site."""
        return self.device.site

    @property
    def ae_title(self) -> str:
        """The calling AE Title."""
        return self.device.ae_title


@dataclass
class Counters:
    """Totals since `since`; they only grow.

    `rejected` by reason; `aborted` are associations that did not end with a release; `statuses`
    are C-STORE answers by class (success, or the first hex digits of the status: A7, A9, C0 …);
    `services` are requests by name (C-FIND …); `bytes` came in; `seconds` is the time associations
    were open, all together.
    """

    since: datetime
    accepted: int = 0
    aborted: int = 0
    stored: int = 0
    refused: int = 0
    bytes: int = 0
    seconds: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    services: Counter[str] = field(default_factory=Counter)
    mutex: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)


def status_class(status: int) -> str:
    """success, or the first two hex digits of a status."""
    return "success" if status == 0 else f"{status >> 8:02X}"
