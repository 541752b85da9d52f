"""A brain made whole has its healthy half twice, about its own midplane, and nothing of the tumour."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage

from inference.cases.prepared import PreparedCase, keep_prepared
from inference.training.tumours.made_whole import made_whole, whole_cases
from tests.support.leaning_brain import BRAIN_SHAPE, leaning_brain, sides


def _case(tumour_at_mm: float = -16.0, *, stripped: bool = True) -> PreparedCase:
    image, tumour = leaning_brain(tumour_at_mm)
    images = np.stack([image, image, np.zeros(BRAIN_SHAPE), image])
    return PreparedCase(
        case_id="a",
        patient="a",
        source="brats",
        site="",
        images=images.astype(np.float16),
        present=(True, True, False, True),
        regions=np.stack([tumour, tumour, np.zeros(BRAIN_SHAPE, bool)]),
        annotated=(True, True, True),
        spacing_mm=(1.0, 1.0, 1.0),
        stripped=stripped,
    )


def test_the_tumour_is_gone_and_the_healthy_half_is_untouched() -> None:
    case = _case()
    whole = made_whole(case)
    assert whole is not None
    assert not whole.regions.any()
    assert (whole.case_id, whole.source, whole.patient) == ("a whole", "brats whole", "a")
    assert whole.annotated == (True, True, True)
    left, along = sides()
    healthy = left > 3
    assert_array_equal(whole.images[:, healthy], case.images[:, healthy])
    assert case.images[3][case.regions[0]].mean() > 2
    mirrored = (left - 16) ** 2 + along[0] ** 2 + (along[1] - 4) ** 2 < 7**2
    there, twin = whole.images[3][case.regions[0]].astype(float), case.images[3][mirrored].astype(float)
    assert there.mean() == pytest.approx(twin.mean(), abs=0.05)
    assert not whole.images[2].any(), "a sequence that is not there stays empty"
    outside = ~ndimage.binary_dilation(case.images[0] > 0, iterations=2)
    assert not whole.images[:, outside].any(), "air stays exactly dark"


@pytest.mark.parametrize(
    "case",
    [
        _case(tumour_at_mm=-4),
        replace(_case(), regions=np.zeros((3, *BRAIN_SHAPE), bool)),
        replace(_case(), spacing_mm=None),
        replace(_case(), annotated=(False, False, True)),
        _case(stripped=False),
    ],
    ids=["in both halves", "no tumour", "no spacing", "whole tumour not drawn", "with its skull"],
)
def test_what_cannot_be_made_whole_is_left_out(case: PreparedCase) -> None:
    assert made_whole(case) is None


def test_halves_that_are_no_mirror_images_are_left_out() -> None:
    case = _case()
    clouds = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=BRAIN_SHAPE), 6)
    strange = np.where(clouds > 0, 1 + clouds, 0) * np.array(case.present)[:, None, None, None]
    assert made_whole(replace(case, images=strange.astype(np.float16))) is None


def test_whole_brains_are_kept_beside_their_cases_and_made_once(tmp_path: Path) -> None:
    one, both = keep_prepared(_case(), tmp_path / "one.npz"), keep_prepared(_case(-4), tmp_path / "both.npz")
    (found,) = whole_cases([one, both])
    assert (found.case_id, found.source, found.patient) == ("a whole", "brats whole", "a")
    made = made_whole(_case())
    assert made is not None
    assert_array_equal(found.read().images, made.images)
    assert not found.read().regions.any()
    before = found.path.stat().st_mtime_ns
    assert whole_cases([one, both]) == (found,)
    assert found.path.stat().st_mtime_ns == before
