"""Do names, Patient IDs or report text stand in a log line, a metric, a URL, a fact or a job?

A small day over the running gateway, with everything logged that can be, and with what goes wrong
on a day. Then everything the gateway wrote is searched for what must not be in it.
"""

import random
import sqlite3
from contextlib import suppress
from urllib.parse import quote

import pytest

from tests.recovery.browser import Person, expect, to_sign
from tests.recovery.device import (
    SUCCESS,
    Device,
    HungUp,
    Instance,
    Rejected,
    Sample,
    image_sample,
    kept,
)
from tests.recovery.house import CART, SCANNER, House, furnished, until

POLICY = """
grace_seconds = 0
quiet_after_release_seconds = 0.1
quiet_alone_seconds = 1
"""
FAMILY, GIVEN = "缪", "序测阳"
LATIN = "Miaowen^Xuceyang"
PATIENT_ID = "P4401987654X"  # as long as the mark of a sample
QUESTION, DESCRIPTION = "胸口发闷三日", "床旁心电描记"
FINDINGS, IMPRESSION = "逐搏观察所得", "考虑急性改变"
EDITED = "已经修订的印象"
REASON = "误签收回说明"
SEARCHED = "缪序测"
WRONG_NAME, WRONG_PASSWORD = "nobody.of.this.name", "mistyped-passphrase-7"
SECRETS = (
    FAMILY + GIVEN,
    SEARCHED,
    GIVEN,
    *LATIN.split("^"),
    "Miaowen Xuceyang",
    PATIENT_ID,
    QUESTION,
    DESCRIPTION,
    FINDINGS,
    IMPRESSION,
    EDITED,
    REASON,
    WRONG_NAME,
    WRONG_PASSWORD,
)


def forms(text):
    """The same text as it might be written: bytes, escapes, parts of a URL."""
    found = set()
    for codec in ("utf-8", "gb18030"):
        raw = text.encode(codec)
        found |= {raw, raw.upper(), raw.lower()}
        found |= {quote(raw).encode(), quote(raw).lower().encode()}
        found.add(repr(raw)[2:-1].encode())
    found |= {text.encode("unicode_escape"), ascii(text)[1:-1].upper().encode()}
    return {one for one in found if one}


def leaks(haystack):
    """Every secret that is in there, with the line it stands in."""
    return [
        (secret, line[:300])
        for secret in SECRETS
        for form in forms(secret)
        for line in haystack.splitlines()
        if form in line
    ]


def named(dataset, charset):
    dataset.SpecificCharacterSet = charset
    dataset.PatientName = f"{LATIN}={FAMILY}^{GIVEN}"
    dataset.StudyDescription = DESCRIPTION
    dataset.AdditionalPatientHistory = QUESTION
    return Sample(dataset)


def own(one):
    """The instance under the Patient ID that is searched for."""
    patient = f"P{int(one.study[-9:]):010d}X".encode()
    raw = one.raw.replace(patient, PATIENT_ID.encode())
    return Instance(raw, one.sop_class, one.uid, one.study, one.series)


def test_a_day_without_names(tmp_path):
    furnished(tmp_path)
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    house = House(tmp_path, policy=policy, log_level="debug")
    house.start()
    try:
        metrics = _day(house)
        assert house.stop().code == 0
    finally:
        house.close()
    log = house.log_file.read_bytes()
    written = b"\n".join(_written(house))
    assert leaks(log) == []
    assert leaks(metrics) == []
    assert leaks(written) == []
    # the search finds what is there, and everything was there to be found
    assert leaks(f"GET /api/tasks?q={quote(SEARCHED)}".encode())
    assert leaks(FINDINGS.encode("gb18030"))
    for line in (b"teleread.access POST", b"not stored, status", b"rejected"):
        assert line in log, line
    assert b"/sign 200" in log
    assert b"?" not in b"".join(line for line in log.splitlines() if b"teleread.access" in line)


