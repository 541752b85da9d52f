"""What a person sent is found out by content: volumes, pictures or a study, or a sentence that states what works."""

import gzip
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from conversion.nifti import read_nifti, write_nifti
from conversion.reading import dicom_files
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from dicom_node.workbench.archive import UnpackLimits
from dicom_node.workbench.job_input import DicomInput, GivenFiles, SliceInput, VolumeInput, read_input
from dicom_node.workbench.jobs import UploadedFile
from dicom_node.workbench.unusable_upload import UnusableUpload
from tests.support.dicom_series import axis_aligned
from tests.support.small_study import SLICES, make_small_study

_LIMITS = UnpackLimits(files=100, total_bytes=1 << 20, edge=600)
_SHAPE = (3, 8, 7)
_TEXT = b"Dear colleague, please find attached what is not attached."


class _Upload:
    """Stores files as the node does, under names without a suffix, and reads them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "input"
        self._folder.mkdir()
        self._work = folder / "work"
        self._files: list[UploadedFile] = []

    def add(self, name: str, content: bytes, role: str = "", folder: str = "") -> "_Upload":
        stored = f"{len(self._files):05d}"
        (self._folder / stored).write_bytes(content)
        self._files.append(UploadedFile(stored=stored, name=name, role=role, folder=folder))
        return self

    def given(self, limits: UnpackLimits = _LIMITS) -> GivenFiles:
        return read_input(self._folder, self._files, self._work, limits)

    def read(self, limits: UnpackLimits = _LIMITS) -> DicomInput | VolumeInput | SliceInput:
        return self.given(limits).images

    def volumes(self) -> Mapping[Role, Path]:
        given = self.read()
        assert isinstance(given, VolumeInput)
        return given.paths

    def slices(self) -> Mapping[Role, Path]:
        given = self.read()
        assert isinstance(given, SliceInput)
        return given.paths

    def study(self) -> list[Path]:
        given = self.read()
        assert isinstance(given, DicomInput)
        return dicom_files(given.folder)

    def refusal(self, limits: UnpackLimits = _LIMITS) -> str:
        with pytest.raises(UnusableUpload) as refused:
            self.read(limits)
        return str(refused.value)


@pytest.fixture
def upload(tmp_path: Path) -> _Upload:
    return _Upload(tmp_path)


@pytest.fixture
def nifti(tmp_path: Path) -> bytes:
    """Return a small volume of noise, which gzip cannot make much smaller."""
    grid = Grid(shape=_SHAPE, affine=axis_aligned("axial"), frame_of_reference_uid="NIfTI")
    voxels = np.random.default_rng(1).normal(size=_SHAPE).astype(np.float32)
    write_nifti(ImageVolume(grid=grid, voxels=voxels), tmp_path / "volume.nii.gz")
    return (tmp_path / "volume.nii.gz").read_bytes()


def _picture(kind: str) -> bytes:
    file = BytesIO()
    Image.fromarray(np.arange(72, dtype=np.uint8).reshape(8, 9)).save(file, format=kind)
    return file.getvalue()


def _zip(files: Mapping[str, bytes]) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def _file_of(ds: Dataset) -> bytes:
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _bare(ds: Dataset, *, implicit: bool) -> bytes:
    """Return a data set alone, without preamble and file meta."""
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    file, bare = BytesIO(), Dataset(ds)
    bare.save_as(file, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    return file.getvalue()


@pytest.mark.parametrize("packed", [True, False])
def test_a_volume_is_read_whatever_it_is_called(upload: _Upload, nifti: bytes, packed: bool) -> None:  # noqa: FBT001
    paths = upload.add("scan1.gz.txt", nifti if packed else gzip.decompress(nifti)).volumes()
    assert list(paths) == [Role.FLAIR]
    assert read_nifti(paths[Role.FLAIR]).voxels.shape == _SHAPE


def test_a_single_volume_is_what_its_name_tells(upload: _Upload, nifti: bytes) -> None:
    assert list(upload.add("t1_mprage_km.nii.gz", nifti).volumes()) == [Role.T1CE]


def test_volumes_are_told_apart_by_field_and_by_name(upload: _Upload, nifti: bytes) -> None:
    other = gzip.compress(gzip.decompress(nifti) + b"\0")
    upload.add("flair.nii.gz", nifti, role="T2").add("case1-t2f.nii.gz", other).add("scan.nii.gz", nifti, role="T1CE")
    paths = upload.volumes()
    assert set(paths) == {Role.T2, Role.FLAIR, Role.T1CE}
    assert paths[Role.FLAIR].read_bytes() == gzip.decompress(other)
    assert paths[Role.T2].read_bytes() == gzip.decompress(nifti)


def test_volumes_of_one_name_do_not_overwrite_each_other(upload: _Upload, nifti: bytes) -> None:
    paths = upload.add("a.nii.gz", nifti, role="T1").add("a.nii.gz", nifti, role="T2").volumes()
    assert all(read_nifti(paths[role]).voxels.shape == _SHAPE for role in (Role.T1, Role.T2))


@pytest.mark.parametrize("name", ["..", "a/../../b", "\0", "脳" * 300 + "𠀀" * 100, "𠀀" * 255, "x" * 255, ""])
def test_no_name_leads_elsewhere_or_is_too_long(upload: _Upload, nifti: bytes, tmp_path: Path, name: str) -> None:
    (path,) = upload.add(name, nifti).volumes().values()
    assert path.resolve().is_relative_to(tmp_path / "work")
    assert read_nifti(path).voxels.shape == _SHAPE


def test_volumes_come_out_of_an_archive_with_what_else_is_in_it_left_aside(upload: _Upload, nifti: bytes) -> None:
    content = _zip({"case/case_t1c.nii.gz": nifti, "case/case_t2w.nii.gz": nifti, "case/README.txt": _TEXT})
    paths = upload.add("case.zip", content).volumes()
    assert set(paths) == {Role.T1CE, Role.T2}
    assert read_nifti(paths[Role.T2]).voxels.shape == _SHAPE


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_picture_is_read_whatever_it_is_called(upload: _Upload, kind: str) -> None:
    paths = upload.add("export", _picture(kind)).slices()
    assert list(paths) == [Role.FLAIR]
    assert sitk.ReadImage(str(paths[Role.FLAIR])).GetSize() == (9, 8)


def test_pictures_of_several_forms_are_one_kind(upload: _Upload) -> None:
    upload.add("T1_GD.png", _picture("PNG")).add("t2_tse.jpg", _picture("JPEG")).add("1.tif", _picture("TIFF"), "T1")
    assert set(upload.slices()) == {Role.T1CE, Role.T2, Role.T1}


def test_a_study_comes_out_of_an_archive_whole(upload: _Upload) -> None:
    images = make_small_study("sent", roles=["T1CE", "FLAIR"])
    files = {f"S{k // SLICES}/IM{k % SLICES}": _file_of(ds) for k, ds in enumerate(images)}
    paths = upload.add("study.zip", _zip(files | {"README": _TEXT, "DICOMDIR": _file_of(images[0])})).study()
    assert [path.read_bytes() for path in paths] == list(files.values())


def test_loose_files_of_a_study_are_gathered_with_and_without_preamble(upload: _Upload) -> None:
    first, second, third = make_small_study("sent", roles=["FLAIR"])[:3]
    upload.add("IM0", _file_of(first)).add("IM0", _bare(second, implicit=True))
    paths = upload.add("IM0.png", _bare(third, implicit=False)).study()
    found = [dcmread(path, force=True).SOPInstanceUID for path in paths]
    assert found == [first.SOPInstanceUID, second.SOPInstanceUID, third.SOPInstanceUID]


def test_a_dicom_file_whose_preamble_is_that_of_another_format_is_dicom(upload: _Upload) -> None:
    content = _file_of(make_small_study("sent", roles=["FLAIR"])[0])
    assert len(upload.add("both.tif", b"II*\0".ljust(128, b"\0") + content[128:]).study()) == 1


def test_a_mix_of_kinds_is_refused_by_what_they_are(upload: _Upload, nifti: bytes) -> None:
    image = make_small_study("sent", roles=["FLAIR"])[0]
    upload.add("t1.nii.gz", nifti).add("t2.png", _picture("PNG")).add("study.zip", _zip({"IM0": _file_of(image)}))
    assert upload.refusal() == "The files are of several kinds (DICOM, NIfTI, image); send one kind at a time."


@pytest.mark.parametrize("content", [_TEXT, b"", gzip.compress(_TEXT), _zip({"letter.txt": _TEXT}), _TEXT * 9])
def test_what_is_nothing_of_all_that_is_refused_with_what_works(upload: _Upload, content: bytes) -> None:
    sentence = upload.add("letter.txt", content).refusal()
    assert sentence.startswith("letter.txt: neither DICOM, NIfTI nor an image.")
    assert all(kind in sentence for kind in ("DICOM study", "ZIP", ".nii.gz", "PNG, JPEG or TIFF"))


def test_of_many_useless_files_three_are_named(upload: _Upload) -> None:
    for k in range(5):
        upload.add(f"{k}.txt", _TEXT)
    assert upload.refusal().startswith("0.txt, 1.txt, 2.txt and 2 more: neither")


def test_an_empty_archive_is_refused(upload: _Upload) -> None:
    assert upload.add("empty.zip", _zip({})).refusal().startswith("The upload: neither DICOM")


def test_two_files_of_one_sequence_are_refused(upload: _Upload, nifti: bytes) -> None:
    upload.add("flair.nii.gz", nifti).add("scan.nii.gz", nifti, role="FLAIR")
    assert upload.refusal() == "Two files are given as FLAIR; choose another sequence for one of them."


def test_of_several_volumes_each_has_to_tell_its_sequence(upload: _Upload, nifti: bytes) -> None:
    sentence = upload.add("flair.nii.gz", nifti).add("scan1.nii.gz", nifti).refusal()
    assert sentence.startswith("scan1.nii.gz: the name does not tell which sequence it is. Choose T1, T1CE, T2 or FLA")


@pytest.mark.parametrize("cut", [1, 5, 15, 100, 0.7, 0.95, -5, -1])
def test_a_volume_that_broke_off_is_refused_wherever_that_was(upload: _Upload, nifti: bytes, cut: float) -> None:
    end = int(cut * len(nifti)) if 0 < cut < 1 else int(cut)
    assert upload.add("flair.nii.gz", nifti[:end]).refusal().startswith("flair.nii.gz: ")


def test_a_packed_volume_with_a_damaged_byte_is_refused(upload: _Upload, nifti: bytes) -> None:
    content = bytearray(nifti)
    content[len(content) // 2] ^= 0xFF
    assert upload.add("flair.nii.gz", bytes(content)).refusal().startswith("flair.nii.gz: ")


def test_damage_at_the_beginning_of_a_packed_volume_is_no_crash(upload: _Upload, nifti: bytes) -> None:
    content = nifti[:10] + b"\xff" * 20 + nifti[30:]
    assert upload.add("flair.nii.gz", content).refusal().startswith("flair.nii.gz: ")


def test_a_packed_volume_counts_as_what_it_unpacks_to(upload: _Upload, nifti: bytes) -> None:
    bomb = gzip.compress(gzip.decompress(nifti) + bytes(_LIMITS.total_bytes))
    assert "more data than is allowed" in upload.add("flair.nii.gz", bomb).refusal()


def test_packed_volumes_share_the_limit(upload: _Upload, nifti: bytes) -> None:
    size = len(gzip.decompress(nifti))
    upload.add("flair.nii.gz", nifti).add("t2.nii.gz", nifti)
    assert "more data than is allowed" in upload.refusal(UnpackLimits(files=9, total_bytes=2 * size - 1, edge=600))


@pytest.mark.parametrize(("files", "spare", "told"), [(2, -1, "more data than is allowed"), (1, 0, "at most 0 are")])
def test_archives_share_the_limits(upload: _Upload, files: int, spare: int, told: str) -> None:
    content = _file_of(make_small_study("sent", roles=["FLAIR"])[0])
    upload.add("1.zip", _zip({"IM0": content})).add("2.zip", _zip({"IM0": content}))
    assert told in upload.refusal(UnpackLimits(files=files, total_bytes=2 * len(content) + spare, edge=600))


def test_a_hostile_archive_is_refused_with_its_own_sentence(upload: _Upload) -> None:
    assert "leads out of its folder" in upload.add("a.zip", _zip({"../../a.nii": b"x"})).refusal()


def test_a_ground_truth_is_told_by_its_field_or_its_name(upload: _Upload, nifti: bytes) -> None:
    named = upload.add("case_flair.nii.gz", nifti).add("case_seg.nii.gz", nifti).given()
    assert named.truth is not None
    assert (named.truth.name, named.truth.path.suffix) == ("case_seg.nii.gz", ".nii")
    assert isinstance(named.images, VolumeInput)
    assert list(named.images.paths) == [Role.FLAIR]


def test_a_ground_truth_may_be_of_another_kind_than_the_images(upload: _Upload, nifti: bytes) -> None:
    content = _file_of(make_small_study("sent", roles=["FLAIR"])[0])
    given = upload.add("IM0", content).add("mine.nii.gz", nifti, role="truth").given()
    assert given.truth is not None
    assert given.truth.path.read_bytes() == gzip.decompress(nifti)
    assert isinstance(given.images, DicomInput)
    assert len(dicom_files(given.images.folder)) == 1


def test_a_packed_ground_truth_is_one_still(upload: _Upload, nifti: bytes) -> None:
    upload.add("flair.nii.gz", nifti).add("mine.zip", _zip({"outlines.nii.gz": nifti}), role="truth")
    truth = upload.given().truth
    assert truth is not None
    assert truth.name == "outlines.nii.gz"


def test_a_volume_alone_is_no_ground_truth_whatever_its_name(upload: _Upload, nifti: bytes) -> None:
    given = upload.add("masked_by_mask.nii.gz", nifti).given()
    assert given.truth is None
    assert isinstance(given.images, VolumeInput)


def test_of_two_ground_truths_one_is_asked_for(upload: _Upload, nifti: bytes) -> None:
    upload.add("flair.nii", nifti).add("a.nii", nifti, role="truth").add("b.nii", nifti, role="truth")
    assert upload.refusal() == "Two files are given as ground truth; send one of them."


def test_a_ground_truth_that_is_a_letter_is_refused(upload: _Upload, nifti: bytes) -> None:
    upload.add("flair.nii.gz", nifti).add("letter.txt", _TEXT, role="truth")
    assert upload.refusal() == "letter.txt: not a ground truth. Send a NIfTI label map, a DICOM SEG or an image."


def test_folders_in_an_archive_tell_what_names_do_not(upload: _Upload, nifti: bytes) -> None:
    files = {"case/flair/img.nii.gz": nifti, "case/T1ce/img.nii.gz": nifti, "case/flair/t2.nii.gz": nifti}
    paths = upload.add("case.zip", _zip(files)).volumes()
    assert set(paths) == {Role.FLAIR, Role.T1CE, Role.T2}
    assert all(read_nifti(path).voxels.shape == _SHAPE for path in paths.values())


def test_folders_of_loose_files_tell_what_names_do_not(upload: _Upload) -> None:
    upload.add("1.png", _picture("PNG"), folder="case/T1").add("1.png", _picture("PNG"), folder="../../T2w")
    assert set(upload.slices()) == {Role.T1, Role.T2}


def test_two_files_of_one_folder_are_refused_as_of_one_sequence(upload: _Upload, nifti: bytes) -> None:
    upload.add("case.zip", _zip({"flair/1.nii.gz": nifti, "flair/2.nii.gz": nifti}))
    assert upload.refusal() == "Two files are given as FLAIR; choose another sequence for one of them."


def test_a_folder_that_names_several_sequences_tells_none(upload: _Upload, nifti: bytes) -> None:
    upload.add("case.zip", _zip({"t1_t2/1.nii.gz": nifti, "t1_t2/flair.nii.gz": nifti}))
    assert upload.refusal().startswith("1.nii.gz: the name does not tell which sequence it is.")


def test_an_edge_longer_than_the_limit_is_refused_by_the_header(upload: _Upload) -> None:
    image = BytesIO()
    Image.new("L", (601, 4)).save(image, "PNG")
    expected = "long.png: has 601 x 4 voxels; 600 along an edge are the most that the node takes (workbench.edge)."
    assert upload.add("long.png", image.getvalue(), role="FLAIR").refusal() == expected


def test_a_ground_truth_has_the_same_limit(upload: _Upload, nifti: bytes) -> None:
    image = BytesIO()
    Image.new("L", (4, 601)).save(image, "PNG")
    upload.add("flair.nii.gz", nifti).add("long.png", image.getvalue(), role="truth")
    assert upload.refusal().startswith("long.png: has 4 x 601 voxels; 600 along an edge")
