"""Splits the images of one DICOM series into volumes, each named by what distinguishes it.

Scanners put several volumes into one series: planes of a localizer, echoes, b-values, phases, or magnitude and phase.
Images of different size, orientation or nature never form one volume. Beyond that, a series is split only if several
images lie at one position, or if stacks are interleaved, by the first attributes that distinguish them.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from conversion.interleaving import passes_along, stacks_apart
from conversion.likeness import (
    SAME_B_VALUE,
    SAME_DELAY_MS,
    SAME_POSITION_MM,
    SAME_TIME_S,
    grouped,
    runs,
    same_directions,
    same_echo,
    same_gradient,
    same_size,
)
from conversion.study import ImageHeader, Vector

__all__ = ["Part", "positions_of", "split_images"]

_PLANES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True, kw_only=True)
class Part:
    """The images of one volume.

    Attributes
    ----------
    name
        What distinguishes it from the other parts of its series; empty if there is only one.
    duplicates
        Images beyond the first at a position, if nothing distinguishes the images there.
    """

    name: str
    images: tuple[ImageHeader, ...]
    duplicates: tuple[ImageHeader, ...] = ()


Key = Callable[[ImageHeader], Hashable]
Groups = Callable[[tuple[ImageHeader, ...]], list[tuple[ImageHeader, ...]]]


def split_images(images: tuple[ImageHeader, ...]) -> list[Part]:
    """Split the images of a series into volumes.

    Returns
    -------
    list of Part
        In the order of the number of their first image, each with a different name.
    """
    groups = [("", images)]
    for name_of, groups_of in _ALWAYS:
        groups = [
            (_joined(name, name_of(part[0]) if len(parts) > 1 else ""), part)
            for name, group in groups
            for parts in (groups_of(group),)
            for part in parts
        ]
    parts = [part for name, group in groups for part in _without_repeats(name, group, tuple(_WHERE_REPEATED.items()))]
    parts.sort(key=lambda part: min((image.instance_number, image.frame or 0) for image in part.images))
    return _numbered(parts)


def positions_of(images: tuple[ImageHeader, ...]) -> list[list[ImageHeader]]:
    """Return the images at each position, in order along the slice axis; each list is in the order of image numbers."""
    first = images[0]
    normal = np.cross(first.row_direction or (1, 0, 0), first.column_direction or (0, 1, 0))
    ordered = sorted(images, key=lambda image: (float(np.dot(image.position_mm or (0, 0, 0), normal)), image.number))
    places: list[list[ImageHeader]] = []
    for image in ordered:
        near = places and np.linalg.norm(_difference(places[-1][0].position_mm, image.position_mm)) < SAME_POSITION_MM
        if near:
            places[-1].append(image)
        else:
            places.append([image])
    return [sorted(place, key=lambda image: (image.instance_number, image.number)) for place in places]


def _difference(first: Vector | None, second: Vector | None) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.subtract(first or (0.0, 0.0, 0.0), second or (0.0, 0.0, 0.0))


def _joined(first: str, second: str) -> str:
    return f"{first}, {second}" if first and second else first or second


def _equal(key: Key) -> Groups:
    """Group by equality of a key."""

    def groups(images: tuple[ImageHeader, ...]) -> list[tuple[ImageHeader, ...]]:
        found: dict[Hashable, list[ImageHeader]] = {}
        for image in images:
            found.setdefault(key(image), []).append(image)
        return [tuple(group) for group in found.values()]

    return groups


def _alike(same: Callable[[ImageHeader, ImageHeader], bool]) -> Groups:
    """Group by similarity to the first image of a group."""
    return lambda images: grouped(images, same)


def _near(key: Callable[[ImageHeader], float | None], apart: float) -> Groups:
    """Group by a number."""
    return lambda images: runs(images, key, apart)


def _plane(image: ImageHeader) -> str:
    normal = np.cross(image.row_direction or (0, 0, 0), image.column_direction or (0, 0, 0))
    return _PLANES[int(np.argmax(np.abs(normal)))] if np.any(normal) else "without orientation"


def _in(unit: str, value: float | None) -> str:
    return "" if value is None else f"{value:g} {unit}"


def _one_echo(first: ImageHeader, second: ImageHeader) -> bool:
    return same_echo(first.traits.echo_time_ms, second.traits.echo_time_ms)


def _inversion(image: ImageHeader) -> float | None:
    return image.traits.inversion_time_ms


def _gradient(image: ImageHeader) -> Vector | None:
    return image.traits.gradient_direction


def _trigger(image: ImageHeader) -> float | None:
    return image.traits.trigger_time_ms


def _moment(image: ImageHeader) -> float | None:
    return image.traits.acquired_at


def _made(image: ImageHeader) -> float | None:
    return image.traits.made_at


_ALWAYS: tuple[tuple[Callable[[ImageHeader], str], Groups], ...] = (
    (
        lambda image: f"{image.columns}x{image.rows} at {image.column_spacing_mm:g} mm",
        _alike(same_size),
    ),
    (_plane, _alike(same_directions)),
    (lambda image: image.traits.component or "other component", _equal(lambda image: image.traits.component)),
    (
        lambda image: f"echo {_in('ms', image.traits.echo_time_ms)}".strip(),
        _alike(_one_echo),
    ),
    (lambda image: f"b {image.traits.b_value or 0:g}", _near(lambda image: image.traits.b_value or 0.0, SAME_B_VALUE)),
)
"""What always separates volumes: the name of a group, and how images are grouped."""

_WHERE_REPEATED: Mapping[str, tuple[Key, Groups]] = {
    word: (key, groups or _equal(key))
    for word, key, groups in (
        ("image type", lambda image: image.traits.image_type, None),
        ("echo", lambda image: image.traits.echo_number, None),
        ("TI", _inversion, _near(_inversion, SAME_DELAY_MS)),
        ("direction", _gradient, _alike(lambda a, b: same_gradient(_gradient(a), _gradient(b)))),
        ("stack", lambda image: image.traits.stack_id, None),
        ("phase", lambda image: image.traits.temporal_position, None),
        ("trigger", _trigger, _near(_trigger, SAME_DELAY_MS)),
        ("acquisition", lambda image: image.traits.acquisition_number, None),
        ("time", _moment, _near(_moment, SAME_TIME_S)),
        ("content time", _made, _near(_made, SAME_TIME_S)),
    )
}
"""What distinguishes images at one position, in the order in which it is tried."""


_Keys = tuple[tuple[str, tuple[Key, Groups]], ...]


def _without_repeats(name: str, images: tuple[ImageHeader, ...], keys: _Keys) -> Iterator[Part]:
    """Split if several images lie at one position, by the first key that makes at most as many groups as lie there."""
    if any(image.position_mm is None for image in images):
        yield Part(name=name, images=images)
        return
    places = positions_of(images)
    repeats = max(len(place) for place in places)
    if repeats == 1:
        yield from _interleaved(name, images, keys)
        return
    for n, (word, (key, groups_of)) in enumerate(keys):
        groups = groups_of(images)
        if 1 < len(groups) <= repeats:
            ordered = sorted(groups, key=lambda group: min((i.instance_number, i.number) for i in group))
            for number, group in enumerate(ordered, start=1):
                yield from _without_repeats(
                    _joined(name, _value_name(word, key(group[0]), number)), group, keys[n + 1 :]
                )
            return
    yield from _by_order(name, places, repeats)


def _interleaved(name: str, images: tuple[ImageHeader, ...], keys: _Keys) -> Iterator[Part]:
    """Split interleaved stacks by what distinguishes them, else by the order of images."""
    ways = [(word, groups_of) for word, (_, groups_of) in keys]
    word, groups = stacks_apart(images, [*ways, ("pass", passes_along)])
    ordered = sorted(groups, key=lambda group: min((i.instance_number, i.number) for i in group))
    for number, group in enumerate(ordered, start=1):
        suffix = (
            _value_name(word, dict(keys)[word][0](group[0]) if word in dict(keys) else None, number) if word else ""
        )
        yield Part(name=_joined(name, suffix), images=group)


def _value_name(word: str, value: Hashable, number: int) -> str:
    if word == "image type" and isinstance(value, tuple):
        return " ".join(str(v).lower() for v in value) or f"image type {number}"
    return f"TI {value:g} ms" if word == "TI" and isinstance(value, float) else f"{word} {number}"


def _by_order(name: str, places: list[list[ImageHeader]], repeats: int) -> Iterator[Part]:
    """Split by image number if every position is repeated equally often; else return the duplicate images as such."""
    if len(places) > 1 and all(len(place) == repeats for place in places):
        for k in range(repeats):
            yield Part(name=_joined(name, f"repeat {k + 1}"), images=tuple(place[k] for place in places))
        return
    duplicates = tuple(image for place in places for image in place[1:])
    yield Part(name=name, images=tuple(place[0] for place in places), duplicates=duplicates)


def _numbered(parts: list[Part]) -> list[Part]:
    """Distinguish equal names by a number."""
    names = [part.name for part in parts]
    numbered = []
    for k, part in enumerate(parts):
        if names.count(part.name) > 1:
            name = _joined(part.name, f"part {names[: k + 1].count(part.name)}")
            numbered.append(Part(name=name, images=part.images, duplicates=part.duplicates))
        else:
            numbered.append(part)
    return numbered
