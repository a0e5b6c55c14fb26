"""Is a job that was asked for again as good as new, whatever became of it before?"""

from datetime import timedelta

from storage.jobs import MAX_ATTEMPTS
from tests.contract.conftest import NOW
from tests.contract.test_jobs import MINUTE, lease


def put(index, due):
    with index.unit() as unit:
        unit.jobs.put("settle", "settle:1", due, {"study_id": 1})


def fail(index, leased, now):
    with index.unit() as unit:
        return unit.jobs.failed(leased, "why", now)


def die(index):
    """Fail until it is given up; the instant after that."""
    put(index, NOW)
    now = NOW
    for _ in range(MAX_ATTEMPTS):
        with index.view() as unit:
            now = max(now, unit.jobs.earliest())
        fail(index, lease(index, now), now)
    return now


def test_a_dead_job_that_is_asked_for_again_has_all_its_attempts(index):
    now = die(index)
    put(index, now)
    leased = lease(index, now)
    assert leased.attempts == 1
    assert fail(index, leased, now) is False
    with index.view() as unit:
        assert unit.jobs.counts() == (1, 0)


def test_a_job_asked_for_again_during_its_last_attempt_is_not_given_up(index):
    put(index, NOW)
    now = NOW
    for _ in range(MAX_ATTEMPTS - 1):
        with index.view() as unit:
            now = max(now, unit.jobs.earliest())
        fail(index, lease(index, now), now)
    with index.view() as unit:
        now = unit.jobs.earliest()
    leased = lease(index, now)
    put(index, now + MINUTE)
    assert fail(index, leased, now) is False
    with index.view() as unit:
        assert unit.jobs.earliest() == now + MINUTE
    assert lease(index, now + MINUTE).attempts == 1


def test_a_time_given_while_the_job_was_being_done_outlives_a_failure_and_a_delay(index):
    put(index, NOW)
    leased = lease(index, NOW)
    put(index, NOW + MINUTE)
    fail(index, leased, NOW)
    with index.view() as unit:
        assert unit.jobs.earliest() == NOW + MINUTE
    leased = lease(index, NOW + MINUTE)
    put(index, NOW + 2 * MINUTE)
    with index.unit() as unit:
        unit.jobs.put_off(leased, NOW + timedelta(hours=1))
        assert unit.jobs.earliest() == NOW + 2 * MINUTE
