"""The segmenter: the same anatomy gives the same mask in the patient, however its slices are stored."""

import hashlib
import math
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn
from torch.overrides import TorchFunctionMode

import inference
from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from inference.atlas_axes import atlas_axes, load_atlas
from inference.brain_region import find_brain
from inference.errors import InferenceReason, UnsuitableInput
from inference.manifest import NetworkManifest, read_manifest, write_manifest
from inference.measurements import measure
from inference.model_bundle import LoadedNetwork, load_model
from inference.regions import Label, Region
from inference.resampling import working_grid
from inference.segmentation import Segmentation
from inference.segmenter import Segmenter, _channel
from inference.study_tensors import StudyTensors
from inference.unet import TumourUNet
from tests.support.detector_model import SHIFT_ROWS, write_detector
from tests.support.dicom_series import axis_aligned
from tests.support.phantom_volumes import phantom_volume
from tests.support.strategies import directions

CENTRE_MM = np.array([7.0, -6.0, 4.0])
"""Middle of the tumour: left, front, head."""

RADIUS_MM = {Role.FLAIR: 11.0, Role.T1CE: 8.5, Role.T1: 6.0}
"""Where each sequence is bright: WT, TC and ET as the detector sees them."""

EXTENT_MM = 60.0
ALL = (Role.T1, Role.T1CE, Role.T2, Role.FLAIR)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return Segmenter(load_model(str(write_detector(tmp_path_factory.mktemp("detector"))), "cpu", threads=1))


def _grid(linear: NDArray[np.float64]) -> Grid:
    """Return a grid of `EXTENT_MM` around the origin; `linear` holds direction times spacing of each axis."""
    affine = np.eye(4)
    affine[:3, :3] = linear
    shape = np.ceil(EXTENT_MM / np.linalg.norm(linear, axis=0)).astype(int)
    affine[:3, 3] = -linear @ ((shape - 1) / 2)
    return Grid(shape=(int(shape[0]), int(shape[1]), int(shape[2])), affine=affine, frame_of_reference_uid="1.2.3")


def _points(grid: Grid) -> NDArray[np.float64]:
    index = np.stack(np.meshgrid(*(np.arange(float(n)) for n in grid.shape), indexing="ij"), axis=-1)
    return grid.position_mm(index)


def _sphere(points: NDArray[np.float64], radius_mm: float, centre_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.linalg.norm(points - centre_mm, axis=-1) < radius_mm)


def _anatomy(grid: Grid, role: Role, extra: Mapping[Role, NDArray[np.float64]] | None = None) -> ImageVolume:
    """Return a long cylinder of even tissue with the role's bright sphere; `extra` are centres of specks of 3 mm."""
    points = _points(grid)
    brightness = np.where(np.hypot(points[..., 0], points[..., 1]) < 24, 100.0, 0.0)
    if role in RADIUS_MM:
        brightness[_sphere(points, RADIUS_MM[role], CENTRE_MM)] = 320.0
    for centre in [] if extra is None or role not in extra else [extra[role]]:
        brightness[_sphere(points, 3.0, centre)] = 320.0
    return ImageVolume(grid=grid, voxels=brightness.astype(np.float32))


def _aligned(
    grid: Grid, roles: tuple[Role, ...] = ALL, extra: Mapping[Role, NDArray[np.float64]] | None = None
) -> AlignedVolumes:
    reference = Role.T1CE if Role.T1CE in roles else roles[-1]
    volumes = {role: _anatomy(grid, role, extra) for role in roles}
    return AlignedVolumes(reference=reference, volumes=volumes, registrations={}, decisions=())


def _tensors(aligned: AlignedVolumes) -> StudyTensors:
    return StudyTensors.of(aligned, torch.device("cpu"))


def _axial() -> Grid:
    return _grid(axis_aligned("axial", (2.0, 1.0, 1.0))[:3, :3])


def _backwards(grid: Grid) -> NDArray[np.float64]:
    """Return the direction of the grid that runs closest to the patient's back: where the detector moves its answer."""
    best = int(np.argmax(np.abs(grid.directions[1])))
    direction = grid.directions[:, best]
    return np.asarray(direction * np.sign(direction[1]))


