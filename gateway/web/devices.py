"""Which devices may call, who was turned away, and who is on the line? The engineer's page."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, time
from ipaddress import ip_address
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Path
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from sqlalchemy import Row

from gateway.assemble import Parts
from gateway.dicom import selftest
from gateway.dicom.live import Counters, LiveAssociation
from gateway.dicom.names import plain_address
from gateway.dicom.store import where
from gateway.web import values
from gateway.web.auth import Hand, Who
from gateway.web.values import Json
from storage.engineer import Engineer, Refused, Today
from storage.index import IndexUnit
from storage.refused import admitted
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.person import Caller, Role
from worklist.site import Device, Site, SiteKind, checked_ae_title, checked_certificate

log = logging.getLogger("teleread.web")

MOST_ID = 2**53
_HOST = re.compile(r"[0-9A-Za-z]([0-9A-Za-z._-]{0,253}[0-9A-Za-z])?")
_MODALITY = re.compile(r"[A-Z0-9_ ]{1,16}")  # PS3.5 table 6.2-1, VR CS

_COLOURS = {selftest.GREEN: True, selftest.RED: False}
_NOT_HELD_BACK = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}

DeviceId = Annotated[int, Path(ge=1, le=MOST_ID)]


class Given(BaseModel):
    """A device as a person enters it."""

    site: str = Field(max_length=32)
    ae_title: str = Field(max_length=64)
    called: str | None = Field(None, max_length=64)
    host: str | None = Field(None, max_length=255)
    port: int | None = None
    modality: str | None = Field(None, max_length=64)
    tls: bool = False
    certificate: str | None = Field(None, max_length=256)
    returns_reports: bool = False


class Edge(Protocol):
    """What is asked of the DICOM edge of this process."""

    counters: Counters

    def live(self) -> list[LiveAssociation]:
        """The open associations now."""


def routes(parts: Parts, edge: Edge | None) -> APIRouter:
    """Devices, refused callers, open associations."""
    router = APIRouter(prefix="/api", tags=["devices"])
    _devices(router, parts)
    _refused(router, parts)

    @router.get("/associations")
    def associations(who: Who) -> Json:
        """Who is on the line, and what has come since the start. From memory alone."""
        require_look(who)
        return _associations(parts, edge, who)

    return router


def _devices(router: APIRouter, parts: Parts) -> None:
    @router.get("/devices")
    def devices(who: Who) -> Json:
        """Every device of the Sites the caller sees, and where a new one may belong."""
        require_look(who)
        now = parts.now()
        with parts.view() as unit:
            return _page(parts, unit, who, now)

    @router.post("/devices", status_code=201)
    def add(given: Given, hand: Hand) -> Json:
        """Register a device."""
        with parts.new_unit() as unit:
            return _added(parts, unit, given, hand.caller)

    @router.put("/devices/{device_id}")
    def change(device_id: DeviceId, given: Given, hand: Hand) -> Json:
        """Register it anew. To another Site only by who sees both."""
        who = hand.caller
        with parts.new_unit() as unit:
            before = own_device(unit, device_id, who)
            columns = _columns(given, who)
            unit.people.change_device(device_id, **columns)
            for site in {before.site, columns["site"]}:
                _tell(parts, unit, site, who, device_changed=device_id)
            return _one(parts, unit, device_id, who)

    @router.delete("/devices/{device_id}", status_code=204)
    def remove(device_id: DeviceId, hand: Hand) -> None:
        """It may not call any more. What it has sent stays."""
        with parts.new_unit() as unit:
            before = own_device(unit, device_id, hand.caller)
            unit.people.remove_device(device_id, parts.now())
            title = before.ae_title
            _tell(parts, unit, before.site, hand.caller, device_removed=device_id, ae_title=title)

    @router.post("/devices/{device_id}/test")
    def test(device_id: DeviceId, hand: Hand) -> StreamingResponse:
        """The lines of `teleread device test`, each as it comes: {step, ok, text}."""
        with parts.view() as unit:
            own_device(unit, device_id, hand.caller)
            (device,) = (one for one in unit.people.devices() if one.id == device_id)
        return StreamingResponse(
            _tested(parts, device), media_type="application/x-ndjson", headers=_NOT_HELD_BACK
        )


def _refused(router: APIRouter, parts: Parts) -> None:
    @router.get("/refused-callers")
    def refused(who: Who) -> Json:
        """Who called and was not let in, newest first. Strangers belong to no Site: a hospital's
        people see them all."""
        require_look(who)
        with parts.view() as unit:
            if not _sees_strangers(unit, who):
                return {"refused": []}
            sites = unit.people.sites()
            found = Engineer(unit.connection).refused()
            owners = _owners(unit)
        return {"refused": [_stranger(one, owners, sites, who) for one in found]}

    @router.post("/refused-callers/{refused_id}/admit", status_code=201)
    def admit(refused_id: str, given: Given, hand: Hand) -> Json:
        """Make it a device, and take it off the list. The device's title is the one it called
        with."""
        with parts.new_unit() as unit:
            one = _a_stranger(unit, refused_id, hand.caller)
            if given.ae_title.strip() != one.calling:
                raise _wrong("ae_title", "A caller is admitted under the AE Title it called with.")
            device = _added(parts, unit, given, hand.caller)
            Engineer(unit.connection).forget(one)
            return device

    @router.delete("/refused-callers/{refused_id}", status_code=204)
    def ignore(refused_id: str, hand: Hand) -> None:
        """Take it off the list; it stands there again when it calls again."""
        with parts.new_unit() as unit:
            one = _a_stranger(unit, refused_id, hand.caller)
            Engineer(unit.connection).forget(one)
            _tell(parts, unit, hand.caller.site, hand.caller, refused_caller_ignored=one.id)


# -- who may ---------------------------------------------------------------------------------------


def require_look(who: Caller) -> None:
    """Devices are the engineer's; who answers for the day may look on."""
    who.require(Role.ADMIN, Role.COORDINATOR)


