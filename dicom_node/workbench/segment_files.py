"""`glionode segment`: a DICOM folder, NIfTI volumes or an image slice in; masks, overlay picture and findings out."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from conversion.alignment import AlignedVolumes, align, already_aligned, labels_on
from conversion.decision import Decision
from conversion.errors import ConversionReason, UnusableStudy
from conversion.nifti import read_nifti, write_nifti
from conversion.reading import dicom_files
from conversion.recognition.site_rules import SiteRule
from conversion.sequences import Role
from conversion.stack import stack_slices
from conversion.volume import Grid, ImageVolume, LabelVolume
from dicom_node.models.roles import model_folder
from dicom_node.runs.in_memory import RunInMemory
from dicom_node.runs.pipeline import find_tumour
from dicom_node.runs.processing_hash import processing_sha256
from dicom_node.runs.segment import segment
from dicom_node.runs.step import Step
from dicom_node.settings import Settings
from dicom_node.workbench.overlay import write_overlay
from inference.flags import Flag
from inference.gate import admit
from inference.measurements import Findings
from inference.model_bundle import load_model
from inference.segmentation import Segmentation
from inference.segmenter import Segmenter
from viewer_integration.codes import SEGMENTS
from viewer_integration.provenance import RESEARCH_USE_ONLY, Provenance

__all__ = ["Wanted", "WorkbenchResult", "segment_dicom", "segment_nifti", "segment_slice"]


@dataclass(frozen=True, kw_only=True)
class WorkbenchResult:
    """The files written and the findings.

    Attributes
    ----------
    volumes_ml
        By region; None where the input has no voxel spacing.
    no_tumour
        A sentence stating that no tumour was found; empty where one was found.
    """

    files: tuple[Path, ...]
    sequences: tuple[str, ...]
    volumes_ml: Mapping[str, float | None]
    no_tumour: str
    flags: tuple[Flag, ...]
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted besides masks and findings.

    Attributes
    ----------
    native
        Whether the labels are also written on every sequence's own grid.
    images
        Whether the sequences are written on the grid of the result, for a viewer.
    entering
        Called with each step that begins.
    """

    native: bool = False
    images: bool = False
    entering: Callable[[Step], None] = lambda _step: None


PLAIN = Wanted()


def segment_dicom(
    folder: Path, out: Path, settings: Settings, *, rules: Sequence[SiteRule] = (), wanted: Wanted = PLAIN
) -> WorkbenchResult:
    """Segment one DICOM study and write SEG and SR beside the masks.

    Parameters
    ----------
    rules
        The site's rules for its series.

    Raises
    ------
    ConversionError, InferenceError, ResultError
        With a sentence that states why there is no result.
    """
    paths = dicom_files(folder)
    if not paths:
        raise UnusableStudy(ConversionReason.NO_IMAGES, f"{folder}: no files in this folder")
    origin = Provenance(
        ready_at=datetime.fromtimestamp(max(path.stat().st_mtime for path in paths), UTC),
        manifest_sha256=_sha256_of(paths),
        settings_sha256=processing_sha256(settings.processing, rules),
        software_version=version("glionode"),
        station=settings.node.ae_title,
    )
    model = _segmenter(settings)
    run = RunInMemory(processing=settings.processing, model=model, paths=paths, origin=origin, site_rules=rules)
    find_tumour(run, wanted.entering)
    findings = admit(run.findings)
    out.mkdir(parents=True, exist_ok=True)
    objects = []
    for result in run.results:
        path = out / f"{result.kind}.dcm"
        path.write_bytes(result.content)
        objects.append(path)
    if wanted.native:
        grids = {role: stack_slices(series).grid for role, series in run.selection().series.items()}
        objects += _write_native(run.kept.load_aligned(), run.kept.load_segmentation(), grids, out)
    if wanted.images:
        objects += _write_images(run.kept.load_aligned(), out)
    return _write(_work(run, findings, run.decisions), out, objects)


def segment_nifti(
    paths: Mapping[Role, Path], out: Path, settings: Settings, *, wanted: Wanted = PLAIN
) -> WorkbenchResult:
    """Segment NIfTI volumes of one person; volumes that share a grid are taken as already registered."""
    wanted.entering(Step.CONVERT)
    volumes = {role: read_nifti(path) for role, path in paths.items()}
    preferred = (Role(settings.processing.reference), Role.T1CE, Role.FLAIR)
    reference = next((role for role in preferred if role in volumes), None)
    if reference is None:
        raise UnusableStudy(ConversionReason.NO_REFERENCE, "give --t1ce or --flair; one of them is needed")
    wanted.entering(Step.ALIGN)
    aligned = already_aligned(volumes, reference) or align(volumes, reference)
    run = _run_of(aligned, settings)
    wanted.entering(Step.SEGMENT)
    segment(run)
    findings = admit(run.findings)
    grids = {role: volume.grid for role, volume in volumes.items()} if wanted.native else {}
    more = _write_native(aligned, run.kept.load_segmentation(), grids, out)
    more += _write_images(aligned, out) if wanted.images else []
    return _write(_work(run, findings, (*aligned.decisions, *run.decisions)), out, more)


