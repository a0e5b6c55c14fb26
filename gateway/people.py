"""Who is this, and may they sign? Accounts, passwords, sessions, certificates, tokens.

Plain functions over the parts: the web edge and the commands call the same ones. Slow work
(argon2id, scrypt, making keys) happens outside of transactions.
"""

import hashlib
import logging
import re
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.x509 import load_der_x509_certificate
from sqlalchemy import Row

from gateway.assemble import Parts
from gateway.guessing import Guessing
from storage.index import IndexUnit
from storage.people import person_of
from viewers.report.authority import (
    Authority,
    Credential,
    LockedAuthority,
    Revocation,
    UnlockedKey,
    issue_reader,
    lock_authority,
    make_authority,
    make_crl,
    make_root_crl,
    new_session_secret,
    open_authority,
    unlock,
    unwrap,
    wrap,
)
from viewers.report.keylock import WrongSecret
from worklist.critical import rings_for
from worklist.errors import Code, Refusal
from worklist.events import Fact, Happened
from worklist.person import PROGRAM, Caller, Person, Role
from worklist.site import SiteKind

log = logging.getLogger("teleread.people")

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 256
# a session's last sign of life is written this often, not with every request
SIGN_OF_LIFE = timedelta(seconds=30)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_SIGNERS = frozenset({Role.READER, Role.REVIEWER})
_AT_HOSPITALS = _SIGNERS | {Role.COORDINATOR}
# OWASP Password Storage, argon2id: 19 MiB, 2 passes
_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
# what an unknown name is checked against, so that it costs the same time
_NOBODY = _HASHER.hash(secrets.token_hex(16))
# memory and processor for this many passwords at once
_AT_ONCE = threading.BoundedSemaphore(4)


@dataclass(frozen=True)
class Seat:
    """Somebody signed in at a browser. `secret` is the cookie's value; the index has its digest.

    `signing_until` says until when signing needs no password here, None when it is locked.
    """

    person: Person
    caller: Caller
    secret: bytes
    csrf: str
    signing_until: datetime | None

    @property
    def digest(self) -> str:
        """The key of the session's row."""
        return digest_of(self.secret)


@dataclass(frozen=True)
class Listening:
    """Somebody's browser hears news. `critical_open` counts the critical results that call them."""

    caller: Caller
    locked: bool
    critical_open: int


# -- accounts -------------------------------------------------------------------------------------


def add_user(parts: Parts, person: Person, password: str) -> None:
    """Add an account. Who signs reports gets a certificate whose key only this password opens."""
    with parts.view() as unit:
        site = unit.people.site(person.site)
        if unit.people.account(person.name) is not None:
            raise Refusal(Code.ALREADY_EXISTS, f"There is a user {person.name!r} already.")
    _check_person(person, site.kind)
    _check_password(password)
    now = parts.now()
    credential = _issue(parts, person, password, now)
    hashed = _hash(password)
    with parts.new_unit() as unit:
        unit.people.add_account(person, hashed, now)
        if credential is not None:
            _keep_certificate(unit, person, credential, now)
        unit.facts.add(
            Fact(Happened.ADMINISTERED, now, person.site, data={"user_added": person.name})
        )


def set_password(parts: Parts, name: str, password: str) -> None:
    """Set a new password: every session ends, the certificate is revoked and a new one issued."""
    _check_password(password)
    with parts.view() as unit:
        person = unit.people.person(name)
    if person is None:
        raise Refusal(Code.NOT_FOUND, f"There is no user {name!r}.")
    now = parts.now()
    credential = _issue(parts, person, password, now)
    hashed = _hash(password)
    with parts.new_unit() as unit:
        unit.people.change_account(name, password_hash=hashed, failed=0, blocked_until=None)
        unit.people.end_sessions(name)
        for serial in unit.people.revoke_certificates(name, now):
            unit.facts.add(
                Fact(
                    Happened.CERTIFICATE_REVOKED,
                    now,
                    person.site,
                    who=name,
                    data={"serial": serial},
                )
            )
        if credential is not None:
            _keep_certificate(unit, person, credential, now)
        unit.facts.add(Fact(Happened.ADMINISTERED, now, person.site, data={"password_set": name}))


