"""Is a name under a wrong label shown right, proposed rather than changed, and given back as
received when a person says so?"""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import cache

import pytest
from sqlalchemy import select

from sample_studies.ecg import ecg
from sample_studies.person import Patient, Visit
from storage import tables
from storage.ingest import Received
from tests.unit.web_house import House, encoded
from worklist.person import Role

NAME = "王^小东"
SHOWN, AS_LABELLED = "王小东", NAME.encode("gb18030").decode("latin-1").replace("^", " ")
LABEL = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
SOMEBODY = Patient("A", "P-77", "M", date(1962, 3, 14), "ISO_IR 100")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """One house for all: signing in takes longer than any of these tests."""
    made = House(tmp_path_factory.mktemp("house"))
    made.person("he", "何伟", "h1", Role.ADMIN)
    made.person("mo", "莫言", "h2", Role.COORDINATOR)
    made.browser = cache(made.browser)
    yield made
    made.close()


def mislabelled(codec="gb18030", label=True, name=NAME, text="心电图"):
    """An ECG whose text is in `codec`, labelled ISO_IR 100 or not at all: (data set, bytes)."""
    dataset = ecg(SOMEBODY, visit=Visit(accession="A0001"))
    dataset.PatientID = f"P-{uuid.uuid4().hex[:8]}"
    dataset.StudyInstanceUID = f"2.25.{uuid.uuid4().int}"
    dataset.SOPInstanceUID = f"2.25.{uuid.uuid4().int}"
    dataset.PatientName = name.encode(codec).decode("latin-1")
    dataset.StudyDescription = dataset.SeriesDescription = text.encode(codec).decode("latin-1")
    raw = encoded(dataset)
    assert raw.startswith(LABEL)
    return dataset, raw if label else raw[len(LABEL) :]


def send(house, raw, site="c1"):
    device = house.parts.ingest.caller(f"ECG_{site}", "TELEREAD", "127.0.0.1")
    received = Received(
        device, "TELEREAD", raw, "1.2.840.10008.1.2.1", None, None, uuid.uuid4().hex
    )
    return house.parts.ingest.receive(received)


def found(browser, study_id):
    """The study as its center's page has it."""
    studies = browser.get("/api/center/studies").json()["studies"]
    return next(one for one in studies if one["study_id"] == str(study_id))


def facts(house, study_id):
    with house.parts.view() as unit:
        rows = unit.connection.execute(
            select(tables.fact).where(tables.fact.c.study_id == study_id).order_by(tables.fact.c.id)
        ).all()
    return [(row.what, row.who, row.data) for row in rows if row.what.startswith("TextRepair")]