def own_device(unit: IndexUnit, device_id: int, who: Caller) -> Row[Any]:
    """The device, for someone who may change it. NOT_FOUND for one of a Site not seen."""
    who.require(Role.ADMIN)
    found = Engineer(unit.connection).device(device_id, who.sites)
    if found is None:
        raise Refusal(Code.NOT_FOUND, "There is no such device.")
    return found


def _sees_strangers(unit: IndexUnit, who: Caller) -> bool:
    return unit.people.site(who.site).kind is SiteKind.HOSPITAL


def _a_stranger(unit: IndexUnit, refused_id: str, who: Caller) -> Refused:
    who.require(Role.ADMIN)
    found = Engineer(unit.connection).refused() if _sees_strangers(unit, who) else []
    for one in found:
        if one.id == refused_id:
            return one
    raise Refusal(Code.NOT_FOUND, "There is no such caller.")


# -- what is entered -------------------------------------------------------------------------------


def _added(parts: Parts, unit: IndexUnit, given: Given, who: Caller) -> Json:
    who.require(Role.ADMIN)
    columns = _columns(given, who)
    unit.people.add_device(**columns, one_per_image=False)
    admitted(unit.connection, columns["ae_title"], columns["called"], columns["host"])
    device_id = max(one.id for one in unit.people.callers(columns["ae_title"]))
    title = columns["ae_title"]
    _tell(parts, unit, columns["site"], who, device_added=device_id, ae_title=title)
    return _one(parts, unit, device_id, who)


def _columns(given: Given, who: Caller) -> dict[str, Any]:
    """The columns of a device, or a refusal that names the field."""
    if not who.may_see(given.site):
        raise _wrong("site", "There is no such site.")
    host, port = _host(given.host), given.port
    if port is not None and not 0 < port < 65536:
        raise _wrong("port", "A port is a number from 1 to 65535.")
    if port is not None and host is None:
        raise _wrong("host", "A port needs an address.")
    if given.returns_reports and port is None:
        raise _wrong("port", "Reports are sent to an address and port.")
    certificate = _certificate(given.certificate)
    if certificate is not None and not given.tls:
        raise _wrong("tls", "A certificate is shown over TLS only.")
    modality = (given.modality or "").strip().upper() or None
    if modality is not None and not _MODALITY.fullmatch(modality):
        raise _wrong("modality", "A modality is a code such as ECG.")
    return {
        "site": given.site,
        "ae_title": _ae_title("ae_title", given.ae_title),
        "called": _ae_title("called", given.called) if (given.called or "").strip() else None,
        "host": host,
        "port": port,
        "modality": modality,
        "tls": given.tls,
        "certificate": certificate,
        "returns_reports": given.returns_reports,
    }


def _ae_title(name: str, title: str | None) -> str:
    try:
        return checked_ae_title(title or "")
    except Refusal as refusal:
        raise _wrong(name, refusal.message) from refusal


def _host(given: str | None) -> str | None:
    """An address in its one spelling, or a name."""
    host = (given or "").strip()
    if not host:
        return None
    try:
        ip_address(host)
    except ValueError:
        if _HOST.fullmatch(host):
            return host
    else:
        return plain_address(host)
    raise _wrong("host", "An address is an IP address or a host name.")


def _certificate(given: str | None) -> str | None:
    """A SHA-256 fingerprint, however it is written, or `any`."""
    text = re.sub(r"[\s.-]", "", given or "")
    try:
        return checked_certificate(text) if text else None
    except Refusal as refusal:
        raise _wrong("certificate", refusal.message) from refusal


def _wrong(field: str, sentence: str) -> Refusal:
    return Refusal(Code.INVALID, sentence, field=field)


def _tell(parts: Parts, unit: IndexUnit, site: str, who: Caller, **data: Any) -> None:
    unit.facts.add(Fact(Happened.ADMINISTERED, parts.now(), site, who=who.name, data=data))


