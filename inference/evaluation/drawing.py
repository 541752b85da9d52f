"""Matplotlib plots as inline SVG: the text takes the page's font, and each point has a tooltip."""

import io
import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any
from xml.etree import ElementTree as ET

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

__all__ = ["Drawing"]

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": "#56626b",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": "#56626b",
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "font.size": 10.0,
    "grid.color": "#e3e7ea",
    "svg.fonttype": "none",
    "svg.hashsalt": "",
    "xtick.color": "#56626b",
    "ytick.color": "#56626b",
    "ytick.major.size": 0.0,
}
_POINTS_AN_INCH = 72.0
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_LEFT_OUT = ("metadata", "defs")
"""Author and date, and the shapes that are inlined: their names would collide with those of the page's other plots."""


class Drawing:
    """Axes to draw on.

    Parameters
    ----------
    x_label, y_label
        Labels of the axes.
    size
        Width and height of the plot in points; the page uses them as its own units.
    """

    def __init__(self, x_label: str, y_label: str, size: tuple[float, float] = (340.0, 260.0)) -> None:
        self._label, self._tips = f"{y_label} by {x_label}", list[str]()
        with rc_context(_STYLE):
            inches = (size[0] / _POINTS_AN_INCH, size[1] / _POINTS_AN_INCH)
            self._figure = Figure(figsize=inches, layout="constrained")
            self.axes = self._figure.add_subplot(xlabel=x_label, ylabel=y_label)

    def dot(self, x: float, y: float, colour: str, tip: str, radius: float = 3.6) -> None:
        """Draw a point with a tooltip."""
        (point,) = self.axes.plot([x], [y], "o", color=colour, markersize=2 * radius, alpha=0.62, clip_on=False)
        point.set(markeredgecolor="white", markeredgewidth=0.7)
        point.set_gid(f"tip{len(self._tips)}")
        self._tips.append(tip)

    def line(self, start: Sequence[float], end: Sequence[float], colour: str = "#9aa5ad", style: str = "-") -> None:
        """Draw a straight line between two points."""
        width = 2.0 if style == "-" else 1.2
        self.axes.plot(
            [start[0], end[0]], [start[1], end[1]], style, color=colour, linewidth=width, clip_on=False, zorder=2
        )

    def svg(self) -> Markup:
        """Return the plot as self-contained SVG. Equal plots give equal text."""
        written = io.BytesIO()
        with rc_context(_STYLE):
            self._figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
        root = ET.fromstring(written.getvalue())  # noqa: S314 - what matplotlib has just written
        _inline_shapes(root)
        for element in root.iter():
            element.tag = element.tag.removeprefix(_SVG)
            element.attrib.pop("clip-path", None)
            name = element.attrib.pop("id", "")
            if name.startswith("tip"):
                title = ET.Element("title")
                title.text = self._tips[int(name.removeprefix("tip"))]
                element.insert(0, title)
        kept = {"class": "plot", "viewBox": root.attrib["viewBox"], "role": "img", "aria-label": self._label}
        root.attrib.clear()
        root.attrib.update(kept)
        text = ET.tostring(root, encoding="unicode")
        return Markup(re.sub(r"font: [\d.]+px [^;\"]*", "font-size: 11px", text))  # noqa: S704 - escaped by ElementTree


def _inline_shapes(root: ET.Element) -> None:
    """Replace each reference to a shape by a copy of the shape."""
    defined = {f"#{element.attrib['id']}": element for element in root.iter() if "id" in element.attrib}
    for element in list(root.iter(f"{_SVG}use")):
        shape = deepcopy(defined[element.attrib[_HREF]])
        del shape.attrib["id"]
        place = f"translate({element.attrib.get('x', 0)} {element.attrib.get('y', 0)})"
        style = element.attrib.get("style", "")
        element.tag = f"{_SVG}g"
        element.attrib.clear()
        element.attrib.update({"transform": place, "style": style})
        element.append(shape)
    for parent in list(root.iter()):
        for child in [one for one in parent if one.tag.removeprefix(_SVG) in _LEFT_OUT]:
            parent.remove(child)
