"""Is a report due at each device of its center, and a commitment request kept as it was made?"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from storage.commitments import Commitment
from worklist import returning
from worklist.returning import Transmitted

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def device(unit, site, ae_title, **changes):
    given = dict.fromkeys(("called", "host", "port", "modality"))
    unit.people.add_device(
        site=site, ae_title=ae_title, one_per_image=False, **{**given, **changes}
    )
    (found,) = unit.people.callers(ae_title)
    return found


def request(**changes):
    values = {
        "id": "a" * 32,
        "site": "east",
        "device_id": 7,
        "transaction_uid": "1.2.3",
        "request_digest": "d" * 64,
        "asked": (("1.2", "1.2.1"), ("1.2", "1.2.2")),
        "requested_at": NOW,
        "expires_at": LATER,
    }
    return Commitment(**{**values, **changes})


def test_only_devices_of_the_site_that_take_reports_and_can_be_called(house):
    with house.unit() as unit:
        device(unit, "east", "PACS", host="127.0.0.1", port=104, returns_reports=True)
        device(unit, "east", "MUTE", host="127.0.0.1", port=104)
        device(unit, "east", "NOWHERE", returns_reports=True)
        device(unit, "west", "WEST", host="127.0.0.1", port=104, returns_reports=True)
        assert [one.ae_title for one in unit.transmissions.receivers("east")] == ["PACS"]
        assert unit.transmissions.receivers("hospital") == []


def test_a_commitment_request_is_kept_and_found(index, house):
    with index.unit() as unit:
        unit.commitments.add(request())
    with index.unit() as unit:
        assert unit.commitments.get("a" * 32) == request()
        assert unit.commitments.get("b" * 32) is None
        assert unit.commitments.of_transaction(7, "1.2.3") == [request()]
        assert unit.commitments.of_transaction(8, "1.2.3") == []
        assert list(unit.commitments.waiting(7)) == [request()]


def test_what_was_told_or_given_up_waits_no_longer(index, house):
    with index.unit() as unit:
        unit.commitments.add(request())
        unit.commitments.add(request(id="b" * 32, transaction_uid="1.2.4"))
        done = replace(request(), checked=2, checked_at=NOW, reported_at=LATER)
        failed = (("1.2", "1.2.2", 0x0110),)
        unit.commitments.save(replace(done, failed=failed))
        unit.commitments.save(replace(request(id="b" * 32), given_up_at=LATER))
    with index.view() as unit:
        assert list(unit.commitments.waiting(7)) == []
        found = unit.commitments.get("a" * 32)
        assert found.committed == [("1.2", "1.2.1")]
        assert (found.failed, found.reported_at) == (failed, LATER)


def test_the_same_request_has_one_row(index, house):
    from sqlalchemy.exc import IntegrityError

    with index.unit() as unit:
        unit.commitments.add(request())
    with pytest.raises(IntegrityError), index.unit() as unit:
        unit.commitments.add(request(id="b" * 32))


def test_the_document_of_a_version_has_one_name():
    first = returning.document_uid("0" * 32)
    assert first == returning.document_uid("0" * 32)
    assert first != returning.document_uid("1" * 32)
    assert first.startswith("2.25.")
    assert len(first) <= 64


def test_nothing_is_due_for_what_is_not_there(house):
    with house.unit() as unit:
        assert returning.still_due(unit, "f" * 32) is None
        returning.drop(unit, "f" * 32, NOW)
        returning.sent(unit, "f" * 32, 0, NOW)
        returning.not_sent(unit, "f" * 32, "x", NOW, last=True)
        assert returning.again(unit, 1, NOW) == 0
        assert unit.jobs.counts() == (0, 0)


def test_states_have_names_that_are_kept():
    assert {str(one) for one in Transmitted} == {"due", "sent", "failed", "dropped"}
