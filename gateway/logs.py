"""What does a log line look like, and what never gets into one?

Lines hold UIDs and internal ids; names, Patient IDs and report text stay out: third-party loggers
that would print data sets are kept at warnings.
"""

import logging
import sys
import time

_QUIET = (
    "pynetdicom",
    "pydicom",
    "pyhanko",
    "pyhanko_certvalidator",
    "uvicorn.access",
    "alembic",
    "PIL",
    "fontTools",
)


def configure_logging(level: str) -> None:
    """One line for each record on stderr, with the instant in UTC."""
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
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
