"""Compares header values: every tolerance for numbers that scanners and archives round, defined once.

Decimal strings have at most 16 characters, archives convert them to single precision and back, and scanners adapt times
from slice to slice. So header numbers are never compared for equality.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence

from conversion.study import ImageHeader, Traits, Vector

__all__ = [
    "DIRECTION_TOLERANCE",
    "ECHO_TOLERANCE",
    "EVEN_STACK_MM",
    "SAME_B_VALUE",
    "SAME_DELAY_MS",
    "SAME_POSITION_MM",
    "SAME_SHARE",
    "SAME_TIME_S",
    "SPACING_TOLERANCE",
    "at_one_place",
    "grouped",
    "runs",
    "same_directions",
    "same_echo",
    "same_gradient",
    "same_place",
    "same_size",
]

DIRECTION_TOLERANCE = 1e-3
"""Allowed difference of direction cosines within a volume (0.06°)."""

SAME_POSITION_MM = 0.02
"""Slices closer than this lie at one position: a twentieth of the thinnest slices of clinical MR."""

EVEN_STACK_MM = 0.1
"""How far a slice may be from its place in an even stack: a fifth of the smallest voxels. More is uneven."""

SPACING_TOLERANCE = 1e-3
"""Pixel spacings that differ by less, as a share, are equal: half a pixel at the edge of 500."""

ECHO_TOLERANCE = 0.05
"""Echo times that differ by less, as a share, are one echo: GE and Siemens round or adapt them within a series."""

SAME_B_VALUE = 1.0
"""B-values in s/mm² closer than this are equal: scanners write what the gradients achieved, such as 999.99."""

SAME_DELAY_MS = 0.5
"""Inversion and trigger times closer than this are equal: a tenth of the smallest steps of protocols."""

SAME_TIME_S = 1e-3
"""Times closer than this are equal: they have microseconds at most, and fractions are truncated or rounded."""

SAME_SHARE = 1e-6
"""Numbers that differ by less, as a share, are equal but were rewritten: single precision keeps seven digits."""

_Group = list[ImageHeader]


def same_size(first: ImageHeader, second: ImageHeader) -> bool:
    """Return whether two images have the same matrix and the same pixel spacing."""
    pairs = (
        (first.row_spacing_mm, second.row_spacing_mm),
        (first.column_spacing_mm, second.column_spacing_mm),
    )
    same_matrix = (first.rows, first.columns) == (second.rows, second.columns)
    return same_matrix and all(abs(a - b) <= SPACING_TOLERANCE * max(a, b) for a, b in pairs)


def same_directions(first: ImageHeader, second: ImageHeader) -> bool:
    """Return whether two images have the same orientation."""
    directions = [(*(i.row_direction or ()), *(i.column_direction or ())) for i in (first, second)]
    if not all(directions):
        return True  # an image without a position stays in its series, which is then refused instead of read with a gap
    return _near_vectors(*directions)


def same_echo(first_ms: float | None, second_ms: float | None) -> bool:
    """Return whether two echo times belong to one echo."""
    if first_ms is None or second_ms is None:
        return first_ms is second_ms
    return abs(first_ms - second_ms) <= ECHO_TOLERANCE * max(abs(first_ms), abs(second_ms))


def same_gradient(first: Vector | None, second: Vector | None) -> bool:
    """Return whether two diffusion directions are equal."""
    return first is second if first is None or second is None else _near_vectors(first, second)


def same_place(first_mm: Sequence[float], second_mm: Sequence[float]) -> bool:
    """Return whether two positions are equal."""
    return all(abs(a - b) <= SAME_POSITION_MM for a, b in zip(first_mm, second_mm, strict=True))


def _near_vectors(first: Sequence[float], second: Sequence[float]) -> bool:
    return all(abs(a - b) <= DIRECTION_TOLERANCE for a, b in zip(first, second, strict=True))


def grouped(
    images: Iterable[ImageHeader], same: Callable[[ImageHeader, ImageHeader], bool]
) -> list[tuple[ImageHeader, ...]]:
    """Group images by similarity to the first image of each group."""
    found: list[_Group] = []
    for image in images:
        group = next((group for group in found if same(group[0], image)), None)
        if group is None:
            found.append([image])
        else:
            group.append(image)
    return [tuple(group) for group in found]


def runs(
    images: Sequence[ImageHeader], number: Callable[[ImageHeader], float | None], apart: float
) -> list[tuple[ImageHeader, ...]]:
    """Group images by a number, split where two neighbours in its order are further apart than `apart`.

    Images without the number form one group. Groups are in the order of their first image. A thousand different numbers
    take no longer than sorting them.
    """
    known = sorted({value for image in images if (value := number(image)) is not None})
    rank = dict(zip(known, _ranks(known, apart), strict=True))
    found: dict[Hashable, _Group] = {}
    for image in images:
        value = number(image)
        found.setdefault(None if value is None else rank[value], []).append(image)
    return [tuple(group) for group in found.values()]


def _ranks(ordered: Sequence[float], apart: float) -> list[int]:
    ranks: list[int] = []
    for k, value in enumerate(ordered):
        ranks.append(0 if k == 0 else ranks[-1] + int(value - ordered[k - 1] > apart))
    return ranks


def at_one_place(images: Sequence[ImageHeader]) -> list[tuple[ImageHeader, ...]]:
    """Group images at one position with equal traits, such as copies; images without a position stay alone."""
    placed = [image for image in images if image.position_mm is not None]
    found: list[tuple[ImageHeader, ...]] = [(image,) for image in images if image.position_mm is None]
    for near in runs(placed, lambda image: sum(image.position_mm or ()), 3 * SAME_POSITION_MM):  # of each axis
        found += grouped(near, _alike)
    return found


def _alike(first: ImageHeader, second: ImageHeader) -> bool:
    near = same_place(first.position_mm or (), second.position_mm or ())
    return near and same_size(first, second) and same_directions(first, second) and _same_traits(first, second)


def _same_traits(first: ImageHeader, second: ImageHeader) -> bool:
    a, b = first.traits, second.traits
    return (
        _exact(a) == _exact(b)
        and same_gradient(a.gradient_direction, b.gradient_direction)
        and same_echo(a.echo_time_ms, b.echo_time_ms)
        and _near(a.inversion_time_ms, b.inversion_time_ms, SAME_DELAY_MS)
        and _near(a.trigger_time_ms, b.trigger_time_ms, SAME_DELAY_MS)
        and _near(a.b_value, b.b_value, SAME_B_VALUE)
        and _near(a.acquired_at, b.acquired_at, SAME_TIME_S)
    )


def _exact(traits: Traits) -> tuple[object, ...]:
    counted = (traits.echo_number, traits.temporal_position, traits.acquisition_number)
    return (traits.component, traits.image_type, traits.stack_id, *counted)


def _near(first: float | None, second: float | None, apart: float) -> bool:
    return first is second if first is None or second is None else abs(first - second) <= apart
