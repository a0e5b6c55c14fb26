"""What is a figure of the bench, and how do many of them read as one table?"""

import statistics
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

_WIDEST = 66


class NotMeasured(Exception):
    """A measurement that could not be made; the message says why."""


@dataclass(frozen=True)
class Figure:
    """One line of the table: what was measured, its unit, every value of it.

    `more` says that more is better, so that the worst is the smallest. Without values it is a
    remark.
    """

    what: str
    unit: str = ""
    values: tuple[float, ...] = ()
    more: bool = False

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def worst(self) -> float:
        """The one nobody wants."""
        return min(self.values) if self.more else max(self.values)


@dataclass(frozen=True)
class Group:
    """Figures under one headline; not `whole` when something could not be measured."""

    title: str
    figures: tuple[Figure, ...]
    whole: bool = True


def remark(text: str) -> Figure:
    """A line that says something and measures nothing."""
    return Figure(text)


def several(what: str, unit: str, values: Iterable[float], *, more: bool = False) -> Figure:
    """A figure of a quantity that was measured more than once."""
    return Figure(what, unit, tuple(values), more)


def one(what: str, unit: str, value: float) -> Figure:
    """A figure of a quantity that is measured once because it does not vary."""
    return Figure(what, unit, (value,))


def grouped(title: str, measure: Callable[[], Iterable[Figure]]) -> Group:
    """Measure, and keep what was measured before something went wrong."""
    figures: list[Figure] = []
    try:
        figures.extend(measure())
    except NotMeasured as reason:
        figures.append(remark(f"not measured: {reason}"))
    except Exception as error:  # the other groups go on
        traceback.print_exc(file=sys.stderr)
        figures.append(remark(f"not measured: {type(error).__name__}"))
    else:
        return Group(title, tuple(figures))
    return Group(title, tuple(figures), whole=False)


def table(groups: Sequence[Group]) -> str:
    """The one table."""
    return "\n".join(line for group in groups for line in ("", *lines(group)))


def lines(group: Group) -> Iterator[str]:
    """The lines of one group."""
    yield _row(group.title, "unit", "median", "worst", "n")
    yield _row("-" * _WIDEST, "-" * 7, "-" * 9, "-" * 9, "---")
    for figure in group.figures:
        if not figure.values:
            yield f"  {figure.what}"
            continue
        repeated = len(figure.values) > 1
        worst = _number(figure.worst) if repeated else ""
        yield _row(figure.what, figure.unit, _number(figure.median), worst, str(len(figure.values)))


def _row(what: str, unit: str, median: str, worst: str, count: str) -> str:
    return f"{_padded(what)} {unit:<7} {median:>9} {worst:>9} {count:>3}"


def _padded(text: str) -> str:
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in text)
    return text + " " * (_WIDEST - len(text) - wide)


def _number(value: float) -> str:
    """About three figures that say something."""
    size = abs(value)
    if value == int(value) or size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"
