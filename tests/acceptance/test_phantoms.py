"""The whole line on three phantoms that no training saw: roles, Dice and volumes against what was implanted.

They take minutes without a GPU, so `make phantoms` runs them; `make test` tries the phantom of the demonstration.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from conversion.reading import dicom_files
from dicom_node.phantom.phantom import TEST_PLANS, PhantomPlan, make_phantom, write_study
from dicom_node.runs.in_memory import RunInMemory
from dicom_node.runs.pipeline import find_tumour
from dicom_node.settings import read_settings
from inference.model_bundle import load_model
from inference.regions import REGION_LABELS, Region
from inference.segmenter import Segmenter
from viewer_integration.provenance import Provenance

PROVENANCE = Provenance(
    ready_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    manifest_sha256="0" * 64,
    settings_sha256="0" * 64,
    software_version="test",
    station="TEST",
)


pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(load_model("glioma", "cpu"))


@pytest.mark.parametrize("plan", TEST_PLANS, ids=lambda plan: f"seed-{plan.seed}")
def test_phantom_is_recognised_and_its_tumour_found(
    plan: PhantomPlan, segmenter: Segmenter, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    phantom = make_phantom(plan)
    write_study(phantom, tmp_path)
    paths = dicom_files(tmp_path)
    run = RunInMemory(
        processing=read_settings(environment={}).processing, model=segmenter, paths=paths, origin=PROVENANCE
    )
    find_tumour(run)
    segmentation = run.kept.load_segmentation()
    numbers = {series.role: series.number for series in plan.series}
    assert {str(role): series.number for role, series in run.selection().series.items()} == numbers

    grid = segmentation.label_volume.grid
    truth = phantom.labels_at(grid.affine, grid.shape)
    found = segmentation.label_volume.labels
    dice = {}
    for region in (Region.WT, Region.TC, Region.ET):
        true_mask, mask = np.isin(truth, list(REGION_LABELS[region])), np.isin(found, list(REGION_LABELS[region]))
        dice[region] = 2 * float((true_mask & mask).sum()) / float(true_mask.sum() + mask.sum())
        record_property(f"dice {region}", round(dice[region], 3))
        volumes = (run.findings.of(region).volume_ml, phantom.true_volume_ml[region])
        record_property(f"volume {region} ml (found, implanted)", tuple(round(volume, 2) for volume in volumes))
        report = f"{region}: Dice {dice[region]:.3f}, {volumes[0]:.1f} ml found, {volumes[1]:.1f} ml implanted"
        sys.stdout.write(f"phantom {plan.seed} {report}\n")
    assert dice[Region.WT] >= 0.7
