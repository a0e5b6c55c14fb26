"""Is what is kept still what it was: the last looks at it, and what they found?"""

from fastapi import APIRouter
from sqlalchemy import func, select

from gateway.assemble import Parts
from gateway.web import values
from gateway.web.auth import Who
from gateway.web.values import Json
from storage.index import IndexUnit
from storage.tables import instance
from storage.upkeep import BACKUP, CHECK, SCRUB, Pass
from worklist.person import Role

MOST = 1000


def routes(parts: Parts) -> APIRouter:
    """What the keeper of the gateway looks at."""
    router = APIRouter(prefix="/api/keeping", tags=["keeping"])

    @router.get("")
    def keeping(who: Who) -> Json:
        """The newest pass of each kind, and the objects that are gone or changed, oldest first."""
        who.require(Role.ADMIN)
        with parts.view() as unit:
            passes = {kind: unit.upkeep.last(kind) for kind in (SCRUB, CHECK, BACKUP)}
            faults = [one for one in unit.upkeep.faults(MOST) if one.site in who.sites]
            coverage = _coverage(unit, passes[SCRUB])
        return {
            "passes": {kind: _pass(found) for kind, found in passes.items()},
            "scrub": {
                "bytes_per_second": parts.settings.scrub_bytes_per_second,
                "coverage": coverage,
            },
            "faults": [
                {
                    "what": one.what,
                    "site": one.site,
                    "study_id": one.study_id,
                    "instance_id": one.instance_id,
                    "report_id": one.report_id,
                    "found_at": values.instant(one.found_at),
                }
                for one in faults
            ],
        }

    return router


def _pass(found: list[Pass]) -> Json | None:
    if not found:
        return None
    one = found[0]
    return {
        "began_at": values.instant(one.began_at),
        "ended_at": values.maybe(one.ended_at),
        "objects": one.objects,
        "bytes": one.bytes,
        "faults": one.faults,
    }


def _coverage(unit: IndexUnit, found: list[Pass]) -> float | None:
    """Which share of the instances the running pass has seen; None before the first."""
    if not found:
        return None
    one = found[0]
    if one.ended_at is not None or one.phase != "instance":
        return 1.0
    newest = unit.connection.execute(select(func.max(instance.c.id))).scalar() or 1
    return round(min(int(one.position or 0) / newest, 1.0), 4)