def add_token(
    parts: Parts, name: str, site: str, roles: frozenset[Role], lifetime: timedelta | None
) -> str:
    """Make a bearer token for a program. It is returned once; the index keeps its digest."""
    if not _NAME.fullmatch(name):
        raise Refusal(
            Code.INVALID, "A token's name has letters, digits, dots, dashes or underscores."
        )
    secret = secrets.token_bytes(32)
    now = parts.now()
    with parts.new_unit() as unit:
        _check_roles(roles, unit.people.site(site).kind)
        unit.people.add_token(
            name=name,
            token_digest=digest_of(secret),
            site=site,
            roles=sorted(roles),
            created_at=now,
            expires_at=now + lifetime if lifetime else None,
        )
        unit.facts.add(Fact(Happened.ADMINISTERED, now, site, data={"token_added": name}))
    return secret.hex()


def token_caller(unit: IndexUnit, bearer: str, now: datetime) -> Caller:
    """The program behind a bearer token. Its name cannot be mistaken for an account's."""
    row = unit.people.token(digest_of(_secret(bearer)))
    if row is None or row.revoked_at is not None or (row.expires_at and row.expires_at <= now):
        raise Refusal(Code.NOT_SIGNED_IN, "This token is not valid.")
    return unit.people.caller(f"{PROGRAM}{row.name}", row.roles, row.site)


# -- the hospital's authority ---------------------------------------------------------------------


def ensure_authority(parts: Parts, hospital: str) -> Authority:
    """The hospital's certificate authority, opened; the first time it is made and kept."""
    secret = parts.vault.key("authority")
    with parts.view() as unit:
        site = unit.people.site(hospital)
        row = unit.people.authority(hospital)
    if row is None:
        now = parts.now()
        locked = lock_authority(make_authority(site.name, now=now), secret)
        with parts.new_unit() as unit:
            row = unit.people.authority(hospital)  # another thread may have been faster
            if row is None:
                unit.people.add_authority(
                    hospital=hospital,
                    root_certificate=locked.root,
                    certificate=locked.issuing,
                    root_key=locked.root_key,
                    key=locked.issuing_key,
                    created_at=now,
                )
                row = unit.people.authority(hospital)
    if row is None:
        raise Refusal(Code.NOT_FOUND, f"There is no authority of {hospital!r}.")
    return opened_authority(parts, row)


def opened_authority(parts: Parts, row: Row[Any]) -> Authority:
    """The authority of a row, its keys opened with the gateway's secret."""
    locked = LockedAuthority(row.root_certificate, row.certificate, row.root_key, row.key)
    try:
        return open_authority(locked, parts.vault.key("authority"))
    except WrongSecret as error:
        raise Refusal(
            Code.INVALID,
            "TELEREAD_SECRET_FILE: this secret does not open the hospital's authority.",
        ) from error


def revocation_lists(
    authority: Authority, revoked: list[tuple[str, datetime]], now: datetime
) -> list[bytes]:
    """Current lists (DER) of the issuing authority and of the root."""
    entries = [Revocation(int(serial, 16), at) for serial, at in revoked]
    number = int(now.timestamp() * 1_000_000)
    return [
        make_crl(authority, entries, number=number, now=now),
        make_root_crl(authority, number=number, now=now),
    ]


def _issue(parts: Parts, person: Person, password: str, now: datetime) -> Credential | None:
    if not person.roles & _SIGNERS:
        return None
    authority = ensure_authority(parts, person.site)
    with parts.view() as unit:
        hospital = unit.people.site(person.site)
    try:
        return issue_reader(
            authority,
            name=person.display,
            licence=person.licence_number,
            hospital=hospital.name,
            password=password,
            now=now,
            pepper=_pepper(parts),
        )
    except ValueError as error:
        raise Refusal(Code.INVALID, f"No certificate: {error}.") from error


