"""What does a C-STORE do, and what is answered?"""

import errno
import logging
import re
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.dicom.status import BROKEN_INSIDE, SUCCESS, status_of
from storage.ingest import Incoming, Ingest, Received
from worklist.errors import Code, Refusal
from worklist.site import Device

log = logging.getLogger("teleread.dicom")

_ROOT: Final = Path(__file__).resolve().parents[2]
_ROOMS = frozenset({"gateway", "storage", "viewers", "worklist"})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE})


@dataclass(frozen=True)
class StoreRequest:
    """One C-STORE as it came in. `data` is the data set's bytes as received, valid during the call.

    `sop_class` and `sop_instance` are the command's Affected SOP Class and Instance UID as sent (""
    when missing); `abstract_syntax` and `transfer_syntax` are those of its presentation context.
    """

    device: Device
    called: str
    association: str
    abstract_syntax: str
    transfer_syntax: str
    sop_class: str
    sop_instance: str
    data: memoryview


@dataclass(frozen=True)
class Answer:
    """Status (0000,0900) and Error Comment (0000,0902) of a response; it names no patient."""

    status: int
    comment: str = ""


def store(ingest: Ingest, request: StoreRequest, digest: bytes | None = None) -> Answer:
    """Hand one instance to the door, with the SHA-256 of its data where it is known. Success: kept
    for good. Every failure is one log line."""
    try:
        _check_command(request)
        ingest.receive(_received(request, digest))
    except Exception as error:  # an instance that breaks us must not end the association
        return _answer(request, error)
    return Answer(SUCCESS)


class Stream:
    """An instance that is larger than what may lie in memory, handed on part by part.

    `request.data` is its beginning. What goes wrong on the way is the answer at the end: the device
    must be heard out before it listens.
    """

    def __init__(self, ingest: Ingest, request: StoreRequest) -> None:
        self._request = request
        self._incoming: Incoming | None = None
        self._failed: Answer | None = None
        try:
            _check_command(request)
            self._incoming = ingest.open(_received(request, None))
        except Exception as error:
            self._failed = _answer(request, error)

    def write(self, part: memoryview) -> None:
        """The next part."""
        if self._incoming is None:
            return
        try:
            self._incoming.write(part)
        except Exception as error:
            self._failed = _answer(self._request, error)
            self.abandon()

    def keep(self, digest: bytes) -> Answer:
        """That was all, and this is its SHA-256. Success: kept for good."""
        if self._incoming is not None:
            try:
                self._incoming.keep(digest)
            except Exception as error:
                self._failed = _answer(self._request, error)
                self.abandon()
        return self._failed or Answer(SUCCESS)

    def abandon(self) -> None:
        """The rest will not come; nothing stays behind."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            with suppress(Exception):
                incoming.abandon()


def _received(request: StoreRequest, digest: bytes | None) -> Received:
    return Received(
        device=request.device,
        called=request.called,
        data=request.data,
        transfer_syntax=request.transfer_syntax,
        sop_class=request.sop_class,
        sop_instance=request.sop_instance,
        association=request.association,
        digest=digest,
    )


def _answer(request: StoreRequest, error: Exception) -> Answer:
    """What the device hears of a failure; one log line."""
    if isinstance(error, Refusal):
        return _failed(request, status_of(error.code), error.code, error.message)
    if isinstance(error, OSError):
        status = status_of(Code.OUT_OF_RESOURCES) if error.errno in _FULL else BROKEN_INSIDE
        return _failed(request, status, where(error), "The gateway could not keep the instance.")
    return _failed(request, BROKEN_INSIDE, where(error), "The gateway failed; try again later.")


def where(error: BaseException) -> str:
    """The error's kind and place, without its message: that could hold what no log may hold."""
    at = ""
    for frame in traceback.extract_tb(error.__traceback__):
        place = Path(frame.filename)
        inside = place.is_relative_to(_ROOT) and place.relative_to(_ROOT).parts[0] in _ROOMS
        if inside or not at:
            at = f" at {place.relative_to(_ROOT) if inside else place.name}:{frame.lineno}"
    code = f" {errno.errorcode.get(error.errno or 0, '')}" if isinstance(error, OSError) else ""
    return f"{type(error).__name__}{code}{at}"


def _check_command(request: StoreRequest) -> None:
    """The command must name an instance of the class its context is for (PS3.7 9.3.1.1)."""
    if not request.sop_class or not request.sop_instance:
        raise Refusal(Code.MISSING_UID, "The command names no SOP Class or SOP Instance UID.")
    if request.sop_class != request.abstract_syntax:
        raise Refusal(Code.COMMAND_DISAGREES, "The command's SOP Class is not that of its context.")


def _failed(request: StoreRequest, status: int, why: str, comment: str) -> Answer:
    log.warning(
        "instance %s from %s not stored, status %04X: %s (association %s)",
        re.sub(r"[^0-9.]", "?", request.sop_instance[:64]) or "without UID",
        request.device.ae_title,
        status,
        why,
        request.association,
    )
    return Answer(status, comment)
