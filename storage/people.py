"""Who and what may come in? Sites, devices, accounts, sessions, tokens, certificates."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from storage.statement import Running, Statement
from storage.tables import (
    account,
    authority,
    certificate,
    commitment,
    device,
    read_by,
    session,
    site,
    token,
    transmission,
)
from storage.upsert import upsert
from worklist.errors import Code, Refusal
from worklist.person import Caller, Person, Role
from worklist.returning import Transmitted
from worklist.site import Device, Site, SiteKind

_sites = select(site).order_by(site.c.key)
_read_by = select(read_by)
_centers_of = select(read_by.c.center).where(read_by.c.hospital == bindparam("at_site"))
_devices = select(device).order_by(device.c.id)
_callers = Statement(select(device).where(device.c.ae_title == bindparam("title")))
_account = select(account).where(account.c.name == bindparam("who"))
_accounts = select(account).order_by(account.c.name)
_set_account = update(account).where(account.c.name == bindparam("who"))
_session = select(session).where(session.c.token_digest == bindparam("digest"))
_set_session = update(session).where(session.c.token_digest == bindparam("digest"))
_end_session = delete(session).where(session.c.token_digest == bindparam("digest"))
_end_sessions = delete(session).where(session.c.account == bindparam("who"))
_end_expired = delete(session).where(session.c.expires_at <= bindparam("now"))
_token = select(token).where(token.c.token_digest == bindparam("digest"))
_revoke_token = (
    update(token)
    .where(token.c.name == bindparam("token_name"), token.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
    .returning(token.c.site)
)
_authority = select(authority).where(authority.c.hospital == bindparam("at_site"))
_authorities = select(authority)
_certificate = (
    select(certificate)
    .where(certificate.c.account == bindparam("who"), certificate.c.revoked_at.is_(None))
    .order_by(certificate.c.issued_at.desc())
    .limit(1)
)
_revoked = select(certificate.c.serial, certificate.c.revoked_at).where(
    certificate.c.hospital == bindparam("at_site"), certificate.c.revoked_at.is_not(None)
)
_revoke = (
    update(certificate)
    .where(certificate.c.account == bindparam("who"), certificate.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
    .returning(certificate.c.serial)
)

_drop_sending = (
    update(transmission)
    .where(transmission.c.device_id == bindparam("of_device"), transmission.c.sent_at.is_(None))
    .values(state=Transmitted.DROPPED, reason="the device is gone")
)
_drop_answers = (
    update(commitment)
    .where(
        commitment.c.device_id == bindparam("of_device"),
        commitment.c.reported_at.is_(None),
        commitment.c.given_up_at.is_(None),
    )
    .values(given_up_at=bindparam("now"))
)


class People:
    """Rows of sites, devices and accounts in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # -- sites and devices

    def sites(self) -> dict[str, Site]:
        """Every Site by key."""
        readers: dict[str, set[str]] = {}
        for row in self._connection.execute(_read_by):
            readers.setdefault(row.center, set()).add(row.hospital)
        return {
            row.key: Site(
                row.key,
                row.name,
                row.name_en,
                SiteKind(row.kind),
                row.timezone,
                row.phone,
                frozenset(readers.get(row.key, ())),
            )
            for row in self._connection.execute(_sites)
        }

    def site(self, key: str) -> Site:
        """One Site. NOT_FOUND where there is none."""
        found = self.sites().get(key)
        if found is None:
            raise Refusal(Code.NOT_FOUND, f"There is no site {key!r}.")
        return found

    def visible_from(self, key: str) -> frozenset[str]:
        """The keys of the Sites whose studies exist for people of this one."""
        centers = self._connection.execute(_centers_of, {"at_site": key}).scalars()
        return frozenset({key, *centers})

    def save_site(self, one: Site, now: datetime) -> None:
        """Write a Site and who reads for it. Every reader must be a hospital here."""
        values = {
            "name": one.name,
            "name_en": one.name_en,
            "kind": one.kind,
            "timezone": one.timezone,
            "phone": one.phone,
            "created_at": now,
        }
        upsert(self._connection, site, {"key": one.key}, values)
        known = self.sites()
        for hospital in one.read_by:
            if hospital not in known or known[hospital].kind is not SiteKind.HOSPITAL:
                raise Refusal(Code.INVALID, f"There is no hospital {hospital!r}.")
        self._connection.execute(delete(read_by).where(read_by.c.center == one.key))
        rows = [{"center": one.key, "hospital": hospital} for hospital in sorted(one.read_by)]
        if rows:
            self._connection.execute(insert(read_by), rows)

    def devices(self) -> list[Device]:
        """Every registered device."""
        return [_device(row) for row in self._connection.execute(_devices)]

    def callers(self, ae_title: str) -> list[Device]:
        """Devices registered under this calling AE Title."""
        return callers_of(self._connection, ae_title)

    def add_device(self, **columns: Any) -> None:
        """Register a device. The very same line twice is refused, and one that nothing would tell
        from another Site's: both would be turned away."""
        self._require_told_apart(columns)
        self._connection.execute(insert(device), columns)

    def change_device(self, device_id: int, **columns: Any) -> None:
        """Register a device anew under its number, with the same refusals as `add_device`."""
        self._require_told_apart(columns, device_id)
        self._connection.execute(update(device).where(device.c.id == device_id).values(**columns))

    def remove_device(self, device_id: int, now: datetime) -> None:
        """It may not call any more, and nothing goes to it. What it has sent stays. Its number may
        be given to another device: nothing that waits for it may be left."""
        self._connection.execute(_drop_sending, {"of_device": device_id})
        self._connection.execute(_drop_answers, {"of_device": device_id, "now": now})
        self._connection.execute(delete(device).where(device.c.id == device_id))

    def _require_told_apart(self, columns: dict[str, Any], other_than: int | None = None) -> None:
        given = (columns["called"], columns["host"], columns.get("certificate"))
        same = [
            one.site
            for one in self.callers(columns["ae_title"])
            if (one.called, one.host, one.certificate) == given and one.id != other_than
        ]
        if columns["site"] in same:
            raise Refusal(Code.ALREADY_EXISTS, "This device is registered already.")
        if same:
            raise Refusal(
                Code.ALREADY_EXISTS,
                "Another site has this calling AE Title: "
                "--called, --host or --certificate must tell them apart.",
            )

    def saw_device(self, device_id: int, at: datetime) -> None:
        """Remember when a device was on the line."""
        self._connection.execute(
            update(device).where(device.c.id == device_id).values(last_seen_at=at)
        )

    def learn_device(self, device_id: int, one_per_image: bool, now: datetime) -> None:
        """Remember when and how a device was seen to work."""
        self._connection.execute(
            update(device)
            .where(device.c.id == device_id)
            .values(one_per_image=one_per_image, last_seen_at=now)
        )

    # -- accounts

    def person(self, name: str) -> Person | None:
        """The account's person, or None."""
        row = self.account(name)
        return None if row is None else person_of(row)

    def people(self) -> dict[str, Person]:
        """Every person by account name."""
        return {row.name: person_of(row) for row in self._connection.execute(_accounts)}

    def account(self, name: str) -> Row[Any] | None:
        """All columns of an account."""
        return self._connection.execute(_account, {"who": name}).one_or_none()

    def add_account(self, one: Person, password_hash: str, now: datetime) -> None:
        """Write a new account. ALREADY_EXISTS where the name is taken."""
        if self.account(one.name) is not None:
            raise Refusal(Code.ALREADY_EXISTS, f"There is a user {one.name!r} already.")
        self._connection.execute(
            insert(account),
            {
                "name": one.name,
                "site": one.site,
                "display": one.display,
                "display_en": one.display_en,
                "roles": sorted(one.roles),
                "licence_number": one.licence_number,
                "phone": one.phone,
                "password_hash": password_hash,
                "created_at": now,
            },
        )

    def change_account(self, name: str, **columns: Any) -> None:
        """Set columns of an account."""
        self._connection.execute(_set_account.values(**columns), {"who": name})

    def caller(self, name: str, roles: Sequence[str], at_site: str) -> Caller:
        """Someone whose name has been proved, with what exists for them."""
        return Caller(
            name, frozenset(Role(role) for role in roles), at_site, self.visible_from(at_site)
        )

    # -- sessions and tokens

    def add_session(self, **columns: Any) -> None:
        """Write a new session."""
        self._connection.execute(insert(session), columns)

    def session(self, token_digest: str) -> Row[Any] | None:
        """All columns of a session."""
        return self._connection.execute(_session, {"digest": token_digest}).one_or_none()

    def change_session(self, token_digest: str, **columns: Any) -> None:
        """Set columns of a session."""
        self._connection.execute(_set_session.values(**columns), {"digest": token_digest})

    def end_session(self, token_digest: str) -> None:
        """Forget a session."""
        self._connection.execute(_end_session, {"digest": token_digest})

    def end_sessions(self, who: str) -> None:
        """Forget every session of an account."""
        self._connection.execute(_end_sessions, {"who": who})

    def end_expired_sessions(self, now: datetime) -> None:
        """Forget what has expired."""
        self._connection.execute(_end_expired, {"now": now})

    def add_token(self, **columns: Any) -> None:
        """Write a new program's token. ALREADY_EXISTS where the name is taken."""
        if self._connection.execute(select(token).where(token.c.name == columns["name"])).first():
            raise Refusal(Code.ALREADY_EXISTS, f"There is a token {columns['name']!r} already.")
        self._connection.execute(insert(token), columns)

    def token(self, token_digest: str) -> Row[Any] | None:
        """All columns of a token."""
        return self._connection.execute(_token, {"digest": token_digest}).one_or_none()

    def revoke_token(self, name: str, now: datetime) -> str | None:
        """End a token; returns its Site, None where there is no such live token."""
        found = self._connection.execute(_revoke_token, {"token_name": name, "now": now})
        site_key: str | None = found.scalar_one_or_none()
        return site_key

    # -- certificates

    def authority(self, hospital: str) -> Row[Any] | None:
        """The hospital's own certificate authority."""
        return self._connection.execute(_authority, {"at_site": hospital}).one_or_none()

    def authorities(self) -> Sequence[Row[Any]]:
        """Every hospital's certificate authority."""
        return self._connection.execute(_authorities).all()

    def add_authority(self, **columns: Any) -> None:
        """Write a hospital's new certificate authority."""
        self._connection.execute(insert(authority), columns)

    def certificate(self, who: str) -> Row[Any] | None:
        """The reader's certificate in force."""
        return self._connection.execute(_certificate, {"who": who}).one_or_none()

    def add_certificate(self, **columns: Any) -> None:
        """Write a newly issued certificate."""
        self._connection.execute(insert(certificate), columns)

    def revoked(self, hospital: str) -> list[tuple[str, datetime]]:
        """(serial, instant) of every revoked certificate of a hospital."""
        rows = self._connection.execute(_revoked, {"at_site": hospital})
        return [(row.serial, row.revoked_at) for row in rows]

    def revoke_certificates(self, who: str, now: datetime) -> list[str]:
        """Revoke what is in force for this reader; returns the serials."""
        return list(self._connection.execute(_revoke, {"who": who, "now": now}).scalars())


def callers_of(connection: Running, ae_title: str) -> list[Device]:
    """Devices registered under this calling AE Title."""
    return [_device(row) for row in _callers.all(connection, {"title": ae_title})]


def person_of(row: Row[Any]) -> Person:
    """The person of an account row."""
    return Person(
        row.name,
        row.display,
        row.display_en,
        frozenset(Role(role) for role in row.roles),
        row.site,
        row.licence_number,
        row.phone,
    )


def _device(row: Row[Any]) -> Device:
    return Device(
        row.id,
        row.site,
        row.ae_title,
        row.called,
        row.host,
        row.port,
        row.modality,
        bool(row.one_per_image),
        row.certificate,
        bool(row.tls),
        bool(row.returns_reports),
    )
