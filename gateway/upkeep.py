"""What does the owner of the index write for those who look at everything, and how is everything
looked at a little at a time?

The commands here are those that `teleread check` and `teleread backup` hand over; the scrub is the
same look as `check`, as a job.
"""

import argparse
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.assemble import Parts
from storage import check, mending
from storage.condition import Named, look
from storage.upkeep import SCRUB, Pass

log = logging.getLogger("teleread.upkeep")

SLICE: Final = timedelta(seconds=10)
REST: Final = timedelta(hours=1)
"""From the end of one pass of the scrub to the next."""


def keep_faults(parts: Parts, given: argparse.Namespace) -> tuple[int, str]:
    """Keep which objects are gone or changed, and which are whole again."""
    wrong = [(Named(**one["named"]), one["what"]) for one in given.faults]
    with parts.new_unit() as unit:
        mending.keep_faults(unit, [(one, what) for one, what in wrong if what], parts.now())
        for one, what in wrong:
            if what is None:
                unit.upkeep.is_whole(one.locator)
    return _answer(kept=len(wrong))


def recount(parts: Parts, given: argparse.Namespace) -> tuple[int, str]:
    """Let these studies count their rows again."""
    for study_id in given.studies:
        with parts.new_unit() as unit:
            mending.recount(unit, study_id)
    return _answer(counted=len(given.studies))


def give_jobs(parts: Parts, _: argparse.Namespace) -> tuple[int, str]:
    """A job for everything that waits for one."""
    with parts.new_unit() as unit:
        return _answer(made=mending.give_jobs(unit, parts.now()))


def remove(parts: Parts, given: argparse.Namespace) -> tuple[int, str]:
    """Delete objects that no row names."""
    return _answer(removed=mending.remove(parts.new_unit, parts.objects, given.locators))


def passed(parts: Parts, given: argparse.Namespace) -> tuple[int, str]:
    """Keep that somebody has looked at everything, or made a backup."""
    now = parts.now()
    began = now - timedelta(seconds=given.seconds)
    with parts.new_unit() as unit:
        one = Pass(given.kind, began, now, now, "", "", given.objects, given.bytes, given.faults)
        unit.upkeep.save(one)
    return _answer(kept=1)


def _answer(**values: int) -> tuple[int, str]:
    return 0, json.dumps(values)


COMMANDS: Final = {
    "upkeep faults": keep_faults,
    "upkeep counts": recount,
    "upkeep jobs": give_jobs,
    "upkeep remove": remove,
    "upkeep passed": passed,
}


# --- the scrub ---------------------------------------------------------------------------------


def begin_scrub(parts: Parts) -> None:
    """The job that looks at everything, again and again; none where the rate is 0."""
    with parts.new_unit() as unit:
        if parts.settings.scrub_bytes_per_second:
            unit.jobs.put("scrub", "scrub", parts.now() + SLICE, {})
        else:
            unit.jobs.drop("scrub")


def scrub(parts: Parts, _: Mapping[str, Any], now: datetime) -> datetime | None:
    """Look at as many bytes as the rate allows for one slice; when to go on."""
    rate = parts.settings.scrub_bytes_per_second
    if not rate:
        return None
    with parts.view() as unit:
        last = next(iter(unit.upkeep.last(SCRUB)), None)
        known = unit.upkeep.locators()
    one = Pass(SCRUB, now, now, phase="instance")
    if last is not None and last.ended_at is None:
        one = last
    elif last is not None and last.ended_at is not None and now < last.ended_at + REST:
        return last.ended_at + REST
    one, seen = _slice(parts, one, int(rate * SLICE.total_seconds()))
    for named, what in seen:
        if what:
            log.error("scrub: %s: %s", named.row, what)
    with parts.new_unit() as unit:
        mending.keep_faults(unit, [(named, what) for named, what in seen if what], now)
        for named, what in seen:
            if what is None and named.locator in known:
                unit.upkeep.is_whole(named.locator)
        unit.upkeep.save(one)
    return now + (REST if one.ended_at is not None else SLICE)


def _slice(parts: Parts, one: Pass, most: int) -> tuple[Pass, list[tuple[Named, str | None]]]:
    """Objects from where the pass stands, until so many bytes have been read."""
    totals, seen = check.Totals(), []
    wrong = 0
    pages = check.all_named(parts.view, one.phase, one.position)
    for named, what in _one_by_one(parts, pages, totals):
        seen.append((named, what))
        wrong += what is not None
        phase = "instance" if named.instance_id is not None else "report"
        one = replace(one, phase=phase, position=str(named.instance_id or named.report_id))
        if totals.bytes >= most:
            break
    now = parts.now()
    is_over = totals.bytes < most
    one = replace(
        one,
        seen_at=now,
        ended_at=now if is_over else None,
        objects=one.objects + totals.objects,
        bytes=one.bytes + totals.bytes,
        faults=one.faults + wrong,
    )
    return one, seen


def _one_by_one(
    parts: Parts, pages: Iterable[list[Named]], totals: check.Totals
) -> Iterator[tuple[Named, str | None]]:
    for page in pages:
        for named in page:
            what, size = look(parts.objects, named)
            totals.objects += 1
            totals.bytes += size
            yield named, what
