"""A small house for tests of the web edge: sites, people, a movable clock, a real server."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Queue

import httpx
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from gateway import people
from gateway.assemble import Parts, assemble
from gateway.dicom.ae import DicomEdge
from gateway.settings import Settings
from gateway.web.server import WebEdge
from sample_studies.ecg import ecg
from sample_studies.person import DING, Patient, Visit
from storage.ingest import Received, Stored
from worklist import delivery
from worklist.person import Person, Role
from worklist.site import Site, SiteKind

PASSWORD = "correct-horse"


class Clock:
    """Real time, moved by hand."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.moved

    def move(self, **by: float) -> None:
        self.moved += timedelta(**by)


class House:
    """One hospital, two centers it reads for, one it does not, and their people."""

    def __init__(self, folder: Path, *, dicom: bool = False, **settings: object) -> None:
        self.clock = Clock()
        given = {"data_dir": folder, "web_port": 0, "dicom_port": 0, "min_free_bytes": 0}
        given |= settings
        self.parts: Parts = assemble(Settings(**given), self.clock)
        self._sites()
        self.dicom = DicomEdge(self.parts) if dicom else None
        self.edge = WebEdge(self.parts, self.dicom)
        self.edge.start()
        if self.dicom is not None:
            self.dicom.start()
        self.base = f"http://127.0.0.1:{self.edge.port}"
        self._made = 0
        self._clients: list[httpx.Client] = []

    def _sites(self) -> None:
        sites = (
            Site(
                "h1",
                "样例市人民医院",
                "Sample Hospital",
                SiteKind.HOSPITAL,
                "Asia/Shanghai",
                "1000",
            ),
            Site("h2", "邻市医院", "Other Hospital", SiteKind.HOSPITAL, "Asia/Shanghai"),
            center("c1", "东街中心", "h1"),
            center("c2", "西街中心", "h1"),
            center("c3", "远方中心", "h2"),
        )
        with self.parts.new_unit() as unit:
            for site in sites:
                unit.people.save_site(site, self.clock())
            for site in ("c1", "c2", "c3"):
                unit.people.add_device(
                    site=site,
                    ae_title=f"ECG_{site}",
                    called=None,
                    host=None,
                    port=None,
                    modality=None,
                    one_per_image=False,
                )
        self.person("chen", "陈静", "h1", Role.READER)
        self.person("lin", "林涛", "h1", Role.READER)
        self.person("gao", "高敏", "h1", Role.COORDINATOR)
        self.person("su", "苏婉", "c1", Role.DOCTOR)
        self.person("zhou", "周洋", "c2", Role.DOCTOR)

    def person(self, name: str, display: str, site: str, *roles: Role) -> None:
        one = Person(
            name, display, name.title(), frozenset(roles), site, f"L-{name}", f"138-{name}"
        )
        people.add_user(self.parts, one, PASSWORD)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        if self.dicom is not None:
            self.dicom.stop(4)
        self.edge.stop(8)
        self.parts.close()

    # -- studies

    def send(self, dataset: Dataset, site: str = "c1") -> Stored:
        """As an ECG cart of the site would."""
        device = self.parts.ingest.caller(f"ECG_{site}", "TELEREAD", "127.0.0.1")
        return self.parts.ingest.receive(
            Received(
                device,
                "TELEREAD",
                encoded(dataset),
                str(dataset.file_meta.TransferSyntaxUID),
                None,
                None,
                uuid.uuid4().hex,
            )
        )

    def ecg(self, patient: Patient = DING, site: str = "c1") -> Dataset:
        """A new ECG study of this patient, another one at each call."""
        self._made += 1
        when = Visit().when + timedelta(minutes=self._made)
        dataset = ecg(patient, visit=Visit(when=when, accession=f"A{self._made:04d}"))
        self.send(dataset, site)
        return dataset

    def someone(self, **changes: object) -> Patient:
        """A patient nobody has met before."""
        return replace(DING, patient_id=f"P-{uuid.uuid4().hex[:8]}", **changes)  # type: ignore[arg-type]

    def take_effect(self, report_id: str) -> None:
        """What the job does after the grace time."""
        with self.parts.new_unit() as unit:
            delivery.take_effect(unit, report_id, self.clock(), self.parts.policy)

    # -- people at browsers

    def browser(self, name: str, password: str = PASSWORD) -> "Browser":
        found = Browser(self.stranger())
        found.sign_in(name, password)
        return found

    def stranger(self) -> httpx.Client:
        client = httpx.Client(base_url=self.base, timeout=30)
        self._clients.append(client)
        return client


