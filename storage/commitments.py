"""What have devices asked us to answer for, and what have they been told?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from storage.tables import commitment

_by_id = select(commitment).where(commitment.c.id == bindparam("commitment_key"))
_lock = _by_id.with_for_update()
_of_transaction = (
    select(commitment)
    .where(
        commitment.c.device_id == bindparam("of_device"),
        commitment.c.transaction_uid == bindparam("transaction"),
    )
    .order_by(commitment.c.requested_at, commitment.c.id)
    .with_for_update()
)
_waiting = (
    select(commitment)
    .where(
        commitment.c.device_id == bindparam("of_device"),
        commitment.c.reported_at.is_(None),
        commitment.c.given_up_at.is_(None),
    )
    .order_by(commitment.c.requested_at, commitment.c.id)
    .limit(100)
)
# an update without values sets the columns that are named among its parameters
_set = update(commitment).where(commitment.c.id == bindparam("commitment_key"))


@dataclass(frozen=True)
class Commitment:
    """One request of one device (PS3.4 annex J), and how far its answer is.

    `asked` are (SOP Class UID, SOP Instance UID) as asked; the first `checked` of them have been
    looked at, `failed` are those of them we do not answer for, with the failure reason
    (0008,1197). `checked_at`, `reported_at` and `given_up_at` are separate facts.
    """

    id: str
    site: str
    device_id: int
    transaction_uid: str
    request_digest: str
    asked: tuple[tuple[str, str], ...]
    requested_at: datetime
    expires_at: datetime
    checked: int = 0
    failed: tuple[tuple[str, str, int], ...] = ()
    checked_at: datetime | None = None
    reported_at: datetime | None = None
    given_up_at: datetime | None = None

    @property
    def committed(self) -> list[tuple[str, str]]:
        """What we answer for."""
        not_ours = {(sop_class, uid) for sop_class, uid, _ in self.failed}
        return [pair for pair in self.asked if pair not in not_ours]


class Commitments:
    """Rows of commitment requests in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, commitment_id: str) -> Commitment | None:
        """The request, or None."""
        return _one(self._connection.execute(_by_id, {"commitment_key": commitment_id}).first())

    def lock(self, commitment_id: str) -> Commitment | None:
        """The request, held until the end of the transaction."""
        return _one(self._connection.execute(_lock, {"commitment_key": commitment_id}).first())

    def of_transaction(self, device_id: int, transaction_uid: str) -> list[Commitment]:
        """What this device has asked under this Transaction UID, first request first."""
        found = self._connection.execute(
            _of_transaction, {"of_device": device_id, "transaction": transaction_uid}
        )
        return [_commitment(row) for row in found]

    def waiting(self, device_id: int) -> Sequence[Commitment]:
        """Requests of this device whose answer it has not been given yet; at most 100."""
        found = self._connection.execute(_waiting, {"of_device": device_id})
        return [_commitment(row) for row in found]

    def add(self, one: Commitment) -> None:
        """Write a new request."""
        self._connection.execute(insert(commitment), _columns(one))

    def save(self, one: Commitment) -> None:
        """Write how far its answer is."""
        self._connection.execute(
            _set,
            {
                "commitment_key": one.id,
                "checked": one.checked,
                "failed": [list(each) for each in one.failed],
                "expires_at": one.expires_at,
                "checked_at": one.checked_at,
                "reported_at": one.reported_at,
                "given_up_at": one.given_up_at,
            },
        )


def _one(row: Row[Any] | None) -> Commitment | None:
    return None if row is None else _commitment(row)


def _commitment(row: Row[Any]) -> Commitment:
    values = dict(row._mapping)
    values["asked"] = tuple((sop_class, uid) for sop_class, uid in row.asked)
    values["failed"] = tuple((sop_class, uid, reason) for sop_class, uid, reason in row.failed)
    return Commitment(**values)


def _columns(one: Commitment) -> dict[str, Any]:
    return {
        "id": one.id,
        "site": one.site,
        "device_id": one.device_id,
        "transaction_uid": one.transaction_uid,
        "request_digest": one.request_digest,
        "asked": [list(each) for each in one.asked],
        "checked": one.checked,
        "failed": [list(each) for each in one.failed],
        "requested_at": one.requested_at,
        "expires_at": one.expires_at,
        "checked_at": one.checked_at,
        "reported_at": one.reported_at,
        "given_up_at": one.given_up_at,
    }
