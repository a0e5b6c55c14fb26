"""What holds for every request and every answer, whatever it is about?

Pure ASGI, outermost: host names, origin, size of bodies, headers that keep the browser safe,
measuring, one log line.
"""

import logging
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.settings import LOOPBACK, Settings
from gateway.web.errors import internal_error
from gateway.web.health import Metrics

log = logging.getLogger("teleread.web")
access = logging.getLogger("teleread.access")

CSP = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "connect-src 'self'",
        "frame-src 'self' blob:",
        "object-src 'self'",
        "frame-ancestors 'self'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
# The browser's PDF viewer brings styles and scripts of its own; the document can run none of ours.
CSP_OF_PDF = "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"

MEBIBYTE = 1024 * 1024
LIMIT = MEBIBYTE
LIMITS: Mapping[str, int] = {
    "/api/tasks/": 8 * MEBIBYTE,  # a signature names each of up to 50 000 instances
    "/api/verify/": 20 * MEBIBYTE,
    "/dicom-web/": 2048 * MEBIBYTE,
}
"""Largest body in bytes by the beginning of the path; `LIMIT` for all others."""

_NEVER_STORED = ("/api", "/dicom-web", "/metrics", "/healthz", "/readyz")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_PLACE = re.compile(r"\{(\w+)(?::\w+)?\}")
# a uuid in hex, a row's number, a UID, the public number of a report
_OURS = re.compile(r"[0-9a-f]{32}|[0-9]{1,9}|[0-9]+(\.[0-9]+)+|[a-z2-7]{24}")
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._hosts = allowed_hosts(settings)
        self._hsts = settings.secure
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        answer = _Answer(send, scope, self._hsts)
        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
        except Exception:
            log.exception("%s %s failed", scope["method"], template(scope))
            if answer.status is None:
                await internal_error()(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - began
            self._metrics.served(scope["method"], template(scope), answer.status or 499, seconds)
            access.info(
                "%s %s %s %.0f ms", scope["method"], _path(scope), answer.status, seconds * 1000
            )

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = host_name(headers.get("host", ""))
        if self._hosts and host not in self._hosts:
            return _plain(421, "wrong_host", "This server does not answer under that name.")
        origin = headers.get("origin")
        if origin is not None and scope["method"] not in _SAFE:
            came_from = host_name(urlsplit(origin).netloc)
            if came_from != host and came_from not in self._hosts:
                return _plain(403, "forged_request", "This request comes from another site.")
        return None


class BodyLimit:
    """Refuses bodies that are too large: by what they say, and by what they turn out to be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = limit_of(scope["path"])
        said = Headers(scope=scope).get("content-length", "0")
        if not said.isdigit() or int(said) > limit:
            await _plain(413, "too_large", "That is too large.")(scope, receive, send)
            return
        counted = _Counted(receive, limit)
        await self._app(scope, counted, send)


class _Counted:
    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise HTTPException(413)
        return message


class _Answer:
    """Puts the headers on whatever is sent, and remembers the status."""

    def __init__(self, send: Send, scope: Scope, hsts: bool) -> None:
        self._send = send
        self._api = scope["path"].startswith(_NEVER_STORED)
        self._hsts = hsts
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message["headers"])
            pdf = headers.get("content-type", "").startswith("application/pdf")
            headers["Content-Security-Policy"] = CSP_OF_PDF if pdf else CSP
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
            if self._hsts:
                headers["Strict-Transport-Security"] = "max-age=31536000"
            if self._api:
                headers.setdefault("Cache-Control", "no-store")
        await self._send(message)


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """Names under which the server answers; empty (any) where it listens everywhere, unnamed."""
    public = urlsplit(settings.public_url).hostname if settings.public_url else None
    if public is None and settings.web_host in _EVERYWHERE:
        return frozenset()
    names = {*LOOPBACK, settings.web_host, *([public] if public else [])}
    return frozenset(name.lower() for name in names if name not in _EVERYWHERE)


def host_name(host: str) -> str:
    """The name in a Host header or an origin, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def limit_of(path: str) -> int:
    """The largest body that is taken at this address, in bytes."""
    return next((limit for start, limit in LIMITS.items() if path.startswith(start)), LIMIT)


def template(scope: Scope) -> str:
    """The route's template, never what a client wrote: few values, no ids."""
    route: Any = scope.get("route")
    path = getattr(route, "path", None)
    return path if isinstance(path, str) and path else "other"


def _path(scope: Scope) -> str:
    """What the access log says: the route, filled with values that look like ids of ours. Whatever
    else a client writes into an address (a name, a Patient ID) is not repeated."""
    values = scope.get("path_params", {})

    def filled(place: re.Match[str]) -> str:
        value = str(values.get(place[1], ""))
        return value if _OURS.fullmatch(value) else place[0]

    return _PLACE.sub(filled, template(scope))


def _plain(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": message}, status)
