"""What does policy.toml say, and where is it wrong?"""

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

from worklist.errors import Code, Refusal
from worklist.policy import Policy

_SECONDS = frozenset({"quiet_after_release", "quiet_alone", "grace"})
_MINUTES = frozenset(
    {"lease", "signing_unlocked", "idle_lock", "session", "critical_escalation", "clock_tolerance"}
)


def read_policy(path: Path | None) -> Policy:
    """The policy of a file, the built-in one without a file. Refuses with the line and the reason
    of a mistake.

    Keys of the file: the times of `Policy` with their unit in the name
    (`quiet_after_release_seconds`, `lease_minutes`), `at_risk_share`, and a table
    `[target_minutes]` of kind = [emergency, urgent, routine].
    """
    if path is None:
        return Policy()
    try:
        text = path.read_text(encoding="utf-8")
        given = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refusal(Code.INVALID, f"TELEREAD_POLICY: {path}: {error}.") from error
    values: dict[str, Any] = {}
    for key, value in given.items():
        try:
            name, read = _entry(key, value)
        except ValueError as error:
            raise Refusal(
                Code.INVALID, f"TELEREAD_POLICY: {path}, line {_line(text, key)}: {error}."
            ) from error
        values[name] = read
    return Policy(**values)


def _entry(key: str, value: Any) -> tuple[str, Any]:
    if key == "target_minutes":
        return key, {**Policy().target_minutes, **_targets(value)}
    if key == "at_risk_share":
        return key, _number(value, 0, 1)
    name, _, unit = key.rpartition("_")
    if unit == "seconds" and name in _SECONDS:
        return name, timedelta(seconds=_number(value, 0, 86400))
    if unit == "minutes" and name in _MINUTES:
        return name, timedelta(minutes=_number(value, 1 / 60, 10080))
    raise ValueError(f"there is no such key: {key}")


def _targets(value: Any) -> dict[str, tuple[int, int, int]]:
    kinds = Policy().target_minutes
    if not isinstance(value, dict):
        raise ValueError("target_minutes is a table")
    for kind, minutes in value.items():
        if kind not in kinds:
            raise ValueError(f"there is no kind {kind}; kinds are {', '.join(kinds)}")
        if not isinstance(minutes, list) or len(minutes) != len(kinds["ECG"]):
            raise ValueError(f"{kind} needs three numbers: emergency, urgent, routine")
        for one in minutes:
            _number(one, 1, 10080)
    return {kind: tuple(minutes) for kind, minutes in value.items()}


def _number(value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"a number from {least:g} to {most:g} is needed")
    return value


def _line(text: str, key: str) -> int:
    for number, line in enumerate(text.splitlines(), 1):
        if line.replace(" ", "").replace("[", "").startswith((f"{key}=", f"{key}]")):
            return number
    return 1
