"""Which times, lists and lengths hold here?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from worklist.priority import Priority

_MINUTES: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {  # emergency, urgent, routine
        "ECG": (15, 30, 30),
        "DX": (30, 60, 60),
        "US": (30, 30, 30),
        "CT": (60, 120, 240),
        "MR": (60, 120, 240),
        "OT": (60, 120, 240),
    }
)


@dataclass(frozen=True)
class Policy:
    """What a hospital may decide for itself. The defaults are the times published for township
    centers."""

    quiet_after_release: timedelta = timedelta(seconds=5)
    quiet_alone: timedelta = timedelta(seconds=60)
    lease: timedelta = timedelta(minutes=10)
    grace: timedelta = timedelta(seconds=20)
    signing_unlocked: timedelta = timedelta(minutes=30)
    idle_lock: timedelta = timedelta(minutes=15)
    session: timedelta = timedelta(hours=12)
    critical_escalation: timedelta = timedelta(minutes=10)
    at_risk_share: float = 1 / 3
    clock_tolerance: timedelta = timedelta(minutes=5)
    target_minutes: Mapping[str, tuple[int, int, int]] = field(default_factory=lambda: _MINUTES)

    def target(self, kind: str, priority: Priority) -> timedelta:
        """How long a study of this kind and priority may wait for its report, from receipt."""
        minutes = self.target_minutes.get(kind, self.target_minutes["OT"])
        return timedelta(minutes=minutes[priority.rank])
