"""What do the commands that work on the data do? Each is a function over the parts, wherever the
parts are open.

`run` is called by the command itself when it can open the data folder, and by the running server
when the command hands its work over.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway import people, upkeep
from gateway.assemble import Parts
from gateway.device_commands import (
    device_add,
    device_list,
    device_refused,
    device_remove,
    device_test,
)
from gateway.dicom import conformance
from gateway.verify import verify_document
from storage.index import IndexUnit
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.person import Person, roles_of
from worklist.site import Site, SiteKind, checked_site

# what a command prints; an exit code other than 0 is for answers such as "not genuine"
Answer = tuple[int, str]
LONGEST_DAYS = 3650


def site_add(parts: Parts, given: argparse.Namespace) -> Answer:
    """Add a Site, or change the one of this key: what is not said stays as it was."""
    with parts.view() as unit:
        before = unit.people.sites().get(given.key)
    if before is None:
        before = Site(given.key, "", given.name, SiteKind.CENTER, "Asia/Shanghai")
        before = replace(before, kind=SiteKind(given.kind or before.kind))
    said = {
        name: getattr(given, name)
        for name in ("name", "name_en", "timezone", "phone")
        if getattr(given, name) is not None
    }
    read_by = before.read_by if given.read_by is None else frozenset(given.read_by)
    if given.kind is not None and given.kind != before.kind:
        raise Refusal(Code.INVALID, f"Site {given.key} is a {before.kind} and stays one.")
    site = checked_site(replace(before, read_by=read_by, **said))
    with parts.new_unit() as unit:
        unit.people.save_site(site, parts.now())
        _tell(parts, unit, site.key, site_saved=site.key, read_by=sorted(site.read_by))
    if site.kind is SiteKind.HOSPITAL:
        people.ensure_authority(parts, site.key)
    hint = "" if site.phone else " Without --phone a critical result shows no number to call here."
    return 0, f"Site {site.key} is there.{hint}"


def site_list(parts: Parts, _: argparse.Namespace) -> Answer:
    """One line for each Site."""
    with parts.view() as unit:
        sites = unit.people.sites().values()
    lines = [
        "\t".join((one.key, one.kind, one.name, one.timezone, ",".join(sorted(one.read_by)) or "-"))
        for one in sites
    ]
    return 0, "\n".join(lines) or "There is no site yet. Begin with: teleread site add"


def conformance_statement(parts: Parts, _: argparse.Namespace) -> Answer:
    """The DICOM conformance statement, as the gateway runs now."""
    return 0, conformance.statement(parts)


def user_add(parts: Parts, given: argparse.Namespace) -> Answer:
    """Add an account; a reader gets a certificate whose key only the password opens."""
    person = Person(
        name=given.name,
        display=given.display or given.name,
        display_en=given.display_en or given.display or given.name,
        roles=roles_of(given.role),
        site=given.site,
        licence_number=given.licence,
        phone=given.phone,
    )
    people.add_user(parts, person, given.password)
    return 0, f"User {person.name} may sign in."


def user_password(parts: Parts, given: argparse.Namespace) -> Answer:
    """Set a new password: sessions end, the old certificate is revoked, a new one is issued."""
    people.set_password(parts, given.name, given.password)
    return 0, f"User {given.name} has a new password and, as a reader, a new certificate."


def token_add(parts: Parts, given: argparse.Namespace) -> Answer:
    """Make a bearer token for a program; it is shown once."""
    if given.days is not None and not 0 < given.days <= LONGEST_DAYS:
        raise Refusal(Code.INVALID, f"--days is a number from 1 to {LONGEST_DAYS}.")
    lifetime = None if given.days is None else timedelta(days=given.days)
    token = people.add_token(parts, given.name, given.site, roles_of(given.role), lifetime)
    return 0, token


def token_revoke(parts: Parts, given: argparse.Namespace) -> Answer:
    """End a token."""
    with parts.new_unit() as unit:
        site = unit.people.revoke_token(given.name, parts.now())
        if site is None:
            raise Refusal(Code.NOT_FOUND, f"There is no token {given.name!r}.")
        _tell(parts, unit, site, token_revoked=given.name)
    return 0, f"Token {given.name} is revoked."


def report_verify(parts: Parts, given: argparse.Namespace) -> Answer:
    """Who signed this PDF and when, or why it is not genuine."""
    try:
        document = Path(given.file).read_bytes()
    except OSError as error:
        raise Refusal(Code.INVALID, f"{given.file}: {error.strerror}.") from error
    verdict = verify_document(parts, document)
    return (0 if verdict.matches else 1), verdict.text()


def _tell(parts: Parts, unit: IndexUnit, site: str, **data: Any) -> None:
    """Who reads for whom and what may call is on record like every other change."""
    unit.facts.add(Fact(Happened.ADMINISTERED, parts.now(), site, data=data))


def upgrade(_: Parts, __: argparse.Namespace) -> Answer:
    """A running server has brought its schema up before it began."""
    return 0, "The schema was up to date already."


COMMANDS: Mapping[str, Callable[[Parts, argparse.Namespace], Answer]] = {
    "upgrade": upgrade,
    "site add": site_add,
    "site list": site_list,
    "device add": device_add,
    "device list": device_list,
    "device refused": device_refused,
    "device remove": device_remove,
    "device test": device_test,
    "conformance": conformance_statement,
    "user add": user_add,
    "user password": user_password,
    "token add": token_add,
    "token revoke": token_revoke,
    "report verify": report_verify,
    **upkeep.COMMANDS,
}


def run(parts: Parts, command: str, given: dict[str, Any]) -> dict[str, Any]:
    """Do one command; its answer or its refusal as JSON values."""
    try:
        code, text = COMMANDS[command](parts, argparse.Namespace(**given))
    except Refusal as refusal:
        return {"code": 1, "out": "", "error": refusal.message}
    return {"code": code, "out": text, "error": ""}
