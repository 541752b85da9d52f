"""Implants: in the brain, at its edge too, and outside nothing but an opened skull."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from inference.training.heads.anatomy import (
    CAVITY,
    ENHANCING,
    IMPLANTED,
    NECROSIS,
    OEDEMA,
    OPENED_SKULL,
    OUTSIDE,
)
from inference.training.heads.implants import (
    OPENED,
    SCAR,
    ImplantChances,
    cavity_implanted,
    implanted,
    tumour_implanted,
)
from inference.training.heads.label_map import LabelMap
from tests.support.small_label_map import small_map, small_shape

MM = 2.5
ALWAYS = ImplantChances(any=1.0, tumour_mm=(6.0, 14.0), cavity_mm=(8.0, 14.0))


@pytest.fixture(scope="module")
def head() -> LabelMap:
    return small_map()


def _drawn(head: LabelMap, seed: int, chances: ImplantChances) -> np.ndarray:
    return implanted(np.random.default_rng(seed), head.labels, head.brain, [small_shape()], MM, chances)


@pytest.mark.parametrize("seed", range(12))
def test_an_implant_lies_within_the_brain_and_leaves_the_rest(head: LabelMap, seed: int) -> None:
    before = head.labels.copy()
    changed = _drawn(head, seed, ALWAYS)
    new = changed > IMPLANTED
    assert new.any()
    assert head.brain[new & (changed != OPENED_SKULL)].all()
    opened = changed == OPENED_SKULL
    assert ((before[opened] >= OUTSIDE[0]) & (before[opened] < OUTSIDE[1])).all()
    assert np.array_equal(changed[~new], before[~new])
    assert np.array_equal(head.labels, before), "what came in is left as it is"


def _share(head: LabelMap, chances: ImplantChances, *labels: int) -> float:
    return float(np.mean([np.isin(_drawn(head, seed, chances), labels).any() for seed in range(40)]))


def test_without_a_chance_there_is_no_implant_and_with_one_there_is(head: LabelMap) -> None:
    assert _share(head, replace(ALWAYS, any=0.0), *range(901, 907)) == 0
    assert _share(head, ALWAYS, *range(901, 907)) == 1
    assert 0.3 < _share(head, replace(ALWAYS, any=0.5), *range(901, 907)) < 0.7


def test_the_kinds_are_as_often_as_said(head: LabelMap) -> None:
    assert _share(head, replace(ALWAYS, tumour=1.0, cavity=0.0), CAVITY) == 0
    assert _share(head, replace(ALWAYS, tumour=1.0, cavity=0.0), OEDEMA) == 1
    alone = replace(ALWAYS, tumour=0.0, cavity=1.0, scar=0.0)
    assert _share(head, alone, CAVITY) == 1
    assert _share(head, alone, NECROSIS, OEDEMA, ENHANCING) == 0
    both = replace(ALWAYS, tumour=0.0, cavity=0.0, scar=0.0, tumour_mm=(14.0, 14.0), cavity_mm=(4.0, 5.0))
    assert _share(head, both, CAVITY) == 1
    assert _share(head, both, OEDEMA) > 0.9


def test_scars_and_opened_skulls_are_as_often_as_said(head: LabelMap) -> None:
    cavity = replace(ALWAYS, tumour=0.0, cavity=1.0, at_edge=1.0, cavity_mm=(12.0, 14.0))
    assert _share(head, replace(cavity, scar=0.0), ENHANCING) == 0
    assert _share(head, replace(cavity, scar=1.0), ENHANCING) == 1
    assert _share(head, replace(cavity, opened_skull=0.0), OPENED_SKULL) == 0
    assert _share(head, replace(cavity, opened_skull=1.0), OPENED_SKULL) > 0.5


def test_sizes_are_what_is_said(head: LabelMap) -> None:
    def volume(chances: ImplantChances) -> float:
        return float(np.mean([(_drawn(head, seed, chances) > IMPLANTED).sum() for seed in range(10)]))

    tumour = replace(ALWAYS, tumour=1.0, cavity=0.0, by_expert=0.0, at_edge=0.0)
    assert volume(replace(tumour, tumour_mm=(12.0, 12.0))) > 3 * volume(replace(tumour, tumour_mm=(6.0, 6.0)))
    cavity = replace(ALWAYS, tumour=0.0, cavity=1.0, at_edge=0.0, opened_skull=0.0, scar=0.0)
    assert volume(replace(cavity, cavity_mm=(12.0, 12.0))) > 3 * volume(replace(cavity, cavity_mm=(6.0, 6.0)))


def test_experts_shapes_are_used_as_often_as_said(head: LabelMap) -> None:
    """The shape is the only one with so much enhancement beside its oedema."""
    tumour = replace(ALWAYS, tumour=1.0, cavity=0.0, at_edge=0.0, tumour_mm=(14.0, 14.0))
    shaped, made = (_drawn(head, 5, replace(tumour, by_expert=share)) for share in (1.0, 0.0))
    assert not np.array_equal(shaped, made)
    without = implanted(np.random.default_rng(5), head.labels, head.brain, [], MM, replace(tumour, by_expert=1.0))
    assert (without > IMPLANTED).any()


def test_implants_at_the_edge_lie_near_the_surface(head: LabelMap) -> None:
    depth = ndimage.distance_transform_edt(head.brain, sampling=head.spacing_mm)
    small = replace(ALWAYS, tumour=1.0, cavity=0.0, by_expert=0.0, tumour_mm=(3.0, 3.0))

    def depths(at_edge: float) -> list[float]:
        changed = [_drawn(head, seed, replace(small, at_edge=at_edge)) for seed in range(30)]
        return [float(depth[labels > IMPLANTED].mean()) for labels in changed]

    assert max(depths(1.0)) < 20
    assert np.mean(depths(1.0)) < 0.8 * np.mean(depths(0.0))


def test_a_tumour_is_cut_at_the_brains_surface(head: LabelMap) -> None:
    surface = tuple(int(place) for place in np.argwhere(head.brain)[0])
    tumour = np.full((9, 9, 9), 2, np.int16)
    changed = tumour_implanted(head.labels, head.brain, tumour, surface)
    near = np.zeros(head.brain.shape, bool)
    near[tuple(slice(max(0, place - 4), place + 5) for place in surface)] = True
    assert np.array_equal(changed == OEDEMA, near & head.brain)


def test_a_cavity_is_hollow_its_wall_enhances_and_the_skull_over_it_is_open(head: LabelMap) -> None:
    middle = tuple(int(place) for place in np.argwhere(head.brain)[0])
    along = np.arange(-12, 13) / 8
    away = np.sqrt(sum(part**2 for part in np.ix_(along, along, along))).astype(np.float32)
    changed = cavity_implanted(head.labels, head.brain, away, middle, scar=True, opened_skull=True)
    place = np.sqrt(
        sum(
            part**2
            for part in np.ix_(
                *((np.arange(size) - centre) / 8 for size, centre in zip(head.brain.shape, middle, strict=True))
            )
        )
    )
    outside = (head.labels >= OUTSIDE[0]) & (head.labels < OUTSIDE[1])
    assert np.array_equal(changed == CAVITY, head.brain & (place < 1))
    assert np.array_equal(changed == ENHANCING, head.brain & (place >= 1) & (place < SCAR))
    assert np.array_equal(changed == OPENED_SKULL, outside & (place < OPENED))
