"""A label map's brain: furrows closed, holes filled, and nothing of what lies around it."""

import numpy as np
import pytest

from inference.training.heads.anatomy import BRAIN_TISSUES, FLUID, OUTSIDE
from inference.training.heads.label_map import LabelMap, box_of, closed_brain, middle_of
from tests.support.small_label_map import SPACING_MM, small_labels, small_map


def _block() -> np.ndarray:
    tissue = np.zeros((60, 60, 60), bool)
    tissue[15:45, 15:45, 15:45] = True
    return tissue


def test_furrows_narrower_than_twice_the_closing_are_brain_and_wider_ones_are_not() -> None:
    tissue = _block()
    tissue[25:45, 15:45, 20:28] = False  # 8 mm
    narrow = closed_brain(tissue, (1.0, 1.0, 1.0))
    assert narrow[30, 30, 24]
    tissue = _block()
    tissue[25:45, 15:45, 20:34] = False  # 14 mm
    assert not closed_brain(tissue, (1.0, 1.0, 1.0))[35, 30, 27]


def test_closing_is_measured_in_millimetres_along_each_axis() -> None:
    tissue = _block()
    tissue[25:45, 15:45, 20:26] = False  # six voxels: 6 mm, or 18 mm
    assert closed_brain(tissue, (3.0, 1.0, 1.0))[30, 30, 23]
    assert not closed_brain(tissue, (1.0, 1.0, 3.0))[40, 30, 23]


def test_holes_are_brain_and_nothing_grows_outwards() -> None:
    tissue = _block()
    tissue[20:40, 20:40, 20:40] = False
    assert np.array_equal(closed_brain(tissue, (1.0, 1.0, 1.0)), _block())


def test_a_brain_that_touches_the_volumes_end_is_closed_there_too() -> None:
    tissue = _block()[:45, :, 15:]
    assert np.array_equal(closed_brain(tissue, (1.0, 1.0, 1.0)), tissue)


def test_the_brain_of_a_head_is_all_its_tissue_with_the_ventricles_but_not_the_fluid_around_it() -> None:
    head = small_map()
    tissue = (head.labels > 0) & (head.labels < OUTSIDE[0]) & (head.labels != FLUID)
    assert head.brain[tissue].all()
    assert not head.brain[head.labels >= OUTSIDE[0]].any()
    assert (head.brain & (head.labels == FLUID)).sum() < 0.02 * head.brain.sum(), "it has no furrows"


def test_labels_of_the_brain_above_a_hundred_are_brain() -> None:
    labels = np.zeros((20, 20, 20), np.int16)
    labels[5:15, 5:15, 5:15] = 163
    assert LabelMap.of("odd", labels, (1.0, 1.0, 1.0)).brain.all()


def test_a_head_is_kept_in_the_box_that_holds_it() -> None:
    labels = np.pad(small_labels(), 9)
    kept = LabelMap.of("padded", labels, SPACING_MM)
    assert np.array_equal(kept.labels, small_map().labels)
    assert kept.labels.shape < small_labels().shape
    assert kept.labels.dtype == np.int16


def test_the_middle_is_the_mean_index_of_the_brain() -> None:
    mask = np.zeros((5, 6, 7), bool)
    mask[1, 2, 3] = mask[3, 4, 5] = True
    assert middle_of(mask).tolist() == [2.0, 3.0, 4.0]
    assert box_of(mask) == (slice(1, 4), slice(2, 5), slice(3, 6))
    assert box_of(np.zeros((2, 2), bool)) == (slice(None), slice(None))
    head = small_map()
    assert np.allclose(head.middle, (np.array(head.labels.shape) - 1) / 2, atol=1)


def test_a_head_without_a_brain_is_refused() -> None:
    with pytest.raises(ValueError, match="skull: labels of shape"):
        LabelMap.of("skull", np.full((4, 4, 4), 511), (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="a brain of the same shape"):
        LabelMap(
            name="x", labels=np.ones((2, 2, 2), np.int16), brain=np.ones((3, 3, 3), bool), spacing_mm=(1.0, 1.0, 1.0)
        )


def test_every_label_of_the_brain_has_one_tissue() -> None:
    labels = [label for tissue in BRAIN_TISSUES.values() for label in tissue]
    assert len(labels) == len(set(labels))
    assert FLUID in labels
    assert max(labels) < OUTSIDE[0]
