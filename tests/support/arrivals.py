"""Randomised arrivals of studies, as modalities and archives make them: a plan of events in simulated time."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from tests.support.small_study import ROLES, make_small_study

__all__ = ["Arrival", "Event", "make_arrival", "needed_uids"]

LONGEST_PAUSE_S = 30.0
SLICES = 6
ALL_BEGIN_WITHIN_S = 6000.0


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happens to one study.

    Attributes
    ----------
    what
        ``send``, ``grow`` (the archive gets the image), ``release`` or ``abort`` (of the association that is open).
    """

    at_s: float
    what: str
    image: Dataset | None = None


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One study on its way.

    Attributes
    ----------
    counted
        Whether an archive can be asked how many images there are.
    stated
        Whether the headers say so.
    """

    study_uid: str
    images: tuple[Dataset, ...]
    events: tuple[Event, ...]
    counted: bool
    stated: bool
    roles: tuple[str, ...] = field(default=ROLES)

    @property
    def last_sent_s(self) -> float:
        """When the last image came for the first time."""
        first: dict[str, float] = {}
        for event in self.events:
            if event.what == "send" and event.image is not None:
                first.setdefault(str(event.image.SOPInstanceUID), event.at_s)
        return max(first.values())


def needed_uids(images: Sequence[Dataset]) -> dict[str, set[str]]:
    """Return the SOP Instance UIDs of each series."""
    found: dict[str, set[str]] = {}
    for ds in images:
        found.setdefault(str(ds.SeriesInstanceUID), set()).add(str(ds.SOPInstanceUID))
    return found


def make_arrival(number: int, rng: random.Random) -> Arrival:
    """Plan one study: order, pauses, associations, losses, repeats; with or without anything that tells its size."""
    chosen = set(rng.sample(ROLES, k=rng.choice((2, 3, 4, 4, 4, 4))))
    roles = tuple(role for role in ROLES if role in chosen)  # as acquired: a T1 after a T1CE would be another T1CE
    images = [
        ds
        for ds in make_small_study(f"arrival {number}", roles, patient_id=f"P{number}")
        if ds.InstanceNumber <= SLICES
    ]
    counted, stated = rng.random() < 0.4, rng.random() < 0.4
    if stated:
        for ds in images:
            ds.ImagesInAcquisition = SLICES
    order = _order(images, rng)
    events = tuple(_events(order, rng, grows=counted and rng.random() < 0.5))
    study_uid = str(images[0].StudyInstanceUID)
    return Arrival(
        study_uid=study_uid, images=tuple(images), events=events, counted=counted, stated=stated, roles=roles
    )


def _order(images: list[Dataset], rng: random.Random) -> list[Dataset]:
    """Return the images as a sender might have them: in order, series interleaved, or in none."""
    how = rng.choice(("in order", "backwards", "interleaved", "shuffled"))
    order = list(images)
    if how == "backwards":
        order.sort(key=lambda ds: (ds.SeriesNumber, -ds.InstanceNumber))
    elif how == "interleaved":
        order.sort(key=lambda ds: (ds.InstanceNumber, ds.SeriesNumber))
    elif how == "shuffled":
        rng.shuffle(order)
    return order


def _events(order: list[Dataset], rng: random.Random, *, grows: bool) -> Iterator[Event]:
    """Yield what happens, in time: an image that was lost, or is sent twice, comes again within the longest pause."""
    at, again = rng.uniform(0.0, ALL_BEGIN_WITHIN_S), list[Dataset]()
    queue = list(order)
    while queue or again:
        at += rng.choice((0.05, 0.05, 0.05, 0.2, 1.0, rng.uniform(0.0, LONGEST_PAUSE_S)))
        ds = again.pop(0) if again and (not queue or rng.random() < 0.5) else queue.pop(0)
        if grows:
            yield Event(at_s=at, what="grow", image=ds)
            at += 0.02
        chance = rng.random()
        if chance < 0.04 and ds in order:  # the association breaks before the image came, and is asked for anew
            yield Event(at_s=at, what="abort")
            again.append(ds)
            continue
        yield Event(at_s=at, what="send", image=ds)
        if chance < 0.10:
            yield Event(at_s=at + 0.01, what="release")
        elif chance < 0.15:
            again.append(ds)  # a repeat
    yield Event(at_s=at + 0.02, what="release")
