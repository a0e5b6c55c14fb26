"""What does PostgreSQL ask for that SQLite does not: several writers, processes, a network?"""

import threading
import time
from contextlib import ExitStack

import psycopg
import pytest
from sqlalchemy import text

from gateway.settings import Settings
from gateway.stores import open_index, upgrade_index
from storage.conflict import Undecided
from storage.following import Follower
from storage.index import Index, open_engine
from tests.contract.conftest import NOW
from tests.engines.keeper import free_port
from tests.engines.wire import Wire
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened

SOON = 20.0
EAST = frozenset({"east"})


@pytest.fixture
def engine():
    return "postgres and s3"


@pytest.fixture
def other(index, index_url):
    """The same index as another process opens it."""
    opened = Index(open_engine(index_url))
    yield opened
    opened.close()


@pytest.fixture
def wire(postgres_server):
    made = Wire(int(postgres_server["url"].rpartition("/")[0].rpartition(":")[2]))
    yield made
    made.cut()


def say(unit, number):
    unit.facts.add(Fact(Happened.ADMINISTERED, NOW, "east", data={"n": number}))


def tell(index, number):
    with index.unit() as unit:
        say(unit, number)


def until(holds, what):
    end = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.01)


# --- commits of other processes ----------------------------------------------------------------


def test_a_commit_of_another_process_is_heard(index, other):
    heard = threading.Event()
    index.on_change(heard.set)
    assert not heard.is_set()
    began = time.monotonic()
    tell(other, 1)
    assert heard.wait(SOON)
    assert time.monotonic() - began < 3  # told, not looked for


def test_what_a_command_has_committed_is_heard_though_it_ends_at_once(index, index_url):
    heard = threading.Event()
    index.on_change(heard.set)
    command = Index(open_engine(index_url))
    tell(command, 1)
    began = time.monotonic()
    command.close()
    assert heard.wait(SOON)
    assert time.monotonic() - began < 3


def test_own_commits_are_heard_once_and_at_once(index, other):
    heard = []
    index.on_change(lambda: heard.append("here"))
    tell(index, 1)
    assert heard == ["here"]
    others = threading.Event()
    other.on_change(others.set)
    tell(index, 2)
    assert others.wait(SOON)
    assert heard == ["here", "here"]


def test_a_listener_whose_connection_was_ended_hears_again(index, other, postgres_server):
    heard = threading.Event()
    index.on_change(heard.set)
    with psycopg.connect(postgres_server["url"], autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%%' AND datname = %s",
            (index.engine.url.database,),
        ).fetchall()
    assert ended == [(True,)]
    assert heard.wait(SOON)  # what was told while it was away may have been missed
    heard.clear()
    began = time.monotonic()
    tell(other, 1)
    assert heard.wait(SOON)
    assert time.monotonic() - began < 3


# --- the journal -------------------------------------------------------------------------------


def read(follower, index):
    with index.view() as unit:
        return [row.data["n"] for row in follower.news(unit.facts, EAST)]


def test_a_fact_that_is_committed_after_a_younger_one_is_not_missed(house):
    clock = [0.0]
    follower = Follower(lambda: clock[0])
    with house.view() as unit:
        follower.start(unit.facts)
    with ExitStack() as slow:
        early = slow.enter_context(house.unit())
        say(early, 1)
        tell(house, 2)
        assert read(follower, house) == [2]
        last = follower.position
        clock[0] += 60  # a long transaction
        assert read(follower, house) == []
    assert read(follower, house) == [1]
    assert read(follower, house) == []
    # a browser that had heard of 2 and was away while 1 came is told of both
    with house.view() as unit:
        missed = unit.facts.after(follower.resume(last), EAST)
    assert [row.data["n"] for row in missed] == [1, 2]


def test_a_fact_that_was_being_written_when_the_reader_began_is_not_missed(house):
    follower = Follower()
    with ExitStack() as slow:
        say(slow.enter_context(house.unit()), 1)
        tell(house, 2)
        with house.view() as unit:
            follower.start(unit.facts)
        assert read(follower, house) == []
    assert read(follower, house) == [1]


