"""How much and how long may a peer take?"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Seconds, bytes, counts, for all associations of the gateway.

    A message must move on: `slowest` bytes a second, counted over `window_seconds` of waiting for
    the peer. That is 2 KB/s with some room for jitter.
    """

    associations: int = 600
    per_device: int = 250
    waiting: int = 2048  # connections that have not said a word; they cost a descriptor each
    asking: int = 256  # connections that have begun to ask; they cost a thread each
    request_seconds: float = 10.0
    window_seconds: float = 60.0
    slowest: int = 1800
    response_seconds: float = 60.0  # for the peer's answer to a request of ours
    idle_seconds: float = 1800.0  # some devices keep their association open all day
    object_bytes: int = 64 << 30  # room on the disk decides before
    pdu_bytes: int = 1 << 18  # what we offer to receive at once
    memory_bytes: int = 48 << 20  # for the instances in flight, all together
