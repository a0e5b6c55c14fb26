"""Does a reader who is signed in wait because of what strangers guess?"""

from datetime import UTC, datetime, timedelta

import pytest

from gateway import people
from gateway.assemble import assemble
from gateway.guessing import FREE_TRIES_ADDRESS, FREE_TRIES_NAME, FREE_TRIES_SESSION, Guessing
from gateway.settings import Settings
from worklist.errors import Code, Refusal
from worklist.person import Person, Role
from worklist.site import Site, SiteKind

PASSWORD = "correct-horse"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
HERE, ELSEWHERE = "10.0.0.1", "10.0.0.2"


@pytest.fixture
def clock():
    return [NOW]


@pytest.fixture
def parts(tmp_path, clock):
    made = assemble(Settings(data_dir=tmp_path / "data", min_free_bytes=0), lambda: clock[0])
    with made.new_unit() as unit:
        unit.people.save_site(
            Site("h1", "医院", "Hospital", SiteKind.HOSPITAL, "Asia/Shanghai"), NOW
        )
    reader = Person("chen", "陈静", "Chen", frozenset({Role.READER}), "h1", "110-1", None)
    people.add_user(made, reader, PASSWORD)
    yield made
    made.close()


def refusal(call, *arguments):
    with pytest.raises(Refusal) as caught:
        call(*arguments)
    return caught.value


def test_a_strangers_guesses_keep_nobody_from_unlocking_and_signing(parts):
    guessing = Guessing()
    seat = people.sign_in(parts, guessing, "chen", PASSWORD, HERE)
    for address in (HERE, ELSEWHERE):  # also from behind the same address
        for number in range(FREE_TRIES_ADDRESS + 1):
            refusal(people.sign_in, parts, guessing, f"name{number}", "wrong-horse", address)
        for _ in range(FREE_TRIES_NAME + 1):
            refusal(people.sign_in, parts, guessing, "chen", "wrong-horse", address)
    people.lock(parts, seat.secret)
    unlocked = people.unlock_screen(parts, guessing, seat.secret, PASSWORD, HERE)
    assert unlocked.signing_until is not None
    assert people.unlock_signing(parts, guessing, seat.secret, PASSWORD, HERE).signing_until
    still = refusal(people.sign_in, parts, guessing, "chen", PASSWORD, ELSEWHERE)
    assert still.code is Code.TOO_MANY_ATTEMPTS, "an unlock forgives no stranger's guesses"


@pytest.mark.parametrize("prove", [people.unlock_screen, people.unlock_signing])
def test_wrong_entries_in_a_session_are_slowed_down_there_and_nowhere_else(parts, clock, prove):
    guessing = Guessing()
    seat = people.sign_in(parts, guessing, "chen", PASSWORD, HERE)
    other = people.sign_in(parts, guessing, "chen", PASSWORD, ELSEWHERE)
    waits = []
    for number in range(FREE_TRIES_SESSION + 3):
        wrong = refusal(prove, parts, guessing, seat.secret, "wrong-horse", HERE)
        assert wrong.code is Code.WRONG_CREDENTIALS
        if number + 1 >= FREE_TRIES_SESSION:
            wait = refusal(prove, parts, guessing, seat.secret, PASSWORD, HERE)
            assert wait.code is Code.TOO_MANY_ATTEMPTS
            waits.append(wait.details["retry_after_seconds"])
            clock[0] += timedelta(seconds=waits[-1])
    assert waits == [1, 2, 4, 8]
    refusal(prove, parts, guessing, seat.secret, "wrong-horse", HERE)
    assert prove(parts, guessing, other.secret, PASSWORD, ELSEWHERE)
    assert people.sign_in(parts, guessing, "chen", PASSWORD, ELSEWHERE)
    clock[0] += timedelta(seconds=16)
    assert prove(parts, guessing, seat.secret, PASSWORD, HERE)
    again = refusal(prove, parts, guessing, seat.secret, "wrong-horse", HERE)
    assert again.code is Code.WRONG_CREDENTIALS, "the right password begins a new count"
    assert prove(parts, guessing, seat.secret, PASSWORD, HERE)
