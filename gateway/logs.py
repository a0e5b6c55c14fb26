"""What does a log line look like, and what never gets into one?

Lines hold UIDs and internal ids; names, Patient IDs and report text stay out: third-party loggers
that would print data sets are kept at warnings or silent, and of an error or a warning its kind and
its place are said, never its message, which may quote what a device or a person sent.
"""

import logging
import sys
import time
import traceback
import warnings
from typing import Any, TextIO

_DEEPEST = 8  # errors behind an error

# what they say is worth a line is said by who called them
_SILENT = ("pynetdicom", "pydicom")
_QUIET = (
    "pyhanko",
    "pyhanko_certvalidator",
    "uvicorn.access",
    "uvicorn.error",
    "alembic",
    "PIL",
    "fontTools",
)


def configure_logging(level: str) -> None:
    """One line for each record on stderr, with the instant in UTC."""
    formatter = _Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"
    formatter.default_msec_format = "%s.%03dZ"
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.showwarning = _warned


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning without its message."""
    logging.getLogger("py.warnings").warning("%s at %s:%d", category.__name__, filename, lineno)


class _Formatter(logging.Formatter):
    """Prints errors without their messages."""

    def formatException(self, ei: Any) -> str:
        lines: list[str] = []
        error: BaseException | None = ei[1]
        for _ in range(_DEEPEST):
            if error is None:
                break
            lines.append(("caused by " if lines else "") + _kind(error))
            places = traceback.extract_tb(error.__traceback__)
            lines += [f"  {one.filename}:{one.lineno} {one.name}" for one in places]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(lines)


def _kind(error: BaseException) -> str:
    """The error's class; of the system and of SQLite also which one it was."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorname", "")
    number = f"errno {error.errno}" if isinstance(error, OSError) else ""
    return " ".join(part for part in (type(error).__name__, code, number) if part)