# -- what is shown ---------------------------------------------------------------------------------


def _page(parts: Parts, unit: IndexUnit, who: Caller, now: datetime) -> Json:
    settings, sites = parts.settings, unit.people.sites()
    engineer = Engineer(unit.connection)
    today = engineer.today(who.sites, _midnight(sites[who.site], now))
    return {
        "devices": [_device(row, sites, today) for row in engineer.devices(who.sites)],
        "sites": [
            {**values.site_name(one), "kind": one.kind}
            for one in sites.values()
            if who.may_see(one.key)
        ],
        "own": {
            "ae_title": settings.ae_title,
            "port": settings.dicom_port,
            "tls_port": getattr(settings, "dicom_tls_port", None) or None,
        },
        "may_change": Role.ADMIN in who.roles and not who.is_program,
        "as_of": values.instant(now),
    }


def _one(parts: Parts, unit: IndexUnit, device_id: int, who: Caller) -> Json:
    sites, engineer = unit.people.sites(), Engineer(unit.connection)
    row = own_device(unit, device_id, who)
    today = engineer.today({row.site}, _midnight(sites[who.site], parts.now()))
    return _device(row, sites, today)


def _midnight(site: Site, now: datetime) -> datetime:
    return datetime.combine(now.astimezone(site.zone).date(), time(), site.zone)


def _device(
    row: Row[Any], sites: Mapping[str, Site], today: Mapping[tuple[str, str], Today]
) -> Json:
    came = today.get((row.site, row.ae_title), Today())
    return {
        "id": row.id,
        "site": values.site_name(sites[row.site]),
        "ae_title": row.ae_title,
        "called": row.called,
        "host": row.host,
        "port": row.port,
        "modality": row.modality,
        "tls": bool(row.tls),
        "certificate": row.certificate,
        "returns_reports": bool(row.returns_reports),
        "one_per_image": bool(row.one_per_image),
        "last_seen_at": values.maybe(row.last_seen_at),
        "studies_today": came.studies,
        "instances_today": came.instances,
    }


def _owners(unit: IndexUnit) -> dict[str, set[str]]:
    """The Sites that own a device of each AE Title."""
    owners: dict[str, set[str]] = {}
    for one in unit.people.devices():
        owners.setdefault(one.ae_title, set()).add(one.site)
    return owners


def _stranger(
    one: Refused, owners: Mapping[str, set[str]], sites: Mapping[str, Site], who: Caller
) -> Json:
    known_at = sorted(owners.get(one.calling, set()) & who.sites)
    return {
        "id": one.id,
        "calling": one.calling,
        "called": one.called,
        "address": one.address,
        "certificate": one.certificate or None,
        "why": one.why,
        "times": one.times,
        "first_at": values.instant(one.first_at),
        "last_at": values.instant(one.last_at),
        "known_at": [values.site_name(sites[key]) for key in known_at],
    }


def _associations(parts: Parts, edge: Edge | None, who: Caller) -> Json:
    if edge is None:
        return {"here": False, "associations": [], "counters": None}
    with parts.view() as unit:
        sites = unit.people.sites()
        hospital = _sees_strangers(unit, who)
    now = edge.live()
    found = [one for one in now if who.may_see(one.site)]
    return {
        "here": True,
        "associations": [_line(one, sites) for one in sorted(found, key=lambda one: one.since)],
        # of all Sites together
        "counters": _counters(edge, now) if hospital else None,
    }


def _line(one: LiveAssociation, sites: Mapping[str, Site]) -> Json:
    return {
        "id": one.id,
        "device_id": one.device.id,
        "ae_title": one.ae_title,
        "site": values.site_name(sites[one.site]),
        "address": one.address,
        "tls": one.tls,
        "since": values.instant(one.since),
        "instances": one.instances,
        "bytes": one.bytes,
        "state": one.state,
    }


def _counters(edge: Edge, now: list[LiveAssociation]) -> Json:
    """Totals since the start, with what the open associations have brought so far."""
    one = edge.counters
    return {
        "since": values.instant(one.since),
        "accepted": one.accepted,
        "rejected": one.rejected.total(),
        "stored": one.stored + sum(line.instances for line in now),
        "refused": one.refused,
        "bytes": one.bytes + sum(line.bytes for line in now),
    }


# -- a test ----------------------------------------------------------------------------------------


def _tested(parts: Parts, device: Device) -> Iterator[str]:
    try:
        for line in selftest.tried(parts, device):
            yield _as_line(line.what, _COLOURS.get(line.colour), line.text)
    except Exception as error:  # half an answer is on its way: the rest is one more line
        log.error("the test of device %d broke off: %s", device.id, where(error))
        yield _as_line("gateway", False, "this failed here; it has been noted")


def _as_line(step: str, ok: bool | None, text: str) -> str:
    return json.dumps({"step": step, "ok": ok, "text": text}, ensure_ascii=False) + "\n"
