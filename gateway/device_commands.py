"""What do the commands about devices do?"""

import argparse
import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.assemble import Parts
from gateway.dicom import selftest
from gateway.dicom.names import plain_address
from storage.engineer import Engineer
from storage.index import IndexUnit
from storage.refused import admitted
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.site import Device, checked_ae_title, checked_certificate

Answer = tuple[int, str]


def device_add(parts: Parts, given: argparse.Namespace) -> Answer:
    """Register an AE Title that may call; it leaves the list of refused callers."""
    if given.port is not None and not given.host:
        raise Refusal(Code.INVALID, "--port needs --host.")
    if given.returns_reports and given.port is None:
        raise Refusal(Code.INVALID, "--returns-reports needs --host and --port.")
    title = checked_ae_title(given.ae_title)
    called = checked_ae_title(given.called) if given.called else None
    host = plain_address(given.host) if given.host else None
    certificate = _certificate(parts, given.certificate) if given.certificate else None
    with parts.new_unit() as unit:
        site = unit.people.site(given.site)
        unit.people.add_device(
            site=site.key,
            ae_title=title,
            called=called,
            host=host,
            port=given.port,
            modality=given.modality,
            one_per_image=False,
            certificate=certificate,
            tls=given.tls or certificate is not None,
            returns_reports=given.returns_reports,
        )
        admitted(unit.connection, title, called, host)
        _tell(parts, unit, site.key, device_added=title)
    return 0, f"Device {title} may call for {site.key}."


def device_remove(parts: Parts, given: argparse.Namespace) -> Answer:
    """It may not call any more. What it has sent stays."""
    with parts.new_unit() as unit:
        one = _registered(unit, given)
        unit.people.remove_device(one.id, parts.now())
        _tell(parts, unit, one.site, device_removed=one.id, ae_title=one.ae_title)
    return 0, f"Device {one.ae_title} of {one.site} may not call any more."


def device_list(parts: Parts, _: argparse.Namespace) -> Answer:
    """One line for each device."""
    with parts.view() as unit:
        devices = unit.people.devices()
    lines = ["\t".join((*_columns(one), *_marks(one))) for one in devices]
    return 0, "\n".join(lines) or "There is no device yet. Begin with: teleread device add"


def device_refused(parts: Parts, _: argparse.Namespace) -> Answer:
    """One line for each caller that was turned away, the newest first, with the command that would
    let it in."""
    with parts.view() as unit:
        found = Engineer(unit.connection).refused()
    lines = [
        "\t".join(
            (
                one.last_at.astimezone().isoformat(" ", "seconds"),
                f"{one.times}x",
                one.why,
                f"{one.calling!r} calling {one.called!r} from {one.address}",
                *([one.certificate] if one.certificate else []),
            )
        )
        for one in found
    ]
    if not lines:
        return 0, "Nobody was turned away."
    return 0, "\n".join([*lines, "Let one in with: teleread device add SITE AE_TITLE"])


def device_test(parts: Parts, given: argparse.Namespace) -> Answer:
    """Try everything between a device and the gateway; exit code 1 when something is red."""
    with parts.view() as unit:
        found = unit.people.callers(given.ae_title)
    found = [one for one in found if given.at_site in (None, one.site)]
    if not found:
        at = f" at site {given.at_site}" if given.at_site else ""
        raise Refusal(Code.NOT_FOUND, f"There is no device {given.ae_title}{at}.")
    if len({one.site for one in found}) > 1:
        sites = ", ".join(sorted(one.site for one in found))
        raise Refusal(Code.INVALID, f"Several sites have one ({sites}): say --site SITE.")
    lines = [line for one in found for line in selftest.run(parts, one)]
    red = any(line.colour == selftest.RED for line in lines)
    return int(red), "\n".join(map(str, lines))


def _registered(unit: IndexUnit, given: argparse.Namespace) -> Device:
    """The one device that is meant."""
    found = [
        one
        for one in unit.people.callers(given.ae_title)
        if one.site == given.site
        and given.called in (None, one.called)
        and given.host in (None, one.host)
    ]
    if not found:
        raise Refusal(Code.NOT_FOUND, f"There is no device {given.ae_title} at {given.site}.")
    if len(found) > 1:
        raise Refusal(Code.INVALID, "There are several: say which with --called or --host.")
    return found[0]


def _columns(one: Device) -> tuple[str, ...]:
    return (one.site, one.ae_title, one.called or "-", one.host or "-", str(one.port or "-"))


def _marks(one: Device) -> tuple[str, ...]:
    """What else is said of it."""
    marks = {
        "tls": one.tls,
        f"certificate {one.certificate}": one.certificate is not None,
        "returns reports": one.returns_reports,
    }
    return tuple(mark for mark, holds in marks.items() if holds)


def _certificate(parts: Parts, given: str) -> str:
    """The fingerprint of a PEM file, or the one that was said."""
    if parts.settings.dicom_tls_ca is None:
        raise Refusal(
            Code.INVALID,
            "--certificate needs TELEREAD_DICOM_TLS_CA: without it no device is asked for one.",
        )
    path = Path(given)
    if not path.is_file():
        return checked_certificate(given)
    try:
        shown = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Refusal(Code.INVALID, f"{given}: this is no certificate (PEM).") from error
    return hashlib.sha256(shown.public_bytes(Encoding.DER)).hexdigest()


def _tell(parts: Parts, unit: IndexUnit, site: str, **data: object) -> None:
    unit.facts.add(Fact(Happened.ADMINISTERED, parts.now(), site, data=data))
