"""Who acts, in which roles, and for which sites?"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from worklist.errors import Code, Refusal

PROGRAM = "token:"
"""How the name of a caller begins who is no human being; no account's name holds a colon."""


class Role(StrEnum):
    """What a person or a program may be trusted with."""

    DOCTOR = "doctor"  # of a center: sees the own center, opens and confirms reports
    READER = "reader"  # claims, reads, signs
    REVIEWER = "reviewer"
    COORDINATOR = "coordinator"
    ADMIN = "admin"
    AUDITOR = "auditor"


@dataclass(frozen=True)
class Person:
    """An account: a human being at one Site. `licence_number` is what a signed report prints."""

    name: str
    display: str
    display_en: str
    roles: frozenset[Role]
    site: str
    licence_number: str | None = None
    phone: str | None = None


@dataclass(frozen=True)
class Caller:
    """Someone at the door whose name has been proved: a person, or a program with a token.

    `sites` are the keys whose studies exist for this caller: the own Site, and for a hospital the
    centers it reads for. What lies outside does not exist (404), it is never "forbidden".
    """

    name: str
    roles: frozenset[Role]
    site: str
    sites: frozenset[str]

    @property
    def is_program(self) -> bool:
        """Whether nobody has seen what this caller fetched."""
        return self.name.startswith(PROGRAM)

    def may_see(self, site: str) -> bool:
        """Whether anything of this Site exists for the caller."""
        return site in self.sites

    def require(self, *roles: Role) -> None:
        """Refuse unless the caller has one of the roles."""
        if not self.roles.intersection(roles):
            raise Refusal(Code.NOT_ALLOWED, f"This needs the role {' or '.join(sorted(roles))}.")

    def require_site(self, site: str) -> None:
        """Refuse, as if it did not exist, what belongs to a Site the caller may not see."""
        if not self.may_see(site):
            raise Refusal(Code.NOT_FOUND, "There is no such thing here.")


def roles_of(names: Iterable[str]) -> frozenset[Role]:
    """Roles by their public names; an unknown name is refused with the list of known ones."""
    try:
        return frozenset(Role(name) for name in names)
    except ValueError as error:
        raise Refusal(Code.INVALID, f"Roles are {', '.join(Role)}.") from error
