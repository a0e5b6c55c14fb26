"""Do the rules of the house hold: rooms, docs, locks, colours?"""

import argparse
import ast
import importlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from worklist.events import Happened

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("gateway", "storage", "viewers", "worklist")
DOCS = ("README.md", "ARCHITECTURE.md")
WEB = ROOT / "viewers" / "web"
# Variables of the build and the demo; they are no settings of the running gateway.
BUILD_VARIABLES = {"TELEREAD_SKIP_FRONTEND"}


def docs() -> str:
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in DOCS)


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "node_modules" not in path.parts:
                yield path


def present(*names: str) -> pytest.MarkDecorator:
    """Skip by name while a part of the house is still missing."""
    missing = [name for name in names if not (ROOT / name).exists()]
    return pytest.mark.skipif(bool(missing), reason=f"there is no {', '.join(missing)} yet")


# --- rooms -------------------------------------------------------------------------------------


def test_no_other_distribution_owns_a_rooms_name():
    owners = importlib.metadata.packages_distributions()
    for room in ROOMS:
        assert set(owners.get(room, ["teleread"])) == {"teleread"}, room


def test_worklist_imports_only_itself_and_the_standard_library():
    for path in sources("worklist"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            tops = {name.partition(".")[0] for name in names}
            assert tops <= {"worklist"} | sys.stdlib_module_names, path


def test_each_file_states_its_question_and_none_is_called_utils():
    for path in sources(*ROOMS, "sample_studies", "tools", "tests"):
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), f"{path} does not say what it is for"
        assert path.stem not in {"utils", "util", "helpers", "misc", "common"}, path


# --- locks -------------------------------------------------------------------------------------


def test_no_lock_or_config_names_a_registry():
    files = [
        *("requirements.lock", "pyproject.toml", "Makefile", ".pre-commit-config.yaml", ".ci/run"),
        *("viewers/report/fonts/package.json", "viewers/report/fonts/package-lock.json"),
        *("viewers/report/fonts/.npmrc", "viewers/web/.npmrc"),
        *("viewers/web/package.json", "viewers/web/package-lock.json"),
    ]
    host = re.compile(r"https?://|(?m:^\s*(?:--)?(?:extra-)?index-url)|\bregistry\s*=|\"resolved\"")
    for name in files:
        found = host.search((ROOT / name).read_text(encoding="utf-8"))
        # The lock of npm repeats where projects ask for money; that is no registry.
        if found and name.endswith("package-lock.json"):
            entries = json.loads((ROOT / name).read_text(encoding="utf-8"))["packages"].values()
            assert not any("resolved" in entry for entry in entries), name
            continue
        assert found is None, f"{name}: {found and found.group()}"


def test_every_locked_requirement_has_a_hash():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = re.split(r"(?m)^(?=[a-z0-9])", lock)[1:]
    assert len(blocks) > 50
    for block in blocks:
        assert "--hash=sha256:" in block, block.splitlines()[0]


# --- docs --------------------------------------------------------------------------------------


def setting_names() -> set[str]:
    """The environment variables that `gateway.settings.Settings` reads."""
    settings = importlib.import_module("gateway.settings").Settings
    prefix = settings.model_config.get("env_prefix", "")
    return {f"{prefix}{name}".upper() for name in settings.model_fields}


def command_names(parser: argparse.ArgumentParser, before: str = "") -> set[str]:
    """`serve`, `site add`, … as argparse knows them."""
    names: set[str] = set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                path = f"{before} {word}".strip()
                names |= command_names(inner, path) or {path}
    return names


@present("gateway/settings.py", *DOCS)
def test_docs_and_settings_name_the_same_variables():
    written = set(re.findall(r"\bTELEREAD_[A-Z0-9_]+[A-Z0-9]\b", docs())) - BUILD_VARIABLES
    assert written == setting_names()


@present("gateway/cli.py", *DOCS)
def test_docs_and_commands_name_the_same_words():
    known = command_names(importlib.import_module("gateway.cli").parser())
    lines = re.findall(r"\bteleread ([a-z][a-z -]*[a-z])", docs())
    written = {
        name for line in lines for name in known if line == name or line.startswith(f"{name} ")
    }
    assert written == known, f"not in the docs: {sorted(known - written)}"
    words = {name.split()[0] for name in known}
    in_code = re.findall(r"(?:`|bin/)teleread ([a-z][a-z-]*)", docs())
    assert set(in_code) <= words, f"no such command: {sorted(set(in_code) - words)}"


@present(*DOCS)
def test_docs_name_only_make_targets_and_facts_that_exist():
    targets = set(re.findall(r"(?m)^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8")))
    assert set(re.findall(r"\bmake ([a-z]+)`", docs())) <= targets
    facts = {str(kind) for kind in Happened}
    named = set(re.findall(r"`((?:Instance|Study|Task|Lease|Draft|Report)[A-Z]\w+)`", docs()))
    assert named <= facts


@present(*DOCS)
def test_docs_name_only_files_that_exist():
    pattern = rf"`((?:{'|'.join(ROOMS)}|tests|tools|sample_studies)/[\w./-]*)`"
    for name in sorted(set(re.findall(pattern, docs()))):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", docs()):
        assert (ROOT / name).is_file(), name


@present("ARCHITECTURE.md")
def test_architecture_names_every_room():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for room in ROOMS:
        assert f"{room}/" in text


# --- pages -------------------------------------------------------------------------------------

RAW_COLOUR = re.compile(
    r"(?<=[\s:,\"'(])#(?:[0-9a-f]{8}|[0-9a-f]{6}|[0-9a-f]{3,4})(?![\w-])|\b(?:rgb|hsl|oklch)a?\(",
    re.IGNORECASE,
)


@present("viewers/web/src")
def test_colours_are_named_in_tokens_only():
    for path in sorted((WEB / "src").rglob("*")):
        if path.suffix not in {".css", ".svelte", ".ts"} or path.name == "tokens.css":
            continue
        found = RAW_COLOUR.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.relative_to(ROOT)}: {found and found.group()}"
