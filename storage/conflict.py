"""A transaction failed: may it be tried once more, and is it sure that it left nothing?"""

from sqlalchemy.exc import IntegrityError

from worklist.errors import Code, Refusal

# serialization failure, deadlock: another transaction was faster
_OVERTAKEN = frozenset({"40001", "40P01"})


class Undecided(Refusal):
    """The connection was lost during COMMIT: what was to be written is there or is not."""

    def __init__(self) -> None:
        super().__init__(Code.OUT_OF_RESOURCES, "The index was lost during the commit.")


def overtaken(error: Exception) -> bool:
    """Whether another transaction was faster, and the same once more will do."""
    return isinstance(error, IntegrityError) or state_of(error) in _OVERTAKEN


def state_of(error: Exception) -> str | None:
    """The SQLSTATE, where the driver tells one."""
    state: str | None = getattr(getattr(error, "orig", error), "sqlstate", None)
    return state
