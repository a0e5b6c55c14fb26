"""Do bodies in parts and wishes of clients survive however they come?"""

import itertools

import pytest
from starlette.requests import Request

from gateway.objectfile import BLOCK, object_file
from gateway.web.accept import accepted, media_type
from gateway.web.multipart import Part, Splitter, related_length
from storage.objects import LocalObjects
from worklist.errors import Code, Refusal

DICOM = "application/dicom"
PARTS = [b"first\r\n--cut\r\n\r\nnot the end", b"", b"\r\n", b"x" * 5000, b"--cu", b"\r\n--cu"]


def body_of(parts, preamble=b"", epilogue=b""):
    whole = b"".join(
        b"--cut1\r\nContent-Type: application/dicom\r\n\r\n" + p + b"\r\n" for p in parts
    )
    return preamble + whole + b"--cut1--" + epilogue


def split(body, size, most=1 << 20):
    splitter = Splitter("cut1", most)
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    found = list(itertools.chain.from_iterable(map(splitter.feed, chunks)))
    return splitter, [(kind, bytes(part)) for kind, part in found]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 4096, 1 << 20])
@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"words before\r\n"])
def test_parts_are_cut_wherever_the_chunks_end(size, preamble):
    splitter, found = split(body_of(PARTS, preamble, b"\r\nwords after --cut1"), size)
    assert splitter.ended
    assert found == [(DICOM, part) for part in PARTS]


def test_a_body_that_breaks_off_gives_no_half_part():
    whole = body_of(PARTS)
    for length in range(0, len(whole) - 1, 97):
        splitter, found = split(whole[:length], 50)
        assert not splitter.ended
        assert found == [(DICOM, part) for part in PARTS][: len(found)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (body_of([b"x" * 5000]), Code.OUT_OF_RESOURCES),
        (b"--cut1\r\nContent-Type: " + b"x" * 20_000, Code.INVALID),
    ],
)
def test_what_is_too_large_is_refused_while_it_comes(body, code):
    with pytest.raises(Refusal) as refused:
        split(body, 1000, most=3000)
    assert refused.value.code is code


def test_a_long_preamble_is_not_kept():
    splitter = Splitter("cut1", 1000)
    for _ in range(100):
        assert list(splitter.feed(b"y" * 900)) == []
    assert len(splitter._buffer) < 1000


def test_the_length_of_a_body_is_known_before():
    from gateway.web import multipart

    parts = [Part("a/b", 3, [b"abc"]), Part("c/d; e=f", 2, [b"x", b"y"])]
    body = b"".join(multipart._body(parts, "cut"))
    assert len(body) == related_length(["a/b", "c/d; e=f"], [3, 2], "cut")


# --- wishes ------------------------------------------------------------------------------------


def asking(accept, query=""):
    headers = [(b"accept", accept.encode())] if accept is not None else []
    return Request({"type": "http", "headers": headers, "query_string": query.encode()})


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        (None, ["*/*"]),
        ("", ["*/*"]),
        ("image/jpeg;q=0.2, image/png", ["image/png", "image/jpeg"]),
        ("*/*, image/png", ["image/png", "*/*"]),
        ("image/png;q=0", []),
        ("image/png;q=nonsense", ["image/png"]),
        ('multipart/related; type="a/b,c"; x="q;0"', ["multipart/related"]),
        ('"' * 3000, []),
        (',"\\' + '\\"' * 900, []),
    ],
)
def test_wishes_are_ordered(accept, best):
    found = [one.media_type for one in accepted(asking(accept))]
    assert found == best or not best


def test_the_query_goes_before_the_header_and_quotes_are_taken_off():
    assert accepted(asking("a/b", "accept=image/png"))[0].media_type == "image/png"
    one = media_type('multipart/related; TYPE="Application/DICOM"; boundary="a b\\"c"')
    assert one.multipart and one.takes(DICOM) and one.parameters["boundary"] == 'a b"c'


# --- objects as files --------------------------------------------------------------------------


def test_an_object_is_read_in_ranges(tmp_path):
    objects = LocalObjects(tmp_path, 0)
    data = bytes(range(256)) * 4096
    locator = objects.put("dicom", [data])
    taken = []

    class Counting:
        def read(self, locator, start, length):
            taken.append(length)
            return objects.read(locator, start, length)

    file = object_file(Counting(), locator, len(data))
    assert file.read(10) == data[:10] and sum(taken) <= BLOCK
    file.seek(500_000)
    assert file.read(300_000) == data[500_000:800_000]
    assert file.seek(-5, 2) == len(data) - 5 and file.read() == data[-5:]
    assert file.read(1) == b"" and file.seek(len(data) + 9) and file.read(1) == b""
    with pytest.raises(ValueError):
        file.seek(-1)
    assert sum(taken) < len(data) / 2
