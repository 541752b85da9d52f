"""Evidence from pixels: tissue contrast, enhancement by contrast agent, and differences of two series."""

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from conversion.decision import Evidence
from conversion.recognition.contrast_agent import AGENT_PRIOR, same_protocol
from conversion.recognition.difference import DARK_AS_AIR, brain_place, share_dark_as_air
from conversion.recognition.enhancement import enhancement
from conversion.recognition.geometry_evidence import MINIMUM_SLICES, plane_of
from conversion.recognition.text_evidence import MADE
from conversion.recognition.time_course import Phase, phases_of
from conversion.recognition.tissue_contrast import tissue_contrast
from conversion.recognition.weighing import log_odds
from conversion.sequences import ABSTAINED, WEIGHTINGS
from conversion.stack import stack_slices
from conversion.study import Series, SeriesUID
from conversion.volume import ImageVolume

__all__ = [
    "difference_evidence",
    "enhancement_evidence",
    "next_pair",
    "shows_enough",
    "tissue_evidence",
    "weighting_seen",
]

SeriesKey = tuple[SeriesUID, str]

TISSUE_LIMIT = 3.0
"""Largest weight of the tissue contrast for or against a weighting: less than clear times, more than words."""

JUDGED = 0.5
"""Weight for every weighting if a volume could be judged: diffusion images, maps and pictures mostly cannot."""

UNDECIDED = 1.05
"""If the highest probability is less than this multiple of the mean, the volume counts as not judged."""

SEEN = 2.5
"""Weight of the tissue contrast from which a weighting counts as seen: a probability of 0.8."""

ENHANCEMENT_LIMIT = 4.0
"""Largest weight of the difference of two series: about that of a contrast tag."""

MAXIMUM_PAIRS = 3
"""Largest number of pairs of T1-weighted series that are registered and compared; each takes seconds."""

MINIMUM_EXTENT_MM = 60.0
"""A slab thinner than this shows too little of a head to be judged or to be given a role."""


def shows_enough(series: Series) -> bool:
    """Return whether a series covers enough of a head to be judged by its pixels, or to be given a role.

    Raises
    ------
    BrokenGeometry
        When its slices do not make a volume.
    """
    if len(series.images) < MINIMUM_SLICES:
        return False
    grid = stack_slices(series).grid
    return bool(grid.shape[0] * grid.spacing_mm[0] >= MINIMUM_EXTENT_MM)


def tissue_evidence(series: Series, read: Callable[[Series], ImageVolume]) -> tuple[Evidence, ...]:
    """Return the evidence of the tissue contrast for and against each weighting; empty if too little head is shown.

    Raises
    ------
    ConversionError
        When the series cannot be read.
    """
    if not shows_enough(series):
        return ()
    found = tissue_contrast(read(series))
    even = 1.0 / len(found.probabilities)
    shares = {str(kind): share for kind, share in found.probabilities.items()}
    if max(shares.values()) < even * UNDECIDED:
        return (Evidence(source="pixels", kind=ABSTAINED, weight=0.0, says=found.reason),)
    return tuple(
        Evidence(
            source="pixels",
            kind=str(kind),
            weight=max(-TISSUE_LIMIT, min(TISSUE_LIMIT, log_odds(shares[kind], 9.0) - log_odds(even, 9.0) + JUDGED)),
            says=f"{kind} {shares[kind]:.0%} by tissue contrast: {found.reason}",
        )
        for kind in WEIGHTINGS
        if kind in shares
    )


def weighting_seen(evidence: Iterable[Evidence]) -> str | None:
    """Return the weighting that the tissue contrast of a series shows clearly, or None."""
    clear = [e.kind for e in evidence if e.source == "pixels" and e.kind in WEIGHTINGS and e.weight >= SEEN]
    return clear[0] if clear else None


