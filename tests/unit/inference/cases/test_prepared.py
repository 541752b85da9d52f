"""Prepared cases: what a network sees, made once, named by what it depends on, and never taken when damaged."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import ImageVolume
from inference.bias_field import without_bias_field
from inference.cases import prepared
from inference.cases.case import AnnotatedCase, CaseReference, CaseSet
from inference.cases.layouts import open_cases
from inference.cases.prepared import Preparation, PreparedCase, prepare, prepare_cases
from inference.errors import UnreadableCase
from inference.model_bundle import load_brain
from inference.preprocessing import normalise_intensity
from inference.regions import Region
from tests.support.case_sets import SHAPE, brats_labels, tissue, write_brats, write_lgg, write_msd, write_nifti
from tests.support.dicom_series import axis_aligned, mr_slices, write_slices
from tests.support.foreign_seg import ForeignSegment, foreign_seg
from tests.support.small_head import head_volume

CASE = "Brats18_CBICA_AAB_1"
LGG_CASE = "TCGA_CS_4941_19960909"
LABELS = {0: "background", 1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}
NATIVE = Preparation(spacing_mm=None)


@pytest.fixture
def brats(tmp_path: Path) -> CaseSet:
    write_brats(tmp_path / "set", CASE, keys=("t1", "t1ce", "t2"))
    return open_cases("brats", tmp_path / "set")


def _prepared(one: CaseSet, settings: Preparation, cache: Path) -> PreparedCase:
    (reference,) = prepare_cases([one], settings, cache).cases
    return reference.read()


def test_a_case_has_its_channels_in_order_normalised_and_cut_to_the_head(brats: CaseSet, tmp_path: Path) -> None:
    case = _prepared(brats, NATIVE, tmp_path / "cache")
    assert (case.case_id, case.patient, case.source, case.site) == (CASE, "BraTS_CBICA_AAB", "brats", "CBICA")
    assert (case.present, case.annotated) == ((True, True, True, False), (True, True, True))
    assert (case.images.dtype, case.images.shape) == (np.float16, (4, SHAPE[0], SHAPE[1] - 2, SHAPE[2] - 2))
    assert case.spacing_mm == (1.0, 1.0, 1.0)
    cut = np.s_[:, 1:-1, 1:-1]
    for channel in range(3):
        wanted = normalise_intensity(torch.from_numpy(tissue(channel, 60 + 40 * channel)))[cut].half().numpy()
        assert np.array_equal(case.images[channel], wanted)
    assert not case.images[3].any()
    labels = brats_labels()[cut]
    assert np.array_equal(case.regions, np.stack([labels > 0, (labels == 1) | (labels == 4), labels == 4]))
    assert not case.images.flags.writeable
    assert not case.regions.flags.writeable


def test_a_case_without_spacing_stays_on_its_pixels(tmp_path: Path) -> None:
    write_lgg(tmp_path / "set", LGG_CASE)
    case = _prepared(open_cases("lgg", tmp_path / "set"), Preparation(spacing_mm=3.0, cubes=True), tmp_path / "cache")
    assert case.spacing_mm is None
    assert case.images.shape[1] == SHAPE[0]
    assert (case.present, case.annotated) == ((True, True, False, True), (True, False, False))
    assert case.regions[0].sum() == 4 * SHAPE[0]


@pytest.mark.parametrize(
    ("settings", "spacing"),
    [
        (Preparation(spacing_mm=2.0), (3.0, 2.0, 2.0)),
        (Preparation(spacing_mm=2.0, cubes=True), (2.0, 2.0, 2.0)),
        (NATIVE, (3.0, 1.0, 1.5)),
    ],
)
def test_a_volume_is_resampled_and_its_regions_with_it(
    tmp_path: Path, settings: Preparation, spacing: tuple[float, float, float]
) -> None:
    """A sagittal head: the prepared stack is axial, and a body of it keeps its size and its place in the image."""
    case = _prepared(_head(spacing_mm=(1.5, 3.0, 1.0)), settings, tmp_path)
    assert case.spacing_mm == pytest.approx(spacing)
    volume_ml = case.regions[0].sum() * np.prod(spacing) / 1000
    assert volume_ml == pytest.approx(4 / 3 * np.pi * 7**3 / 1000, rel=0.15)
    inside, outside = case.images[3][case.regions[0]], case.images[3][~case.regions[0]]
    assert float(np.median(inside)) > float(np.percentile(outside, 99))


def _head(spacing_mm: tuple[float, float, float]) -> CaseSet:
    """Return a set of a sagittal head with its brightest ball annotated."""
    volume = head_volume("sagittal", spacing_mm)
    aligned = AlignedVolumes(reference=Role.FLAIR, volumes={Role.FLAIR: volume}, registrations={}, decisions=())
    regions = {Region.WT: volume.voxels == 300.0}

    def read() -> AnnotatedCase:
        return AnnotatedCase(case_id="head", patient="head", site="", volumes=aligned, regions=regions)

    reference = CaseReference(case_id="head", patient="head", site="", read=read)
    return CaseSet(source="dicom", cases=(reference,), skipped=())


def test_nothing_is_made_twice_and_any_change_is_another_file(brats: CaseSet, tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def path(settings: Preparation = NATIVE) -> Path:
        (reference,) = prepare_cases([brats], settings, cache).cases
        return reference.path

    first = path()
    made = first.stat().st_mtime_ns
    assert path() == first
    assert first.stat().st_mtime_ns == made
    others = [path(Preparation(spacing_mm=1.0)), path(Preparation(spacing_mm=None, n4=True))]
    write_nifti(tmp_path / "set" / CASE / f"{CASE}_t2.nii.gz", tissue(2, 190))
    assert len({first, *others, path()}) == 4
    assert set(cache.iterdir()) == {first, *others, path()}


def test_what_another_network_for_the_brain_cut_is_another_file(
    brats: CaseSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = prepare_cases([brats], NATIVE, tmp_path / "cache").cases
    shipped = load_brain(torch.device("cpu"))
    newer = replace(shipped, manifest=replace(shipped.manifest, weights_sha256="0" * 64))
    monkeypatch.setattr(prepared, "_brain_network", lambda: newer)
    (second,) = prepare_cases([brats], NATIVE, tmp_path / "cache").cases
    assert first.path != second.path


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied"])
def test_a_damaged_file_is_made_again(brats: CaseSet, tmp_path: Path, damage: str) -> None:
    (reference,) = prepare_cases([brats], NATIVE, tmp_path / "cache").cases
    whole = reference.path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    reference.path.write_bytes({"truncated": whole[:middle], "flipped": flipped, "emptied": b""}[damage])
    if damage != "flipped":
        with pytest.raises(UnreadableCase, match="prepare the cases again"):
            reference.read()
    assert prepare(brats.cases[0], "brats", NATIVE, tmp_path / "cache").path == reference.path
    assert reference.path.read_bytes() == whole
    assert os.listdir(tmp_path / "cache") == [reference.path.name]  # noqa: PTH208


@pytest.mark.usefixtures("brats")
def test_an_unusable_case_is_skipped_and_the_others_are_prepared(tmp_path: Path) -> None:
    write_brats(tmp_path / "set", "Brats18_CBICA_BAD_1", brats_labels(9))
    seen = []

    def progress(items: list[tuple[str, CaseReference]]) -> Iterable[tuple[str, CaseReference]]:
        for item in items:
            seen.append(item[1].case_id)
            yield item

    found = prepare_cases([open_cases("brats", tmp_path / "set")], NATIVE, tmp_path / "cache", progress)
    assert seen == [CASE, "Brats18_CBICA_BAD_1"]
    assert [case.case_id for case in found.cases] == [CASE]
    assert [(item.name, "label 9" in item.reason) for item in found.skipped] == [("Brats18_CBICA_BAD_1", True)]


def test_a_case_of_no_files_is_named_by_its_content(tmp_path: Path) -> None:
    first = prepare(_head((4.0, 4.0, 4.0)).cases[0], "dicom", NATIVE, tmp_path).path
    assert prepare(_head((4.0, 4.0, 4.0)).cases[0], "dicom", NATIVE, tmp_path).path == first
    assert prepare(_head((4.0, 4.0, 5.0)).cases[0], "dicom", NATIVE, tmp_path).path != first


def test_a_bias_field_is_taken_out() -> None:
    """A drift of three to one over a head of even tissue, of which less than a third may stay."""
    volume = head_volume("axial", (4.0, 4.0, 4.0))
    even = np.where(volume.voxels > 0, 100.0, 0.0) + np.where((volume.voxels > 150) & (volume.voxels < 250), 50.0, 0.0)
    drift = np.exp(np.linspace(-0.55, 0.55, even.shape[1]))[None, :, None]
    drifted = ImageVolume(grid=volume.grid, voxels=(even * drift).astype(np.float32))
    corrected = without_bias_field(drifted).voxels
    plain = even == 100.0
    before = np.std(np.log(drifted.voxels[plain]))
    assert np.std(np.log(corrected[plain])) < before / 3
    bright = even == 150.0
    assert np.median(corrected[bright]) / np.median(corrected[plain]) == pytest.approx(1.5, rel=0.1)
    grid = volume.grid.resampled((60.0, 4.0, 4.0))
    thin = ImageVolume(grid=grid, voxels=drifted.voxels[: grid.shape[0]])
    with pytest.raises(UnreadableCase, match="leave N4 out"):
        without_bias_field(thin)


def test_another_meaning_of_the_same_files_is_another_case(tmp_path: Path) -> None:
    """A description beside the images, and codes or rules for DICOM, decide as much as the images do."""
    write_msd(tmp_path / "msd", ["BRATS_001"], ("FLAIR", "T1w", "t1gd", "T2w"), LABELS)
    before = prepare(open_cases("msd", tmp_path / "msd").cases[0], "msd", NATIVE, tmp_path / "cache")
    description = tmp_path / "msd" / "dataset.json"
    description.write_text(description.read_text().replace("edema", "necrosis"))
    after = prepare(open_cases("msd", tmp_path / "msd").cases[0], "msd", NATIVE, tmp_path / "cache")
    assert before.read().regions[1].sum() < after.read().regions[1].sum()
    slices = mr_slices(np.ones((4, 8, 8), np.uint16), axis_aligned("axial"))
    seg = foreign_seg(
        slices, [ForeignSegment(label="A", mask=np.ones((4, 8, 8), bool), code=("1", "99X", "?"))], np.eye(4)
    )
    write_slices(tmp_path / "dicom", slices)
    seg.save_as(tmp_path / "dicom" / "seg", enforce_file_format=True)
    prints = {
        open_cases("dicom", tmp_path / "dicom", codes={("1", "99X"): region}).cases[0].fingerprint()  # type: ignore[attr-defined]
        for region in (Region.ED, Region.ET)
    }
    assert len(prints) == 2
