"""When was it, by the dates and times of a data set?

Values of DA, TM and DT (PS3.5 section 6.2) as devices send them: what is no date is None, never an
error.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

_DA = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})")
_TM = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(?:\.(\d{1,6}))?")
_DT = re.compile(r"(\d{8})(\d{2,6}(?:\.\d{1,6})?)([+-]\d{4})?")
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})")


def day_of(text: str | None) -> date | None:
    """A DA (also the retired form with dots), or None when it is not a day."""
    match = _DA.fullmatch(text or "")
    if match is None:
        return None
    try:
        return date(*(int(part) for part in match.groups()))
    except ValueError:
        return None


def clock_of(text: str | None) -> time | None:
    """A TM, or None when it is not a time of day."""
    match = _TM.fullmatch(text or "")
    if match is None:
        return None
    hour, minute, second, fraction = match.groups()
    try:
        return time(
            int(hour),
            int(minute or 0),
            min(int(second or 0), 59),  # 60 is a leap second
            int((fraction or "").ljust(6, "0")),
        )
    except ValueError:
        return None


def offset_of(text: str) -> timezone | None:
    """An offset like +0800, or None where it is none that exists (PS3.3 C.12.1.1.8)."""
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    sign, hours, minutes = match.groups()
    ahead = timedelta(hours=int(hours), minutes=int(minutes))
    if ahead > timedelta(hours=14) or int(minutes) > 59:
        return None
    return timezone(ahead if sign == "+" else -ahead)


def instant_of(day: str | None, clock: str | None, zone: ZoneInfo | timezone) -> datetime | None:
    """A DA and a TM together, in UTC; None where either is unusable."""
    on, at = day_of(day), clock_of(clock)
    if on is None or at is None:
        return None
    try:
        return datetime.combine(on, at, zone).astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def instant_of_text(text: str | None, zone: ZoneInfo | timezone) -> datetime | None:
    """A DT; its own offset goes before the one of the data set (PS3.5 table 6.2-1)."""
    match = _DT.fullmatch(text or "")
    if match is None:
        return None
    day, clock, offset = match.groups()
    return instant_of(day, clock, offset_of(offset or "") or zone)
