"""May everything the product runs with be given on, and under which licences?

`python tools/licences.py` checks the runtime dependencies of both locks (permissive, MPL or LGPL
only) and that THIRD_PARTY.md tells the same; `--write` writes that page. Exit 1 names each fault.
"""

import argparse
import importlib.metadata
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "THIRD_PARTY.md"
NPM_LOCKS = (
    ROOT / "viewers" / "web" / "package-lock.json",
    ROOT / "viewers" / "report" / "fonts" / "package-lock.json",
)
# Every word an accepted licence expression may be made of (SPDX identifiers).
ACCEPTED = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "BlueOak-1.0.0"),
        *("CC-BY-4.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU", "OFL-1.1", "PSF-2.0"),
        *("Python-2.0", "Unlicense", "WTFPL", "Zlib"),
        *("LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later", "MPL-2.0"),
    }
)
# What projects write in place of the SPDX identifier.
SAME_AS = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# npm packages whose lock entry has no licence because their package.json uses the old list form.
STATED_IN_OLD_FORM = {"rechoir": "MIT"}
NOT_STATED = "not stated"


@dataclass(frozen=True, order=True)
class Package:
    """One dependency as shipped: where it comes from, its name, version and licence."""

    kind: str
    name: str
    version: str
    licence: str

    @property
    def is_accepted(self) -> bool:
        """Whether the licence lets us ship it: all parts of an AND, one part of an OR."""
        bare = re.sub(r"[()]", " ", self.licence)
        return all(
            any(word.strip() in ACCEPTED for word in re.split(r"\bOR\b", part))
            for part in re.split(r"\bAND\b", bare)
        )


def python_licence(distribution: importlib.metadata.Distribution) -> str:
    """The licence a Python distribution states, as an SPDX expression where it can be told."""
    metadata = distribution.metadata
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    stated = metadata["License"].strip() if "License" in metadata else ""
    classifiers = metadata.get_all("Classifier") or []
    named = [str(c).rpartition(" :: ")[2] for c in classifiers if str(c).startswith("License ::")]
    for word in [stated, *named]:
        if word in ACCEPTED or word in SAME_AS:
            return SAME_AS.get(word, word)
    return NOT_STATED


def applies(requirement: Requirement, extras: set[str]) -> bool:
    """Whether a requirement holds here, given the extras its parent was asked with."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": e}) for e in extras | {""})


def python_packages() -> Iterator[Package]:
    """Every distribution that runs with the product and its demo (markers of this machine)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = project["dependencies"] + project["optional-dependencies"]["demo"]
    open_ends = [Requirement(line) for line in waiting]
    seen: set[str] = set()
    while open_ends:
        requirement = open_ends.pop()
        name = canonicalize_name(requirement.name)
        if name in seen:
            continue
        seen.add(name)
        found = importlib.metadata.distribution(name)
        yield Package("Python", name, found.version, python_licence(found))
        inner = [Requirement(line) for line in found.requires or []]
        open_ends += [r for r in inner if applies(r, requirement.extras)]


def npm_packages() -> Iterator[Package]:
    """Every npm package of the locks that is not only a build tool; Svelte's runtime counts."""
    for path in NPM_LOCKS:
        entries = json.loads(path.read_text(encoding="utf-8"))["packages"]
        for folder, entry in entries.items():
            name = folder.rpartition("node_modules/")[2]
            if folder and (not entry.get("dev") or name == "svelte"):
                stated = entry.get("license") or STATED_IN_OLD_FORM.get(name, NOT_STATED)
                yield Package("npm", name, entry["version"], stated)


def page(packages: list[Package]) -> str:
    """THIRD_PARTY.md: one table per kind; versions stand in the locks alone."""
    lines = [
        "# What does Teleread stand on, and under which licences?",
        "",
        "Made by `make notices` from the two kinds of lock files, which hold versions and hashes.",
        "Python packages bring their licence texts along; those of the npm packages in the built",
        "pages are in `viewers/web/dist/third-party-licences.txt`, the typeface's in",
        "`viewers/report/fonts/OFL.txt`.",
    ]
    for kind in ("Python", "npm"):
        lines += ["", f"## {kind}", "", "| package | licence |", "|---|---|"]
        rows = {(p.name, p.licence) for p in packages if p.kind == kind}
        lines += [f"| {name} | {licence} |" for name, licence in sorted(rows)]
    return "\n".join(lines) + "\n"


def faults(packages: list[Package]) -> list[str]:
    """One sentence for each package that may not be shipped, and one for a page out of date."""
    found = [
        f"{p.kind} package {p.name} {p.version}: licence {p.licence!r} is not permissive, "
        "MPL or LGPL"
        for p in packages
        if not p.is_accepted
    ]
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page(packages):
        found.append("THIRD_PARTY.md is out of date: run make notices")
    return found


def main() -> int:
    """Check, or write the page; 1 when something may not be shipped."""
    parser = argparse.ArgumentParser(description="licences of the runtime dependencies")
    parser.add_argument("--write", action="store_true", help="write THIRD_PARTY.md")
    packages = sorted([*python_packages(), *npm_packages()])
    if parser.parse_args().write:
        PAGE.write_text(page(packages), encoding="utf-8")
    found = faults(packages)
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print(f"  {len(packages)} packages, all permissive, MPL or LGPL")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
