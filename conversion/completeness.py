"""Determines from headers alone how much of each series was received: what is complete, and what lacks images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from conversion.errors import BrokenGeometry, ConversionReason
from conversion.recognition.recognise import Recognition
from conversion.sequences import REFORMAT, Role
from conversion.splitting import positions_of
from conversion.stack import stack_slices
from conversion.study import Series, SeriesUID

__all__ = ["SeriesProgress", "series_progress"]


@dataclass(frozen=True, kw_only=True)
class SeriesProgress:
    """How much of one DICOM series with images of a role was received.

    Attributes
    ----------
    name
        Its name in messages: its probable role and its series number.
    roles
        The roles it may have by its headers; two if T1 before and after contrast cannot be distinguished.
    sure
        Whether the headers determine its role without doubt.
    sop_instance_uids
        Of the instances that were received.
    stated
        How many instances there are by the series' own headers; 0 if they do not state it.
    gap
        What is missing between the received images, in words; empty if there is no gap.
    flaw
        What further images would not repair, such as a sheared stack.
    doubt
        A hint that images may be missing. Archives that renumber images cause the same hint.
    """

    series_uid: SeriesUID
    name: str
    roles: frozenset[Role]
    sure: bool
    sop_instance_uids: frozenset[str]
    stated: int = 0
    gap: str = ""
    flaw: str = ""
    doubt: str = ""

    @property
    def held(self) -> int:
        """How many instances were received."""
        return len(self.sop_instance_uids)

    @property
    def whole_as_stated(self) -> bool:
        """Return whether as many instances were received as the headers state, without a gap."""
        return self.held == self.stated and not self.gap

    @property
    def awaits(self) -> str:
        """What is known to be missing, in words; empty if nothing is."""
        if self.stated > self.held:
            return f"{self.name}: {self.held} of {self.stated} slices"
        return f"{self.name}: {self.gap}" if self.gap else ""


def series_progress(recognitions: Iterable[Recognition]) -> tuple[SeriesProgress, ...]:
    """Return the progress of every series that may have a role.

    Parameters
    ----------
    recognitions
        Of a study's volumes, by headers alone or by pixels too. Reformats are left out: they depend on their source.
    """
    by_series: dict[SeriesUID, list[Recognition]] = {}
    for recognition in recognitions:
        if recognition.kind != REFORMAT and recognition.weighting in list(Role):
            by_series.setdefault(recognition.series.series_uid, []).append(recognition)
    return tuple(_progress(group) for group in by_series.values())


def _progress(group: Sequence[Recognition]) -> SeriesProgress:
    series = [recognition.series for recognition in group]
    roles = frozenset(role for recognition in group for role in _roles(recognition))
    gaps, flaws = zip(*(_gap_and_flaw(one) for one in series), strict=True)
    probable = " or ".join(sorted(roles))
    return SeriesProgress(
        series_uid=series[0].series_uid,
        name=f"{probable} (series {series[0].number})",
        roles=roles,
        sure=any(recognition.role is not None for recognition in group),
        sop_instance_uids=frozenset(image.sop_instance_uid for one in series for image in one.images),
        stated=max(one.stated_instances for one in series),
        gap=next((gap for gap in gaps if gap), ""),
        flaw=next((flaw for flaw in flaws if flaw), ""),
        doubt=_numbers_left_out(series),
    )


def _roles(recognition: Recognition) -> tuple[Role, ...]:
    leaning = Role(recognition.weighting)
    if recognition.role is None and leaning in (Role.T1, Role.T1CE):
        return (Role.T1, Role.T1CE)
    return (leaning,)


def _gap_and_flaw(series: Series) -> tuple[str, str]:
    """Return what is missing between the images of a volume, and what is wrong with it beyond that."""
    try:
        stack_slices(series)
    except BrokenGeometry as error:
        if error.reason is ConversionReason.MISSING_SLICE:
            return _missing(series), ""
        return "", str(error)
    return "", ""


def _missing(series: Series) -> str:
    """Return how many slices are missing between the first and the last, by the distances of the received ones."""
    first = series.images[0]
    normal = np.cross(first.row_direction or (0, 0, 0), first.column_direction or (0, 0, 0))
    places = [np.dot(place[0].position_mm or (0, 0, 0), normal) for place in positions_of(series.images)]
    gaps = np.diff(places)
    missing = int(np.sum(np.rint(gaps / np.median(gaps)) - 1))
    return f"{len(places)} of {len(places) + missing} slices between the first and the last"


def _numbers_left_out(series: Sequence[Series]) -> str:
    """Return which image numbers are missing: if every second image is, the distances are even and do not show it."""
    numbers = {image.instance_number for one in series for image in one.images}
    expected = max(numbers) - min(numbers) + 1
    return f"{len(numbers)} of the image numbers {min(numbers)} to {max(numbers)}" if len(numbers) < expected else ""
