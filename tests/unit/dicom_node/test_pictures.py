"""What the panel shows of a run: true in space, without a result that is withheld, and served to a login alone."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from conversion.nifti import read_nifti
from conversion.registration.quality import Registration
from conversion.sequences import Role
from dicom_node.database.engine import Database
from dicom_node.database.states import DeliveryState, RunState
from dicom_node.database.tables import DecisionRow, DeliveryRow, ResultRow, RunRow
from dicom_node.runs.artifacts import Artifacts
from dicom_node.runs.pictures import PROBABILITY_SCALE, keep_pictures
from dicom_node.studies.run_folder import RunFolder
from inference.flags import FlagCode
from inference.regions import Region
from tests.support.held_pictures import hold_pictures, save_drawn_arrays
from tests.support.held_study import hold_run
from tests.support.panel_client import logged_in


@pytest.fixture
def kept(tmp_path: Path) -> Artifacts:
    artifacts = Artifacts(tmp_path, "run")
    save_drawn_arrays(artifacts)
    return artifacts


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[httpx.Client]:
    with logged_in(database, tmp_path) as opened:
        yield opened


def test_pictures_lie_where_the_arrays_lay(kept: Artifacts) -> None:
    keep_pictures(kept, kept.folder, withheld=False)
    aligned, segmentation = kept.load_aligned(), kept.load_segmentation()
    pictures = RunFolder(kept.folder.parents[1], "run").pictures
    for role, volume in aligned.volumes.items():
        shown = read_nifti(pictures / f"image_{role.lower()}.nii.gz")
        assert np.allclose(shown.grid.affine, volume.grid.affine, atol=1e-4)
        assert (shown.voxels.min(), shown.voxels.max()) == (0, 255)
        assert np.corrcoef(shown.voxels.ravel(), volume.voxels.ravel())[0, 1] > 0.95
    labels = read_nifti(pictures / "segmentation.nii.gz")
    assert np.array_equal(labels.voxels, segmentation.label_volume.labels)
    assert np.allclose(labels.grid.affine, aligned.grid.affine, atol=1e-4)
    heat = read_nifti(pictures / "probability_wt.nii.gz").voxels / PROBABILITY_SCALE
    assert (
        np.abs(heat - segmentation.probabilities[Region.WT].astype(np.float32)).max() <= 0.5 / PROBABILITY_SCALE + 1e-3
    )
    document = json.loads((pictures / "pictures.json").read_text())
    whole = np.argwhere(segmentation.label_volume.labels > 0).mean(axis=0)
    assert np.allclose(document["regions"]["WT"]["centroid_lps_mm"], aligned.grid.position_mm(whole[np.newaxis])[0])
    assert document["present"] == [2, 3]
    with Image.open(pictures / "key_images.png") as key_images:
        assert key_images.size[0] > 100
    assert sum(path.stat().st_size for path in pictures.iterdir()) < 400_000


def test_a_withheld_result_is_not_shown(kept: Artifacts) -> None:
    keep_pictures(kept, kept.folder, withheld=True)
    pictures = RunFolder(kept.folder.parents[1], "run").pictures
    assert {path.name for path in pictures.iterdir()} == {"image_t1ce.nii.gz", "image_flair.nii.gz", "pictures.json"}
    document = json.loads((pictures / "pictures.json").read_text())
    assert (document["present"], document["regions"]["WT"]["centroid_lps_mm"]) == ([], None)


def test_a_repeated_step_replaces_all_pictures(kept: Artifacts) -> None:
    keep_pictures(kept, kept.folder, withheld=False)
    keep_pictures(kept, kept.folder, withheld=True)
    assert not (RunFolder(kept.folder.parents[1], "run").pictures / "segmentation.nii.gz").exists()


def test_pictures_are_served_by_their_names_alone(client: httpx.Client, database: Database, tmp_path: Path) -> None:
    hold_run(database, RunState.DELIVERED)
    hold_pictures(tmp_path, "run")
    answer = client.get("/studies/abc/pictures/segmentation.nii.gz")
    assert answer.status_code == 200
    assert answer.content[:2] == b"\x1f\x8b"
    assert answer.headers["cache-control"] == "no-store"
    for name in ("findings.json", "..%2Ffindings.json", "..%2F..%2F..%2Fglionode.db", "absent.png"):
        assert client.get(f"/studies/abc/pictures/{name}").status_code == 404, name
    assert client.get("/studies/other/pictures/segmentation.nii.gz").status_code == 404
    client.post("/logout")
    assert client.get("/studies/abc/pictures/segmentation.nii.gz").headers["location"] == "/login"


def test_the_page_shows_warnings_volumes_pictures_and_proof(
    client: httpx.Client, database: Database, tmp_path: Path
) -> None:
    hold_run(database, RunState.DELIVERED)
    hold_pictures(tmp_path, "run")
    with database.session() as session:
        run = session.get_one(RunRow, "run")
        run.summary = {"volumes_ml": {"WT": 41.26, "ET": 7.0}, "intervals_ml": {"WT": [30.0, 55.5]}}
        session.add(
            DecisionRow(run_id="run", ordinal=1, code=FlagCode.LOW_AGREEMENT, subject="result", reason="they differ")
        )
        facts = {"run_id": "run", "study_uid": "1.2", "series_uid": "1.3", "sop_class_uid": "1.4"}
        session.add(ResultRow(sop_instance_uid="1.5", kind="SEG", path="x", sha256="0", **facts))
        session.flush()
        session.add(
            DeliveryRow(
                run_id="run",
                sop_instance_uid="1.5",
                destination="archive",
                state=DeliveryState.ACCEPTED,
                proof="commitment",
            )
        )
    page = client.get("/studies/abc").text
    assert "<li>They differ.</li>" in page
    assert "41.3 ml" in page
    assert "30.0 to 55.5 ml" in page
    assert 'src="/studies/abc/pictures/key_images.png"' in page
    assert 'data-files="image_flair.nii.gz,image_t1ce.nii.gz,key_images.png,pictures.json' in page
    rows = page[page.index("Results sent") :]
    assert all(word in rows for word in ("SEG", "archive", "accepted", "commitment"))
    with database.session() as session:
        session.get_one(RunRow, "run").summary = {"volumes_ml": {"WT": 41.26}, "withheld": "low_agreement"}
    assert "41.3 ml" not in client.get("/studies/abc").text


def test_the_page_shows_how_sequences_were_aligned(client: httpx.Client, database: Database, tmp_path: Path) -> None:
    hold_run(database, RunState.DELIVERED)
    kept = Artifacts(tmp_path, "run")
    save_drawn_arrays(kept)
    aligned = kept.load_aligned()
    move = Registration(
        matrix=np.eye(4),
        metric_before=-0.2,
        metric_after=-0.5,
        move_mm=3.26,
        rotation_deg=1.04,
        overlap=0.983,
        sharpness=0.5,
        inverse_consistency_mm=0.21,
        shared_frame=True,
        attempts=1,
    )
    kept.save_aligned(replace(aligned, registrations={Role.FLAIR: move}))
    with database.session() as session:
        session.get_one(RunRow, "run").summary = {"reference": "T1CE"}
    page = client.get("/studies/abc").text
    shown = page[page.index("<h2>Registration</h2>") :]
    for text in ("FLAIR to T1CE", "3.3 mm", "1.0°", "98 %", "0.2 mm"):
        assert text in shown


def test_a_study_without_pictures_has_a_page(client: httpx.Client, database: Database) -> None:
    hold_run(database, RunState.FAILED)
    page = client.get("/studies/abc")
    assert page.status_code == 200
    assert "Images</h2>" not in page.text
    assert "Registration</h2>" not in page.text
