"""How many lines of code does each room have?

Counted are lines that do something: no blank ones, comments or docstrings.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tools.bench.figures import Figure, one
from tools.bench.house import ROOT

_ROOMS = ("worklist", "storage", "viewers", "gateway", "sample_studies", "tools", "tests")
_LEFT_OUT = frozenset({"node_modules", "dist", "__pycache__"})
_SILENT = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
)
_COMMENTS = re.compile(r"/\*.*?\*/|<!--.*?-->|^\s*//.*?$", re.DOTALL | re.MULTILINE)


def measure() -> Iterator[Figure]:
    """Each room's Python, then the front end by kind of file."""
    for room in _ROOMS:
        counts = [python_lines(path.read_text("utf-8")) for path in _files(ROOT / room, "*.py")]
        yield one(f"{room}: Python, {len(counts)} files", "lines", sum(counts))
    source = ROOT / "viewers" / "web" / "src"
    for what, patterns in (
        ("TypeScript", ("*.ts",)),
        ("Svelte", ("*.svelte",)),
        ("CSS", ("*.css",)),
    ):
        paths = [path for pattern in patterns for path in _files(source, pattern)]
        for kind, wanted in (("", False), (", tests", True)):
            chosen = [path for path in paths if (".test." in path.name) == wanted]
            if chosen:
                total = sum(web_lines(path.read_text("utf-8")) for path in chosen)
                yield one(f"viewers/web: {what}{kind}, {len(chosen)} files", "lines", total)


def python_lines(text: str) -> int:
    """Lines of Python that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - _docstrings(ast.parse(text)))


def web_lines(text: str) -> int:
    """Lines of TypeScript, Svelte or CSS that hold code."""
    return sum(bool(line.strip()) for line in _COMMENTS.sub("", text).splitlines())


def _docstrings(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if first is not None and ast.get_docstring(node, clean=False) is not None:
            lines.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def _files(folder: Path, pattern: str) -> list[Path]:
    found = folder.rglob(pattern)
    return sorted(path for path in found if not _LEFT_OUT & set(path.relative_to(folder).parts))
