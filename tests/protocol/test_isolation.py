"""Is nothing of one center seen by another, on any address there is?

Every route of the OpenAPI document is asked as everybody who must not see, with the ids of the
first center in every place that takes one. A route with a parameter this test does not know fails
it: whoever adds one adds what belongs there.
"""

import itertools
import json
import random
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import create_engine, select

from gateway.assemble import assemble
from gateway.settings import Settings
from gateway.web.app import create_app
from sample_studies.documents import ecg_pdf
from sample_studies.person import DING
from storage import tables
from storage.part10 import file_meta
from tests.recovery.browser import Person, expect
from tests.recovery.device import (
    CT,
    EXPLICIT,
    SUCCESS,
    Device,
    Rejected,
    Sample,
    image_sample,
    kept,
)
from tests.recovery.house import (
    CART,
    CENTER,
    HOSPITAL,
    OTHER_CENTER,
    OTHER_HOSPITAL,
    OTHER_SCANNER,
    PATIENCE,
    SCANNER,
    House,
    furnished,
    until,
)
from worklist.person import Role

POLICY = """
grace_seconds = 0
quiet_after_release_seconds = 0.1
quiet_alone_seconds = 1
"""
NAME, LATIN = "缪序测", "Miaoxu^Ceyan"
QUESTION, DESCRIPTION = "缪家的提问", "缪家的检查"
FINDINGS, IMPRESSION = "缪家的所见文字", "缪家的印象文字"
REASON = "缪家的更正理由"
RETURNING = ["device", "add", CENTER, "PACS", "--host", "127.0.0.1", "--port", "1"]
RETURNING += ["--returns-reports"]

# the routes of a session take no ids; they are shown in the tests of signing in
_SESSION = "/api/session"
_STREAM = "/api/live"
# anyone may ask about the unguessable number on a report, and hears no full name and no text
_PUBLIC = "/api/verify/"


@dataclass(frozen=True)
class Caller:
    """Somebody who asks, and what to call them in a message."""

    name: str
    http: httpx.Client


@dataclass(frozen=True)
class Ids:
    """What a parameter of each name takes for one study, and the secrets of that study."""

    values: dict[str, str]
    secrets: frozenset[str]

    def fits(self, names: set[str]) -> bool:
        return names <= set(self.values)


# --- the first center's day --------------------------------------------------------------------


def with_secrets(dataset):
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = f"{LATIN}={NAME[0]}^{NAME[1:]}"
    dataset.StudyDescription = DESCRIPTION
    dataset.AdditionalPatientHistory = QUESTION
    return dataset


def secret_sample(dataset):
    return Sample(with_secrets(dataset))


def mislabelled_sample(dataset):
    """The same in GB18030 under the label of Latin-1."""
    dataset = with_secrets(dataset)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    for place, text in (
        ("PatientName", f"{NAME[0]}^{NAME[1:]}"),
        ("StudyDescription", DESCRIPTION),
        ("AdditionalPatientHistory", QUESTION),
    ):
        setattr(dataset, place, text.encode("gb18030").decode("latin-1"))
    return Sample(dataset)


