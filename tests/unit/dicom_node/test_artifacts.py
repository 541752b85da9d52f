"""What a step leaves for the next comes back as it was."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from conversion.alignment import AlignedVolumes
from conversion.decision import Decision, Evidence
from conversion.recognition.site_rules import SiteRule
from conversion.registration.register import Registration
from conversion.selection import SeriesSelection
from conversion.sequences import Role
from conversion.study import Acquisition, PatientFacts, Series, SeriesUID, Study, StudyUID
from conversion.volume import Grid, ImageVolume, LabelVolume
from dicom_node.runs.artifacts import Artifacts
from inference.flags import Flag, FlagCode
from inference.regions import Region
from inference.segmentation import ModelIdentity, Quality, Segmentation

RNG = np.random.default_rng(7)
DECISION = Decision(
    code="role",
    subject="series 3",
    reason="said by a header: Ä",
    series_uid="1.3",
    evidence=(
        Evidence(source="timing", kind="T1", weight=6.0, says="TR 550 ms"),
        Evidence(source="enhancement", kind="T1CE", weight=-1 / 3, says="darker than before"),
    ),
)


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path, "run-1")


def _volume(shape: tuple[int, int, int], frame: str = "1.2.3") -> ImageVolume:
    affine = np.array([[0, 0, 0.9, -10.5], [0, 1.1, 0, 7.25], [4.4, 0, 0, 1e-7], [0, 0, 0, 1]])
    grid = Grid(shape=shape, affine=affine, frame_of_reference_uid=frame)
    return ImageVolume(grid=grid, voxels=RNG.normal(size=shape).astype(np.float32))


def _assert_equal_volumes(found: Mapping[Role, ImageVolume], wanted: Mapping[Role, ImageVolume]) -> None:
    assert list(found) == list(wanted)
    for role, volume in wanted.items():
        assert_array_equal(found[role].voxels, volume.voxels)
        assert_array_equal(found[role].grid.affine, volume.grid.affine)
        assert found[role].grid.frame_of_reference_uid == volume.grid.frame_of_reference_uid


def _series(number: int) -> Series:
    return Series(
        series_uid=SeriesUID(f"1.{number}"),
        number=number,
        sop_class_uid="1.2",
        frame_of_reference_uid="1.3",
        acquisition=Acquisition(),
        images=(),
    )


def test_a_selection_comes_back_over_the_headers_of_the_study(artifacts: Artifacts) -> None:
    study = Study(study_uid=StudyUID("1.9"), series=(_series(1), _series(2), _series(3)), decisions=())
    wanted = SeriesSelection(
        study_uid=study.study_uid,
        series={Role.FLAIR: study.series[2], Role.T1CE: study.series[0]},
        reference=Role.T1CE,
        decisions=(DECISION,),
    )
    artifacts.save_selection(wanted)
    assert artifacts.load_selection(study) == wanted


def test_volumes_come_back_each_on_its_own_grid(artifacts: Artifacts) -> None:
    wanted = {Role.T2: _volume((2, 3, 4)), Role.FLAIR: _volume((5, 4, 3), frame="2.25.7")}
    artifacts.save_volumes(wanted)
    _assert_equal_volumes(artifacts.load_volumes(), wanted)


def test_aligned_volumes_come_back_with_their_moves(artifacts: Artifacts) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = [0.1, -2.0, 1 / 3]
    move = Registration(
        matrix=matrix,
        metric_before=-0.1,
        metric_after=-0.7,
        move_mm=2.1,
        rotation_deg=0.0,
        overlap=0.9,
        sharpness=0.5,
        inverse_consistency_mm=0.4,
        shared_frame=True,
        attempts=1,
    )
    wanted = AlignedVolumes(
        reference=Role.T1CE,
        volumes={Role.T1CE: _volume((2, 3, 4)), Role.T1: _volume((2, 3, 4))},
        registrations={Role.T1: move},
        decisions=(DECISION,),
    )
    artifacts.save_aligned(wanted)
    found = artifacts.load_aligned()
    assert (found.reference, found.decisions) == (wanted.reference, wanted.decisions)
    _assert_equal_volumes(found.volumes, wanted.volumes)
    assert_array_equal(found.registrations[Role.T1].matrix, matrix)
    assert asdict(found.registrations[Role.T1]) | {"matrix": 0} == asdict(move) | {"matrix": 0}


def test_a_segmentation_comes_back(artifacts: Artifacts) -> None:
    image = _volume((2, 3, 4))
    probabilities = {region: RNG.random(image.grid.shape).astype(np.float16) for region in (Region.WT, Region.TC)}
    wanted = Segmentation(
        label_volume=LabelVolume(grid=image.grid, labels=RNG.integers(0, 4, image.grid.shape, np.uint8)),
        regions=(Region.NCR, Region.WT),
        probabilities=probabilities,
        model=ModelIdentity(name="model", version="1", sha256="0" * 64),
        sequences=("T1CE", "FLAIR"),
        decisions=(DECISION,),
        uncertainty={region: values / 4 for region, values in probabilities.items()},
        quality=Quality(
            looks=6,
            agreement={Region.WT: 0.9},
            interval_ml={Region.WT: (1.5, 2.5), Region.TC: (0.0, 1.0)},
            novelty=0.7,
            smallest_seen_ml=0.5,
            arithmetic="float32 on cpu",
        ),
        flags=(Flag(code=FlagCode.LOW_AGREEMENT, sentence="they differ", closes=True),),
    )
    artifacts.save_segmentation(wanted)
    found = artifacts.load_segmentation()
    assert_array_equal(found.label_volume.labels, wanted.label_volume.labels)
    assert found.label_volume.grid.equals(image.grid)
    assert list(found.probabilities) == list(probabilities)
    for region, values in probabilities.items():
        assert_array_equal(found.probabilities[region], values)
        assert found.probabilities[region].dtype == np.float16
    assert_array_equal(found.uncertainty[Region.TC], wanted.uncertainty[Region.TC])
    for name in ("regions", "model", "sequences", "decisions", "quality", "flags"):
        assert getattr(found, name) == getattr(wanted, name)


def test_what_is_known_of_the_patient_comes_back(artifacts: Artifacts) -> None:
    facts = PatientFacts(age_years=41.5, operated="postop")
    artifacts.save_patient(facts)
    assert artifacts.load_patient() == facts


def test_a_manifest_comes_back_and_can_be_replaced(artifacts: Artifacts) -> None:
    artifacts.save_manifest([{"path": "old"}], {})
    artifacts.save_manifest([{"path": "new"}, {"path": "newer"}], {})
    assert artifacts.load_manifest() == [{"path": "new"}, {"path": "newer"}]


def test_finished_runs_keep_the_small_files_as_evidence(artifacts: Artifacts, tmp_path: Path) -> None:
    artifacts.save_manifest([], {})
    artifacts.save_volumes({Role.T2: _volume((2, 3, 4))})
    artifacts.clear_arrays()
    artifacts.clear_arrays()
    assert sorted(path.name for path in (tmp_path / "work" / "run-1").iterdir()) == ["manifest.json", "volumes.json"]


def test_runs_do_not_share_files(artifacts: Artifacts, tmp_path: Path) -> None:
    artifacts.save_manifest([{"path": "one"}], {})
    other = Artifacts(tmp_path, "run-2")
    with pytest.raises(FileNotFoundError):
        other.load_manifest()


def test_rules_are_those_that_recognition_was_given(artifacts: Artifacts) -> None:
    rules = (SiteRule(name="Ä", kind="T2", description="t2 *"), SiteRule(name="b", kind="DWI", technique="ep_b?"))
    artifacts.save_rules(rules)
    assert artifacts.load_rules() == rules
    artifacts.save_rules(())
    assert artifacts.load_rules() == ()
