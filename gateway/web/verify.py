"""Is this report genuine? For anyone, without an account."""

import threading
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from gateway.assemble import Parts
from gateway.verify import Registered, registered, verify_document
from gateway.web import values
from gateway.web.auth import address_of
from gateway.web.values import Json
from worklist.errors import Code, Refusal

QUESTIONS = 30
WITHIN = timedelta(minutes=1)
_MOST_ADDRESSES = 20_000

UNKNOWN: Json = {
    "state": "unknown",
    "kind": None,
    "hospital": None,
    "center": None,
    "signed_by": None,
    "licence_number": None,
    "signed_at": None,
    "version": None,
    "patient_masked": None,
    "replaced_by": None,
}


class Rate:
    """How many questions an address may ask in a while."""

    def __init__(self, most: int = QUESTIONS, within: timedelta = WITHIN) -> None:
        self._most, self._within = most, within
        self._mutex = threading.Lock()
        self._asked: OrderedDict[str, tuple[datetime, int]] = OrderedDict()

    def ask(self, address: str, now: datetime) -> None:
        """Count one question; TOO_MANY_ATTEMPTS when there were too many."""
        with self._mutex:
            began, count = self._asked.pop(address, (now, 0))
            if now - began >= self._within:
                began, count = now, 0
            self._asked[address] = (began, count + 1)
            while len(self._asked) > _MOST_ADDRESSES:
                self._asked.popitem(last=False)
        if count >= self._most:
            seconds = max(int((began + self._within - now).total_seconds()), 1)
            raise Refusal(
                Code.TOO_MANY_ATTEMPTS,
                f"Too many questions. Please try again in {seconds} seconds.",
                retry_after_seconds=seconds,
            )


def routes(parts: Parts) -> APIRouter:
    """The public check."""
    router = APIRouter(prefix="/api/verify", tags=["verify"])
    rate = Rate()

    def limited(request: Request) -> None:
        rate.ask(address_of(request), parts.now())

    @router.get("/{verify_id}", dependencies=[Depends(limited)])
    def by_number(verify_id: str) -> Json:
        """What the register says of a number."""
        found = registered(parts, verify_id)
        return UNKNOWN if found is None else _json(found)

    @router.post("/{verify_id}")
    async def by_file(
        verify_id: str, request: Request, _: Annotated[None, Depends(limited)]
    ) -> Json:
        """Whether the PDF in the body is that report, byte for byte, and its signature holds."""
        document = await request.body()  # limited to 20 MB by the guard
        verdict = await run_in_threadpool(verify_document, parts, document, verify_id)
        found = verdict.registered
        return {
            **(UNKNOWN if found is None else _json(found)),
            "matches": verdict.matches,
            "why": verdict.why,
        }

    return router


def _json(found: Registered) -> Json:
    return {
        "state": found.state,
        "kind": found.kind,
        "hospital": found.hospital,
        "center": found.center,
        "signed_by": found.signed_by,
        "licence_number": found.licence_number,
        "signed_at": values.instant(found.signed_at),
        "version": found.version,
        "patient_masked": found.patient_masked,
        "replaced_by": found.replaced_by,
    }
