"""Does a unit commit whole, in order of asking, and share its commit?"""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from storage.tables import fact
from worklist.events import Fact, Happened

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


def facts(index):
    with index.view() as unit:
        return unit.connection.execute(select(fact.c.data).order_by(fact.c.id)).scalars().all()


def tell(index, number):
    with index.unit() as unit:
        unit.facts.add(Fact(Happened.ADMINISTERED, NOW, "east", data={"n": number}))


def test_an_exception_takes_back_its_own_unit_only(index):
    tell(index, 1)
    with pytest.raises(ZeroDivisionError), index.unit() as unit:
        unit.facts.add(Fact(Happened.ADMINISTERED, NOW, "east", data={"n": 2}))
        raise ZeroDivisionError
    tell(index, 3)
    assert [one["n"] for one in facts(index)] == [1, 3]


def test_many_writers_all_commit_and_failures_stay_alone(index):
    def write(number):
        try:
            with index.unit() as unit:
                unit.facts.add(Fact(Happened.ADMINISTERED, NOW, "east", data={"n": number}))
                if number % 5 == 0:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass

    threads = [threading.Thread(target=write, args=(n,)) for n in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one["n"] for one in facts(index)) == [n for n in range(200) if n % 5]


def test_a_view_sees_one_snapshot_and_does_not_wait_for_a_writer(index):
    with index.unit() as unit:
        unit.facts.add(Fact(Happened.ADMINISTERED, NOW, "east", data={"n": 1}))
        assert facts(index) == []
    assert len(facts(index)) == 1


def test_who_waits_is_told_only_after_the_commit(index):
    """Units that wait for each other share a commit; each has committed when its block is left."""
    seen = []

    def write(number):
        tell(index, number)
        seen.append(number in [one["n"] for one in facts(index)])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 64


def test_listeners_hear_of_commits_not_of_failures(index):
    heard = []
    index.on_change(lambda: heard.append(1))
    tell(index, 1)
    with pytest.raises(ZeroDivisionError), index.unit():
        raise ZeroDivisionError
    assert heard == [1]


def test_instants_come_back_as_they_went(index):
    tell(index, 1)
    with index.view() as unit:
        at = unit.connection.execute(select(fact.c.at)).scalar_one()
    assert at == NOW
    assert at.utcoffset() == timedelta(0)
