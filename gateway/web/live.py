"""What happens right now? One event stream for each browser.

One reader for all streams: after a commit it reads the new facts once, makes events of them and
hands each stream what its caller may see. Streams hold no transaction and no thread.

A locked screen hears a nameless stream: how many critical results wait for its person, no more.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool

from gateway import people
from gateway.assemble import Parts
from gateway.people import Listening
from gateway.web import values
from gateway.web.auth import COOKIE, Listener, is_hospital
from storage.following import MOST, Follower
from storage.index import IndexUnit
from storage.search import Search, TaskRow
from worklist.errors import Refusal
from worklist.events import Happened
from worklist.person import Caller
from worklist.task import TaskState

log = logging.getLogger("teleread.web.live")

HEARTBEAT = 15.0
# commits within this time become one look at the journal
GATHER = 0.05
# what a stream may be behind; a slower browser is sent away and asks anew
LONGEST_QUEUE = 2000

_OF_TASKS = frozenset(
    {
        Happened.TASK_OPENED,
        Happened.TASK_CLAIMED,
        Happened.TASK_RELEASED,
        Happened.TASK_RETURNED,
        Happened.LEASE_EXPIRED,
        Happened.REPORT_SIGNED,
        Happened.REPORT_TAKEN_BACK,
        Happened.INSTANCE_CAME_LATE,
    }
)
_OF_CRITICALS = frozenset(
    {
        Happened.CRITICAL_RAISED,
        Happened.CRITICAL_ESCALATED,
        Happened.CRITICAL_CONFIRMED,
        Happened.CRITICAL_CLOSED,
    }
)
# what the hospital does before a report is out is not told to the center
_INSIDE = {Happened.REPORT_SIGNED: "signed", Happened.REPORT_TAKEN_BACK: "taken_back"}
_OF_REPORTS = {
    Happened.REPORT_BECAME_FINAL: "final",
    Happened.REPORT_WITHDRAWN: "withdrawn",
    Happened.REPORT_REPLACED: "replaced",
    Happened.REPORT_OUTDATED: "final",
    Happened.REPORT_OPENED: "final",
    Happened.REPORT_ACKNOWLEDGED: "final",
}
_SILENT = frozenset({Happened.STUDY_OPENED})


@dataclass(frozen=True)
class Event:
    """One thing to tell to those who may see `site`; each sees a `task` row in an own way."""

    id: int
    name: str
    site: str
    inside: bool
    data: dict[str, Any] = field(default_factory=dict)
    task: TaskRow | None = None


class Stream:
    """One browser. `None` in the queue ends it."""

    def __init__(self, who: Caller) -> None:
        self.who = who
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue(LONGEST_QUEUE)

    def tell(self, events: list[Event]) -> None:
        """Queue what this caller may see; a queue that is full ends the stream."""
        for event in events:
            if not self._may_hear(event):
                continue
            if self.queue.full():
                self.end()
                return
            self.queue.put_nowait(event)

    def end(self) -> None:
        """Nothing more will come."""
        while self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(None)

    async def hears(self, name: str, seconds: float) -> bool:
        """Wait for an event of this name, or for so long. False when nothing more will come."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                while (event := await self.queue.get()) is not None:
                    if event.name == name:
                        return True
                return False
        except TimeoutError:
            return True

    def _may_hear(self, event: Event) -> bool:
        return self.who.may_see(event.site) and (not event.inside or is_hospital(self.who))


class Live:
    """All streams and the one task that reads the journal for them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._streams: set[Stream] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._follower = Follower()
        self._closed = False
        parts.index.on_change(self._wake)

    @property
    def count(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    async def open(self) -> None:
        """Begin to read, on the running loop."""
        self._loop = asyncio.get_running_loop()
        await run_in_threadpool(self._start)
        self._pump = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End every stream at once."""
        self._closed = True
        for stream in self._streams:
            stream.end()
        if self._pump is not None:
            self._pump.cancel()

    def close_from_outside(self) -> None:
        """The same from another thread."""
        if self._loop is not None and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self.close(), self._loop)

    async def stream(
        self, who: Caller, last: int | None, alive: Callable[[], bool]
    ) -> AsyncIterator[str]:
        """Lines for one browser until it leaves, its session ends or the server stops."""
        mine = self._joined(who)
        try:
            yield "retry: 2000\n\n" + self._clock()
            if last is not None:
                # of a long absence the newest: a page asks for its lists anew anyhow
                begin, until = self._follower.resume(last), self._follower.position
                for event in await run_in_threadpool(self._between, begin, until):
                    if mine._may_hear(event):
                        yield _line(event, who)
            clock = asyncio.get_running_loop().time
            beat = clock() + HEARTBEAT
            while True:
                try:
                    event_or_end = await asyncio.wait_for(mine.queue.get(), beat - clock())
                except TimeoutError:  # also amid much news: a session that has ended hears no more
                    beat = clock() + HEARTBEAT
                    if not await run_in_threadpool(alive):
                        return
                    yield self._clock()
                    continue
                if event_or_end is None:
                    return
                yield _line(event_or_end, who)
        finally:
            self._streams.discard(mine)

    async def nameless(self, who: Caller, waiting: Callable[[], int | None]) -> AsyncIterator[str]:
        """Lines for a locked screen: the clock, and how many critical results wait, until `waiting`
        says None. It is asked before each line: a session that has ended hears nothing."""
        mine = self._joined(who)
        try:
            yield "retry: 2000\n\n" + self._clock()
            told, clock = -1, asyncio.get_running_loop().time
            beat = clock() + HEARTBEAT
            while True:
                count = await run_in_threadpool(waiting)
                if count is None:
                    return
                if clock() >= beat:
                    beat = clock() + HEARTBEAT
                    yield self._clock()
                if count != told:
                    told = count
                    yield f'event: critical\ndata: {{"open":{count}}}\n\n'
                if not await mine.hears("critical", beat - clock()):
                    return
        finally:
            self._streams.discard(mine)

    def _joined(self, who: Caller) -> Stream:
        mine = Stream(who)
        if not self._closed:
            self._streams.add(mine)
        else:
            mine.end()
        return mine

    def _clock(self) -> str:
        data = json.dumps({"server_time": values.instant(self._parts.now())})
        return f"event: clock\ndata: {data}\n\n"

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None and not self._changed.is_set():
            try:
                loop.call_soon_threadsafe(self._changed.set)
            except RuntimeError:  # the loop has ended
                self._loop = None

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(GATHER)
            self._changed.clear()
            try:
                if not self._streams:  # nobody listens: only keep up
                    await run_in_threadpool(self._skip)
                    continue
                events = await run_in_threadpool(self._news)
            except Exception:
                log.exception("the journal could not be read; trying again")
                await asyncio.sleep(1)
                self._changed.set()
                continue
            for stream in list(self._streams):
                stream.tell(events)

    def _start(self) -> None:
        with self._parts.view() as unit:
            self._follower.start(unit.facts)

    def _skip(self) -> None:
        with self._parts.view() as unit:
            self._follower.skip(unit.facts)

    def _news(self) -> list[Event]:
        """What has happened since the last look."""
        with self._parts.view() as unit:
            sites = frozenset(unit.people.sites())
            return _told(unit, self._follower.news(unit.facts, sites))

    def _between(self, position: int, until: int) -> list[Event]:
        if position >= until:
            return []
        with self._parts.view() as unit:
            sites = frozenset(unit.people.sites())
            rows = unit.facts.after(position, sites, MOST)
            return _told(unit, [row for row in rows if row.id <= until])


