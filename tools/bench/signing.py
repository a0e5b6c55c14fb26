"""Where does the time of a signature go?

The gateway's own function signs here, in the process of the bench, over the data of a gateway that
has stopped; its steps are timed from outside.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from types import ModuleType
from typing import Any
from unittest.mock import patch

from gateway import people, sealing
from gateway.assemble import Parts
from gateway.guessing import Guessing
from gateway.people import Seat
from storage.search import Filter, Search
from tools.bench.figures import Figure, NotMeasured, remark, several
from tools.bench.house import PASSWORD, READER, House
from worklist import reading
from worklist.report import Draft, Result
from worklist.signing import SignRequest

# what the line says, and where the function is that does it
_STEPS: tuple[tuple[str, ModuleType, str], ...] = (
    ("check: session, key, draft, instances", sealing, "_ready"),
    ("draw: read the object, draw the ECG", sealing, "_content"),
    ("render: typeset the page", sealing, "report_pdf"),
    ("prove: open the authority", people, "opened_authority"),
    ("prove: make the revocation lists", people, "revocation_lists"),
    ("seal: sign and embed the proof", sealing, "seal"),
    ("commit: check again, write, sync", sealing, "_keep"),
)
_PUT = "put: write and sync the object"


class _Steps:
    """Milliseconds of each step, in the order in which they were first taken."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    def timed(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        """The same step, with a clock."""

        def run(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return step(*given, **named)
            finally:
                self.taken.setdefault(name, []).append((time.perf_counter() - began) * 1000)

        return run


def parts(house: House, count: int) -> Iterator[Figure]:
    """The steps of so many signatures under ECGs that still wait; one more comes first, unmeasured,
    to load what is loaded once."""
    with house.parts() as opened:
        seat = people.sign_in(opened, Guessing(), READER, PASSWORD, "127.0.0.1")
        requests = _ready_to_sign(opened, seat, count + 1)
        _sign(opened, seat, requests[:1])
        steps = _Steps()
        with ExitStack() as stack:
            for what, module, name in _STEPS:
                clocked = steps.timed(what, getattr(module, name))
                stack.enter_context(patch.object(module, name, clocked))
            put = steps.timed(_PUT, opened.objects.put)
            stack.enter_context(patch.object(opened.objects, "put", put))
            _sign(opened, seat, requests[1:])
    yield remark("the steps of signing an ECG, without HTTP:")
    for what, taken in steps.taken.items():
        yield several(f"  {what}", "ms", taken)


def _ready_to_sign(opened: Parts, seat: Seat, count: int) -> list[tuple[str, SignRequest]]:
    now = opened.now()
    with opened.view() as unit:
        rows = Search(unit.connection).tasks(seat.caller.sites, Filter("ecg"), None, 200)
    free = [row.task for row in rows if row.task.claimed_by is None][:count]
    if len(free) < count:
        raise NotMeasured("too few ECGs wait to be signed")
    return [_written(opened, seat, task.id, task.study_id, now) for task in free]


def _written(
    opened: Parts, seat: Seat, task_id: str, study_id: int, now: datetime
) -> tuple[str, SignRequest]:
    """Claim and write a draft; what the reader's hand would send."""
    text = Draft(task_id, seat.caller.name)
    text = replace(text, findings="窦性心律。", impression="未见异常 Normal", result=Result.NORMAL)
    with opened.new_unit() as unit:
        reading.claim(unit, task_id, seat.caller, now, opened.policy)
        saved, _ = reading.save_draft(unit, text, seat.caller, now, opened.policy)
        painted = frozenset(one.seen_as for one in unit.studies.instances(study_id))
    return task_id, SignRequest(str(uuid.uuid4()), study_id, saved.version, painted)


def _sign(opened: Parts, seat: Seat, requests: list[tuple[str, SignRequest]]) -> None:
    for task_id, request in requests:
        sealing.sign(opened, seat, task_id, request)