def _dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second)))


def _check_against_truth(segmentation: Segmentation) -> None:
    grid = segmentation.label_volume.grid
    centre = CENTRE_MM + SHIFT_ROWS * _backwards(grid)
    findings = measure(segmentation)
    for region, role in ((Region.WT, Role.FLAIR), (Region.TC, Role.T1CE), (Region.ET, Role.T1)):
        truth = _sphere(_points(grid), RADIUS_MM[role], centre)
        assert _dice(segmentation.probabilities[region] >= 0.5, truth) > 0.9
        found = findings.of(region)
        assert found.centroid_mm is not None
        assert np.linalg.norm(np.array(found.centroid_mm) - centre) < 0.5
        assert found.volume_ml == pytest.approx(np.count_nonzero(truth) * grid.voxel_volume_ml, rel=0.2)


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize("spacing_mm", [(2.0, 1.0, 1.0), (1.0, 1.5, 0.75)])
def test_the_same_anatomy_is_found_in_every_plane(
    segmenter: Segmenter, plane: str, spacing_mm: tuple[float, float, float]
) -> None:
    grid = _grid(axis_aligned(plane, spacing_mm)[:3, :3])
    segmentation = segmenter.segment(_aligned(grid))
    assert segmentation.label_volume.grid is grid
    _check_against_truth(segmentation)


@given(directions(tilt_deg=18.0))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_the_same_anatomy_is_found_in_any_orientation(segmenter: Segmenter, matrix: NDArray[np.float64]) -> None:
    _check_against_truth(segmenter.segment(_aligned(_grid(matrix * [1.6, 1.2, 1.0]))))