def _day(house):
    chance = random.Random(10)
    utf8 = named(kept("ecg-sinus-72"), "ISO_IR 192")
    gb = named(kept("ecg-atrial-fibrillation-gb18030"), "GB18030")
    image = named(kept("ct-one-slice-128"), "ISO_IR 192")
    first, second, third = (own(one.instance(chance)) for one in (utf8, gb, image))
    with Device(house.dicom_port, CART) as device:
        assert [device.store(one) for one in (first, first, second)] == [SUCCESS] * 3
        device.release()
    with Device(house.dicom_port, SCANNER) as device:
        assert device.store(third) == SUCCESS
        device.release()
    _bad_stores(house, utf8, image, chance)
    _strangers(house)
    with Person(house, "ma") as reader, Person(house, "su") as doctor:
        with Person(house, "li") as coordinator, reader.live() as live:
            live.next("clock")
            _reading(reader, first)
            _reading_gone_wrong(reader, second)
            _center(doctor, reader)
            _looking(house, reader, doctor, coordinator, first, third)
        return reader.get("/metrics").content


def _bad_stores(house, ecg, image, chance):
    """Everything a device can get wrong, with the patient's name in it."""
    good = own(ecg.instance(chance))
    name = f"{FAMILY}^{GIVEN}".encode()

    def changed(raw=None, uid=None):
        return Instance(good.raw if raw is None else raw, good.sop_class, uid or good.uid, "", "")

    bad = [
        changed(good.raw[: len(good.raw) // 2]),
        changed(good.raw[:200]),
        changed(b""),
        changed(name * 50),
        changed(good.raw.replace(good.study.encode(), LATIN.encode().ljust(44, b"."))),
        changed(good.raw.replace(good.uid.encode(), PATIENT_ID.encode().ljust(44, b"0"))),
        changed(uid=PATIENT_ID),
        changed(uid="1.2.3.4"),
        own(image.instance(chance)),  # a CT that says it is an ECG
    ]
    bad[-1] = Instance(bad[-1].raw, good.sop_class, bad[-1].uid, "", "")
    for one in bad:
        with Device(house.dicom_port, CART) as device, suppress(HungUp):
            assert device.store(one) != SUCCESS
    # it breaks off in the middle of the name
    with Device(house.dicom_port, CART) as device:
        device.begin(good, good.raw.index(name) + 4)
    already = image_sample().instance(chance)
    with Device(house.dicom_port, SCANNER) as device:  # the same UID with other content
        assert device.store(already) == SUCCESS
        other = own(image.instance(chance, already.study, already.series))
        raw = other.raw.replace(other.uid.encode(), already.uid.encode())
        assert device.store(Instance(raw, other.sop_class, already.uid, "", "")) == SUCCESS


def _strangers(house):
    for title, called in (("NOBODY", "TELEREAD"), (CART, "ELSEWHERE")):
        with pytest.raises((Rejected, HungUp)):
            Device(house.dicom_port, title, called)
    with Person(house, "ma") as person:
        for name, password in (
            (WRONG_NAME, WRONG_PASSWORD),
            ("ma", WRONG_PASSWORD),
            (WRONG_PASSWORD, WRONG_NAME),  # typed into the wrong field
        ):
            answer = person.http.post("/api/session", json={"name": name, "password": password})
            assert answer.status_code == 401


def _task_of(reader, instance):
    def there():
        return [one for one in reader.tasks() if one["study"]["uid"] == instance.study]

    until(there, "the study on the worklist")
    return there()[0]


def _reading(reader, instance):
    """A critical report, signed twice by one key."""
    task = _task_of(reader, instance)
    case = expect(200, reader.claim(task["id"]))
    saved = expect(
        200, reader.write(case, findings=FINDINGS, impression=IMPRESSION, result="critical")
    )
    request = to_sign(case, saved["draft_version"])
    first = expect(200, reader.sign(task["id"], request))
    assert expect(200, reader.sign(task["id"], request)) == first


def _reading_gone_wrong(reader, instance):
    """Conflicts, refusals and a withdrawal: each of them might quote the text."""
    task = _task_of(reader, instance)
    case = expect(200, reader.claim(task["id"]))
    expect(200, reader.write(case, findings=FINDINGS, impression=IMPRESSION, result="abnormal"))
    expect(409, reader.write(case, findings=FINDINGS, impression=EDITED))
    request = to_sign(case, 1)
    expect(409, reader.sign(task["id"], {**request, "draft_version": 7}))
    expect(409, reader.sign(task["id"], {**request, "painted": []}))
    expect(422, reader.sign(task["id"], {**request, "request_id": IMPRESSION}))
    expect(422, reader.post(f"/api/tasks/{task['id']}/sign", {"findings": FINDINGS}))
    case["draft"]["draft_version"] = 1
    strange = f"{IMPRESSION}\U00013000"  # a character no font has
    saved = expect(200, reader.write(case, impression=strange, findings=FINDINGS))
    request["draft_version"] = saved["draft_version"]
    expect(409, reader.sign(task["id"], request))
    case["draft"]["draft_version"] = saved["draft_version"]
    saved = expect(200, reader.write(case, impression=EDITED, findings=FINDINGS))
    request["draft_version"] = saved["draft_version"]
    signed = expect(200, reader.sign(task["id"], request))
    path = f"/api/reports/{signed['report_id']}"
    until(lambda: expect(200, reader.get(path))["state"] == "final", "the report to take effect")
    expect(200, reader.post(f"{path}/replace", {"reason": REASON}))
    expect(200, reader.post(f"{path}/withdraw", {"reason": REASON}))


def _center(doctor, reader):
    """The doctor reads back, opens and confirms; and gets something wrong first."""
    (critical,) = expect(200, doctor.get("/api/critical"))["open"]
    path = f"/api/critical/{critical['id']}/confirm"
    answer = {"last_four": PATIENT_ID[-4:], "finding": IMPRESSION, "patient_is": "here"}
    expect(409, doctor.post(path, {**answer, "finding": EDITED}))
    expect(409, doctor.post(path, {**answer, "last_four": PATIENT_ID}))
    expect(200, doctor.post(path, answer))
    report = f"/api/reports/{critical['report_id']}"
    pdf = doctor.get(f"{report}/pdf")
    assert pdf.content.startswith(b"%PDF")
    expect(200, doctor.post(f"{report}/acknowledge"))
    number = expect(200, doctor.get(report))["verify_path"].rpartition("/")[2]
    assert expect(200, reader.get(f"/api/verify/{number}"))["state"] == "genuine"
    sent = reader.http.post(f"/api/verify/{number}", content=pdf.content)
    assert expect(200, sent)["matches"]
    sent = reader.http.post(f"/api/verify/{number}", content=pdf.content + b" ")
    assert not expect(200, sent)["matches"]


def _looking(house, reader, doctor, coordinator, first, image):
    """Searching by name and number, and whatever one may write into an address."""
    for q in (SEARCHED, PATIENT_ID, LATIN.partition("^")[0]):
        assert reader.get("/api/tasks", params={"q": q}).status_code in (200, 422)
        assert expect(200, reader.post("/api/tasks/find", {"q": q}))["tasks"]
        assert doctor.get("/api/center/studies", params={"q": q}).status_code in (200, 422)
        assert expect(200, doctor.post("/api/center/studies/find", {"q": q}))["studies"]
        for path in (
            *("/api/tasks/", "/api/reports/", "/api/verify/", "/verify/", "/api/", "/"),
            *("/dicom-web/studies/", "/dicom-web/sites/", f"/dicom-web/studies/{first.study}/"),
        ):
            assert reader.get(path + quote(q)).status_code < 500
        for level in ("studies", "series", "instances"):
            for key in ("PatientName", "PatientID", "00100010", "StudyDescription"):
                assert reader.get(f"/dicom-web/{level}", params={key: q}).status_code < 500
    study = _task_of(reader, image)["study"]["id"]
    below = f"/dicom-web/studies/{image.study}/series/{image.series}/instances/{image.uid}"
    for path in (
        *(f"/api/studies/{study}/preview.jpg", f"/dicom-web/studies/{image.study}/metadata"),
        *(below, f"{below}/frames/1", f"{below}/rendered", f"{below}/thumbnail"),
    ):
        assert reader.get(path).status_code == 200, path
    expect(200, coordinator.get("/api/board"))
    refused = house.teleread("report", "verify", str(house.log_file))
    assert refused.returncode == 1
    body = f"--part\r\nContent-Type: application/dicom\r\n\r\n{SEARCHED}\r\n--part--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=part'
    stored = reader.http.post(
        "/dicom-web/studies", content=body.encode(), headers={"Content-Type": kind}
    )
    assert 400 <= stored.status_code < 500


def _written(house):
    """Every row of the journal and of the jobs."""
    database = sqlite3.connect(house.data / "index.sqlite")
    try:
        for table in ("fact", "job"):
            for row in database.execute(f"SELECT * FROM {table}"):
                yield repr(row).encode() + b"\n" + str(row).encode()
    finally:
        database.close()