def routes(parts: Parts, live: Live) -> APIRouter:
    """The stream."""
    router = APIRouter(prefix="/api/live", tags=["live"])

    @router.get("")
    async def stream(
        request: Request, listener: Listener, nameless: bool = False
    ) -> StreamingResponse:
        """Events for this browser; see the contract for their names. A locked screen, and one that
        asks for it because it is just being locked, gets the nameless stream."""
        secret = people.secret_of(request.cookies.get(COOKIE))

        def found() -> Listening | None:
            try:
                return people.listening(parts, secret)
            except Refusal:
                return None

        def alive() -> bool:
            now = found()
            return now is not None and not now.locked

        def waiting() -> int | None:
            now = found()
            if now is None or not (now.locked or nameless):  # unlocked: the page asks for more
                return None
            return now.critical_open

        given = request.headers.get("Last-Event-ID", "")
        last = int(given) if given.isascii() and given.isdigit() else None
        who = listener.caller
        if nameless or listener.locked:
            lines = live.nameless(who, waiting)
        else:
            lines = live.stream(who, last, alive)
        return StreamingResponse(
            lines,
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
        )

    return router


def _told(unit: IndexUnit, facts: Sequence[Row[Any]]) -> list[Event]:
    """Facts as events, with the rows of the worklist as they are now."""
    search = Search(unit.connection)
    ids = {row.task_id for row in facts if row.what in _OF_TASKS and row.task_id}
    grown = {row.study_id for row in facts if row.what == Happened.INSTANCE_STORED}
    ids |= set(search.active_tasks_of(grown)) if grown else set()
    return _events(facts, {row.task.id: row for row in search.tasks_by_id(ids)} if ids else {})


def _events(facts: Sequence[Row[Any]], tasks: dict[str, TaskRow]) -> list[Event]:
    """One event for each task and study that moved, however many facts tell of it."""
    events: dict[tuple[str, ...], Event] = {}
    for fact in facts:
        for event in _of_fact(fact):
            events[(event.name, event.site, json.dumps(event.data, sort_keys=True))] = event
    newest = facts[-1].id if facts else 0
    told = [Event(newest, "task", row.task.site, True, task=row) for row in tasks.values()]
    # in the order of their ids: a stream that breaks in between is resumed without a gap
    return sorted(events.values(), key=lambda one: one.id) + told


def _of_fact(fact: Row[Any]) -> list[Event]:
    what = Happened(fact.what)
    events: list[Event] = []
    if what is Happened.REPORT_OPENED and not fact.data.get("first"):
        return events  # nothing has changed, and a page that asks anew would go round in circles
    if fact.study_id is not None and what not in _SILENT:
        inside = what in _INSIDE
        events.append(Event(fact.id, "study", fact.site, inside, {"study_id": str(fact.study_id)}))
    if what in _OF_CRITICALS:
        events.append(Event(fact.id, "critical", fact.site, False))
    if what is Happened.INSTANCE_CAME_LATE:
        data = {"task_id": fact.task_id, "sop_uids": fact.data["sop_uids"]}
        events.append(Event(fact.id, "late", fact.site, True, data))
    state = _OF_REPORTS.get(what) or _INSIDE.get(what)
    if state is not None:
        data = {"report_id": fact.report_id, "state": state}
        events.append(Event(fact.id, "report", fact.site, what in _INSIDE, data))
    return events


def _line(event: Event, who: Caller) -> str:
    data = event.data if event.task is None else _task(event.task, who)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.name}\ndata: {text}\n\n"


def _task(row: TaskRow, who: Caller) -> dict[str, Any]:
    if row.task.state not in (TaskState.OPEN, TaskState.CLAIMED):
        return {"id": row.task.id, "gone": True}
    return values.task(row, who.name, values.target_seconds(row.task))