def test_the_shipped_model_sees_the_same_head_in_every_plane() -> None:
    """Its probabilities are compared voxel by voxel in the patient, so that weights of any quality serve."""
    shipped = Segmenter(load_model("glioma", "cpu", threads=1))
    axial = shipped.segment(_aligned(_axial()))
    for linear in (_axial().affine[:3, [2, 0, 1]] * [-1, 1, -1], _axial().affine[:3, [1, 0, 2]] * [1, -1, 1]):
        grid = _grid(linear)
        other = shipped.segment(_aligned(grid))
        index = np.round((_points(_axial()) - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T).astype(int)
        for region, values in axial.probabilities.items():
            same = other.probabilities[region][tuple(np.moveaxis(index, -1, 0))]
            assert np.abs(same.astype(float) - values.astype(float)).max() < 0.02
        assert np.ptp(axial.probabilities[Region.WT].astype(float)) > 0.01


def test_regions_and_labels_agree_with_the_probabilities(segmenter: Segmenter) -> None:
    segmentation = segmenter.segment(_aligned(_axial()))
    wt, tc, et = (segmentation.probabilities[region] >= 0.5 for region in (Region.WT, Region.TC, Region.ET))
    expected = np.select([wt & et, wt & tc, wt], [Label.ET, Label.NCR, Label.ED], Label.BACKGROUND)
    assert np.array_equal(segmentation.label_volume.labels, expected)
    assert segmentation.regions == (Region.NCR, Region.ED, Region.ET, Region.WT, Region.TC)
    assert segmentation.sequences == ("T1", "T1CE", "T2", "FLAIR")
    assert segmentation.decisions == ()
    assert segmentation.model == segmenter.model.identity


def test_probabilities_are_half_precision_on_the_native_grid_and_read_only(segmenter: Segmenter) -> None:
    segmentation = segmenter.segment(_aligned(_axial()))
    for values in segmentation.probabilities.values():
        assert values.dtype == np.float16
        assert values.shape == _axial().shape
        with pytest.raises(ValueError, match="read-only"):
            values[0, 0, 0] = 1.0


def test_without_contrast_only_the_whole_tumour_is_told_and_that_is_said(segmenter: Segmenter) -> None:
    segmentation = segmenter.segment(_aligned(_axial(), (Role.T1, Role.FLAIR)))
    assert segmentation.regions == (Region.WT,)
    assert set(segmentation.probabilities) == {Region.WT}
    assert set(np.unique(segmentation.label_volume.labels)) == {Label.BACKGROUND, Label.WHOLE_TUMOUR}
    assert segmentation.sequences == ("T1", "FLAIR")
    decided = [(decision.code, decision.subject) for decision in segmentation.decisions]
    assert decided == [("missing_sequence", "T1CE"), ("missing_sequence", "T2"), ("whole_tumour_only", "regions")]


def test_a_missing_sequence_is_an_empty_channel_of_its_own(segmenter: Segmenter) -> None:
    segmentation = segmenter.segment(_aligned(_axial(), (Role.T1CE, Role.FLAIR)))
    findings = measure(segmentation)
    assert findings.of(Region.TC).volume_ml > 0.5
    assert findings.of(Region.WT).volume_ml > findings.of(Region.TC).volume_ml
    assert findings.of(Region.ET).voxels == 0
    assert findings.of(Region.NCR).voxels == findings.of(Region.TC).voxels
    assert [decision.subject for decision in segmentation.decisions] == ["T1", "T2"]


def test_the_channel_of_a_missing_sequence_is_zero_everywhere() -> None:
    aligned = _aligned(_axial(), (Role.T1CE, Role.FLAIR))
    assert not _channel(_tensors(aligned), "T2", _axial(), None).any()
    assert _channel(_tensors(aligned), "FLAIR", _axial(), None).max() > 2.0


def test_nothing_outside_the_brain_is_shown_to_networks_for_brains() -> None:
    """Not even to the normalisation: the level of the brain's tissue is not that of the scalp."""
    aligned = _aligned(_axial(), (Role.FLAIR,))
    bright = aligned.volumes[Role.FLAIR].voxels.copy()
    bright[:, :, 40:] *= 10
    shown = torch.zeros(_axial().shape, dtype=torch.bool)
    shown[:, :, :40] = True
    halved = replace(aligned, volumes={Role.FLAIR: ImageVolume(grid=_axial(), voxels=bright)})
    found = _channel(_tensors(halved), "FLAIR", _axial(), shown)
    expected = _channel(_tensors(aligned), "FLAIR", _axial(), shown)
    assert not found[~shown].any()
    assert torch.equal(found, expected)


def test_neither_contrast_nor_flair_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(UnsuitableInput, match="T1CE, FLAIR") as caught:
        segmenter.segment(_aligned(_axial(), (Role.T1, Role.T2)))
    assert caught.value.reason is InferenceReason.SEQUENCES_MISSING


def test_a_sequence_that_a_model_needs_is_refused_when_missing(tmp_path: Path) -> None:
    segmenter = Segmenter(load_model(str(write_detector(tmp_path, needs=["T1", "FLAIR"])), "cpu", threads=1))
    with pytest.raises(UnsuitableInput, match=r"the study lacks sequences that .* needs: T1$") as caught:
        segmenter.segment(_aligned(_axial(), (Role.T1CE, Role.FLAIR)))
    assert caught.value.reason is InferenceReason.SEQUENCES_MISSING


def test_a_series_without_signal_is_refused_and_named(segmenter: Segmenter) -> None:
    aligned = _aligned(_axial(), (Role.FLAIR,))
    empty = ImageVolume(grid=_axial(), voxels=np.zeros(_axial().shape, np.float32))
    dark = AlignedVolumes(
        reference=Role.FLAIR, volumes={**aligned.volumes, Role.T2: empty}, registrations={}, decisions=()
    )
    with pytest.raises(UnsuitableInput, match="T2 series") as caught:
        segmenter.segment(dark)
    assert caught.value.reason is InferenceReason.EMPTY_VOLUME


@pytest.mark.parametrize(
    ("limits", "lesions"),
    [
        ({"minimum_lesion_ml": 0.3, "minimum_share": 0.0}, 1),
        ({"minimum_lesion_ml": 0.0, "minimum_share": 0.1}, 1),
        ({"minimum_lesion_ml": 0.05, "minimum_share": 0.005}, 2),
        ({"minimum_lesion_ml": 0.0, "minimum_share": 0.0}, 2),
    ],
)
def test_specks_below_the_smallest_lesion_are_left_out_and_that_is_said(
    tmp_path: Path, limits: dict[str, Any], lesions: int
) -> None:
    segmenter = Segmenter(load_model(str(write_detector(tmp_path, **limits)), "cpu", threads=1))
    speck = np.array([-12.0, 8.0, -19.0])
    segmentation = segmenter.segment(_aligned(_axial(), extra={Role.FLAIR: speck}))
    near_speck = _sphere(_points(_axial()), 6.0, speck)
    assert bool(segmentation.label_volume.labels[near_speck].any()) == (lesions == 2)
    assert bool(segmentation.label_volume.labels[~near_speck].any())
    assert [decision.code for decision in segmentation.decisions] == ["islands"] * (2 - lesions)


def test_what_is_left_out_of_the_answer_is_nothing_that_a_prediction_shows(tmp_path: Path) -> None:
    """Each prediction marks the 5.6 ml that are an island here; that all together show nothing is no disagreement."""
    said = {"minimum_lesion_ml": 10.0, "interval_factors": {"WT": [-1.0, 1.0]}}
    found = Segmenter(load_model(str(write_detector(tmp_path, **said)), "cpu", threads=1)).segment(_aligned(_axial()))
    assert not found.label_volume.labels.any()
    assert [decision.code for decision in found.decisions] == ["islands"]
    assert found.quality.looks == 2
    assert set(found.quality.agreement.values()) == {1.0}
    assert found.quality.interval_ml == {}
    assert found.flags == ()


@pytest.mark.parametrize(
    ("thresholds", "emptied"),
    [([1.1, 0.5, 0.5], set(Region)), ([0.5, 1.1, 0.5], {Region.NCR}), ([0.5, 0.5, 1.1], {Region.ET})],
)
def test_each_threshold_belongs_to_its_region(tmp_path: Path, thresholds: list[float], emptied: set[Region]) -> None:
    segmenter = Segmenter(load_model(str(write_detector(tmp_path, thresholds=thresholds)), "cpu", threads=1))
    findings = measure(segmenter.segment(_aligned(_axial())))
    assert {finding.region for finding in findings.regions if finding.voxels == 0} == emptied


@pytest.mark.parametrize(
    ("linear_mm", "spacing_mm"),
    [((5.0, 0.5, 0.5), (5.0, 1.0, 1.0)), ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0)), ((1.0, 2.0, 2.0), (1.0, 1.0, 1.0))],
    ids=["thick slices stay", "fine voxels are binned", "coarse pixels are refined"],
)
def test_the_working_grid_is_axial_and_never_thinner_than_acquired(
    linear_mm: tuple[float, float, float], spacing_mm: tuple[float, float, float]
) -> None:
    grid = working_grid(_grid(axis_aligned("axial", linear_mm)[:3, :3]), 1.0)
    assert np.allclose(grid.spacing_mm, spacing_mm)
    assert np.allclose(grid.directions, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])