def _keep_certificate(
    unit: IndexUnit, person: Person, credential: Credential, now: datetime
) -> None:
    serial = f"{credential.serial:x}"
    unit.people.add_certificate(
        serial=serial,
        account=person.name,
        hospital=person.site,
        certificate=credential.certificate,
        key=credential.locked_key,
        issued_at=now,
        expires_at=load_der_x509_certificate(credential.certificate).not_valid_after_utc,
    )
    unit.facts.add(
        Fact(
            Happened.CERTIFICATE_ISSUED, now, person.site, who=person.name, data={"serial": serial}
        )
    )


def _pepper(parts: Parts) -> bytes:
    return parts.vault.key("reader keys")


# -- sign-in --------------------------------------------------------------------------------------


def sign_in(
    parts: Parts,
    guessing: Guessing,
    name: str,
    password: str,
    address: str,
    old: bytes | None = None,
) -> Seat:
    """Open a session, signing unlocked. `old` is the cookie this browser had before, if any."""
    row = _proved(parts, guessing, name, password, address)
    now = parts.now()
    secret = new_session_secret()
    csrf = secrets.token_urlsafe(24)
    wrapped, until = _wrapped_key(parts, row.name, password, secret, now)
    with parts.new_unit() as unit:
        _require_same_password(unit, row)
        unit.people.end_expired_sessions(now)
        if old is not None:
            unit.people.end_session(digest_of(old))
        unit.people.add_session(
            token_digest=digest_of(secret),
            account=row.name,
            csrf=csrf,
            created_at=now,
            seen_at=now,
            expires_at=now + parts.policy.session,
            signing_key=wrapped,
            signing_until=until,
        )
        _tell(unit, Happened.SIGNED_IN, row, now)
        if until is not None:
            _tell(unit, Happened.SIGNING_UNLOCKED, row, now)
        return _seat(unit, row, secret, csrf, until)


def sign_out(parts: Parts, secret: bytes) -> None:
    """End the session. One that is not there is no error."""
    now = parts.now()
    with parts.new_unit() as unit:
        session = unit.people.session(digest_of(secret))
        if session is not None:
            row = unit.people.account(session.account)
            unit.people.end_session(session.token_digest)
            if row is not None:
                _tell(unit, Happened.SIGNED_OUT, row, now)


def seated(parts: Parts, secret: bytes, *, active: bool) -> Seat:
    """Who sits behind this cookie. Refuses: nobody (not_signed_in), or a locked screen (locked).

    `active` says that a person did something; it keeps the idle lock away. Without it nothing is
    written.
    """
    now = parts.now()
    with parts.view() as unit:
        session, row = _session(unit, secret, now)
        if _is_locked(parts, session, now):
            person = unit.people.person(row.name)
        else:
            person = None
            seat = _seat(unit, row, secret, session.csrf, _signing_until(session, now))
    if person is not None:
        if session.locked_at is None:
            lock(parts, secret)  # idle for too long: the key goes too
        raise Refusal(
            Code.LOCKED,
            "This screen is locked.",
            user={"name": person.name, "display": person.display, "display_en": person.display_en},
        )
    if active and now - session.seen_at >= SIGN_OF_LIFE:
        with parts.new_unit() as unit:
            unit.people.change_session(session.token_digest, seen_at=now)
    return seat


def listening(parts: Parts, secret: bytes) -> Listening:
    """Who hears news behind this cookie. Refuses what has ended (not_signed_in); a locked screen
    may be told that something waits, never of whom. No sign of life."""
    now = parts.now()
    with parts.view() as unit:
        session, row = _session(unit, secret, now)
        caller = unit.people.caller(row.name, row.roles, row.site)
        locked = _is_locked(parts, session, now)
        waiting = len(unit.criticals.open_at(caller.sites)) if rings_for(caller) else 0
    if locked and session.locked_at is None:
        lock(parts, secret)  # idle for too long: the key goes too
    return Listening(caller, locked, waiting)


