"""What happens when an S3 store is named wrongly, is away, is slow, or gets other bytes?"""

import threading
import time
from dataclasses import replace

import pytest
from minio import Minio

from storage import patience
from storage.s3 import PART, S3Objects, Unfit
from tests.engines.keeper import free_port
from tests.engines.rgw import KMS_KEY
from tests.engines.wire import Wire
from worklist.errors import Code, Refusal

QUICK = 3.0  # seconds; a busy machine is slower than that an idle one


@pytest.fixture
def wire(s3_server):
    made = Wire(int(s3_server["endpoint"].rpartition(":")[2]))
    yield made
    made.cut()


@pytest.fixture
def store(s3_place, tmp_path):
    return S3Objects(s3_place, tmp_path / "spool", 0)


@pytest.fixture
def far(s3_place, wire, tmp_path):
    """The same store at the other end of a wire."""
    place = replace(s3_place, endpoint=f"http://127.0.0.1:{wire.port}")
    return S3Objects(place, tmp_path / "far", 0)


def refusal(store, act=lambda store: store.put("dicom", (b"data",))):
    """(what was refused, seconds it took)."""
    began = time.monotonic()
    with pytest.raises(Refusal) as refused:
        act(store)
    assert refused.value.code is Code.OUT_OF_RESOURCES
    return refused.value.message, time.monotonic() - began


# --- named wrongly -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"bucket": "no-such-bucket"}, "bucket"),
        ({"bucket": "No Bucket"}, "bucket"),
        ({"access_key": "somebodyelse"}, "access_key"),
        ({"secret_key": "hunter2hunter2"}, "secret_key"),
        ({"endpoint": "https://"}, "endpoint"),
        ({"endpoint": "127.0.0.1:9000"}, "endpoint"),
        ({"endpoint": "http://127.0.0.1:{free}"}, "endpoint"),
        ({"encryption": "rot13"}, "encryption"),
        ({"encryption": "aws:kms:no-such-key"}, "encryption"),
        ({"ca_file": None, "endpoint": "https://127.0.0.1:{wire}"}, "ca_file|endpoint"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_is(s3_place, wire, tmp_path, changes, name):
    changes = {
        key: value.format(free=free_port(), wire=wire.port) if isinstance(value, str) else value
        for key, value in changes.items()
    }
    place = replace(s3_place, **changes)
    with pytest.raises(Unfit) as unfit:
        S3Objects(place, tmp_path, 0).prove()
    assert unfit.value.field in name.split("|")
    assert place.secret_key not in str(unfit.value) + repr(place)


def test_a_store_that_is_named_rightly_is_proved_and_left_as_it_was(store):
    store.prove()
    assert list(store.list()) == []


# --- what the store is asked for ---------------------------------------------------------------


def client_of(place):
    address = place.endpoint.removeprefix("http://")
    return Minio(address, place.access_key, place.secret_key, secure=False, region=place.region)


def test_objects_lie_below_the_prefix_encrypted_with_the_key_that_was_named(s3_place, tmp_path):
    store = S3Objects(replace(s3_place, encryption=f"aws:kms:{KMS_KEY}"), tmp_path, 0)
    store.prove()
    writing = store.begin("dicom")
    writing.write(bytes(PART + 1))
    kept = {store.put("dicom", (b"small",)): 5, writing.commit(): PART + 1}
    for locator, length in kept.items():
        found = client_of(s3_place).stat_object(s3_place.bucket, f"{s3_place.prefix}/{locator}")
        assert found.metadata["x-amz-server-side-encryption"] == "aws:kms"
        assert store.length(locator) == len(store.get(locator)) == length


def test_another_prefix_is_another_store(s3_place, store, tmp_path):
    other = S3Objects(replace(s3_place, prefix=f"{s3_place.prefix}-2/"), tmp_path, 0)
    locator = store.put("dicom", (b"mine",))
    assert list(other.list()) == []
    with pytest.raises(FileNotFoundError):
        other.get(locator)


def test_lists_longer_than_a_page_of_the_store_are_whole(store):
    kept = set()

    def keep():
        for _ in range(130):
            kept.add(store.put("dicom", (b"x",)))

    threads = [threading.Thread(target=keep) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(store.list()) == kept
    assert len(kept) == 1040


# --- the wire ----------------------------------------------------------------------------------


def test_other_bytes_than_were_sent_are_not_kept(far, store, wire):
    wire.change = lambda piece: piece.replace(b"the data", b"the date")
    message, _ = refusal(far, lambda one: one.put("dicom", (b"the data",)))
    assert "XAmzContentSHA256Mismatch" in message
    writing = far.begin("dicom")
    writing.write(bytes(2 * PART) + b"the data")
    refusal(far, lambda _: writing.commit())
    writing.abandon()
    wire.change = None
    assert list(store.list()) == []
    assert far.get(far.put("dicom", (b"the data",))) == b"the data"


def test_a_store_that_is_away_is_refused_quickly_and_comes_back_by_itself(far, wire):
    locator = far.put("dicom", (b"before",))
    wire.cut()
    for act in (
        lambda one: one.put("dicom", (b"amid",)),
        lambda one: one.get(locator),
        lambda one: one.length(locator),
        lambda one: list(one.list()),
        lambda one: one.delete(locator),
    ):
        message, seconds = refusal(far, act)
        assert seconds < QUICK, message
    message, seconds = refusal(far)
    assert (seconds < 0.5, "left alone" in message) == (True, True)
    wire.mend()
    end = time.monotonic() + 2 * patience.REST + QUICK
    while True:
        try:
            assert far.get(locator) == b"before"
            break
        except Refusal:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_one_lost_connection_is_nobodys_trouble(far, wire):
    locator = far.put("dicom", (b"before",))
    while wire._open:
        wire._end(wire._open.pop())
    assert far.get(locator) == b"before"


def test_a_store_that_never_answers_holds_nobody_for_long(far, wire, monkeypatch):
    monkeypatch.setattr(patience, "ANSWER", 0.5)
    monkeypatch.setattr(patience, "WITHIN", 1.0)
    wire.deaf = True
    _, seconds = refusal(far)
    assert seconds < 1.0 + QUICK
    waited = []
    threads = [threading.Thread(target=lambda: waited.append(refusal(far)[1])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(waited) == 20
    assert max(waited) < 1.0 + QUICK
    _, seconds = refusal(far)
    assert seconds < 0.5  # it is left alone


def test_a_slow_store_is_waited_for(far, wire):
    wire.delay = 0.2
    assert far.get(far.put("dicom", (b"slowly",))) == b"slowly"
    assert wire.connections == 1  # kept, not made anew for each request


def test_figures_keep_a_c_store_below_fifteen_seconds():
    assert patience.WITHIN + patience.CONNECT < 15
    assert patience.ANSWER <= patience.WITHIN