def test_a_model_for_an_atlas_is_shown_the_axes_of_the_atlas(two_kinds: Segmenter) -> None:
    """How these lie in a head is `test_atlas_axes`'s; the answer comes back to where the head lies."""
    head = phantom_volume("FLAIR")
    aligned = AlignedVolumes(reference=Role.FLAIR, volumes={Role.FLAIR: head}, registrations={}, decisions=())
    manifest = replace(two_kinds.model.manifest, space="atlas")
    model = Segmenter(replace(two_kinds.model, manifest=manifest, networks=two_kinds.model.networks[-1:]))
    brain = find_brain(model.model.brain, _tensors(aligned))
    assert brain is not None
    axes = atlas_axes(load_atlas(), head)
    assert axes is not None
    assert not np.allclose(axes, np.eye(3), atol=1e-3)
    seen = model._input(model.model, _tensors(aligned), brain, aligned, spacing_known=True)
    assert seen.atlas_axes
    assert np.allclose(seen.grid.directions, axes[:, ::-1])
    found = model.segment(aligned)
    assert found.label_volume.grid is head.grid
    assert "native_axes" not in [decision.code for decision in found.decisions]
    assert float(np.median(found.probabilities[Region.WT][brain.tight.numpy()])) == pytest.approx(0.9, abs=0.01)