def lock(parts: Parts, secret: bytes) -> None:
    """Lock the screen: signing needs the password again, and so does everything else."""
    with parts.new_unit() as unit:
        unit.people.change_session(
            digest_of(secret), locked_at=parts.now(), signing_key=None, signing_until=None
        )


def unlock_screen(
    parts: Parts, guessing: Guessing, secret: bytes, password: str, address: str
) -> Seat:
    """Open the lock again, for the same person only. Signing is unlocked with it."""
    return _prove_again(parts, guessing, secret, password, address)


def unlock_signing(
    parts: Parts, guessing: Guessing, secret: bytes, password: str, address: str
) -> Seat:
    """Enter the password again to sign without it for the policy's time."""
    seated(parts, secret, active=True)
    return _prove_again(parts, guessing, secret, password, address)


def signing_key(unit: IndexUnit, seat: Seat, now: datetime) -> tuple[UnlockedKey, str]:
    """The reader's open key and its certificate's serial; SIGNING_LOCKED when it is not open."""
    session = unit.people.session(seat.digest)
    certificate = unit.people.certificate(seat.person.name)
    if session is None or session.locked_at is not None or certificate is None:
        raise Refusal(Code.SIGNING_LOCKED, "Please enter your password to sign.")
    if session.signing_key is None or session.signing_until is None or session.signing_until <= now:
        raise Refusal(Code.SIGNING_LOCKED, "Please enter your password to sign.")
    try:
        return unwrap(session.signing_key, seat.secret, certificate.certificate), certificate.serial
    except WrongSecret as error:
        raise Refusal(Code.SIGNING_LOCKED, "Please enter your password to sign.") from error


def digest_of(secret: bytes) -> str:
    """What the index keeps of a cookie or token."""
    return hashlib.sha256(secret).hexdigest()


def secret_of(cookie: str | None) -> bytes:
    """The bytes of a session cookie; NOT_SIGNED_IN where there is none."""
    if not cookie:
        raise Refusal(Code.NOT_SIGNED_IN, "Please sign in.")
    return _secret(cookie)


