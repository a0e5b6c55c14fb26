"""Which status does each refusal have on the web?"""

import logging
from datetime import datetime
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway.assemble import Parts
from gateway.web.values import instant
from worklist.errors import Code, Refusal

log = logging.getLogger("teleread.web")

STATUS: dict[Code, int] = {
    Code.UNKNOWN_CALLER: 403,
    Code.AMBIGUOUS_CALLER: 403,
    Code.NOT_FOUND: 404,
    Code.NOT_ALLOWED: 403,
    Code.NOT_SIGNED_IN: 401,
    Code.WRONG_CREDENTIALS: 401,
    Code.TOO_MANY_ATTEMPTS: 429,
    Code.LOCKED: 423,
    Code.FORGED: 403,
    Code.UNREADABLE: 422,
    Code.TRUNCATED: 400,
    Code.MISSING_UID: 400,
    Code.INVALID_UID: 400,
    Code.COMMAND_DISAGREES: 400,
    Code.OUT_OF_RESOURCES: 507,
    Code.ALREADY_CLAIMED: 409,
    Code.NOT_OPEN: 409,
    Code.LEASE_LOST: 409,
    Code.DRAFT_CONFLICT: 409,
    Code.DRAFT_CHANGED: 409,
    Code.WRONG_STUDY: 409,
    Code.STUDY_CHANGED: 409,
    Code.NOT_PAINTED: 409,
    Code.REPORT_INCOMPLETE: 409,
    Code.SIGNING_LOCKED: 403,
    Code.NOT_PRINTABLE: 409,
    Code.CERTIFICATE_ENDED: 403,
    Code.GRACE_OVER: 409,
    Code.WRONG_STATE: 409,
    Code.REASON_MISSING: 422,
    Code.READ_BACK_WRONG: 409,
    Code.ORDER_CHANGED: 409,
    Code.INVALID: 422,
    Code.UNREACHABLE: 502,
    Code.ALREADY_EXISTS: 409,
}
"""The one table from code to HTTP status; a test holds it complete."""

_NAMES_SOMEBODY = frozenset({Code.ALREADY_CLAIMED, Code.LEASE_LOST})


def install(app: FastAPI, parts: Parts) -> None:
    """Answer every error as {code, message, …details}, never as a trace."""

    @app.exception_handler(Refusal)
    def refused(_: Request, refusal: Refusal) -> JSONResponse:
        details = dict(refusal.details)
        if refusal.code in _NAMES_SOMEBODY and details.get("who"):
            details |= _named(parts, details)
        return refusal_answer(refusal, details)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:] if not isinstance(part, int))
        where = f" ({place})" if place.isascii() and place else ""
        details = {"field": place} if where else {}
        return _answer(422, "invalid_value", f"The request is not as it should be{where}.", details)

    @app.exception_handler(HTTPException)
    def plain(_: Request, error: HTTPException) -> JSONResponse:
        code, message = _PLAIN.get(error.status_code, ("http_error", "The request was refused."))
        return _answer(error.status_code, code, message, headers=error.headers)


def refusal_answer(refusal: Refusal, details: dict[str, Any] | None = None) -> JSONResponse:
    """The answer to one refusal."""
    details = refusal.details if details is None else details
    headers: dict[str, str] = {}
    if "retry_after_seconds" in details:
        headers["Retry-After"] = str(details["retry_after_seconds"])
    if refusal.code is Code.NOT_SIGNED_IN:
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(STATUS[refusal.code], refusal.code, refusal.message, details, headers)


def internal_error() -> JSONResponse:
    """The answer where something broke that nobody foresaw; logged once, where it is caught."""
    return _answer(500, "internal", "Something went wrong here. It has been noted.")


_PLAIN = {
    400: ("bad_request", "The request cannot be understood."),
    404: ("not_found", "There is no such thing here."),
    405: ("method_not_allowed", "This address does not take that method."),
    413: ("too_large", "That is too large."),
    415: ("unsupported_media_type", "This kind of content is not taken here."),
}


def _answer(
    status: int,
    code: str,
    message: str,
    details: dict[str, Any] | None = None,
    headers: Any = None,
) -> JSONResponse:
    body = {**(details or {}), "code": code, "message": message}
    return JSONResponse(body, status, headers=dict(headers or {}))


def _named(parts: Parts, details: dict[str, Any]) -> dict[str, Any]:
    """Whoever has the case, by the name people read."""
    with parts.view() as unit:
        person = unit.people.person(details["who"])
    if person is None:
        return {"who": None, "who_en": None}
    named = {"who": person.display, "who_en": person.display_en}
    since = details.get("since")
    return {**named, "since": instant(datetime.fromisoformat(since))} if since else named
