"""Which representation does a client want (RFC 9110 section 12.5.1, PS3.18 section 8.3.3)?"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import JSONResponse

_LONGEST = 2000
_RANGES = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PARTS = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*")+')


@dataclass(frozen=True)
class MediaRange:
    """One media range with its parameters, names and type in lower case."""

    media_type: str
    parameters: Mapping[str, str]
    quality: float = 1.0

    @property
    def multipart(self) -> bool:
        """Whether the content is wanted in parts."""
        return self.media_type == "multipart/related"

    @property
    def content(self) -> str:
        """The media type of the content itself: that of the parts, where parts are wanted."""
        return self.parameters.get("type", "*/*").lower() if self.multipart else self.media_type

    def takes(self, media_type: str) -> bool:
        """Whether the content may be of this type."""
        main, _, sub = self.content.partition("/")
        return (main, sub) in {("*", "*"), (media_type.partition("/")[0], "*")} or (
            self.content == media_type
        )


def media_type(header: str) -> MediaRange:
    """A media type with parameters, as in Content-Type."""
    name, *rest = (part.strip() for part in _PARTS.findall(header[:_LONGEST]) or [""])
    pairs = (part.partition("=") for part in rest)
    given = {key.strip().lower(): _unquoted(value.strip()) for key, _, value in pairs}
    return MediaRange(name.lower(), given, _quality(given.pop("q", "1")))


def accepted(request: Request) -> list[MediaRange]:
    """What the client takes, best first; everything where it does not say.

    The query parameter `accept` goes before the header (PS3.18 section 8.3.3.1).
    """
    asked = request.query_params.get("accept") or request.headers.get("Accept", "")
    ranges = [media_type(one) for one in _RANGES.findall(asked[:_LONGEST])]
    wanted = [one for one in ranges if one.quality > 0]
    if not ranges:
        return [MediaRange("*/*", {})]
    return sorted(wanted, key=lambda one: (-one.quality, one.media_type.count("*")))


def takes_json(request: Request) -> bool:
    """Whether the client takes DICOM JSON."""
    return any(
        not one.multipart and (one.takes("application/dicom+json") or one.takes("application/json"))
        for one in accepted(request)
    )


def not_acceptable(offered: str) -> JSONResponse:
    """406, saying what there is."""
    message = f"This resource is offered as {offered} only."
    return JSONResponse({"code": "not_acceptable", "message": message}, 406)


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 1.0


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value
