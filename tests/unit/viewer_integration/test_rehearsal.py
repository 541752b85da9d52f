"""What a source's headers do not allow is known before the networks run."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_node.runs.in_memory import RunInMemory
from dicom_node.runs.pipeline import find_tumour
from dicom_node.settings import read_settings
from tests.support.dicom_series import axis_aligned, write_slices
from tests.support.hand_made_run import PROVENANCE, make_run
from tests.support.small_study import make_small_study
from viewer_integration.errors import UnusableSource
from viewer_integration.profile import DEFAULT_PROFILE, ResultProfile, SegForm
from viewer_integration.rehearsal import rehearse

pytestmark = pytest.mark.torch


@pytest.fixture
def labels() -> NDArray[np.uint8]:
    return (np.arange(6 * 12 * 12).reshape(6, 12, 12) % 4).astype(np.uint8)


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_what_gives_a_result_passes(tmp_path: Path, labels: NDArray[np.uint8], plane: str) -> None:
    run = make_run(tmp_path, labels, axis_aligned(plane))
    rehearse(run.source, run.segmentation.label_volume.grid)
    assert [each.kind for each in run.encode().objects] == ["SEG", "SR"]


def test_images_that_share_a_uid_are_refused_by_name(tmp_path: Path, labels: NDArray[np.uint8]) -> None:
    run = make_run(tmp_path, labels, axis_aligned("axial"))
    first, *others = run.source.instances
    source = replace(run.source, instances=(first, first, *others[1:]))
    with pytest.raises(UnusableSource, match=r"share SOP Instance UIDs.*\(6 images, 5 UIDs\)"):
        rehearse(source, run.segmentation.label_volume.grid)


def test_what_nobody_foresaw_is_refused_by_its_kind(tmp_path: Path, labels: NDArray[np.uint8]) -> None:
    run = make_run(tmp_path, labels, axis_aligned("axial"))
    source = replace(run.source, images=run.source.images[:-1])
    with pytest.raises(UnusableSource, match="no valid result can be made"):
        rehearse(source, run.segmentation.label_volume.grid)


def test_every_form_that_is_wanted_is_rehearsed(tmp_path: Path, labels: NDArray[np.uint8]) -> None:
    run = make_run(tmp_path, labels, axis_aligned("axial"))
    grid, label_map = run.segmentation.label_volume.grid, ResultProfile(seg_form=SegForm.LABELMAP)
    rehearse(run.source, grid, [DEFAULT_PROFILE, label_map])
    impossible = replace(label_map, seg_series=0)  # no valid object has that number
    with pytest.raises(UnusableSource, match="no valid result can be made"):
        rehearse(run.source, grid, [DEFAULT_PROFILE, impossible])


def test_a_study_is_refused_before_the_networks_run(tmp_path: Path) -> None:
    images = make_small_study("shared", roles=["FLAIR"])
    images[1].SOPInstanceUID = images[0].SOPInstanceUID
    paths = write_slices(tmp_path, images)
    no_networks = cast("Any", None)  # asking them for anything would be another error
    with pytest.raises(UnusableSource, match="SOP Instance UIDs"):
        find_tumour(
            RunInMemory(
                processing=read_settings(environment={}).processing, model=no_networks, paths=paths, origin=PROVENANCE
            )
        )
