"""How are several contents one body (multipart/related, RFC 2387), going out and coming in?"""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fastapi.responses import Response, StreamingResponse

from gateway.web.accept import media_type
from worklist.errors import Code, Refusal

WHOLE_BYTES = 1024 * 1024
CHUNK_BYTES = 256 * 1024
MOST_HEADER_BYTES = 16 * 1024


@dataclass(frozen=True)
class Part:
    """One content: its type, its length in bytes, and its bytes in pieces."""

    content_type: str
    length: int
    pieces: Iterable[bytes]


def related(
    parts: Iterable[Part],
    *,
    part_type: str,
    headers: dict[str, str],
    length: int | None = None,
    boundary: str | None = None,
) -> Response:
    """Parts as one multipart/related answer, made while it is sent.

    `length` is the length of the body where it is known before; see `related_length`.
    """
    boundary = boundary or secrets.token_hex(20)
    headers = {
        **headers,
        "Content-Type": f'multipart/related; type="{part_type}"; boundary={boundary}',
    }
    if length is not None:
        headers["Content-Length"] = str(length)
    return StreamingResponse(_body(parts, boundary), headers=headers)


def related_length(content_types: Iterable[str], lengths: Iterable[int], boundary: str) -> int:
    """Bytes of the body that `related` makes of parts of these types and lengths."""
    pairs = zip(content_types, lengths, strict=True)
    framed = sum(len(_head(boundary, kind, size)) + size + 2 for kind, size in pairs)
    return framed + len(_tail(boundary))


def one_part(body: bytes, content_type: str, headers: dict[str, str]) -> Response:
    """One content for itself: small ones at once, larger ones in pieces."""
    headers = {**headers, "Content-Type": content_type}
    if len(body) <= WHOLE_BYTES:
        return Response(body, headers=headers)
    headers["Content-Length"] = str(len(body))
    return StreamingResponse(pieces(body), headers=headers)


def related_one(
    body: bytes, content_type: str, part_type: str, boundary: str, headers: dict[str, str]
) -> Response:
    """One content as the only part: small ones at once, larger ones in pieces."""
    part = Part(content_type, len(body), [body] if len(body) <= WHOLE_BYTES else pieces(body))
    if len(body) > WHOLE_BYTES:
        length = related_length([content_type], [len(body)], boundary)
        return related(
            [part], part_type=part_type, headers=headers, length=length, boundary=boundary
        )
    headers = {
        **headers,
        "Content-Type": f'multipart/related; type="{part_type}"; boundary={boundary}',
    }
    return Response(b"".join(_body([part], boundary)), headers=headers)


def pieces(body: bytes) -> Iterator[bytes]:
    """A large body a chunk at a time."""
    for start in range(0, len(body), CHUNK_BYTES):
        yield body[start : start + CHUNK_BYTES]


def _body(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    for part in parts:
        yield _head(boundary, part.content_type, part.length)
        yield from part.pieces
        yield b"\r\n"
    yield _tail(boundary)


def _head(boundary: str, content_type: str, length: int) -> bytes:
    # cornerstone3D looks for the type in exactly this spelling, and for the boundary before it
    return (
        f"--{boundary}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def _tail(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()


# --- coming in ---------------------------------------------------------------------------------


class Splitter:
    """Cuts a body that comes in chunks into its parts; at most one part is held at a time.

    Refuses (INVALID) headers and (OUT_OF_RESOURCES) parts that are too large.
    """

    def __init__(self, boundary: str, most: int) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("latin-1")
        self._most = most
        self._buffer = bytearray(b"\r\n")  # the first delimiter may stand at the very beginning
        self._searched = 0
        self._content_type: str | None = None
        self._before_first = True
        self.ended = False

    def feed(self, chunk: bytes) -> Iterator[tuple[str, bytearray]]:
        """Take a chunk; gives (content type, bytes) of each part that it completes."""
        if not self.ended:  # an epilogue says nothing
            self._buffer += chunk
        while not self.ended:
            if self._content_type is None and not self._before_first and not self._headers():
                return
            at = self._buffer.find(self._delimiter, self._searched)
            if at < 0:
                self._searched = max(len(self._buffer) - len(self._delimiter), 0)
                self._require_bounds()
                return
            after = at + len(self._delimiter)
            if len(self._buffer) < after + 2:  # whether it was the last cannot be seen yet
                self._searched = at
                return
            self.ended = self._buffer[after : after + 2] == b"--"
            part, self._buffer, self._searched = self._buffer, self._buffer[after:], 0
            if not self._before_first:
                del part[at:]
                content_type, self._content_type = self._content_type or "", None
                yield content_type, part
            self._before_first = False

    def _headers(self) -> bool:
        """Take the headers of a part off the buffer; False while they are not whole."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MOST_HEADER_BYTES:
                raise Refusal(Code.INVALID, "The headers of a part are too long.")
            return False
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines if ":" in line]
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self._content_type = media_type(headers.get("content-type", "")).media_type
        del self._buffer[: end + 4]
        self._searched = 0
        return True

    def _require_bounds(self) -> None:
        if len(self._buffer) > self._most:
            raise Refusal(Code.OUT_OF_RESOURCES, "A part of the body is too large.")
        if self._before_first:
            del self._buffer[: self._searched]  # a preamble says nothing
            self._searched = 0