def test_a_fact_that_was_taken_back_is_not_looked_for_for_ever(house):
    clock = [0.0]
    follower = Follower(lambda: clock[0])
    with house.view() as unit:
        follower.start(unit.facts)
    with pytest.raises(ZeroDivisionError), house.unit() as unit:
        say(unit, 1)
        raise ZeroDivisionError
    tell(house, 2)
    assert read(follower, house) == [2]
    assert len(follower._gaps) == 1
    clock[0] += 121
    assert read(follower, house) == []
    assert not follower._gaps


# --- a network that is cut ---------------------------------------------------------------------


def far_index(index_url, wire):
    head, _, database = index_url.rpartition("/")
    return Index(open_engine(f"{head.rpartition(':')[0]}:{wire.port}/{database}"))


def test_an_index_that_is_away_is_refused_quickly_and_comes_back_by_itself(index_url, wire):
    far = far_index(index_url, wire)
    tell(far, 1)
    wire.cut()
    for act in (
        lambda: tell(far, 2),
        lambda: far.view().__enter__(),
        lambda: far.glance().__enter__(),
    ):
        began = time.monotonic()
        with pytest.raises(Refusal) as refused:
            act()
        assert refused.value.code is Code.OUT_OF_RESOURCES
        assert time.monotonic() - began < 5
    wire.mend()
    tell(far, 3)
    far.close()


def test_a_unit_that_is_cut_off_amid_is_refused_and_one_amid_its_commit_is_undecided(
    index_url, wire
):
    far = far_index(index_url, wire)
    with pytest.raises(Refusal) as refused, far.unit() as unit:
        say(unit, 1)
        wire.cut()
        say(unit, 2)
    assert not isinstance(refused.value, Undecided)
    wire.mend()
    with pytest.raises(Undecided), far.unit() as unit:
        say(unit, 3)
        wire.cut()
    far.close()


def test_a_view_is_one_snapshot_and_writes_nothing(house):
    with house.view() as unit:
        before = unit.facts.position()
        tell(house, 1)
        assert unit.facts.position() == before
    with pytest.raises(Exception, match="read-only"), house.view() as unit:
        say(unit, 2)


# --- settings that are wrong -------------------------------------------------------------------

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://teleread:{secret}@127.0.0.1:{free}/x", "nobody answers"),
        ("postgresql://nobody_here:{secret}@127.0.0.1:{port}/postgres", "no such database or user"),
        ("postgresql://postgres:{secret}@127.0.0.1:{port}/not_there", "no such database or user"),
        ("postgresql://teleread:{secret}@127.0.0.1:{secret}/x", "not a URL"),
        ("postgresql://teleread:{secret}", "not a URL"),
        ("oracle://teleread:{secret}@127.0.0.1/x", "SQLite and PostgreSQL are known"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_by_its_setting(
    postgres_server, tmp_path, url, why
):
    port = postgres_server["url"].rpartition("/")[0].rpartition(":")[2]
    url = url.format(secret=SECRET, port=port, free=free_port())
    settings = Settings(data_dir=tmp_path, database_url=url)
    with pytest.raises(Refusal) as refused:
        open_index(settings)
    assert refused.value.message.startswith("TELEREAD_DATABASE_URL: ")
    assert why in refused.value.message
    assert SECRET not in refused.value.message


def test_a_schema_that_is_older_or_newer_is_refused_and_upgrade_mends_the_older(
    new_database, tmp_path
):
    settings = Settings(data_dir=tmp_path, database_url=new_database())
    with pytest.raises(Refusal, match=r"has schema none.*Run: teleread upgrade"):
        open_index(settings)
    assert upgrade_index(settings) is True
    assert upgrade_index(settings) is False
    opened = open_index(settings)
    with opened.unit() as unit:
        unit.connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(Refusal, match="has schema 0001"):
        open_index(settings)
    with opened.unit() as unit:
        unit.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    opened.close()
    for act in (open_index, upgrade_index):
        with pytest.raises(Refusal, match="TELEREAD_DATABASE_URL: A newer version"):
            act(settings)


def test_two_upgrades_at_once_are_one(new_database, tmp_path):
    settings = Settings(data_dir=tmp_path, database_url=new_database())
    broken = []

    def run():
        try:
            upgrade_index(settings)
        except Refusal as refusal:
            broken.append(refusal.message)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    open_index(settings).close()
