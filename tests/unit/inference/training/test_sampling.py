"""Samples: by seed and number alone, in the shares that are wanted, and of the form that the network expects."""

from collections import Counter
from dataclasses import replace
from itertools import islice, product
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from inference.cases.prepared import PreparedCase
from inference.training.plan import TrainingPlan
from inference.training.sampling import Batches, Sample, Sampler
from tests.support.training_cases import SMALL_NETWORKS, training_case


@pytest.fixture(scope="module")
def cases() -> list[PreparedCase]:
    return [training_case("lgg", 1), training_case("lgg", 2), training_case("lgg", 5), training_case("brats", 3)]


def _plan(network: str = "2.5D", **changes: Any) -> TrainingPlan:  # noqa: ANN401 - any field
    crop = (8, 24, 24) if "3" in network else (1, 24, 24)
    return TrainingPlan(**{"network": SMALL_NETWORKS[network], "crop": crop, **changes})


def _samples(cases: list[PreparedCase], plan: TrainingPlan, count: int) -> list[Sample]:
    sampler = Sampler(cases, plan)
    return [sampler.sample(number) for number in range(count)]


@pytest.mark.parametrize("network", ["2.5D", "3D"])
def test_a_sample_depends_on_seed_and_number_alone(cases: list[PreparedCase], network: str) -> None:
    plan = _plan(network)
    from_start = _samples(cases, plan, 5)
    torch.manual_seed(12345)
    later = Sampler(cases, plan).sample(3)
    assert all(torch.equal(a, b) for a, b in zip(from_start[3], later, strict=True))
    assert not torch.equal(from_start[3][0], from_start[4][0])
    other = Sampler(cases, _plan(network, seed=7)).sample(3)
    assert not torch.equal(other[0], later[0])


def test_trainers_take_turns_by_batches(cases: list[PreparedCase]) -> None:
    sampler = Sampler(cases, _plan())
    alone = list(islice(iter(Batches(sampler, 2)), 4))
    second = list(islice(iter(Batches(sampler, 2, first=1, every=2)), 2))
    assert all(torch.equal(mine[0], theirs[0]) for mine, theirs in zip(second, alone[1::2], strict=True))
    assert torch.equal(alone[1][0][0], sampler.sample(2)[0])


@pytest.mark.parametrize("loaders", [1, 2])
def test_the_number_of_loaders_changes_nothing(cases: list[PreparedCase], loaders: int) -> None:
    batches = Batches(Sampler(cases, _plan()), 2, first=5)
    alone = list(islice(iter(batches), 5))
    loaded = list(islice(iter(DataLoader(batches, batch_size=None, num_workers=loaders)), 5))
    assert all(
        torch.equal(a, b) for mine, theirs in zip(loaded, alone, strict=True) for a, b in zip(mine, theirs, strict=True)
    )


@pytest.mark.parametrize(("network", "seen", "told"), [("2D", 1, 1), ("2.5D", 3, 1), ("3D", 8, 8)])
def test_samples_are_what_the_network_and_the_loss_expect(
    cases: list[PreparedCase], network: str, seen: int, told: int
) -> None:
    for images, regions, annotated in _samples(cases, _plan(network), 30):
        assert images.shape == (4, seen, 24, 24)
        assert regions.shape == (3, told, 24, 24)
        assert torch.equal(regions, regions.round())
        assert annotated[0] == 1.0
        if not images[1].any():
            assert annotated.tolist() == [1.0, 0.0, 0.0], "without contrast the core cannot be learned"
        assert images[1].any() or images[3].any()


@pytest.mark.parametrize(("wanted", "expected"), [({}, 0.25), ({"brats": 0.6}, 0.6), ({"lgg": 0.1}, 0.9)])
def test_sets_have_their_share(cases: list[PreparedCase], wanted: dict[str, float], expected: float) -> None:
    plan = _plan(source_share=wanted, drop=(0, 0, 0, 0))
    found = Counter(bool(annotated[1]) for _, _, annotated in _samples(cases, plan, 150))
    assert found[True] / 150 == pytest.approx(expected, abs=0.1)


def test_volumes_are_shown_along_all_three_axes_where_the_plan_says_so() -> None:
    """Foot to head only half as many slices as rows: what is seen from the front or the side is lower than wide."""
    case = training_case("brats", 3)
    plan = _plan("2.5D", views=3, head_share=0.0, crop=(1, 48, 48), tumour_share=1.0)
    heights = []
    for images, regions, _ in _samples([case], plan, 40):
        assert images.shape == (4, 3, 48, 48)
        assert regions.any()
        rows, columns = torch.nonzero(images[:, 1].amax(dim=0) > 0.3, as_tuple=True)
        heights.append(int(rows.max() - rows.min()) / int(columns.max() - columns.min()))
    assert min(heights) < 0.6
    assert max(heights) > 0.75


