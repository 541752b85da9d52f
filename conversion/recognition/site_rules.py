"""Rules of a site: what a person stated the kind of a series to be, stored as data."""

import fnmatch
from dataclasses import dataclass

from conversion.recognition.text_evidence import LONGEST_TEXT
from conversion.study import Series

__all__ = ["SiteRule"]


@dataclass(frozen=True, kw_only=True)
class SiteRule:
    """One rule: every series that matches all its patterns is of this kind.

    Attributes
    ----------
    name
        The site's name for the rule; unique.
    kind
        ``T1``, ``T1CE``, ``T2``, ``FLAIR``, or another kind of series such as ``DWI`` or ``localizer``.
    manufacturer, station, description, protocol, technique
        Patterns for Manufacturer, StationName, SeriesDescription, ProtocolName and sequence name. Upper and lower case
        are the same. As in a shell, ``*``, ``?`` and ``[...]`` (one of these characters) are wildcards. An empty
        pattern matches everything.
    """

    name: str
    kind: str
    manufacturer: str = ""
    station: str = ""
    description: str = ""
    protocol: str = ""
    technique: str = ""

    def __post_init__(self) -> None:
        """Refuse a rule that would match every series."""
        if not self.name or not self.kind:
            message = "a site rule needs a name and a kind"
            raise ValueError(message)
        if not any((self.manufacturer, self.station, self.description, self.protocol, self.technique)):
            message = f"site rule {self.name!r} has no pattern and would match every series"
            raise ValueError(message)

    def matches(self, series: Series) -> bool:
        """Return whether a series matches every pattern."""
        acquisition = series.acquisition
        pairs = (
            (self.manufacturer, acquisition.manufacturer),
            (self.station, acquisition.station),
            (self.description, acquisition.description),
            (self.protocol, acquisition.protocol),
            (self.technique, acquisition.technique),
        )
        return all(
            not pattern or fnmatch.fnmatchcase(value[:LONGEST_TEXT].lower(), pattern.lower())
            for pattern, value in pairs
        )