def _secret(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise Refusal(Code.NOT_SIGNED_IN, "Please sign in.") from error


def _proved(parts: Parts, guessing: Guessing, name: str, password: str, address: str) -> Row[Any]:
    """The account, if the password is its own; wrong names look and cost like wrong passwords."""
    now = parts.now()
    with parts.view() as unit:
        row = unit.people.account(name)
    guessing.require_patience(name, address, now, row.blocked_until if row else None)
    live = row is not None and row.disabled_at is None
    right = _matches(row.password_hash if row is not None and live else _NOBODY, password)
    if row is not None and live and right:
        if row.failed:
            with parts.new_unit() as unit:
                unit.people.change_account(name, failed=0, blocked_until=None)
        guessing.succeeded(name, address)
        return row
    until = guessing.failed(name, address, now)
    with parts.new_unit() as unit:
        if row is not None:
            unit.people.change_account(name, failed=row.failed + 1, blocked_until=until)
        unit.facts.add(
            Fact(
                Happened.SIGN_IN_REFUSED,
                now,
                row.site if row is not None else "",
                who=row.name if row is not None else None,
            )
        )
    raise Refusal(Code.WRONG_CREDENTIALS, "Name and password do not belong together.")


def _require_password(
    parts: Parts, guessing: Guessing, session: str, row: Row[Any], password: str, address: str
) -> None:
    """Refuse unless it is the account's password. Waits are this session's own, never the name's:
    nobody outside can keep a reader from unlocking."""
    now = parts.now()
    guessing.require_patience_again(session, address, now)
    if _matches(row.password_hash, password):
        guessing.succeeded_again(session, address)
        return
    guessing.failed_again(session, address, now)
    with parts.new_unit() as unit:
        _tell(unit, Happened.SIGN_IN_REFUSED, row, now)
    raise Refusal(Code.WRONG_CREDENTIALS, "Name and password do not belong together.")


def _prove_again(
    parts: Parts, guessing: Guessing, secret: bytes, password: str, address: str
) -> Seat:
    now = parts.now()
    with parts.view() as unit:
        session, row = _session(unit, secret, now)
    _require_password(parts, guessing, session.token_digest, row, password, address)
    now = parts.now()
    wrapped, until = _wrapped_key(parts, row.name, password, secret, now)
    with parts.new_unit() as unit:
        _require_same_password(unit, row)
        session, row = _session(unit, secret, now)
        unit.people.change_session(
            session.token_digest,
            locked_at=None,
            seen_at=now,
            signing_key=wrapped,
            signing_until=until,
        )
        if until is not None:
            _tell(unit, Happened.SIGNING_UNLOCKED, row, now)
        return _seat(unit, row, secret, session.csrf, until)


def _require_same_password(unit: IndexUnit, row: Row[Any]) -> None:
    """Proving takes a while: a password that was reset meanwhile opens nothing any more."""
    now = unit.people.account(row.name)
    if now is None or now.disabled_at is not None or now.password_hash != row.password_hash:
        raise Refusal(Code.WRONG_CREDENTIALS, "Name and password do not belong together.")


def _wrapped_key(
    parts: Parts, name: str, password: str, secret: bytes, now: datetime
) -> tuple[bytes | None, datetime | None]:
    """The reader's key, opened by the password and encrypted under the cookie; None without one."""
    with parts.view() as unit:
        row = unit.people.certificate(name)
    if row is None:
        return None, None
    with _AT_ONCE:
        try:
            key = unlock(Credential(row.certificate, row.key), password, pepper=_pepper(parts))
        except WrongSecret:
            log.error("the signing key of account %s does not open with its password", name)
            return None, None
    return wrap(key, secret), now + parts.policy.signing_unlocked


def _session(unit: IndexUnit, secret: bytes, now: datetime) -> tuple[Row[Any], Row[Any]]:
    session = unit.people.session(digest_of(secret))
    row = unit.people.account(session.account) if session is not None else None
    if session is None or session.expires_at <= now or row is None or row.disabled_at is not None:
        raise Refusal(Code.NOT_SIGNED_IN, "Please sign in.")
    return session, row


def _is_locked(parts: Parts, session: Row[Any], now: datetime) -> bool:
    idle = now - session.seen_at >= parts.policy.idle_lock + SIGN_OF_LIFE
    return session.locked_at is not None or idle


def _signing_until(session: Row[Any], now: datetime) -> datetime | None:
    until: datetime | None = session.signing_until
    return until if session.signing_key is not None and until is not None and until > now else None


def _seat(unit: IndexUnit, row: Row[Any], secret: bytes, csrf: str, until: datetime | None) -> Seat:
    person = person_of(row)
    return Seat(person, unit.people.caller(row.name, row.roles, row.site), secret, csrf, until)


def _tell(unit: IndexUnit, what: Happened, row: Row[Any], now: datetime) -> None:
    unit.facts.add(Fact(what, now, row.site, who=row.name))


def _hash(password: str) -> str:
    with _AT_ONCE:
        return _HASHER.hash(password)


def _matches(hashed: str, password: str) -> bool:
    with _AT_ONCE:
        try:
            return _HASHER.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


def _check_person(person: Person, kind: SiteKind) -> None:
    if not _NAME.fullmatch(person.name):
        raise Refusal(
            Code.INVALID, "A user name has letters, digits, dots, dashes, underscores or @."
        )
    _check_roles(person.roles, kind)


def _check_roles(roles: frozenset[Role], kind: SiteKind) -> None:
    if roles & _AT_HOSPITALS and kind is not SiteKind.HOSPITAL:
        raise Refusal(Code.INVALID, "Readers, reviewers and coordinators belong to a hospital.")
    if Role.DOCTOR in roles and kind is not SiteKind.CENTER:
        raise Refusal(Code.INVALID, "A doctor in this sense belongs to a center.")


def _check_password(password: str) -> None:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Refusal(
            Code.INVALID, f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters."
        )


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return secrets.compare_digest(one.encode(), other.encode())
