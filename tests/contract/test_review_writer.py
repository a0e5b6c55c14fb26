"""Does the one writer stay alive and honest when something breaks at the worst moment?"""

import threading

import pytest
from sqlalchemy import select

from storage.index import Index
from storage.tables import fact
from tests.contract.conftest import NOW
from worklist.events import Fact, Happened

SOON = 20


@pytest.fixture
def engine():
    """The queue in front of the one connection is there on SQLite alone."""
    return "sqlite and files"


class Broken(Exception):
    """Nothing the database itself would raise."""


def tell(index, number, inside=lambda unit: None):
    with index.unit() as unit:
        unit.facts.add(Fact(Happened.ADMINISTERED, NOW, "east", data={"n": number}))
        inside(unit)


def told(index):
    with index.view() as unit:
        rows = unit.connection.execute(select(fact.c.data).order_by(fact.c.id)).scalars().all()
    return [one["n"] for one in rows]


class Fails:
    """A connection that breaks at one statement, once."""

    def __init__(self, connection, statement, error):
        self._connection, self._statement, self._error = connection, statement, error

    def __getattr__(self, name):
        return getattr(self._connection, name)

    @property
    def connection(self):
        """The driver's own connection."""
        return self

    def cursor(self):
        self._cursor = self._connection.connection.cursor()
        return self

    def execute(self, statement, *parameters):
        if statement == self._statement and self._error is not None:
            error, self._error = self._error, None
            raise error
        return self._cursor.execute(statement, *parameters)

    @property
    def rowcount(self):
        return self._cursor.rowcount


def in_threads(*functions):
    """Run them one after another in the writer's queue; what each raised, by its place."""
    outcomes: dict[int, object] = {}

    def run(at, function):
        try:
            function()
            outcomes[at] = "done"
        except Exception as error:
            outcomes[at] = error

    threads = [threading.Thread(target=run, args=one, daemon=True) for one in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"
    return outcomes


def queued(index: Index, *functions):
    """The same, all of them waiting behind a unit that ends when they do: one group."""
    writer = index._writer

    def first():
        with index.unit():
            while len(writer._waiting) < len(functions):
                pass

    return in_threads(first, *functions)


@pytest.mark.parametrize("error", [Broken(), MemoryError()])
def test_a_commit_that_breaks_in_an_unknown_way_fails_its_units_and_no_others(index, error):
    index._writer._connection = Fails(index._writer._connection, "COMMIT", error)
    outcomes = queued(index, lambda: tell(index, 1), lambda: tell(index, 2))
    assert all(isinstance(one, Exception) for one in outcomes.values())
    assert told(index) == []
    assert in_threads(lambda: tell(index, 3)) == {0: "done"}
    assert told(index) == [3]


def test_a_unit_whose_transaction_has_vanished_fails_and_so_does_what_shared_it(index):
    def vanish(unit):
        unit.connection.exec_driver_sql("ROLLBACK")  # as SQLite does by itself on a full disk

    outcomes = queued(
        index,
        lambda: tell(index, 1),
        lambda: tell(index, 2, vanish),
        lambda: tell(index, 3),
    )
    done = [at for at, one in outcomes.items() if one == "done" and at]
    assert told(index) == sorted(done)  # what is said is what is there
    assert 2 not in done


def test_an_undo_that_breaks_never_lets_half_a_unit_through(index):
    index._writer._connection = Fails(index._writer._connection, "ROLLBACK TO unit", Broken())

    def fails(_):
        raise ZeroDivisionError

    with pytest.raises((ZeroDivisionError, Broken)):
        tell(index, 1, fails)
    assert in_threads(lambda: tell(index, 2)) == {0: "done"}
    assert told(index) == [2]


def test_closing_waits_for_the_unit_in_hand_and_turns_later_ones_away(index):
    began, closing = threading.Event(), threading.Event()

    def slow(unit):
        began.set()
        closing.wait(SOON)
        for _ in range(200):  # the connection stays whole while somebody closes
            unit.facts.add(Fact(Happened.ADMINISTERED, NOW, "east", data={"n": 0}))

    def close():
        began.wait(SOON)
        threading.Timer(0.05, closing.set).start()
        index._writer.close()

    outcomes = in_threads(lambda: tell(index, 1, slow), close)
    assert outcomes == {0: "done", 1: "done"}
    assert len(told(index)) == 201
    with pytest.raises(RuntimeError):
        tell(index, 2)


def test_a_writer_that_gives_up_waiting_does_not_block_the_others(index, monkeypatch):
    """Ctrl-C in a command that waits for its turn."""
    inside, go_on = threading.Event(), threading.Event()

    def hold(_):
        inside.set()
        go_on.wait(SOON)

    real = threading.Event.wait

    def interrupted(event, timeout=None):
        if threading.current_thread().name == "interrupted":
            raise KeyboardInterrupt
        return real(event, timeout)

    monkeypatch.setattr(threading.Event, "wait", interrupted)
    holder = threading.Thread(target=tell, args=(index, 1, hold), daemon=True)
    holder.start()
    assert inside.wait(SOON)
    gone = []

    def give_up():
        try:
            tell(index, 2)
        except KeyboardInterrupt:
            gone.append(True)

    quitter = threading.Thread(target=give_up, name="interrupted", daemon=True)
    quitter.start()
    quitter.join(SOON)
    go_on.set()
    holder.join(SOON)
    assert gone == [True]
    assert in_threads(lambda: tell(index, 3)) == {0: "done"}
    assert told(index) == [1, 3]
