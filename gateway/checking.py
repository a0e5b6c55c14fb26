"""What does `teleread check` say, and what does `--repair` put right?

Everything is read in this process; what is to be written goes to the owner of the index in small
portions (`gateway.upkeep`).
"""

import sys
import time
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import func, select

from gateway.desk import Desk, Progress, desk, is_running
from gateway.settings import Settings
from storage import check
from storage.condition import Named
from storage.objects import LocalObjects
from storage.tables import instance, report
from storage.upkeep import CHECK
from worklist.errors import Code, Refusal

WATCHED: Final = 20.0
"""Seconds an object must have been seen without a row before it is deleted; more than
`storage.ingest.LATE`."""
_SETTLE = 2.0  # seconds for a commit that is on its way, before an object is called without a row
_PORTION: Final = 200


def run_check(settings: Settings, *, repair: bool, watched: float = WATCHED) -> int:
    """Look at everything; one line for each fault on standard output. 0 where nothing is wrong or
    all was mended, else 1."""
    with desk(settings) as at:
        return _Looking(at, repair, watched).run()


class _Looking:
    """One run of the check."""

    def __init__(self, at: Desk, repair: bool, watched: float) -> None:
        self._at, self._repair, self._watched = at, repair, watched
        self._faults = self._mended = 0
        self._totals = check.Totals()
        self._began = time.monotonic()

    def run(self) -> int:
        orphans = self._without_row()
        since = time.monotonic()
        self._objects()
        self._segments()
        self._counts()
        self._jobs()
        if orphans:
            self._orphans(orphans, since)
        if self._repair:
            self._at.write("upkeep passed", self._passed())
        seconds = max(time.monotonic() - self._began, 0.001)
        size = self._totals.bytes
        print(
            f"teleread: {self._totals.objects} objects, {size} bytes looked at in {seconds:.1f} s "
            f"({size / seconds / 1e6:.0f} MB/s), {self._faults} faults, {self._mended} mended",
            file=sys.stderr,
        )
        return 1 if self._faults > self._mended else 0

    def _say(self, what: str, text: str, *, mended: bool = False) -> None:
        self._faults += 1
        self._mended += mended
        print(f"{what}\t{text}" + ("\tmended" if mended else ""), flush=True)

    def _without_row(self) -> list[str]:
        progress = Progress("objects listed")
        found = check.without_row(self._at.view, self._at.objects, progress.add)
        if len(found) > check.MOST_ORPHANS:
            raise Refusal(
                Code.INVALID,
                f"More than {check.MOST_ORPHANS} objects have no row: this index is not the one of "
                "these objects. Restore it, or make it anew: teleread rebuild-index.",
            )
        return found

    def _objects(self) -> None:
        """Rows against their objects."""
        with self._at.view() as unit:
            known = unit.upkeep.locators()
            total = sum(
                unit.connection.execute(select(func.count()).select_from(one)).scalar_one()
                for one in (instance, report)
            )
        progress, size = Progress("objects checked", total), 0
        portion: list[tuple[Named, str | None]] = []
        pages = check.all_named(self._at.view)
        for one, what in check.wrong_objects(self._at.objects, pages, self._totals):
            progress.add(1, self._totals.bytes - size)
            size = self._totals.bytes
            if what is not None:
                self._say(what, f"{one.row}: {one.locator}")
            if what is not None or one.locator in known:
                portion.append((one, what))
            if len(portion) >= _PORTION:
                self._keep(portion)
                portion = []
        self._keep(portion)

    def _keep(self, portion: list[tuple[Named, str | None]]) -> None:
        """What is gone or changed is never mended: it is kept on record, and the study marked."""
        if self._repair and portion:
            self._at.write("upkeep faults", {"faults": [_sent(*one) for one in portion]})

    def _segments(self) -> None:
        """Rests of records behind the last whole one: nobody was promised them."""
        objects = self._at.objects
        if not isinstance(objects, LocalObjects):
            return
        torn = [one for one in objects.segments() if one.torn and not one.in_use]
        if torn and self._repair:
            objects.cut_torn(self._is_named)
            left = {one.name for one in objects.segments() if one.torn}
        else:
            left = {one.name for one in torn}
        for one in torn:
            text = f"segment {one.name}: {one.torn} bytes behind its last record"
            self._say("torn", text, mended=one.name not in left)

    def _is_named(self, locator: str) -> bool:
        return not check.still_without_row(self._at.view, [locator])

    def _counts(self) -> None:
        wrong = list(check.wrong_counts(self._at.view))
        studies = sorted({study_id for _, study_id in wrong})
        for at in range(0, len(studies) if self._repair else 0, _PORTION):
            self._at.write("upkeep counts", {"studies": studies[at : at + _PORTION]})
        for text, _ in wrong:
            self._say("count", text, mended=self._repair)

    def _jobs(self) -> None:
        missing = list(check.missing_jobs(self._at.view))
        if missing:  # one whose unit was amid is there now
            missing = [one for one in missing if one in set(check.missing_jobs(self._at.view))]
        if missing and self._repair:
            self._at.write("upkeep jobs", {})
        for kind, one in missing:
            self._say("job", f"{kind}:{one} is not there", mended=self._repair)

    def _orphans(self, found: list[str], since: float) -> None:
        """Objects without a row that stay so while they are watched."""
        self._watch(since, _SETTLE)
        found = check.still_without_row(self._at.view, found)
        if found and self._repair:
            self._guard(len(found))
            if is_running(self._at.settings):
                print(f"teleread: watching {len(found)} objects without a row", file=sys.stderr)
                self._watch(since, self._watched)
            for at in range(0, len(found), _PORTION):
                self._at.write("upkeep remove", {"locators": found[at : at + _PORTION]})
        left = set(found) - set(check.still_without_row(self._at.view, found))
        for one in found:
            if one not in left:
                self._say("orphan", one, mended=self._repair)

    def _guard(self, count: int) -> None:
        """Many objects without a row do not come from puts that were broken off."""
        if count > max(self._totals.objects // 10, 50):
            raise Refusal(
                Code.INVALID,
                f"{count} objects have no row, too many for puts that were broken off; none was "
                "deleted. Is the index older than the objects? See teleread rebuild-index.",
            )

    def _watch(self, since: float, seconds: float) -> None:
        time.sleep(max(since + seconds - time.monotonic(), 0))

    def _passed(self) -> dict[str, Any]:
        totals = self._totals
        return {
            "kind": CHECK,
            "seconds": time.monotonic() - self._began,
            "objects": totals.objects,
            "bytes": totals.bytes,
            "faults": self._faults,
        }


def _sent(one: Named, what: str | None) -> dict[str, Any]:
    return {"named": {**asdict(one), "meta": None}, "what": what}
