"""What waits to be sent to devices, what was given up, and shall it be tried again?"""

from dataclasses import replace
from datetime import datetime

from fastapi import APIRouter

from gateway.assemble import Parts
from gateway.web import values
from gateway.web.auth import Hand, Who
from gateway.web.devices import require_look
from gateway.web.values import Json
from storage.engineer import Engineer, Outgoing
from storage.index import IndexUnit
from worklist import returning
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.person import Caller, Role


def routes(parts: Parts) -> APIRouter:
    """Reports and commitment answers on their way to devices."""
    router = APIRouter(prefix="/api/transmissions", tags=["devices"])

    @router.get("")
    def outgoing(who: Who) -> Json:
        """What has not arrived yet: given up first, then by how long it waits."""
        require_look(who)
        with parts.view() as unit:
            titles = {one.id: one.ae_title for one in unit.people.devices()}
            sites = unit.people.sites()
            rows = Engineer(unit.connection).outgoing(who.sites)
        return {
            "transmissions": [
                {
                    "id": one.id,
                    "kind": one.kind,
                    "device": {"ae_title": titles[one.device_id]}
                    if one.device_id in titles
                    else None,
                    "site": values.site_name(sites[one.site]),
                    "state": "failed" if one.failed else "waiting",
                    "attempts": one.attempts,
                    "reason": one.reason,
                    "since": values.instant(one.since),
                    "due_at": None if one.failed else values.maybe(one.due_at),
                }
                for one in rows
            ]
        }

    @router.post("/{transmission_id}/again", status_code=204)
    def again(transmission_id: str, hand: Hand) -> None:
        """Try it now; where it was given up, with all attempts. With it goes everything else that
        was given up on its way to the same device."""
        now = parts.now()
        with parts.new_unit() as unit:
            one = _outgoing(unit, transmission_id, hand.caller)
            _due_now(unit, one, now)
            data = {"sent_again": one.id, "kind": one.kind}
            unit.facts.add(
                Fact(Happened.ADMINISTERED, now, one.site, who=hand.caller.name, data=data)
            )

    return router


def _outgoing(unit: IndexUnit, wanted: str, who: Caller) -> Outgoing:
    who.require(Role.ADMIN)
    for one in Engineer(unit.connection).outgoing(who.sites):
        if one.id == wanted:
            return one
    raise Refusal(Code.NOT_FOUND, "There is nothing of the kind to send.")


def _due_now(unit: IndexUnit, one: Outgoing, now: datetime) -> None:
    if one.kind == "report":
        returning.again(unit, one.device_id, now)
        unit.jobs.put("send", f"send:{one.id}", now, {"transmission_id": one.id})
        return
    asked = unit.commitments.lock(one.id)
    if asked is not None:
        unit.commitments.save(replace(asked, given_up_at=None))
        unit.jobs.put("commit", f"commit:{one.id}", now, {"commitment_id": one.id})