def center(key: str, name: str, reader: str) -> Site:
    read_by = frozenset({reader})
    return Site(key, name, f"Center {key}", SiteKind.CENTER, "Asia/Shanghai", f"2{key}", read_by)


def encoded(dataset: Dataset) -> bytes:
    """The data set's bytes, file meta aside."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


class Browser:
    """One browser: a cookie jar and the CSRF token the page keeps."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.session: dict = {}

    def sign_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        answer = self.http.post("/api/session", json={"name": name, "password": password})
        if answer.is_success:
            self.session = answer.json()
            self.http.headers["X-CSRF-Token"] = self.session["csrf"]
        return answer

    def get(self, path: str, **more: object) -> httpx.Response:
        return self.http.get(path, **more)

    def post(self, path: str, json: object = None) -> httpx.Response:
        return self.http.post(path, json=json)

    def put(self, path: str, json: object = None) -> httpx.Response:
        return self.http.put(path, json=json)

    def claim_of(self, dataset: Dataset) -> dict:
        """The case of a study, claimed."""
        tasks = self.get("/api/tasks?limit=200").json()["tasks"]
        found = [t for t in tasks if t["study"]["uid"] == dataset.StudyInstanceUID]
        answer = self.post(f"/api/tasks/{found[0]['id']}/claim")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def claim_of_id(self, case: dict) -> dict:
        """The same task, claimed again."""
        answer = self.post(f"/api/tasks/{case['task']['id']}/claim")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def write(self, case: dict, **changes: object) -> int:
        """Save a complete draft; its version."""
        given = {
            "draft_version": case["draft"]["draft_version"],
            "findings": "窦性心律，心率 72 次/分。",
            "impression": "正常心电图",
            "result": "normal",
            "key_image": None,
            **changes,
        }
        answer = self.put(f"/api/tasks/{case['task']['id']}/draft", given)
        assert answer.status_code == 200, answer.text
        case["draft"]["draft_version"] = answer.json()["draft_version"]
        return answer.json()["draft_version"]

    def sign(self, case: dict, **changes: object) -> httpx.Response:
        """Sign what the case and its last draft say."""
        given = {
            "request_id": str(uuid.uuid4()),
            "study_id": case["study"]["id"],
            "draft_version": case["draft"]["draft_version"],
            "painted": painted(case),
            **changes,
        }
        return self.post(f"/api/tasks/{case['task']['id']}/sign", given)

    def report(self, dataset: Dataset, **draft: object) -> dict:
        """Claim, write and sign a study; what the signature answered."""
        case = self.claim_of(dataset)
        self.write(case, **draft)
        answer = self.sign(case)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @contextmanager
    def live(self, path: str = "/api/live", **headers: str) -> Iterator["Heard"]:
        """The open event stream."""
        heard = Heard()
        with self.http.stream("GET", path, headers=headers, timeout=40) as answer:
            heard.status = answer.status_code
            thread = threading.Thread(target=heard.listen, args=(answer,), daemon=True)
            thread.start()
            heard.wait("clock")
            yield heard


class Heard:
    """Events as they come."""

    def __init__(self) -> None:
        self.status = 0
        self.events: Queue = Queue()
        self.all: list = []
        self.ended = threading.Event()

    def listen(self, answer: httpx.Response) -> None:
        event: dict = {}
        try:
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field:
                    event[field] = value
                elif "event" in event:
                    self.events.put((event["event"], json.loads(event["data"]), event.get("id")))
                    event = {}
        except httpx.HTTPError:
            pass
        self.ended.set()

    def wait(self, name: str, seconds: float = 10, **data: object) -> dict:
        """The next event of this name with these data; earlier ones are kept in `all`."""
        while True:
            event = self.events.get(timeout=seconds)
            self.all.append(event)
            if event[0] == name and data.items() <= event[1].items():
                return event[1]


def painted(case: dict) -> list[dict[str, str]]:
    """Every instance of the case, as the page says that it was painted."""
    return [
        {"sop_uid": one["uid"], "v": one["v"]}
        for series in case["study"]["series"]
        for one in series["instances"]
    ]
