"""Is every job done once, in time, and never forgotten?"""

import threading
from datetime import UTC, datetime, timedelta

from storage.jobs import MAX_ATTEMPTS

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def lease(index, now):
    with index.unit() as unit:
        return unit.jobs.lease(now, MINUTE)


def test_a_job_is_leased_when_due_and_not_before(index):
    with index.unit() as unit:
        unit.jobs.put("settle", "settle:1", NOW + MINUTE, {"study_id": 1})
    assert lease(index, NOW) is None
    with index.view() as unit:
        assert unit.jobs.earliest() == NOW + MINUTE
    leased = lease(index, NOW + MINUTE)
    assert (leased.kind, leased.payload, leased.attempts) == ("settle", {"study_id": 1}, 1)
    assert lease(index, NOW + MINUTE) is None


def test_a_lease_that_ran_out_is_free_again(index):
    with index.unit() as unit:
        unit.jobs.put("settle", "settle:1", NOW, {})
    first = lease(index, NOW)
    second = lease(index, NOW + MINUTE)
    assert second.key == first.key
    assert second.attempts == 2
    with index.unit() as unit:
        unit.jobs.done(first)  # too late: it is somebody else's now
    with index.unit() as unit:
        assert unit.jobs.counts() == (1, 0)
        unit.jobs.done(second)
        assert unit.jobs.counts() == (0, 0)


def test_many_workers_take_each_job_once(index):
    with index.unit() as unit:
        for number in range(100):
            unit.jobs.put("settle", f"settle:{number}", NOW, {})
    taken = []

    def work():
        while (leased := lease(index, NOW)) is not None:
            with index.unit() as unit:
                unit.jobs.done(leased)
            taken.append(leased.key)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"settle:{n}" for n in range(100))


def test_a_job_put_again_while_it_is_done_is_done_again(index):
    with index.unit() as unit:
        unit.jobs.put("settle", "settle:1", NOW, {})
    leased = lease(index, NOW)
    with index.unit() as unit:
        unit.jobs.put("settle", "settle:1", NOW + MINUTE, {})
        unit.jobs.done(leased)
    assert lease(index, NOW) is None
    assert lease(index, NOW + MINUTE) is not None


def test_a_job_that_is_moved_has_another_time_and_none_is_made(index):
    with index.unit() as unit:
        unit.jobs.put("settle", "settle:1", NOW + MINUTE, {})
        for due_at in (NOW + 2 * MINUTE, NOW):
            unit.jobs.move("settle:1", due_at, {"released_at": 3})
            assert unit.jobs.earliest() == due_at
        unit.jobs.move("settle:2", NOW, {})
        assert unit.jobs.counts() == (1, 0)
        assert unit.jobs.lease(NOW, MINUTE).payload == {"released_at": 3}


def test_a_job_that_is_moved_while_it_is_done_is_done_again_then(index):
    with index.unit() as unit:
        unit.jobs.put("settle", "settle:1", NOW, {})
    leased = lease(index, NOW)
    with index.unit() as unit:
        unit.jobs.move("settle:1", NOW + MINUTE, {"released_at": 3})
        unit.jobs.put_off(leased, NOW + 2 * MINUTE)
    again = lease(index, NOW + MINUTE)
    assert again is not None
    assert again.payload == {"released_at": 3}


def test_a_failing_job_waits_longer_each_time_and_ends_as_a_dead_letter(index):
    now = NOW
    with index.unit() as unit:
        unit.jobs.put("deliver", "deliver:1", now, {})
    waits = []
    for _ in range(MAX_ATTEMPTS):
        with index.unit() as unit:
            now = max(now, unit.jobs.earliest())
            leased = unit.jobs.lease(now, MINUTE)
            dead = unit.jobs.failed(leased, "out_of_resources", now)
            if not dead:
                waits.append(unit.jobs.earliest() - now)
    assert dead
    assert waits == sorted(waits)
    with index.view() as unit:
        assert unit.jobs.counts() == (0, 1)
        assert unit.jobs.earliest() is None
