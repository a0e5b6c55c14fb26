"""Who is calling, and may this request be what it says?"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from gateway import people
from gateway.assemble import Parts
from gateway.guessing import Guessing
from gateway.people import Listening, Seat
from gateway.web.values import instant, maybe
from worklist.errors import Code, Refusal
from worklist.person import Caller, Role

COOKIE = "teleread_session"
CSRF_HEADER = "X-CSRF-Token"

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# Pages ask for these by themselves when something changes: that is no sign of a person at the desk.
_BY_THEMSELVES = (
    "/api/live",
    "/api/critical",
    "/api/board",
    "/api/center/studies",
    "/api/tasks",
    "/api/notices",
    "/api/reports",
    "/api/devices",
    "/api/refused-callers",
    "/api/associations",
    "/api/transmissions",
)
_HOSPITAL = frozenset({Role.READER, Role.REVIEWER, Role.COORDINATOR, Role.ADMIN, Role.AUDITOR})


@dataclass(frozen=True)
class Door:
    """What the edge keeps about those who knock."""

    parts: Parts
    guessing: Guessing


def door_of(request: Request) -> Door:
    """The door of this application."""
    door: Door = request.app.state.door
    return door


def address_of(request: Request) -> str:
    """Where the request comes from (behind a trusted proxy: what the proxy says)."""
    return request.client.host if request.client else ""


def caller(request: Request) -> Caller:
    """Whoever calls: a person by cookie, a program by token; else NOT_SIGNED_IN or LOCKED."""
    parts = door_of(request).parts
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        with parts.view() as unit:
            return people.token_caller(unit, bearer.strip(), parts.now())
    return seat(request).caller


def seat(request: Request) -> Seat:
    """The person at the browser. What changes something must carry the session's CSRF token."""
    parts = door_of(request).parts
    secret = _secret_of_person(request)
    active = request.method not in _SAFE or request.url.path not in _BY_THEMSELVES
    found = people.seated(parts, secret, active=active)
    if request.method not in _SAFE:
        _require_csrf(request, found.csrf)
    return found


def listener(request: Request) -> Listening:
    """The person whose browser listens; at a locked screen too."""
    return people.listening(door_of(request).parts, _secret_of_person(request))


def _secret_of_person(request: Request) -> bytes:
    if COOKIE not in request.cookies and "Authorization" in request.headers:
        raise Refusal(Code.NOT_ALLOWED, "Only a person at a browser may do this.")
    return people.secret_of(request.cookies.get(COOKIE))


def hospital_caller(who: Annotated[Caller, Depends(caller)]) -> Caller:
    """Whoever calls for the side that reads: worklist and drafts are not the centers' matter."""
    who.require(*_HOSPITAL)
    return who


Who = Annotated[Caller, Depends(caller)]
Hospital = Annotated[Caller, Depends(hospital_caller)]
Hand = Annotated[Seat, Depends(seat)]
Listener = Annotated[Listening, Depends(listener)]


def is_hospital(who: Caller) -> bool:
    """Whether the caller is of the side that reads."""
    return bool(who.roles & _HOSPITAL)


def _require_csrf(request: Request, csrf: str) -> None:
    given = request.headers.get(CSRF_HEADER, "")
    if not people.same(given, csrf):
        raise Refusal(Code.FORGED, "This request did not come from the application's own page.")


# -- the session's own addresses ------------------------------------------------------------------


class SignIn(BaseModel):
    """Name and password."""

    name: str = Field(max_length=64)
    password: str = Field(max_length=people.LONGEST_PASSWORD)


class Password(BaseModel):
    """The password alone."""

    password: str = Field(max_length=people.LONGEST_PASSWORD)


def routes(parts: Parts) -> APIRouter:
    """Sign in, out, lock, unlock."""
    router = APIRouter(prefix="/api/session", tags=["session"])

    @router.post("")
    def sign_in(given: SignIn, request: Request) -> Response:
        """Sign in; a reader's signing is unlocked with it."""
        door = door_of(request)
        old = _old(request)
        found = people.sign_in(
            parts, door.guessing, given.name, given.password, address_of(request), old
        )
        answer = JSONResponse(_session(parts, found))
        _set_cookie(parts, answer, found)
        return answer

    @router.get("")
    def who_is_it(request: Request) -> dict[str, Any]:
        """The session of this browser; of a locked one how many critical results wait."""
        try:
            return _session(parts, seat(request))
        except Refusal as refusal:
            if refusal.code is not Code.LOCKED:
                raise
            told = {**refusal.details, "critical_open": listener(request).critical_open}
            raise Refusal(refusal.code, refusal.message, **told) from refusal

    @router.delete("", status_code=204)
    def sign_out(request: Request) -> Response:
        """Sign out. Also of a locked screen."""
        old = _old(request)
        if old is not None:
            people.sign_out(parts, old)
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return answer

    @router.post("/lock", status_code=204)
    def lock(hand: Hand) -> None:
        """Lock the screen and end the signing unlock."""
        people.lock(parts, hand.secret)

    @router.post("/unlock")
    def unlock(given: Password, request: Request) -> dict[str, Any]:
        """Open the lock again, for the same person."""
        secret = people.secret_of(request.cookies.get(COOKIE))
        found = people.unlock_screen(
            parts, door_of(request).guessing, secret, given.password, address_of(request)
        )
        return _session(parts, found)

    @router.post("/signing")
    def unlock_signing(given: Password, hand: Hand, request: Request) -> dict[str, Any]:
        """Unlock signing on this workstation for the policy's time."""
        found = people.unlock_signing(
            parts, door_of(request).guessing, hand.secret, given.password, address_of(request)
        )
        return _session(parts, found)

    return router


def _old(request: Request) -> bytes | None:
    try:
        return people.secret_of(request.cookies.get(COOKIE))
    except Refusal:
        return None


def _set_cookie(parts: Parts, answer: Response, found: Seat) -> None:
    strict: Literal["strict"] = "strict"
    answer.set_cookie(
        COOKIE,
        found.secret.hex(),
        max_age=int(parts.policy.session.total_seconds()),
        path="/",
        httponly=True,
        samesite=strict,
        secure=parts.settings.secure,
    )


def _session(parts: Parts, found: Seat) -> dict[str, Any]:
    person = found.person
    with parts.view() as unit:
        site = unit.people.site(person.site)
    return {
        "user": {
            "name": person.name,
            "display": person.display,
            "display_en": person.display_en,
            "roles": sorted(person.roles),
            "licence_number": person.licence_number,
            "phone": person.phone,
        },
        "site": {
            "key": site.key,
            "name": site.name,
            "name_en": site.name_en,
            "kind": site.kind,
            "phone": site.phone,
            "timezone": site.timezone,
        },
        "csrf": found.csrf,
        "signing_until": maybe(found.signing_until),
        "idle_seconds": int(parts.policy.idle_lock.total_seconds()),
        "server_time": instant(parts.now()),
    }
