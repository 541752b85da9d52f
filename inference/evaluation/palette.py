"""Names and colours of the regions in reports."""

from collections.abc import Mapping
from types import MappingProxyType

from inference.regions import REGION_NAMES, Region

__all__ = ["INK", "MINUS", "WORDS"]

MINUS = "\N{MINUS SIGN}"

WORDS: Mapping[Region, str] = MappingProxyType(
    {region: REGION_NAMES[region] for region in (Region.WT, Region.TC, Region.ET)}
)

INK: Mapping[Region, str] = MappingProxyType({Region.WT: "#0072b2", Region.TC: "#d55e00", Region.ET: "#b0558a"})
"""Colours of the regions: blue, vermilion and purple of Okabe and Ito's set for every kind of colour vision, with the
purple darkened for white paper."""