def test_neighbours_of_a_stack_of_unknown_spacing_are_slices_as_they_were_acquired(cases: list[PreparedCase]) -> None:
    """Seen from the side, such a stack has no shape that anybody knows, so networks for volumes see it from above."""
    flat = replace(cases[0], images=np.zeros_like(cases[0].images), spacing_mm=None)
    flat.images[:] = np.arange(flat.images.shape[1], dtype=np.float16)[:, None, None] / 8 + 0.5
    flat = replace(flat, regions=np.ones_like(flat.regions), present=(True, True, True, True))
    plan = _plan("2.5D", views=3, drop=(0, 0, 0, 0))
    for images, _, _ in _samples([flat], plan, 20):
        middle = images[:, 1, 8:16, 8:16]
        assert float((middle.std(dim=(1, 2)) / middle.mean(dim=(1, 2))).max()) < 0.2, "one slice has one brightness"


def _without_tumour(number: int, source: str = "brats whole") -> PreparedCase:
    case = training_case("brats", number)
    images = np.clip(case.images, 0, 1.2)
    return replace(case, images=images, regions=np.zeros_like(case.regions), source=source)


def test_brains_without_a_tumour_get_one_of_another_patient_in_their_share() -> None:
    cases = [_without_tumour(7), training_case("brats", 3)]
    given = {"views": 3, "crop": (1, 40, 40), "source_share": {"brats whole": 1.0, "brats": 0.0}, "drop": (0, 0, 0, 0)}
    shares = {}
    for wanted in (0.0, 0.5):
        plan = _plan("2.5D", carved_share=(wanted, 0.0), **given)
        found = [(bool(regions.any()), bool(annotated.all())) for _, regions, annotated in _samples(cases, plan, 60)]
        assert all(known for _, known in found), "that there is no tumour is known of all regions"
        shares[wanted] = np.mean([tumour for tumour, _ in found])
    assert shares[0.0] == 0
    assert 0.3 < shares[0.5] < 0.65


def test_a_tumour_is_never_taken_from_a_case_whose_regions_or_sequences_are_not_all_known() -> None:
    cases = [_without_tumour(7), replace(training_case("brats", 3), annotated=(True, False, True))]
    cases.append(replace(training_case("brats", 4), present=(True, True, False, True)))
    shares = {"source_share": {"brats whole": 1.0, "brats": 0.0}, "carved_share": (1.0, 1.0)}
    plan = _plan("2.5D", views=3, crop=(1, 40, 40), **shares)
    assert not any(bool(regions.any()) for _, regions, _ in _samples(cases, plan, 20))


def test_slices_with_what_was_drawn_are_looked_for_where_only_a_part_of_the_tumour_was() -> None:
    """As of operated heads, of which experts drew the enhancing tumour alone."""
    case = training_case("brats", 3)
    case = replace(
        case, annotated=(False, False, True), regions=case.regions * np.array([0, 0, 1], bool)[:, None, None, None]
    )
    plan = _plan("2.5D", views=3, head_share=0.0, tumour_share=1.0, crop=(1, 48, 48), drop=(0, 0, 0, 0))
    for _, regions, annotated in _samples([case], plan, 12):
        assert regions[2].any()
        assert annotated.tolist() == [0, 0, 1]


def test_every_set_of_sequences_with_contrast_or_flair_comes_up() -> None:
    plan = _plan("2.5D", views=3, head_share=0.0, subset_share=1.0, crop=(1, 48, 48))
    seen = Counter(
        tuple(bool(channel.any()) for channel in images)
        for images, _, _ in _samples([training_case("brats", 3)], plan, 240)
    )
    wanted = {kept for kept in product((False, True), repeat=4) if kept[1] or kept[3]}
    assert set(seen) == wanted
    assert min(seen.values()) >= 6


def test_brains_are_cut_too_tight_and_what_is_cut_off_is_not_asked_for() -> None:
    case = replace(training_case("brats", 3), regions=np.ones((3, 12, 30, 34), bool))
    given = {"views": 3, "head_share": 0.0, "drop": (0, 0, 0, 0), "crop": (1, 48, 48)}
    areas = {}
    for share in (0.0, 1.0):
        samples = _samples([case], _plan("2.5D", tight_share=share, **given), 20)
        areas[share] = sum(float(regions[0].sum()) for _, regions, _ in samples)
    assert 0.5 * areas[0.0] < areas[1.0] < 0.95 * areas[0.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_makes_the_same_volumes_but_for_noise(cases: list[PreparedCase]) -> None:
    plan, gpu = _plan("3D"), torch.device("cuda")
    there = Sampler(cases, plan, gpu)
    for number, (images, regions, annotated) in enumerate(_samples(cases, plan, 8)):
        others = there.sample(number)
        assert others[0].device.type == "cuda"
        assert float((others[0].cpu() - images).abs().mean()) < 0.15
        assert float((others[1].cpu() != regions).float().mean()) < 0.01
        assert torch.equal(others[2].cpu(), annotated)
