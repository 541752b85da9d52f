"""Charts as SVG, drawn on the server: without script or style of their own, which the panel's policy forbids.

Colours and widths are classes of ``panel.css``. Each chart has the same numbers as a table beside it, for screen
readers and for those who want to copy them.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = ["Chart", "Series"]

WIDTH, HEIGHT = 440, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 10, 26
MOST_LABELS = 8
"""Labels of the horizontal axis that fit beside each other on a phone."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One row of numbers; None where there is none."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart.

    Attributes
    ----------
    unit
        Of the values, as it is written behind them; may be empty.
    labels
        Of the horizontal axis, one for each value.
    digits
        Decimals in the table.
    lines
        Lines with points rather than columns: for durations and shares, which do not add up.
    top
        Where the vertical axis ends; by default at the largest value, rounded up.
    """

    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    unit: str = ""
    digits: int = 0
    lines: bool = False
    top: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value for one in self.series for value in one.values)

    def shown(self, value: float | None) -> str:
        """Return a value as the table shows it."""
        return "none" if value is None else f"{value:.{self.digits}f}{self.unit}"

    @property
    def svg(self) -> Markup:
        """The drawing."""
        top = self.top or _rounded_up(max((value or 0 for one in self.series for value in one.values), default=0))
        marks = (self._line if self.lines else self._columns)(top)
        drawn = [*self._axes(top), *marks]
        title = escape(f"{self.title}: {', '.join(one.name for one in self.series)}")
        head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
        return Markup(head + "".join(drawn) + "</svg>")  # noqa: S704 - numbers, and text that was escaped

    def _axes(self, top: float) -> list[str]:
        drawn = []
        for share in (0.0, 0.5, 1.0):
            y = _y(share)
            value = escape(f"{top * share:g}{self.unit}")
            drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            drawn.append(f'<text class="end" x="{LEFT - 6}" y="{y + 4:.1f}">{value}</text>')
        every = math.ceil(len(self.labels) / MOST_LABELS)
        for number in range(0, len(self.labels), every):
            x = self._middle(number)
            drawn.append(f'<text class="middle" x="{x:.1f}" y="{HEIGHT - 8}">{escape(self.labels[number])}</text>')
        return drawn

    def _columns(self, top: float) -> list[str]:
        wide = self._step() * 0.8 / len(self.series)
        drawn = []
        for row, one in enumerate(self.series):
            for number, value in enumerate(one.values):
                if not value:
                    continue
                x = self._middle(number) - self._step() * 0.4 + row * wide
                y = _y(value / top)
                size = f'width="{wide:.1f}" height="{_y(0) - y:.1f}"'
                drawn.append(f'<rect class="series-{row}" x="{x:.1f}" y="{y:.1f}" {size}/>')
        return drawn

    def _line(self, top: float) -> list[str]:
        drawn = []
        for row, one in enumerate(self.series):
            places = [
                None if value is None else (self._middle(number), _y(min(value / top, 1.0)))
                for number, value in enumerate(one.values)
            ]
            for before, after in itertools.pairwise(places):
                if before and after:
                    ends = f'x1="{before[0]:.1f}" y1="{before[1]:.1f}" x2="{after[0]:.1f}" y2="{after[1]:.1f}"'
                    drawn.append(f'<line class="series-{row}" {ends}/>')
            drawn += [
                f'<circle class="series-{row}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in filter(None, places)
            ]
        return drawn

    def _step(self) -> float:
        return (WIDTH - LEFT - RIGHT) / max(len(self.labels), 1)

    def _middle(self, number: int) -> float:
        return LEFT + self._step() * (number + 0.5)


def _y(share: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)


def _rounded_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20 ... at which an axis may end."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))