def dicom_name(browser, study_uid, path=""):
    answer = browser.get(
        f"/dicom-web/studies/{study_uid}/metadata"
        if path == "metadata"
        else f"/dicom-web/studies?StudyInstanceUID={study_uid}",
        headers={"Accept": "application/dicom+json"},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()[0]["00100010"]["Value"][0]["Alphabetic"], answer.headers.get("ETag")


@pytest.mark.parametrize("label", [True, False])
@pytest.mark.parametrize(("codec", "term"), [("gb18030", "GB18030"), ("utf-8", "ISO_IR 192")])
def test_a_repair_is_proposed_with_the_first_instance(house, codec, term, label):
    _, raw = mislabelled(codec, label)
    stored = send(house, raw)
    su = house.browser("su")
    study = found(su, stored.study_id)
    assert study["patient"]["name"] == SHOWN
    assert study["description"] == "心电图"
    assert "charset_guessed" in study["marks"]
    repair = study["text_repair"]
    assert repair["confidence"] > 0.9
    assert {**repair, "confidence": 1} == {
        "labelled": "ISO_IR 100" if label else "",
        "proposed": term,
        "confidence": 1,
        "state": "proposed",
    }
    ((what, who, data),) = facts(house, stored.study_id)
    assert (what, who, data["proposed"]) == ("TextRepairProposed", None, term)
    assert SHOWN not in str(data)
    (row,) = house_rows(house, stored)
    assert house.parts.objects.read(row.locator, row.offset, row.length - row.offset) == raw


def house_rows(house, stored):
    with house.parts.view() as unit:
        return unit.studies.instance_rows(stored.study_id)


def test_rejected_it_shows_as_labelled_and_accepted_as_proposed_again(house):
    dataset, raw = mislabelled()
    stored = send(house, raw)
    address = f"/api/studies/{stored.study_id}/text-repair"
    gao, su, chen = house.browser("gao"), house.browser("su"), house.browser("chen")
    uid = dataset.StudyInstanceUID
    _, etag = dicom_name(chen, uid, "metadata")

    answer = gao.post(address, {"state": "rejected"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "rejected"
    study = found(su, stored.study_id)
    assert study["patient"]["name"] == AS_LABELLED
    assert study["description"] == "心电图".encode("gb18030").decode("latin-1")
    assert study["text_repair"]["state"] == "rejected"
    assert dicom_name(chen, uid)[0].replace("^", " ") == AS_LABELLED
    name, other = dicom_name(chen, uid, "metadata")
    assert name.replace("^", " ") == AS_LABELLED
    assert other != etag
    both = chen.get(address).json()
    assert both["names"]["proposed"] == SHOWN
    assert both["decided_by"] == "gao"
    assert gao.post(address, {"state": "rejected"}).status_code == 409

    assert gao.post(address, {"state": "accepted"}).status_code == 200
    study = found(su, stored.study_id)
    assert (study["patient"]["name"], study["description"]) == (SHOWN, "心电图")
    assert dicom_name(chen, uid)[0] == NAME
    assert dicom_name(chen, uid, "metadata") == (NAME, etag)
    assert [one[0] for one in facts(house, stored.study_id)] == [
        "TextRepairProposed",
        "TextRepairDecided",
        "TextRepairDecided",
    ]


def test_the_name_is_found_as_it_is_shown(house):
    dataset, raw = mislabelled(name="周^小东")
    labelled = "周".encode("gb18030").decode("latin-1")
    stored = send(house, raw)
    chen, gao = house.browser("chen"), house.browser("gao")

    def studies(name):
        answer = chen.get(
            "/dicom-web/studies",
            params={"PatientName": name},
            headers={"Accept": "application/dicom+json"},
        )
        return [one["0020000D"]["Value"][0] for one in answer.json() or []]

    assert studies("周小*") == [dataset.StudyInstanceUID]
    gao.post(f"/api/studies/{stored.study_id}/text-repair", {"state": "rejected"})
    assert studies("周小*") == []
    assert studies(f"{labelled}*") == [dataset.StudyInstanceUID]


def test_what_comes_after_a_rejection_follows_it(house):
    dataset, raw = mislabelled()
    stored = send(house, raw)
    gao = house.browser("gao")
    gao.post(f"/api/studies/{stored.study_id}/text-repair", {"state": "rejected"})
    one_more = raw.replace(
        dataset.SOPInstanceUID.encode(), dataset.SOPInstanceUID[:-1].encode() + b"\0"
    )
    assert one_more != raw
    assert send(house, one_more).study_id == stored.study_id
    study = found(house.browser("su"), stored.study_id)
    assert study["patient"]["name"] == AS_LABELLED
    assert "identity_conflict" not in study["marks"]
    assert len(facts(house, stored.study_id)) == 2


def test_who_may_decide(house):
    _, raw = mislabelled()
    stored = send(house, raw)
    address = f"/api/studies/{stored.study_id}/text-repair"
    assert house.browser("su").post(address, {"state": "accepted"}).status_code == 403
    assert house.browser("chen").post(address, {"state": "accepted"}).status_code == 403
    stranger = house.browser("mo")  # a coordinator of a hospital that does not read for c1
    assert stranger.get(address).status_code == 404
    assert stranger.post(address, {"state": "accepted"}).status_code == 404
    assert house.browser("zhou").get(address).status_code == 404
    assert house.browser("he").post(address, {"state": "perhaps"}).status_code == 422
    assert house.browser("he").post(address, {"state": "accepted"}).status_code == 200


def test_a_right_label_proposes_nothing(house):
    _, raw = mislabelled("latin-1", name="Müller^Jürgen", text="Größe")
    stored = send(house, raw)
    study = found(house.browser("su"), stored.study_id)
    assert study["patient"]["name"] == "Müller Jürgen"
    assert study["text_repair"] is None
    assert study["marks"] == []
    address = f"/api/studies/{stored.study_id}/text-repair"
    assert house.browser("gao").get(address).status_code == 404
    assert house.browser("gao").post(address, {"state": "accepted"}).status_code == 404


def test_two_decisions_at_once_are_one(house):
    _, raw = mislabelled()
    stored = send(house, raw)
    browsers = [house.browser("gao"), house.browser("he")]
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda one: (
                    one.post(
                        f"/api/studies/{stored.study_id}/text-repair", {"state": "rejected"}
                    ).status_code
                ),
                browsers,
            )
        )
    assert sorted(answers) == [200, 409]
    assert len(facts(house, stored.study_id)) == 2
