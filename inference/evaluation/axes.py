"""A plot's frame as SVG: ranges, round ticks, grid lines, and where a value lies on the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from markupsafe import Markup

from inference.regions import Region

__all__ = ["INK", "MINUS", "WORDS", "Axes", "round_ticks"]

MINUS = "\N{MINUS SIGN}"

WORDS: Mapping[Region, str] = MappingProxyType(
    {Region.WT: "Whole tumour", Region.TC: "Tumour core", Region.ET: "Enhancing tumour"}
)

INK: Mapping[Region, str] = MappingProxyType({Region.WT: "#0072b2", Region.TC: "#d55e00", Region.ET: "#b0558a"})
"""Colours of the regions: blue, vermilion and purple of Okabe and Ito's set for every kind of colour vision, the
last darkened for white paper."""

_GRID, _TEXT = "#e3e7ea", "#56626b"
_MARGIN = {"left": 52.0, "right": 14.0, "top": 12.0, "bottom": 42.0}


@dataclass(frozen=True, kw_only=True)
class Axes:
    """A rectangle of paper with a scale along each side.

    Attributes
    ----------
    x_range, y_range
        Values at the left and right, lower and upper border.
    width, height
        Of the whole picture, in SVG user units.
    """

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_label: str
    y_label: str
    width: float = 340.0
    height: float = 260.0

    def x(self, value: float) -> float:
        """Return where a value lies from the left."""
        low, high = self.x_range
        room = self.width - _MARGIN["left"] - _MARGIN["right"]
        return round(_MARGIN["left"] + room * (value - low) / (high - low), 2)

    def y(self, value: float) -> float:
        """Return where a value lies from above."""
        low, high = self.y_range
        room = self.height - _MARGIN["top"] - _MARGIN["bottom"]
        return round(self.height - _MARGIN["bottom"] - room * (value - low) / (high - low), 2)

    def line(self, start: tuple[float, float], end: tuple[float, float], style: str) -> Markup:
        """Return a straight line between two points in values."""
        (x1, y1), (x2, y2) = start, end
        return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" {}/>').format(
            self.x(x1),
            self.y(y1),
            self.x(x2),
            self.y(y2),
            Markup(style),  # noqa: S704 - our own constants
        )

    def dot(self, x: float, y: float, colour: str, tip: str, radius: float = 3.6) -> Markup:
        """Return a point with a tip that shows when the mouse rests on it."""
        return Markup(
            '<circle cx="{}" cy="{}" r="{}" fill="{}" fill-opacity="0.62" stroke="#fff" stroke-width="0.7">'
            "<title>{}</title></circle>"
        ).format(self.x(x), self.y(y), radius, colour, tip)

    def text(self, x: float, y: float, words: str, *, anchor: str = "middle", colour: str = _TEXT) -> Markup:
        """Return words at a place of the paper, not of the scales."""
        return Markup('<text x="{}" y="{}" text-anchor="{}" fill="{}">{}</text>').format(x, y, anchor, colour, words)

    def picture(
        self, parts: Sequence[Markup], x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]]
    ) -> Markup:
        """Return the whole picture: ticks, labels, and the parts above them."""
        left, right = self.x(self.x_range[0]), self.x(self.x_range[1])
        bottom, top = self.y(self.y_range[0]), self.y(self.y_range[1])
        rule = Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="{}"/>')
        drawn = []
        for value, words in y_ticks:
            drawn += [
                rule.format(left, self.y(value), right, self.y(value), _GRID),
                self.text(left - 7, self.y(value) + 3.6, words, anchor="end"),
            ]
        for value, words in x_ticks:
            drawn += [
                rule.format(self.x(value), bottom, self.x(value), bottom + 4, _TEXT),
                self.text(self.x(value), bottom + 16, words),
            ]
        drawn += [
            rule.format(left, bottom, right, bottom, _TEXT),
            self.text((left + right) / 2, self.height - 6, self.x_label),
            Markup('<text transform="translate(12 {}) rotate(-90)" text-anchor="middle" fill="{}">{}</text>').format(
                (top + bottom) / 2, _TEXT, self.y_label
            ),
        ]
        return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
            self.width, self.height, f"{self.y_label} by {self.x_label}", Markup("").join([*drawn, *parts])
        )


def round_ticks(low: float, high: float, about: int = 5) -> list[tuple[float, str]]:
    """Return round values within a range, with their words."""
    if not high > low:
        return [(low, f"{low:g}")]
    raw = (high - low) / about
    magnitude = 10.0 ** np.floor(np.log10(raw))
    step = magnitude * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * 0.999)
    places = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step
    return [(float(place), f"{place + 0.0:g}".replace("-", MINUS)) for place in np.round(places, 10)]
