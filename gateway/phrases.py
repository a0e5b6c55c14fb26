"""Which phrases does a reader write a report of this kind with?

One file of words for each kind of reading task in the folder beside this module. A kind may cover
several parts of the body; each has its own phrases, favourites and normal report.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Part = Literal["findings", "impression", "both"]
KINDS = ("ECG", "CT", "MR", "DX", "US", "OT")

_FOLDER = Path(__file__).with_name("phrases")


@dataclass(frozen=True)
class Words:
    """The same text in Chinese and English."""

    zh: str
    en: str


@dataclass(frozen=True)
class Normal:
    """The report of an examination without findings."""

    findings: Words
    impression: Words


@dataclass(frozen=True)
class Phrase:
    """One statement. `key` is its number key among the favourites of its group; `pinyin` holds the
    first letter of each syllable, letters and digits of the text as they are."""

    code: str
    text: Words
    part: Part
    pinyin: str
    key: int | None = None


@dataclass(frozen=True)
class Group:
    """The phrases of one part of the body. `about` are words of Body Part Examined and of
    descriptions by which a study of it is known, in capitals."""

    code: str
    name: Words
    about: tuple[str, ...]
    normal: Normal
    phrases: tuple[Phrase, ...]


@dataclass(frozen=True)
class PhraseSet:
    """Everything of one kind. `normal` says nothing of a part of the body: it fits all of them.
    `elsewhere` are words of studies that no group is about, though a group's word may occur."""

    kind: str
    normal: Normal
    groups: tuple[Group, ...]
    elsewhere: tuple[str, ...] = ()

    def group_of(self, *said: str | None) -> Group | None:
        """The one group that these words of a study name; None where none or several are named."""
        if len(self.groups) == 1:
            return self.groups[0]
        text = " ".join(words.upper() for words in said if words)
        if any(_names(text, word) for word in self.elsewhere):
            return None
        found = [one for one in self.groups if any(_names(text, word) for word in one.about)]
        return found[0] if len(found) == 1 else None


def _names(text: str, word: str) -> bool:
    """Whether the text has the word; a Latin one only where a word begins."""
    begin = "(?<![A-Z])" if word.isascii() else ""
    return re.search(begin + re.escape(word), text) is not None


@cache
def phrase_set(kind: str) -> PhraseSet:
    """The phrases of a kind of reading task; an empty set for one that has no file."""
    path = _FOLDER / f"{kind.lower()}.toml"
    if kind not in KINDS or not path.is_file():
        nothing = Normal(Words("", ""), Words("", ""))
        return PhraseSet(kind, nothing, ())
    with path.open("rb") as file:
        given = tomllib.load(file)
    groups = tuple(_group(code, value) for code, value in given["group"].items())
    return PhraseSet(kind, _normal(given["normal"]), groups, tuple(given.get("elsewhere", ())))


def _group(code: str, value: dict[str, Any]) -> Group:
    return Group(
        code=code,
        name=Words(value["zh"], value["en"]),
        about=tuple(value.get("about", ())),
        normal=_normal(value["normal"]),
        phrases=tuple(_phrase(one) for one in value["phrases"]),
    )


def _phrase(value: dict[str, Any]) -> Phrase:
    return Phrase(
        code=value["code"],
        text=Words(value["zh"], value["en"]),
        part=value["part"],
        pinyin=value["pinyin"],
        key=value.get("key"),
    )


def _normal(value: dict[str, Any]) -> Normal:
    return Normal(Words(**value["findings"]), Words(**value["impression"]))