def segment_slice(
    paths: Mapping[Role, Path], out: Path, settings: Settings, *, wanted: Wanted = PLAIN
) -> WorkbenchResult:
    """Segment one axial slice from PNG, JPEG or TIFF files, one for each sequence.

    A grey image is taken as its sequence. A colour image with differing channels, if it is the only one, is taken as
    T1, FLAIR and T1 after contrast in red, green and blue (the layout of the public LGG set). An image file has no
    voxel spacing, so 1 mm is assumed for the network and no volume is stated.
    """
    wanted.entering(Step.CONVERT)
    aligned = _read_slice(paths)
    run = _run_of(aligned, settings, spacing_known=False)
    wanted.entering(Step.SEGMENT)
    segment(run)
    findings = admit(run.findings)
    reason = "an image slice has no voxel spacing: 1 mm was assumed for the network, and no volume is given"
    subject = ", ".join(path.name for path in paths.values())
    decisions = (Decision(code="no_spacing", subject=subject, reason=reason), *run.decisions)
    return _write(_work(run, findings, decisions), out, _write_images(aligned, out) if wanted.images else [])


def _run_of(aligned: AlignedVolumes, settings: Settings, *, spacing_known: bool = True) -> RunInMemory:
    """Return a run of volumes that are already on one grid; nothing is known about the patient."""
    model = _segmenter(settings)
    run = RunInMemory(processing=settings.processing, model=model, spacing_known=spacing_known)
    run.kept.save_aligned(aligned)
    return run


def _write_native(
    aligned: AlignedVolumes, segmentation: Segmentation, grids: Mapping[Role, Grid], out: Path
) -> list[Path]:
    """Write the labels on the native grid of every sequence that was used, in its scanner coordinates."""
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for role in aligned.volumes.keys() & grids.keys():
        registration = aligned.registrations.get(role)
        matrix = registration.matrix if registration else None
        labels = labels_on(segmentation.label_volume, grids[role], matrix)
        files.append(out / f"segmentation_on_{role.lower()}.nii.gz")
        write_nifti(labels, files[-1])
    return sorted(files)


def _sha256_of(paths: Sequence[Path]) -> str:
    """Return one hash over the contents of all files, independent of their order."""
    each = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return hashlib.sha256("\n".join(each).encode()).hexdigest()


def _segmenter(settings: Settings) -> Segmenter:
    processing = settings.processing
    return Segmenter(load_model(model_folder(settings), processing.device, processing.threads))


def _read_slice(paths: Mapping[Role, Path]) -> AlignedVolumes:
    channels: dict[Role, NDArray[np.float32]] = {}
    for role, path in paths.items():
        channels |= _read_image(path, role, alone=len(paths) == 1)
    shapes = {channel.shape for channel in channels.values()}
    if len(shapes) > 1:
        sizes = ", ".join(f"{columns} x {rows}" for rows, columns in sorted(shapes))
        sentence = f"the images differ in size ({sizes}); images of one slice with the same size are needed"
        raise UnusableStudy(ConversionReason.UNREADABLE_PIXELS, sentence)
    ((rows, columns),) = shapes
    axial = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    grid = Grid(shape=(1, rows, columns), affine=axial, frame_of_reference_uid="picture")
    volumes = {r: ImageVolume(grid=grid, voxels=c[np.newaxis]) for r, c in channels.items()}
    reference = next((role for role in (Role.T1CE, Role.FLAIR) if role in volumes), next(iter(volumes)))
    return AlignedVolumes(reference=reference, volumes=volumes, registrations={}, decisions=())


