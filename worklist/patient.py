"""Who is the patient, and is it really?"""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Patient:
    """A patient as one Site knows it: identity is (issuing Site, Patient ID), never the Patient ID
    alone.

    `name` is for showing (the ideographic component where there is one), `name_latin` the
    alphabetic component when it differs. `patient_id` is None when the device sent none.
    """

    name: str
    name_latin: str | None
    patient_id: str | None
    sex: str | None
    birth_date: date | None

    def differs_from(self, other: "Patient") -> list[str]:
        """Which of name, birth date and sex disagree where both sides know them."""
        pairs = {
            "name": (_folded(self.name), _folded(other.name)),
            "birth_date": (self.birth_date, other.birth_date),
            "sex": (self.sex, other.sex),
        }
        return [field for field, (one, two) in pairs.items() if one and two and one != two]


def age(birth_date: date | None, on: date) -> str | None:
    """The age in the form of PS3.5 VR AS without leading zeros: "58Y", under two years "14M",
    under a month "9D"."""
    if birth_date is None or birth_date > on:
        return None
    months = (on.year - birth_date.year) * 12 + on.month - birth_date.month
    months -= on.day < birth_date.day
    if months >= 24:
        return f"{months // 12}Y"
    return f"{months}M" if months else f"{(on - birth_date).days}D"


def masked(name: str) -> str:
    """The name as a stranger may see it: the first character of each part, the rest as
    asterisks."""
    parts = name.split()
    if len(parts) > 1:
        return " ".join(part[0] + "*" * (len(part) - 1) for part in parts)
    return name[:1] + "*" * max(len(name) - 1, 0)


def _folded(name: str) -> str:
    return "".join(name.split()).casefold()
