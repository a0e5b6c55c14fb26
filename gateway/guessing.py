"""How long must someone wait who has guessed wrongly?

Delays grow with each failure. At the sign-in page they are counted for each name (known or not)
and for each address; a whole clinic may share one address, so an address is given more tries. Who
is signed in and proves it again is counted for that session at that address alone: a stranger who
knows the name cannot make a reader wait.
"""

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from worklist.errors import Code, Refusal

FREE_TRIES_NAME = 5
FREE_TRIES_ADDRESS = 20
FREE_TRIES_SESSION = 5
LONGEST_NAME = timedelta(minutes=5)
LONGEST_ADDRESS = timedelta(minutes=15)
LONGEST_SESSION = timedelta(minutes=5)
FORGET_AFTER = timedelta(minutes=30)
_MOST = 20_000  # names and addresses remembered at once


@dataclass
class _Failures:
    count: int
    last: datetime
    until: datetime


class Guessing:
    """Failures of the last half hour, in memory; an account's own wait is kept in its row too."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._known: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def require_patience(
        self, name: str, address: str, now: datetime, blocked_until: datetime | None = None
    ) -> None:
        """Refuse (TOO_MANY_ATTEMPTS) while the wait of this name or address is not over."""
        with self._mutex:
            waits = [self._until(key, now) for key in _keys(name, address)]
        _require_over(max((one for one in (*waits, blocked_until) if one), default=None), now)

    def require_patience_again(self, session: str, address: str, now: datetime) -> None:
        """Refuse (TOO_MANY_ATTEMPTS) while the wait of this session at this address runs."""
        with self._mutex:
            until = self._until(_again(session, address), now)
        _require_over(until, now)

    def failed_again(self, session: str, address: str, now: datetime) -> None:
        """Note that someone signed in has entered a wrong password."""
        with self._mutex:
            self._note(_again(session, address), now, FREE_TRIES_SESSION, LONGEST_SESSION)

    def succeeded_again(self, session: str, address: str) -> None:
        """Forget the failures of this session at this address."""
        with self._mutex:
            self._known.pop(_again(session, address), None)

    def failed(self, name: str, address: str, now: datetime) -> datetime | None:
        """Note a failure. Returns until when this name must wait, if it must."""
        of_name, of_address = _keys(name, address)
        with self._mutex:
            self._note(of_address, now, FREE_TRIES_ADDRESS, LONGEST_ADDRESS)
            until = self._note(of_name, now, FREE_TRIES_NAME, LONGEST_NAME)
        return until if until > now else None

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of this name."""
        with self._mutex:
            self._known.pop(_keys(name, address)[0], None)

    def _until(self, key: tuple[str, str], now: datetime) -> datetime | None:
        found = self._known.get(key)
        if found is not None and now - found.last > FORGET_AFTER:
            del self._known[key]
            return None
        return found.until if found is not None else None

    def _note(self, key: tuple[str, str], now: datetime, free: int, longest: timedelta) -> datetime:
        self._until(key, now)
        count = self._known[key].count + 1 if key in self._known else 1
        exponent = min(count - free, 16)
        wait = min(timedelta(seconds=2**exponent), longest) if count >= free else timedelta(0)
        self._known[key] = _Failures(count, now, now + wait)
        self._known.move_to_end(key)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return now + wait


def _require_over(until: datetime | None, now: datetime) -> None:
    if until is not None and until > now:
        seconds = math.ceil((until - now).total_seconds())
        raise Refusal(
            Code.TOO_MANY_ATTEMPTS,
            f"Too many attempts. Please try again in {seconds} seconds.",
            retry_after_seconds=seconds,
        )


def _again(session: str, address: str) -> tuple[str, str]:
    return ("session", f"{session} {address}")


def _keys(name: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("name", name[:64]), ("address", address)
