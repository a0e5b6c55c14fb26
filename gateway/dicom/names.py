"""Which addresses does a device's host have?

Devices may be registered by name. Names are looked up in the background and remembered for a while;
nobody waits long for a name server that does not answer.
"""

import ipaddress
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_FRESH: Final = 60.0  # seconds for which an answer holds
_PATIENCE: Final = 2.0  # seconds a caller waits for the first answer
_MOST_NAMES: Final = 256
_AT_ONCE: Final = 4

NOWHERE: Final[frozenset[str]] = frozenset()


@dataclass
class _Known:
    addresses: frozenset[str] = NOWHERE
    until: float = 0.0
    asked: bool = False
    answered: threading.Event = field(default_factory=threading.Event)


def plain_address(text: str) -> str:
    """An address in its one spelling; an IPv4 address that came in by IPv6 is one of IPv4."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def looked_up(name: str) -> frozenset[str]:
    """Ask the system."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return frozenset(plain_address(str(one[4][0])) for one in found)


class Names:
    """Addresses by host name. May be asked from any thread."""

    def __init__(self, look_up: Callable[[str], frozenset[str]] = looked_up) -> None:
        self._look_up = look_up
        self._mutex = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._busy = 0

    def addresses(self, host: str) -> frozenset[str]:
        """Every address of a host; none where nobody knows it (yet)."""
        plain = plain_address(host)
        if _is_address(plain):
            return frozenset({plain})
        known = self._entry(host)
        if not known.answered.is_set():
            known.answered.wait(_PATIENCE)
        return known.addresses

    def _entry(self, host: str) -> _Known:
        with self._mutex:
            known = self._known.setdefault(host, _Known())
            self._known.move_to_end(host)
            if len(self._known) > _MOST_NAMES:
                self._known.popitem(last=False)
            stale = known.until <= time.monotonic()
            if stale and not known.asked and self._busy < _AT_ONCE:
                known.asked = True
                self._busy += 1
                threading.Thread(
                    target=self._ask, args=(host, known), name="host-name", daemon=True
                ).start()
        return known

    def _ask(self, host: str, known: _Known) -> None:
        try:
            known.addresses = self._look_up(host)
        except (OSError, UnicodeError):
            pass  # what was known stays known
        finally:
            with self._mutex:
                self._busy -= 1
                known.asked = False
                known.until = time.monotonic() + _FRESH
            known.answered.set()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
