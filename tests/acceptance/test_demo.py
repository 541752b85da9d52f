"""`glionode demo` from an empty folder, and then the link it printed, served and opened."""

import json
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

from dicom_node.peers.registry import put_peer
from dicom_node.phantom.phantom import DEMO_PLAN, make_phantom
from dicom_node.phantom.scanner import series_affine
from inference.regions import Region
from tests.support.browser import chromium, open_study, overlay_pixels
from tests.support.node import SENDER, Node
from tests.support.seg_reading import seg_labels
from viewer_integration.codes import SEGMENTS


def _dice_of_the_whole_tumour(seg: Path) -> float:
    """Compare a SEG with the tumour that was implanted, voxel by voxel on the grid of the T1 after contrast."""
    series = next(series for series in DEMO_PLAN.series if series.role == "T1CE")
    affine, shape = series_affine(DEMO_PLAN, series), (series.slices, series.rows, series.columns)
    truth = make_phantom(DEMO_PLAN).labels_at(affine, shape) > 0
    found = seg_labels(pydicom.dcmread(seg), affine, shape) > 0
    return 2 * float((truth & found).sum()) / float(truth.sum() + found.sum())


@pytest.mark.browser
@pytest.mark.timeout(900)
def test_demo_prints_what_came_back_and_its_link_opens_the_overlay(tmp_path: Path) -> None:
    node = Node(tmp_path, {"GLIONODE_PROCESSING_MODEL": "glioma"})
    command = [sys.executable, "-m", "dicom_node.cli", "demo", "--json"]
    done = subprocess.run(
        command, env=node.environment, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert set(shown["sequences"]) == {"T1", "T1CE", "T2", "FLAIR"}
    assert set(shown["volumes_ml"]) == set(Region)
    assert shown["volumes_ml"]["WT"] == pytest.approx(shown["implanted_ml"]["WT"], rel=0.5)
    assert sorted(shown["files"]) == ["SEG", "SR"]
    assert all(Path(path).is_file() for path in shown["files"].values())
    assert _dice_of_the_whole_tumour(Path(shown["files"]["SEG"])) >= 0.7

    put_peer(node.database, SENDER)  # the node is asked under this title whether it is up
    try:
        node.start()
        node.wait_for_page(shown["link"])
        with chromium() as browser:
            page = open_study(browser, shown["link"], segments=3)
            for concept in list(SEGMENTS.values())[:3]:
                assert overlay_pixels(page, concept.rgb) > 20, concept.name
    finally:
        node.stop()
        node.database.engine.dispose()
