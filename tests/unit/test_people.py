"""Accounts, passwords, certificates, tokens: what the commands and the web edge call."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway import people
from gateway.assemble import assemble
from gateway.guessing import FREE_TRIES_NAME, Guessing
from gateway.settings import Settings
from worklist.errors import Code, Refusal
from worklist.person import Person, Role
from worklist.site import Site, SiteKind

PASSWORD = "correct-horse"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


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
        unit.people.save_site(
            Site("c1", "中心", "Center", SiteKind.CENTER, "Asia/Shanghai", None, frozenset({"h1"})),
            NOW,
        )
    yield made
    made.close()


def reader(name="chen"):
    return Person(name, "陈静", "Chen Jing", frozenset({Role.READER}), "h1", "110-1", None)


def refusal(call, *arguments, **more):
    with pytest.raises(Refusal) as caught:
        call(*arguments, **more)
    return caught.value


def test_a_reader_gets_a_certificate_and_signs_after_signing_in(parts, clock):
    people.add_user(parts, reader(), PASSWORD)
    seat = people.sign_in(parts, Guessing(), "chen", PASSWORD, "127.0.0.1")
    assert seat.signing_until == NOW + parts.policy.signing_unlocked
    with parts.view() as unit:
        key, serial = people.signing_key(unit, seat, NOW)
        row = unit.people.certificate("chen")
    assert f"{key.certificate.serial_number:x}" == serial == row.serial


def test_the_index_alone_opens_no_key(parts):
    people.add_user(parts, reader(), PASSWORD)
    seat = people.sign_in(parts, Guessing(), "chen", PASSWORD, "127.0.0.1")
    with parts.view() as unit:
        row = unit.people.session(seat.digest)
        assert seat.secret.hex() not in str(tuple(row))
        other = people.Seat(seat.person, seat.caller, bytes(32), seat.csrf, seat.signing_until)
        assert refusal(people.signing_key, unit, other, NOW).code is Code.SIGNING_LOCKED


def test_signing_is_locked_after_its_time_and_does_not_slide(parts, clock):
    people.add_user(parts, reader(), PASSWORD)
    seat = people.sign_in(parts, Guessing(), "chen", PASSWORD, "127.0.0.1")
    for _ in range(3):
        clock[0] += parts.policy.signing_unlocked / 3
        if clock[0] < NOW + parts.policy.signing_unlocked:
            people.seated(parts, seat.secret, active=True)
    with parts.view() as unit:
        assert refusal(people.signing_key, unit, seat, clock[0]).code is Code.SIGNING_LOCKED


def test_the_screen_locks_when_nobody_is_there_and_takes_the_key(parts, clock):
    people.add_user(parts, reader(), PASSWORD)
    seat = people.sign_in(parts, Guessing(), "chen", PASSWORD, "127.0.0.1")
    clock[0] += parts.policy.idle_lock + timedelta(minutes=1)
    locked = refusal(people.seated, parts, seat.secret, active=False)
    assert locked.code is Code.LOCKED
    assert locked.details["user"]["display"] == "陈静"
    with parts.view() as unit:
        assert unit.people.session(seat.digest).signing_key is None
    again = people.unlock_screen(parts, Guessing(), seat.secret, PASSWORD, "127.0.0.1")
    assert again.signing_until == clock[0] + parts.policy.signing_unlocked


def test_a_session_ends(parts, clock):
    people.add_user(parts, reader(), PASSWORD)
    seat = people.sign_in(parts, Guessing(), "chen", PASSWORD, "127.0.0.1")
    clock[0] += parts.policy.session
    assert refusal(people.seated, parts, seat.secret, active=True).code is Code.NOT_SIGNED_IN


def test_a_password_reset_revokes_and_issues_anew(parts):
    people.add_user(parts, reader(), PASSWORD)
    seat = people.sign_in(parts, Guessing(), "chen", PASSWORD, "127.0.0.1")
    with parts.view() as unit:
        before = unit.people.certificate("chen").serial
    people.set_password(parts, "chen", "another-horse")
    with parts.view() as unit:
        assert unit.people.certificate("chen").serial != before
        assert [serial for serial, _ in unit.people.revoked("h1")] == [before]
    assert refusal(people.seated, parts, seat.secret, active=False).code is Code.NOT_SIGNED_IN
    wrong = refusal(people.sign_in, parts, Guessing(), "chen", PASSWORD, "127.0.0.1")
    assert wrong.code is Code.WRONG_CREDENTIALS
    people.sign_in(parts, Guessing(), "chen", "another-horse", "127.0.0.1")


def test_guessing_is_slowed_down_for_known_and_unknown_names_alike(parts, clock):
    people.add_user(parts, reader(), PASSWORD)
    guessing = Guessing()

    def guess(name, password="wrong-horse"):
        return refusal(people.sign_in, parts, guessing, name, password, "127.0.0.1")

    for name in ("chen", "nobody"):
        codes = [guess(name).code for _ in range(FREE_TRIES_NAME)]
        assert codes == [Code.WRONG_CREDENTIALS] * FREE_TRIES_NAME
        assert guess(name).code is Code.TOO_MANY_ATTEMPTS
    assert guess("chen", PASSWORD).details["retry_after_seconds"] == 1
    waits = []
    for _ in range(4):
        clock[0] += timedelta(seconds=guess("chen").details["retry_after_seconds"])
        assert guess("chen").code is Code.WRONG_CREDENTIALS
        waits.append(guess("chen").details["retry_after_seconds"])
    assert waits == [2, 4, 8, 16]
    clock[0] += timedelta(seconds=16)
    assert people.sign_in(parts, guessing, "chen", PASSWORD, "127.0.0.1")


def test_a_wait_outlives_a_restart(parts):
    people.add_user(parts, reader(), PASSWORD)
    guessing = Guessing()
    for _ in range(FREE_TRIES_NAME):
        refusal(people.sign_in, parts, guessing, "chen", "wrong-horse", "127.0.0.1")
    fresh = refusal(people.sign_in, parts, Guessing(), "chen", PASSWORD, "127.0.0.1")
    assert fresh.code is Code.TOO_MANY_ATTEMPTS


def test_an_address_that_tries_many_names_is_slowed_down_too():
    guessing = Guessing()
    for number in range(20):
        guessing.failed(f"name{number}", "10.0.0.1", NOW)
    assert refusal(guessing.require_patience, "new", "10.0.0.1", NOW).code is Code.TOO_MANY_ATTEMPTS
    guessing.require_patience("new", "10.0.0.2", NOW)
    guessing.require_patience("new", "10.0.0.1", NOW + timedelta(hours=1))


@pytest.mark.parametrize(
    ("person", "password"),
    [
        (reader("a b"), PASSWORD),
        (reader("token:x"), PASSWORD),
        (reader(), "short"),
        (Person("x", "x", "x", frozenset({Role.READER}), "c1"), PASSWORD),
        (Person("x", "x", "x", frozenset({Role.DOCTOR}), "h1"), PASSWORD),
        (Person("x", "长" * 80, "x", frozenset({Role.READER}), "h1"), PASSWORD),
    ],
)
def test_what_cannot_be_an_account(parts, person, password):
    assert refusal(people.add_user, parts, person, password).code is Code.INVALID
    with parts.view() as unit:
        assert unit.people.account(person.name) is None


def test_a_name_is_taken_once(parts):
    people.add_user(parts, reader(), PASSWORD)
    assert refusal(people.add_user, parts, reader(), PASSWORD).code is Code.ALREADY_EXISTS


def test_tokens_open_until_they_end(parts, clock):
    roles = frozenset({Role.AUDITOR})
    bearer = people.add_token(parts, "statistics", "h1", roles, timedelta(days=1))
    with parts.view() as unit:
        caller = people.token_caller(unit, bearer, NOW)
        assert caller.name == "token:statistics"
        assert caller.sites == {"h1", "c1"}
        late = refusal(people.token_caller, unit, bearer, NOW + timedelta(days=1))
        assert late.code is Code.NOT_SIGNED_IN
        assert refusal(people.token_caller, unit, "00" * 32, NOW).code is Code.NOT_SIGNED_IN
        assert refusal(people.token_caller, unit, "not hex", NOW).code is Code.NOT_SIGNED_IN
    with parts.new_unit() as unit:
        assert unit.people.revoke_token("statistics", NOW)
    with parts.view() as unit:
        assert refusal(people.token_caller, unit, bearer, NOW).code is Code.NOT_SIGNED_IN


def test_the_authority_is_made_once_and_opens_with_the_secret_only(parts):
    one, two = people.ensure_authority(parts, "h1"), people.ensure_authority(parts, "h1")
    assert one.root == two.root
    with parts.view() as unit:
        row = unit.people.authority("h1")
    broken = type("Parts", (), {"vault": type("V", (), {"key": lambda _, __: bytes(32)})()})()
    assert refusal(people.opened_authority, broken, row).code is Code.INVALID