def test_without_a_whole_head_a_model_for_an_atlas_gets_the_axes_of_the_reference(tmp_path: Path) -> None:
    segmenter = Segmenter(load_model(str(write_detector(tmp_path, space="atlas")), "cpu", threads=1))
    segmentation = segmenter.segment(_aligned(_axial()))
    _check_against_truth(segmentation)
    assert [decision.code for decision in segmentation.decisions] == ["native_axes"]


@pytest.mark.parametrize("plane", ["sagittal", "coronal"])
def test_the_working_grid_of_another_plane_is_turned_to_axial(plane: str) -> None:
    grid = working_grid(_grid(axis_aligned(plane, (3.0, 1.5, 1.0))[:3, :3]), 1.0)
    assert np.allclose(grid.spacing_mm, [1.5, 1.0, 1.0])
    assert np.allclose(grid.directions, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])


@pytest.fixture(scope="module")
def two_kinds(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """Return a model: two networks over slices say 0.2 and 0.4 everywhere, and one over volumes says 0.9."""
    folder = tmp_path_factory.mktemp("two kinds")
    networks = []
    for name, dimensions, answer in (("first", 2, 0.2), ("second", 2, 0.4), ("volume", 3, 0.9)):
        settings_ = {"dimensions": dimensions, "filters": [3, 3, 3]}
        weights = {key: torch.zeros_like(value) for key, value in TumourUNet(**settings_).state_dict().items()}
        weights["body.output_block.conv.conv.bias"] += math.log(answer / (1 - answer))
        content = save({key: value.clone() for key, value in weights.items()})
        (folder / f"{name}.safetensors").write_bytes(content)
        networks.append(
            NetworkManifest(
                name=name,
                input="volume" if dimensions == 3 else "slices",
                architecture="tumour-unet",
                settings=settings_,
                context=0,
                spacing_mm=2.0,
                weights=f"{name}.safetensors",
                weights_sha256=hashlib.sha256(content).hexdigest(),
            )
        )
    manifest = replace(read_manifest(str(write_detector(folder / "detector")))[1], networks=tuple(networks))
    write_manifest(folder, manifest)
    return Segmenter(load_model(str(folder), "cpu", threads=1))


@pytest.mark.parametrize(
    ("shape", "spacing_known", "answer"),
    [((12, 30, 30), True, 0.9), ((12, 30, 30), False, 0.3), ((1, 30, 30), True, 0.3), ((1, 30, 30), False, 0.3)],
)
def test_the_input_decides_which_networks_answer_and_an_ensemble_is_averaged(
    two_kinds: Segmenter,
    shape: tuple[int, int, int],
    spacing_known: bool,  # noqa: FBT001 - a table
    answer: float,
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * [5.0, 2.0, 2.0]
    grid = Grid(shape=shape, affine=affine, frame_of_reference_uid="1.2.3")
    volume = ImageVolume(grid=grid, voxels=np.random.default_rng(1).uniform(50, 100, shape).astype(np.float32))
    aligned = AlignedVolumes(reference=Role.FLAIR, volumes={Role.FLAIR: volume}, registrations={}, decisions=())
    found = two_kinds.segment(aligned, spacing_known=spacing_known).probabilities[Region.WT]
    assert found.shape == shape
    assert float(np.median(found)) == pytest.approx(answer, abs=0.01)


class _Recorder(nn.Module):
    """Keeps how much it was shown, and finds nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.seen_ml: list[float] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits of three regions that say no."""
        middle = images[:, 3]
        self.seen_ml.append(float((middle > 0.2).sum()) / 1000)
        return torch.full((len(images), 3, *images.shape[-2:]), -20.0)


@pytest.mark.parametrize(("spacing_known", "least_ml", "most_ml"), [(True, 700.0, 2300.0), (False, 2800.0, 5000.0)])
def test_networks_for_volumes_are_shown_the_brain_alone(
    two_kinds: Segmenter,
    spacing_known: bool,  # noqa: FBT001 - a table
    least_ml: float,
    most_ml: float,
) -> None:
    """Slices are shown the whole head, volumes the brain that is found in it."""
    head = phantom_volume("FLAIR")
    network = TumourUNet(dimensions=2, context=0, filters=[2, 2, 2]).eval()
    network.body = _Recorder()
    network.register_parameter("place", nn.Parameter())
    told = {"spacing_mm": 1.0, "views": 3} if spacing_known else {"input": "slices", "spacing_mm": 1.0}
    manifest = replace(two_kinds.model.networks[-1].manifest, **told)
    one = LoadedNetwork(manifest=manifest, module=network)
    model = Segmenter(replace(two_kinds.model, networks=(one,)))
    aligned = AlignedVolumes(reference=Role.FLAIR, volumes={Role.FLAIR: head}, registrations={}, decisions=())
    found = model.segment(aligned, spacing_known=spacing_known)
    predictions = 3 if spacing_known else 2
    assert found.quality.looks == predictions
    assert found.quality.arithmetic in ("bfloat16 on cpu", "float32 on cpu")
    voxel_ml = 1.0 if spacing_known else head.grid.voxel_volume_ml * 1000
    assert least_ml < sum(network.body.seen_ml) * voxel_ml / predictions < most_ml


def test_a_study_in_which_no_brain_is_found_is_as_strange_as_can_be(segmenter: Segmenter) -> None:
    blind = TumourUNet(**segmenter.model.brain.manifest.settings).eval()
    for tensor in blind.parameters():
        nn.init.zeros_(tensor)
    blind.body.output_block.conv.conv.bias.data -= 9.0  # says no everywhere
    brainless = Segmenter(replace(segmenter.model, brain=replace(segmenter.model.brain, module=blind)))
    aligned = AlignedVolumes(
        reference=Role.FLAIR, volumes={Role.FLAIR: phantom_volume("FLAIR")}, registrations={}, decisions=()
    )
    found = brainless.segment(aligned)
    assert found.brain is None
    assert [(flag.code, flag.closes) for flag in found.flags if flag.closes] == [("not_a_brain", True)]
    assert brainless.novelty(aligned) == math.inf
    seen = segmenter.segment(aligned)
    assert seen.brain is not None
    assert "not_a_brain" not in [flag.code for flag in seen.flags]


ROOM = Path(inference.__file__).parent


class _Departures(TorchFunctionMode):
    """Notes who takes more than a few numbers of a tensor to where NumPy and Python can see them."""

    FEW = 16

    def __init__(self) -> None:
        super().__init__()
        self.by: set[str] = set()

    def __torch_function__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Note the function of ours that asks, and go on."""
        leaves = getattr(function, "__name__", "") in ("cpu", "numpy", "__array__", "tolist")
        if leaves and args[0].numel() > self.FEW:
            functions = [frame for frame in traceback.extract_stack() if not frame.name.startswith("<")]
            ours = [frame.name for frame in functions if Path(frame.filename).is_relative_to(ROOM)]
            self.by.add(ours[-1])
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["slices", "volume"])
def test_nothing_leaves_the_device_before_there_are_labels(
    segmenter: Segmenter, two_kinds: Segmenter, kind: str
) -> None:
    """Whatever is made on the way is made there too: what did not name its device would have no values here."""
    model = segmenter if kind == "slices" else two_kinds
    volumes = {Role(name): phantom_volume(name) for name in ("T1CE", "FLAIR")}
    aligned = AlignedVolumes(reference=Role.FLAIR, volumes=volumes, registrations={}, decisions=())
    expected = model.segment(aligned)
    with torch.device("meta"), _Departures() as departures:
        found = model.segment(aligned)
    assert found.quality.input == kind
    assert found.brain is not None
    assert departures.by == {"_segment", "_halves"}
    assert np.array_equal(found.label_volume.labels, expected.label_volume.labels)
