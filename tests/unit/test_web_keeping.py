"""Does the keeper of the gateway see how far the scrub is and what it found, and nobody else?"""

from datetime import timedelta

import pytest

from gateway.upkeep import REST, SLICE, begin_scrub, scrub
from gateway.web import keeping
from tests.unit.web_house import House
from worklist.person import Role


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path / "data", scrub_bytes_per_second=10_000)
    made.person("adam", "亚当", "h1", Role.ADMIN)
    made.person("hera", "赫拉", "h2", Role.ADMIN)
    made.person("leo", "利奥", "h1", Role.READER)
    yield made
    made.close()


def pass_over(house):
    """Slices until a pass of the scrub has ended; how many there were."""
    for number in range(1, 100):
        now = house.parts.now()
        again = scrub(house.parts, {}, now)
        if again == now + REST:
            return number
        assert again == now + SLICE
    raise AssertionError("no end")


def test_the_scrub_reads_everything_a_little_at_a_time_and_the_keeper_sees_how_far(house):
    for _ in range(4):
        house.send(house.ecg())
    adam = house.browser("adam")
    nothing = adam.get("/api/keeping").json()
    assert nothing["passes"] == {"scrub": None, "check": None, "backup": None}
    assert nothing["scrub"] == {"bytes_per_second": 10_000, "coverage": None}
    now = house.parts.now()
    assert scrub(house.parts, {}, now) == now + SLICE  # 100,000 bytes: two ECGs at most
    first = adam.get("/api/keeping").json()
    assert 0 < first["scrub"]["coverage"] < 1
    assert first["passes"]["scrub"]["ended_at"] is None
    assert pass_over(house) > 1
    whole = adam.get("/api/keeping").json()
    assert whole["scrub"]["coverage"] == 1.0
    assert whole["passes"]["scrub"]["objects"] == 4
    assert whole["passes"]["scrub"]["faults"] == 0
    now = house.parts.now()
    assert now + SLICE < scrub(house.parts, {}, now) <= now + REST  # it rests between two passes
    later = now + REST + timedelta(seconds=1)
    assert scrub(house.parts, {}, later) == later + SLICE


def test_a_lost_object_is_shown_to_the_keeper_of_its_sites_until_it_is_back(house):
    stored = house.send(house.ecg())
    with house.parts.view() as unit:
        (row,) = unit.studies.instance_rows(stored.study_id)
    whole = house.parts.objects.get(row.locator)
    house.parts.objects.delete(row.locator)
    pass_over(house)
    (fault,) = house.browser("adam").get("/api/keeping").json()["faults"]
    assert (fault["what"], fault["study_id"], fault["site"]) == ("missing", stored.study_id, "c1")
    assert set(fault) == {"what", "site", "study_id", "instance_id", "report_id", "found_at"}
    assert house.browser("hera").get("/api/keeping").json()["faults"] == []
    with house.parts.view() as unit:
        assert "damaged" in unit.studies.get(stored.study_id).marks
    assert len(whole) == row.length


def test_nobody_else_may_look(house):
    assert house.browser("leo").get("/api/keeping").status_code == 403
    assert house.stranger().get("/api/keeping").status_code == 401
    assert keeping.MOST == 1000


def test_a_rate_of_nothing_means_no_scrub(tmp_path):
    made = House(tmp_path / "data", scrub_bytes_per_second=0)
    try:
        begin_scrub(made.parts)
        with made.parts.view() as unit:
            assert unit.jobs.earliest() is None
        assert scrub(made.parts, {}, made.parts.now()) is None
    finally:
        made.close()