def difference_evidence(
    series: Series, others: Iterable[Series], read: Callable[[Series], ImageVolume]
) -> tuple[Evidence, ...]:
    """Return the evidence that a series is the difference of two others: its brain is as dark as air.

    Parameters
    ----------
    series
        T1-weighted by its header, but not by its tissue contrast.
    others
        Series that show a brain. The first in the same frame of reference in which the brain is found gives its place.

    Raises
    ------
    ConversionError
        When a series cannot be read.
    """
    if not shows_enough(series):
        return ()
    volume = read(series)
    for other in others:
        if not series.frame_of_reference_uid or other.frame_of_reference_uid != series.frame_of_reference_uid:
            continue
        brain = brain_place(read(other))
        share = share_dark_as_air(volume, brain) if brain is not None else None
        if share is not None:
            says = f"{share:.0%} of the brain (located in {other.name}) is as dark as air, as in a subtraction"
            found = Evidence(source="pixels", kind="subtraction", weight=MADE, says=says)
            return (found,) if share >= DARK_AS_AIR else ()
    return ()


def next_pair(
    candidates: Sequence[Series], unsettled: Container[SeriesKey], compared: Sequence[tuple[SeriesKey, SeriesKey]]
) -> tuple[Series, Series] | None:
    """Choose the T1-weighted series to compare next: those compared least so far, and of these the most alike.

    Parameters
    ----------
    candidates
        T1-weighted series that can be read, in any order.
    unsettled
        Those that may still be before or after contrast agent. The first comparison is made in any case.
    compared
        Pairs that have been compared.
    """
    if len(compared) >= MAXIMUM_PAIRS:
        return None
    ordered = sorted(candidates, key=lambda series: (series.number, series.key))
    times = [key for pair in compared for key in pair]
    phases = phases_of(ordered)
    pairs = [
        (a, b)
        for k, a in enumerate(ordered)
        for b in ordered[k + 1 :]
        if (a.key, b.key) not in compared and (not compared or a.key in unsettled or b.key in unsettled)
    ]
    return min(
        pairs,
        key=lambda pair: (times.count(pair[0].key) + times.count(pair[1].key), _unlikeness(pair[0], pair[1], phases)),
        default=None,
    )


def _unlikeness(first: Series, second: Series, phases: Mapping[SeriesKey, Phase]) -> tuple[float, ...]:
    """Order pairs: the same protocol first, then the same plane, kind of volume, similar, fine and early series.

    Of the phases of one course those furthest apart come first: contrast agent arrives between first and last.
    """
    a, b = phases.get(first.key), phases.get(second.key)
    sizes = [_voxel_ml(first), _voxel_ml(second)]
    return (
        float(not same_protocol(first, second)),
        float(plane_of(first) != plane_of(second)),
        float(first.acquisition.dimensions != second.acquisition.dimensions),
        round(abs(math.log(sizes[0] / sizes[1])), 1),
        round(max(sizes), 6),
        -float(abs(a.place - b.place)) if a and b and a.course == b.course else 0.0,
        float(first.number),
        float(second.number),
    )


def _voxel_ml(series: Series) -> float:
    return stack_slices(series).grid.voxel_volume_ml


def enhancement_evidence(
    first: Series, second: Series, read: Callable[[Series], ImageVolume]
) -> Iterable[tuple[Series, Evidence]]:
    """Return, for both series of a pair, the evidence of contrast agent from their difference.

    Raises
    ------
    ConversionError
        When one cannot be read or they cannot be registered.
    """
    found = enhancement(read(first), read(second))
    after = float(found.second_is_after)
    # If one of two scans of one protocol is brighter where contrast agent goes, one was given: the prior against it is
    # cancelled. Different sequences differ even without contrast agent, so their evidence has to overcome the prior.
    given = -AGENT_PRIOR if same_protocol(first, second) else 0.0
    says = f"{first.name} (first) compared with {second.name} (second): {found.reason}"
    for series, share in ((first, 1.0 - after), (second, after)):
        weight = log_odds(share, ENHANCEMENT_LIMIT) + given * max(0.0, 2.0 * share - 1.0)
        yield series, Evidence(source="enhancement", kind="T1CE", weight=weight, says=says)