def _read_image(path: Path, role: Role, *, alone: bool) -> dict[Role, NDArray[np.float32]]:
    """Return the sequences of one image file, each of shape (row, column)."""
    _refuse_incomplete(path)
    try:
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float32)
    except RuntimeError as error:
        sentence = f"{path.name}: not a readable PNG, JPEG or TIFF image"
        raise UnusableStudy(ConversionReason.UNREADABLE_PIXELS, sentence) from error
    colour = pixels.ndim == 3 and pixels.shape[-1] in (3, 4)
    if not colour and pixels.ndim != 2:
        sentence = f"{path.name}: a single two-dimensional image is needed"
        raise UnusableStudy(ConversionReason.UNREADABLE_PIXELS, sentence)
    if not colour or np.array_equal(pixels[..., 0], pixels[..., 1]):
        return {role: pixels[..., 0] if colour else pixels}
    if not alone:
        sentence = f"{path.name}: a colour image contains several sequences; send it alone, or send grey images"
        raise UnusableStudy(ConversionReason.UNREADABLE_PIXELS, sentence)
    channels = {Role.T1: pixels[..., 0], Role.FLAIR: pixels[..., 1], Role.T1CE: pixels[..., 2]}
    return {r: c for r, c in channels.items() if r is Role.FLAIR or not np.array_equal(c, pixels[..., 1])}


def _refuse_incomplete(path: Path) -> None:
    """Refuse an image that was cut off, of which SimpleITK reads the rest as grey, or one of a billion pixels."""
    try:
        with Image.open(path) as image:
            image.load()
    except UnidentifiedImageError:
        return  # of a form that SimpleITK alone may know
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        sentence = f"{path.name}: the image is damaged, was cut off, or is too large; send it again"
        raise UnusableStudy(ConversionReason.UNREADABLE_PIXELS, sentence) from error


def _write_images(aligned: AlignedVolumes, out: Path) -> list[Path]:
    """Write the sequences on the grid of the result."""
    files = []
    for role, volume in aligned.volumes.items():
        files.append(out / f"image_{role.lower()}.nii.gz")
        write_nifti(volume, files[-1])
    return sorted(files)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Work:
    """The results to write, for any kind of input."""

    image: ImageVolume
    segmentation: Segmentation
    findings: Findings
    decisions: tuple[Decision, ...]
    spacing_known: bool = True


def _work(run: RunInMemory, findings: Findings, decisions: tuple[Decision, ...]) -> _Work:
    aligned = run.kept.load_aligned()
    return _Work(
        image=aligned.volumes[aligned.reference],
        segmentation=run.kept.load_segmentation(),
        findings=findings,
        decisions=decisions,
        spacing_known=run.spacing_known,
    )


def _write(work: _Work, out: Path, objects: list[Path]) -> WorkbenchResult:
    out.mkdir(parents=True, exist_ok=True)
    labels = work.segmentation.label_volume
    files = [*objects, out / "segmentation.nii.gz", out / "overlay.png", out / "findings.json"]
    write_nifti(labels, out / "segmentation.nii.gz")
    if work.segmentation.brain is not None:
        files.append(out / "brain.nii.gz")
        write_nifti(LabelVolume(grid=labels.grid, labels=work.segmentation.brain.astype(np.uint8)), files[-1])
    for kind, maps in (
        ("probability", work.segmentation.probabilities),
        ("uncertainty", work.segmentation.uncertainty),
    ):
        for region, values in maps.items():
            files.append(out / f"{kind}_{region.lower()}.nii.gz")
            write_nifti(ImageVolume(grid=labels.grid, voxels=values.astype(np.float32)), files[-1])
    write_overlay(work.image, labels, out / "overlay.png")
    content = _findings_json(work)
    (out / "findings.json").write_text(json.dumps(content, indent=1))
    return WorkbenchResult(
        files=tuple(files),
        sequences=work.segmentation.sequences,
        flags=work.findings.flags,
        volumes_ml={region: values["volume_ml"] for region, values in content["regions"].items()},
        no_tumour=work.findings.no_tumour,
        decisions=work.decisions,
    )


def _findings_json(work: _Work) -> dict[str, Any]:
    known = work.spacing_known
    return {
        "notice": RESEARCH_USE_ONLY,
        "model": asdict(work.segmentation.model),
        "sequences": work.segmentation.sequences,
        "regions": {
            finding.region: {
                "voxels": finding.voxels,
                "volume_ml": round(finding.volume_ml, 3) if known else None,
                "interval_ml": [round(end, 3) for end in finding.interval_ml] if finding.interval_ml else None,
                "centroid_lps_mm": finding.centroid_mm if known else None,
            }
            for finding in work.findings.regions
        },
        "labels": {str(int(label)): {"name": one.name, "rgb": one.rgb} for label, one in SEGMENTS.items()},
        "present": [int(label) for label in np.unique(work.segmentation.label_volume.labels) if label],
        "result": "no tumour found" if work.findings.no_tumour else "tumour found",
        "no_tumour": work.findings.no_tumour,
        "quality": asdict(work.segmentation.quality),
        "flags": [{"code": flag.code, "sentence": flag.sentence} for flag in work.findings.flags],
        "decisions": [asdict(decision) for decision in work.decisions],
    }
