"""How does a newcomer see the whole house at work?

From an empty folder: two made-up centers and a hospital that reads for them, people, and a day of
studies that come in through real DICOM associations while the gateway runs. A second start keeps
everything and only starts the gateway.
"""

import json
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from pydicom import config
from pydicom.dataset import Dataset

from gateway import people
from gateway.assemble import Parts
from gateway.serve import Gateway, serve
from gateway.settings import Settings, read_settings
from sample_studies.borrowed import CHEST, ECG, HEART_LOOP, SHIN, borrow
from sample_studies.make import studies
from sample_studies.person import BAI, CHINA, LUO, QIAO, SHEN, Visit
from sample_studies.send import NotStored, send
from worklist.errors import Refusal
from worklist.person import Person, Role
from worklist.site import Site, SiteKind

PASSWORD = "teleread-demo"  # noqa: S105 - for made-up people of the demo only
HOSPITAL = "qingyu"
CENTERS = {1: "liuwan", 2: "songling"}
MARK = "demo.json"

_SITES = (
    Site(
        HOSPITAL,
        "青榆区人民医院",
        "Qingyu District Hospital",
        SiteKind.HOSPITAL,
        "Asia/Shanghai",
        "0900 555 0100",
    ),
    Site(
        CENTERS[1],
        "柳湾社区卫生服务中心",
        "Liuwan Community Health Center",
        SiteKind.CENTER,
        "Asia/Shanghai",
        "0900 555 0111",
        frozenset({HOSPITAL}),
    ),
    Site(
        CENTERS[2],
        "松岭镇卫生院",
        "Songling Township Health Center",
        SiteKind.CENTER,
        "Asia/Shanghai",
        "0900 555 0122",
        frozenset({HOSPITAL}),
    ),
)
# calling AE Titles of each center: its imaging devices and its ECG cart
_IMAGING = {1: "LIUWAN_IMG", 2: "SONGLING_IMG"}
_CART = {1: "LIUWAN_ECG", 2: "SONGLING_ECG"}
# studies that come as emergencies
_STAT = frozenset({"ecg-inferior-stemi", "ecg-av-block"})


def _person(
    name: str, display: str, display_en: str, role: Role, site: str, licence: str | None = None
) -> Person:
    return Person(name, display, display_en, frozenset({role}), site, licence, "0900 555 0142")


_PEOPLE = (
    _person("radiologist", "周样", "Zhou Yang", Role.READER, HOSPITAL, "DEMO-1101-001"),
    _person("cardiologist", "马演", "Ma Yan", Role.READER, HOSPITAL, "DEMO-1101-002"),
    _person("coordinator", "李范", "Li Fan", Role.COORDINATOR, HOSPITAL),
    _person("admin", "管理员", "Administrator", Role.ADMIN, HOSPITAL),
    _person("doctor1", "苏例", "Su Li", Role.DOCTOR, CENTERS[1]),
    _person("doctor2", "海仿", "Hai Fang", Role.DOCTOR, CENTERS[2]),
)


def main() -> int:
    """Run the demo in the foreground until Ctrl-C."""
    config.settings.reading_validation_mode = config.IGNORE
    warnings.simplefilter("ignore", UserWarning)
    try:
        folder = Path(os.environ.get("DEMO_DATA") or "./demo-data")
        settings = read_settings(data_dir=folder)
        return serve(settings, before=furnish, ready=_receive_a_day)
    except (Refusal, OSError) as error:
        print(f"teleread: {error}", file=sys.stderr)
        return 1


def furnish(parts: Parts) -> None:
    """Sites, devices and people, unless they are there."""
    with parts.view() as unit:
        known = set(unit.people.people())
        devices = {one.ae_title for one in unit.people.devices()}
    now = parts.now()
    with parts.new_unit() as unit:
        for site in _SITES:
            unit.people.save_site(site, now)
        for number, site_key in CENTERS.items():
            for title, modality in ((_IMAGING[number], None), (_CART[number], "ECG")):
                if title not in devices:
                    unit.people.add_device(
                        site=site_key,
                        ae_title=title,
                        called=None,
                        host=None,
                        port=None,
                        modality=modality,
                        one_per_image=False,
                    )
    people.ensure_authority(parts, HOSPITAL)
    for person in _PEOPLE:
        if person.name not in known:
            _say(f"making the account {person.name}")
            people.add_user(parts, person, PASSWORD)


def _receive_a_day(gateway: Gateway) -> None:
    """Send the day from devices that run beside the gateway, then say what to try."""
    sender = threading.Thread(
        target=_send_a_day, args=(gateway.parts,), name="devices", daemon=True
    )
    sender.start()


def _send_a_day(parts: Parts) -> None:
    settings = parts.settings
    mark = settings.data_dir / MARK
    state = json.loads(mark.read_text()) if mark.exists() else {}
    if not state.get("sent"):
        morning = datetime.fromisoformat(
            state.get("morning") or (datetime.now(CHINA) - timedelta(minutes=90)).isoformat()
        )
        mark.write_text(json.dumps({"morning": morning.isoformat()}))
        try:
            for name, calling, objects in _day(morning):
                count = send(
                    objects,
                    calling,
                    host=settings.dicom_host,
                    port=settings.dicom_port,
                    called=settings.ae_title,
                )
                _say(f"{calling} sent {name} ({count} object{'s' if count > 1 else ''})")
        except NotStored as refused:
            _say(f"sending stopped: {refused}. Start again to go on.")
            return
        mark.write_text(json.dumps({"morning": morning.isoformat(), "sent": True}))
    _say(_welcome(settings))


def _day(morning: datetime) -> Iterator[tuple[str, str, list[Dataset]]]:
    """(name, calling AE Title, objects) of every study, small ones first: a newcomer does not
    wait."""
    borrowed = (
        (1, "a real ECG", ECG, QIAO, 20),
        (2, "a real ultrasound loop", HEART_LOOP, LUO, 34),
        (1, "a real chest radiograph", CHEST, SHEN, 44),
        (2, "a real radiograph of a shin", SHIN, BAI, 52),
    )
    for center, name, what, patient, minutes in borrowed:
        when = morning + timedelta(minutes=minutes)
        visit = Visit(when, f"R{when:%y%m%d}{minutes:03d}", institution=_SITES[center].name)
        objects = list(borrow(what, patient, visit))
        if objects:
            titles = _CART if what is ECG else _IMAGING
            yield name, titles[center], objects
    for study in studies(morning):
        for dataset in study.datasets if study.name in _STAT else ():
            dataset.RequestedProcedurePriority = "STAT"
        titles = _CART if study.name.startswith("ecg") else _IMAGING
        yield study.name, titles[study.center], list(study.datasets)


def _welcome(settings: Settings) -> str:
    rows = "\n".join(
        f"    {one.name:<14}{', '.join(sorted(one.roles)):<14}{one.display} {one.display_en}"
        for one in _PEOPLE
    )
    one_more = (
        f".venv/bin/python -m sample_studies.send {_CART[1]} ecg --port {settings.dicom_port}"
    )
    return f"""ready.

  Open  {settings.address}  and sign in. The password of everybody is  {PASSWORD}
{rows}

  Try first: sign in as cardiologist, press Enter on an ECG, write, set the result, Ctrl+Enter.
  In another browser sign in as doctor1 and see the report come.
  One more ECG, now:
    {one_more}
  DICOM: {settings.ae_title} at {settings.dicom_host}:{settings.dicom_port}
  Data:  {settings.data_dir}
  Ctrl-C stops all of it."""


def _say(line: str) -> None:
    print(f"demo: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