class Day:
    """A running gateway with something of everything at the first center."""

    def __init__(self, folder):
        furnished(folder, [(RETURNING, "")])
        policy = folder / "policy.toml"
        policy.write_text(POLICY)
        self.house = House(folder, policy=policy)
        self.house.start()
        self.tokens = [self.token("west", OTHER_CENTER), self.token("north", OTHER_HOSPITAL)]
        self.chance = random.Random(9)
        self.reader = Person(self.house, "ma")
        self.doctor = Person(self.house, "su")
        self.coordinator = Person(self.house, "li")
        self.other_doctor = Person(self.house, "hai")
        self.other_reader = Person(self.house, "bei")
        self.people = [
            self.reader,
            self.doctor,
            self.coordinator,
            self.other_doctor,
            self.other_reader,
        ]
        self.ecg = secret_sample(kept("ecg-sinus-72"))
        self.image = secret_sample(kept("ct-one-slice-128"))
        self.page = secret_sample(ecg_pdf(DING))
        self.mislabelled = mislabelled_sample(kept("ecg-sinus-72"))

    def token(self, name, site):
        """A program of this site with every role that it may have."""
        at_hospitals = {Role.READER, Role.REVIEWER, Role.COORDINATOR}
        roles = set(Role) - (at_hospitals if site == OTHER_CENTER else {Role.DOCTOR})
        words = [word for role in sorted(roles) for word in ("--role", role)]
        made = self.house.teleread("token", "add", name, "--site", site, *words)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def send(self, title, sample, count=1):
        first = sample.instance(self.chance)
        more = [sample.instance(self.chance, first.study, first.series) for _ in range(count - 1)]
        with Device(self.house.dicom_port, title) as device:
            assert [device.store(one) for one in (first, *more)] == [SUCCESS] * count
            device.release()
        return first

    def task_of(self, reader, study_uid):
        rows = []

        def there():
            rows[:] = [one for one in reader.tasks() if one["study"]["uid"] == study_uid]
            return rows

        until(there, "the study on the worklist")
        return rows[0]

    def signed(self, task, result):
        text = {"findings": FINDINGS, "impression": IMPRESSION, "result": result}
        return self.reader.read_and_sign(task["id"], **text)

    def when_final(self, report_id):
        until(
            lambda: self.doctor.get(f"/api/reports/{report_id}").status_code == 200,
            "the report at its center",
        )

    def close(self):
        for person in self.people:
            person.http.close()
        self.house.close()


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    made = Day(tmp_path_factory.mktemp("isolation"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def studies(day):
    """A critical ECG, a withdrawn report, a CT and an ECG on paper that wait."""
    critical = day.send(CART, day.ecg)
    task = day.task_of(day.reader, critical.study)
    report = day.signed(task, "critical")
    (waiting,) = expect(200, day.doctor.get("/api/critical"))["open"]
    ids = edge_ids(day)
    first = ids_of(critical, task, report, critical_id=waiting["id"], **ids)

    withdrawn = day.send(CART, day.ecg)
    task = day.task_of(day.reader, withdrawn.study)
    report = day.signed(task, "abnormal")
    day.when_final(report["report_id"])
    path = f"/api/reports/{report['report_id']}"
    assert day.doctor.get(f"{path}/pdf").status_code == 200
    expect(200, day.reader.post(f"{path}/withdraw", {"reason": REASON}))
    (notice,) = expect(200, day.doctor.get("/api/notices"))["notices"]
    second = ids_of(withdrawn, task, report, notice_id=str(notice["id"]))

    image = day.send(SCANNER, day.image, 2)
    task = day.task_of(day.reader, image.study)
    page = day.send(CART, day.page)
    paper = ids_of(page, day.task_of(day.reader, page.study))
    repaired = day.send(CART, day.mislabelled)
    fifth = ids_of(repaired, day.task_of(day.reader, repaired.study))
    return [first, second, ids_of(image, task), paper, fifth]


def edge_ids(day):
    """An order, a device, a report on its way to one, and a caller that was refused."""
    order = {
        "request_id": str(uuid.uuid4()),
        "patient": {"id": "P8", "name": NAME, "name_latin": LATIN},
        "modality": "ECG",
        "procedure": DESCRIPTION,
        "question": QUESTION,
    }
    placed = expect(201, day.doctor.post("/api/orders", order))
    with pytest.raises(Rejected):
        Device(day.house.dicom_port, "STRANGER")
    found = {}

    def there():
        devices = expect(200, day.coordinator.get("/api/devices"))["devices"]
        going = expect(200, day.coordinator.get("/api/transmissions"))["transmissions"]
        refused = expect(200, day.coordinator.get("/api/refused-callers"))["refused"]
        found.update(devices=devices, going=going, refused=refused)
        return going and refused

    until(there, "a report on its way, and a refused caller")
    (device,) = (one for one in found["devices"] if one["ae_title"] == CART)
    return {
        "order_id": placed["id"],
        "device_id": str(device["id"]),
        "transmission_id": found["going"][0]["id"],
        "refused_id": found["refused"][0]["id"],
    }


def ids_of(instance, task, report=None, **more):
    uids = {
        "study_uid": instance.study,
        "series_uid": instance.series,
        "sop_uid": instance.uid,
    }
    values = {
        **uids,
        "site": CENTER,
        "task_id": task["id"],
        "study_id": task["study"]["id"],
        "listed": "1",
        "v": instance.digest[:16],
        "path": "7FE00010" if instance.sop_class == CT else "54000100/0/54001010",
        **more,
    }
    if report is not None:
        values["report_id"] = report["report_id"]
        values["verify_id"] = report["verify_path"].rpartition("/")[2]
    patient = f"P{int(instance.study[-9:]):010d}X"
    texts = {NAME, *LATIN.split("^"), QUESTION, DESCRIPTION, FINDINGS, IMPRESSION, REASON}
    return Ids(values, frozenset({*texts, patient, *uids.values()}))


MADE_UP = {
    "study_uid": "2.25.199999999999999999999999999999999999991",
    "series_uid": "2.25.199999999999999999999999999999999999992",
    "sop_uid": "2.25.199999999999999999999999999999999999993",
    **dict.fromkeys(("task_id", "report_id", "critical_id"), uuid.UUID(int=9).hex),
    **dict.fromkeys(("study_id", "notice_id", "device_id"), "999999999"),
    **dict.fromkeys(("order_id", "transmission_id", "refused_id"), uuid.UUID(int=9).hex),
    "site": "nowhere",
    "listed": "1",
    "v": "0123456789abcdef",
    "path": "7FE00010",
    "verify_id": "a" * 24,
}

# what stands in a query or a body, by its name; the ids of the study come before these
_FILLED = {
    "after": None,
    "day": None,
    "draft_version": 0,
    "findings": "x",
    "impression": "x",
    "key_image": None,
    "limit": None,
    "finding": IMPRESSION,
    "kind": "ECG",
    "dark": "1",
    "nameless": "1",
    "note": "x",
    "priority": "routine",
    "q": NAME,
    "patient_is": "here",
    "reason": "x",
    "reason_code": "noise",
    "request_id": str(uuid.UUID(int=8)),
    "result": "normal",
    "tab": "all",
    **dict.fromkeys(("code", "scheduled_at", "station", "requested_procedure_id", "step_id")),
    **dict.fromkeys(("accession", "requester", "called", "host", "port", "certificate")),
    "patient": {"id": "P9", "name": "x"},
    "modality": "ECG",
    "procedure": "x",
    "question": "x",
    "version": 1,
    "ae_title": "XX",
    "tls": False,
    "returns_reports": False,
    "state": "accepted",
}


def filled(name, ids):
    if name in ids.values:
        return ids.values[name]
    if name == "last_four":
        return f"P{int(ids.values['study_uid'][-9:]):010d}X"[-4:]
    if name == "sop_uids":
        return [ids.values["sop_uid"]]
    if name == "painted":
        return [{"sop_uid": ids.values["sop_uid"], "v": ids.values["v"]}]
    assert name in _FILLED, f"this test does not know what belongs into {name!r}"
    return _FILLED[name]


# --- every route -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Route:
    """One operation of the OpenAPI document."""

    method: str
    path: str
    query: tuple[str, ...]
    body: tuple[str, ...]

    @property
    def places(self):
        return set(re.findall(r"\{(\w+)(?::\w+)?\}", self.path))

    def request(self, ids):
        path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: ids.values[found[1]], self.path)
        query = {name: value for name in self.query if (value := filled(name, ids)) is not None}
        body = {name: filled(name, ids) for name in self.body}
        return {"method": self.method, "url": path, "params": query, "json": body or None}


def routes_of(document):
    schemas = document.get("components", {}).get("schemas", {})
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            named = operation.get("parameters", [])
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema", {})
            name = schema.get("$ref", "").rpartition("/")[2]
            body = schemas.get(name, schema).get("properties", {})
            query = tuple(one["name"] for one in named if one["in"] == "query")
            yield Route(method.upper(), path, query, tuple(body))


@pytest.fixture(scope="module")
def routes(day):
    document = httpx.get(f"{day.house.address}/api/openapi.json", trust_env=False).json()
    return [one for one in routes_of(document) if not one.path.startswith(_SESSION)]


@pytest.fixture(scope="module")
def outsiders(day):
    """People and programs of the other center and of another hospital."""
    programs = [
        httpx.Client(
            base_url=day.house.address,
            headers={"Authorization": f"Bearer {token}"},
            timeout=PATIENCE,
            trust_env=False,
        )
        for token in day.tokens
    ]
    yield [
        Caller("the other center's doctor", day.other_doctor.http),
        Caller("another hospital's reader", day.other_reader.http),
        Caller("a program of the other center", programs[0]),
        Caller("a program of another hospital", programs[1]),
    ]
    for program in programs:
        program.close()


def test_every_route_is_in_the_document(tmp_path, routes):
    """Only the pages of the front end are not; they are the same for everybody."""
    parts = assemble(Settings(data_dir=tmp_path))
    try:
        app = create_app(parts)
        hidden = {
            one.path
            for one in app.routes
            if not getattr(one, "include_in_schema", True) and hasattr(one, "path")
        }
    finally:
        parts.close()
    assert hidden <= {"/{path:path}", "/api/openapi.json"}
    assert {"/api/tasks", "/api/reports", "/api/center/studies"} <= {one.path for one in routes}


def test_every_parameter_is_known(routes, studies):
    for route in routes:
        unknown = route.places - set().union(*(one.values for one in studies))
        assert not unknown, f"{route.path}: what belongs into {sorted(unknown)}?"
        assert route.places <= set(MADE_UP), f"{route.path}: and what is one that is not there?"
        for name in (*route.query, *route.body):
            filled(name, studies[0])


def test_nothing_of_the_first_center_is_seen(day, routes, studies, outsiders):
    asked = 0
    for route, ids, caller in itertools.product(routes, studies, outsiders):
        if route.path == _STREAM or not ids.fits(route.places):
            continue
        asked += 1
        answer = caller.http.request(**route.request(ids))
        where = f"{route.method} {route.path} as {caller.name}: {answer.status_code}"
        require_nothing(answer, ids, where)
        assert answer.status_code < 500, where
        if not route.places or route.path.startswith(_PUBLIC):
            continue
        # what one may not see does not exist: the very same answer as for what is not there
        made_up = Ids({**ids.values, **MADE_UP}, ids.secrets)
        nothing = caller.http.request(**route.request(made_up))
        assert answer.status_code in (401, 403, 404, 415), where
        assert answer.status_code == nothing.status_code, where
        assert plain(answer, ids) == plain(nothing, made_up), where
    assert asked > 3 * len(routes)
    nobody_was_there(day)


def require_nothing(answer, ids, where):
    text = answer.content.decode("utf-8", "replace") + json.dumps(dict(answer.headers))
    unescaped = text.encode().decode("unicode_escape", "replace") if "\\u" in text else ""
    for secret in ids.secrets:
        assert secret not in text, f"{where}: {secret}"
        assert secret not in unescaped, f"{where}: {secret}"
        assert secret.encode("gb18030") not in answer.content, f"{where}: {secret}"


def plain(answer, ids):
    """The body without what the question itself said."""
    text = answer.text
    for value in sorted(ids.values.values(), key=len, reverse=True):
        text = text.replace(value, "…") if len(value) > 8 else text
    return text


def nobody_was_there(day):
    """The journal of the first center names none of the outsiders."""
    fact = tables.fact
    strangers = ("hai", "bei", "token:west", "token:north")
    query = select(fact.c.what).where(fact.c.site == CENTER, fact.c.who.in_(strangers))
    url = f"sqlite:///file:{day.house.data / 'index.sqlite'}?mode=ro&uri=true"
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(query).all() == []
    engine.dispose()


def test_the_ids_are_the_right_ones(day, routes, studies):
    """Else the test above would show nothing: whoever may see gets an answer on every route."""
    insiders = [day.reader.http, day.doctor.http, day.coordinator.http]
    for route in routes:
        if route.method != "GET" or not route.places:
            continue
        answers = [
            who.request(**route.request(ids)).status_code
            for ids in studies
            if ids.fits(route.places)
            for who in insiders
        ]
        assert 200 in answers, f"{route.path}: {answers}"


def test_without_a_session_there_is_nothing(day, routes, studies):
    with httpx.Client(base_url=day.house.address, timeout=PATIENCE, trust_env=False) as nobody:
        for route, ids in itertools.product(routes, studies):
            if not ids.fits(route.places):
                continue
            answer = nobody.request(**route.request(ids))
            where = f"{route.method} {route.path}: {answer.status_code}"
            require_nothing(answer, ids, where)
            if route.path.startswith(("/api/", "/dicom-web")) and not route.path.startswith(
                _PUBLIC
            ):
                assert answer.status_code == 401, where


def test_pages_and_addresses_below_dicom_web(day, studies, outsiders):
    """Also what no route answers, and both forms of the DICOMweb address."""
    ids = studies[2]
    value = ids.values
    study = f"studies/{value['study_uid']}"
    series = f"{study}/series/{value['series_uid']}"
    instance = f"{series}/instances/{value['sop_uid']}"
    below = [
        *("studies", study, f"{study}/metadata", f"{study}/series", f"{study}/instances"),
        *(series, f"{series}/metadata", f"{series}/instances", instance),
        *(f"{instance}/metadata", f"{instance}/frames/1", f"{instance}/rendered"),
        *(f"{instance}/thumbnail", f"{instance}/bulkdata", f"{instance}/rendered?quality=1"),
        f"studies?PatientName={NAME}",
        f"studies?StudyInstanceUID={value['study_uid']}&includefield=all",
        f"series?StudyInstanceUID={value['study_uid']}",
        f"instances?SOPInstanceUID={value['sop_uid']}",
    ]
    paths = [f"/dicom-web/{one}" for one in below]
    paths += [f"/dicom-web/sites/{site}/{one}" for one in below for site in (CENTER, OTHER_CENTER)]
    paths += [f"/verify/{studies[0].values['verify_id']}", "/worklist", "/center", "/board", "/"]
    for path, caller in itertools.product(paths, outsiders):
        answer = caller.http.get(path)
        require_nothing(answer, ids, f"{path} as {caller.name}: {answer.status_code}")
        empty = answer.status_code in (204, 401, 403, 404) or answer.text in ("[]", "")
        assert empty or not path.startswith("/dicom-web"), path


def test_the_event_stream_tells_nothing(day, studies, outsiders):
    """Not while things happen at the first center, and not for a browser that comes back."""
    mine = image_sample()
    for person in (day.other_doctor, day.other_reader):
        with person.live() as live:
            live.next("clock")
            instance = day.send(CART, day.ecg)
            task = day.task_of(day.reader, instance.study)
            report = day.signed(task, "critical")
            ids = ids_of(instance, task, report)
            marker = day.send(OTHER_SCANNER, mine)
            heard = everything_until(live, marker.study, day)
        require_silence(heard, [*studies, ids])
        with person.live("1") as again:
            heard = everything_until(again, marker.study, day)
        require_silence(heard, [*studies, ids])


def everything_until(live, study_uid, day):
    """Every event up to the one that tells of the caller's own new study."""
    row = day.task_of(day.reader, study_uid)
    heard = []
    while True:
        name, data = live.next_raw()
        heard.append((name, data))
        if name == "study" and json.loads(data)["study_id"] == row["study"]["id"]:
            return heard


def require_silence(heard, all_ids):
    names = [name for name, _ in heard]
    assert "critical" not in names
    text = "\n".join(data for _, data in heard)
    for ids in all_ids:
        for name in ("task_id", "report_id", "critical_id"):
            assert ids.values.get(name, NAME) not in text
        assert f'"study_id":"{ids.values["study_id"]}"' not in text
        for secret in ids.secrets:
            assert secret not in text


def test_the_hospital_that_reads_sees_both(day):
    """The walls stand where they should: around the centers, not before their hospital."""
    sites = {one["key"] for one in expect(200, day.reader.get("/api/tasks"))["sites"]}
    assert sites == {CENTER, OTHER_CENTER}
    sites = {one["key"] for one in expect(200, day.other_reader.get("/api/tasks"))["sites"]}
    assert sites == {OTHER_CENTER}
    assert day.reader.session["site"]["key"] == HOSPITAL


# the last one: what it stores, each stores at its own center


def test_nothing_is_stored_into_the_first_center(day, studies, outsiders):
    """STOW-RS with the first center's own object, named at its address and at one's own."""
    for sample, ids in ((day.ecg, studies[0]), (day.image, studies[2])):
        value = ids.values
        late = sample.instance(day.chance, value["study_uid"], value["series_uid"])
        body = stow_body(late)
        for caller, path in itertools.product(
            outsiders,
            (
                f"/dicom-web/sites/{CENTER}/studies",
                f"/dicom-web/sites/{CENTER}/studies/{value['study_uid']}",
                "/dicom-web/studies",
                f"/dicom-web/studies/{value['study_uid']}",
            ),
        ):
            answer = caller.http.post(path, content=body, headers={"Content-Type": STOW})
            where = f"POST {path} as {caller.name}: {answer.status_code}"
            assert answer.status_code < 500, where
            assert answer.status_code in (403, 404) or CENTER not in path, where
            assert not any(text in answer.text for text in (NAME, *LATIN.split("^"))), where
    case = expect(200, day.reader.get(f"/api/tasks/{studies[2].values['task_id']}"))
    assert case["study"]["instance_count"] == 2
    assert "late_instances" not in case["marks"]
    nobody_was_there(day)


STOW = 'multipart/related; type="application/dicom"; boundary=part'


def stow_body(one):
    meta = file_meta(
        sop_class=one.sop_class,
        sop_uid=one.uid,
        transfer_syntax=EXPLICIT,
        calling="PROGRAM",
        called="",
        site="",
        received_at=datetime.now(UTC),
    )
    head = b"--part\r\nContent-Type: application/dicom\r\n\r\n"
    return head + meta + one.raw + b"\r\n--part--\r\n"
