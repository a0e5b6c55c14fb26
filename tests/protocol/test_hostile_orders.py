"""Does what no honest device sends to worklist and MPPS get a refusal, and change nothing?"""

import io

import pytest
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_FIND, N_CREATE, N_SET

from tests.protocol.test_mpps import MPPS, begin, begun, scheduled, state, step
from tests.protocol.test_worklist import MWL, ask_plainly, in_step, placed
from worklist.order import OrderState

_ITEM = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
_NEST = b"\x40\x00\x00\x01\xff\xff\xff\xff" + _ITEM
UNREADABLE = {
    "one byte": b"\0",
    "text": b"junkjunkjunk",
    "deep without end": _NEST * 10_000,
    "4 GB claimed": b"\x10\x00\x10\x00\xf0\xff\xff\xffabcd",
    "undefined length of text": b"\x10\x00\x10\x00\xff\xff\xff\xff",
    "cut": b"\x10\x00\x10\x00\x00\x10\x00\x00abcd",
}


def said(gateway, sop_class, message):
    """The first status that is answered."""
    ae = AE("EAST_CT")
    ae.add_requested_context(sop_class, "1.2.840.10008.1.2")
    association = ae.associate("127.0.0.1", gateway.port, ae_title="TELEREAD")
    message.MessageID = 1
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        pass
    try:
        association.dimse.send_msg(message, association.accepted_contexts[0].context_id)
        _, response = association.dimse.get_msg(block=True)
    finally:
        association._reactor_checkpoint.set()
    association.release()
    return response.Status


def a_find(raw):
    message = C_FIND()
    message.AffectedSOPClassUID, message.Priority = MWL, 2
    message.Identifier = io.BytesIO(raw)
    return message


def a_create(raw):
    message = N_CREATE()
    message.AffectedSOPClassUID, message.AffectedSOPInstanceUID = MPPS, "1.2.3"
    message.AttributeList = io.BytesIO(raw)
    return message


def a_set(raw, uid):
    message = N_SET()
    message.RequestedSOPClassUID, message.RequestedSOPInstanceUID = MPPS, uid
    message.ModificationList = io.BytesIO(raw)
    return message


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_refused_and_changes_nothing(gateway, raw):
    order = placed(gateway)
    _, uid = begin(gateway, begun(scheduled(order)))
    before = step(gateway, uid)
    assert said(gateway, MWL, a_find(raw)) == 0xC000
    assert said(gateway, MPPS, a_create(raw)) == 0x0110
    assert said(gateway, MPPS, a_set(raw, uid)) == 0x0110
    assert step(gateway, uid) == before
    assert step(gateway, "1.2.3") is None
    assert state(gateway, order) is OrderState.IN_PROGRESS
    assert [status for status, _ in ask_plainly(gateway, in_step(Modality=""))] == [0xFF00, 0]


def test_a_sequence_that_ends_too_early_is_what_could_be_read(gateway):
    placed(gateway)
    raw = b"\x40\x00\x00\x01\x10\x00\x00\x00" + _ITEM + b"\x40\x00\x02\x00\xff\xff\xff\x7f"
    assert said(gateway, MWL, a_find(raw)) == 0xFF00


def test_a_wild_name_takes_no_time(gateway):
    placed(gateway, name="a" * 64, name_latin=None)
    value = b"*a?" * 600 + b"b "
    raw = b"\x10\x00\x10\x00" + len(value).to_bytes(4, "little") + value
    assert said(gateway, MWL, a_find(raw)) == 0x0000
