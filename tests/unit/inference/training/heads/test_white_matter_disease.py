"""White matter disease: in white matter, beside the ventricles, as much as said."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from inference.training.heads.anatomy import VENTRICLES, WHITE_MATTER, WHITE_MATTER_LESION
from inference.training.heads.white_matter_disease import WhiteMatterDisease, with_lesions
from tests.support.small_label_map import small_map

MM = 2.5
ALWAYS = WhiteMatterDisease(any=1.0)


def _drawn(seed: int, disease: WhiteMatterDisease) -> np.ndarray:
    return with_lesions(np.random.default_rng(seed), small_map().labels, MM, disease)


@pytest.mark.parametrize("seed", range(5))
def test_lesions_lie_in_white_matter_within_reach_of_the_ventricles(seed: int) -> None:
    before = small_map().labels
    changed = _drawn(seed, replace(ALWAYS, reach_mm=(10.0, 10.0), level=(0.3, 0.3)))
    lesions = changed == WHITE_MATTER_LESION
    away = ndimage.distance_transform_edt(~np.isin(before, VENTRICLES), sampling=MM)
    assert lesions.any()
    assert np.isin(before[lesions], WHITE_MATTER).all()
    assert away[lesions].max() <= 10
    assert np.array_equal(changed[~lesions], before[~lesions])


def test_each_number_changes_what_it_says() -> None:
    def lesions(disease: WhiteMatterDisease) -> np.ndarray:
        return np.mean([(_drawn(seed, disease) == WHITE_MATTER_LESION).sum() for seed in range(10)])

    usual = lesions(ALWAYS)
    assert lesions(replace(ALWAYS, any=0.0)) == 0
    assert 0 < lesions(replace(ALWAYS, any=0.5)) < usual
    assert lesions(replace(ALWAYS, level=(1.5, 1.5))) < 0.5 * usual
    assert lesions(replace(ALWAYS, reach_mm=(6.0, 6.0))) < lesions(replace(ALWAYS, reach_mm=(20.0, 20.0)))
    few, many = (
        ndimage.label(_drawn(3, replace(ALWAYS, nodes=(nodes, nodes), level=(0.6, 0.6))) == WHITE_MATTER_LESION)[1]
        for nodes in (4, 30)
    )
    assert many > few


def test_a_slab_without_ventricles_stays_as_it_is() -> None:
    labels = np.full((10, 10, 10), WHITE_MATTER[0], np.int16)
    assert np.array_equal(with_lesions(np.random.default_rng(1), labels, MM, ALWAYS), labels)
