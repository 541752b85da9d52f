"""`glionode segment`: a DICOM folder, NIfTI volumes or an image slice in; masks, overlay picture and findings out."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from conversion.alignment import AlignedVolumes, align, already_aligned
from conversion.decision import Decision
from conversion.errors import ConversionReason, UnusableStudy
from conversion.nifti import read_nifti
from conversion.reading import dicom_files
from conversion.recognition.site_rules import SiteRule
from conversion.sequences import Role
from conversion.stack import stack_slices
from conversion.volume import Grid
from dicom_node.models.roles import model_folder
from dicom_node.runs.in_memory import RunInMemory
from dicom_node.runs.pipeline import find_tumour
from dicom_node.runs.processing_hash import processing_sha256
from dicom_node.runs.segment import segment
from dicom_node.runs.step import Step
from dicom_node.settings import Settings
from dicom_node.workbench.ground_truth import TruthFile
from dicom_node.workbench.image_slice import read_slice
from dicom_node.workbench.result_files import FoundResult, WorkbenchResult, write_images, write_native, write_result
from inference.gate import admit
from inference.model_bundle import load_model
from inference.segmenter import Segmenter
from viewer_integration.provenance import Provenance

__all__ = ["Wanted", "segment_dicom", "segment_nifti", "segment_slice"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted besides masks and findings.

    Attributes
    ----------
    native
        Whether the labels are also written on every sequence's own grid.
    images
        Whether the sequences are written on the grid of the result, for a viewer.
    truth
        What a person outlined, to be compared with the result.
    entering
        Called with each step that begins.
    """

    native: bool = False
    images: bool = False
    truth: TruthFile | None = None
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
    grids = {role: stack_slices(series).grid for role, series in run.selection().series.items()}
    done = _write(run, run.decisions, grids, out, wanted)
    objects = []
    for result in run.results:
        objects.append(out / f"{result.kind}.dcm")
        objects[-1].write_bytes(result.content)
    return replace(done, files=(*objects, *done.files))


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
    grids = {role: volume.grid for role, volume in volumes.items()}
    return _write(run, (*aligned.decisions, *run.decisions), grids, out, wanted)


def segment_slice(
    paths: Mapping[Role, Path],
    out: Path,
    settings: Settings,
    *,
    pixel_mm: float | None = None,
    wanted: Wanted = PLAIN,
) -> WorkbenchResult:
    """Segment one axial slice from PNG, JPEG or TIFF files, one for each sequence.

    A grey image is taken as its sequence. A colour image with differing channels, if it is the only one, is taken as
    T1, FLAIR and T1 after contrast in red, green and blue (the layout of the public LGG set). No volume is stated, and
    an area only with `pixel_mm`.

    Parameters
    ----------
    pixel_mm
        Edge of a pixel, as the person who gave the image states it. By default 1 mm is assumed for the network.
    """
    wanted.entering(Step.CONVERT)
    aligned = read_slice(paths, pixel_mm or 1.0)
    run = _run_of(aligned, settings, spacing_known=False)
    wanted.entering(Step.SEGMENT)
    segment(run)
    reason = "an image slice has no voxel spacing: 1 mm was assumed for the network, and no volume is given"
    if pixel_mm:
        reason = f"an image slice has no thickness, so no volume is given; pixels of {pixel_mm:g} mm, as was stated"
    subject = ", ".join(path.name for path in paths.values())
    decisions = (Decision(code="no_spacing", subject=subject, reason=reason), *run.decisions)
    return _write(run, decisions, {}, out, wanted, pixel_mm)


def _run_of(aligned: AlignedVolumes, settings: Settings, *, spacing_known: bool = True) -> RunInMemory:
    """Return a run of volumes that are already on one grid; nothing is known about the patient."""
    model = _segmenter(settings)
    run = RunInMemory(processing=settings.processing, model=model, spacing_known=spacing_known)
    run.kept.save_aligned(aligned)
    return run


def _sha256_of(paths: Sequence[Path]) -> str:
    """Return one hash over the contents of all files, independent of their order."""
    each = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return hashlib.sha256("\n".join(each).encode()).hexdigest()


def _segmenter(settings: Settings) -> Segmenter:
    processing = settings.processing
    return Segmenter(load_model(model_folder(settings), processing.device, processing.threads))


def _write(
    run: RunInMemory,
    decisions: tuple[Decision, ...],
    grids: Mapping[Role, Grid],
    out: Path,
    wanted: Wanted,
    pixel_mm: float | None = None,
) -> WorkbenchResult:
    """Write the result of a run unless the gate withholds it, and what is wanted besides."""
    aligned, segmentation = run.kept.load_aligned(), run.kept.load_segmentation()
    found = FoundResult(
        image=aligned.volumes[aligned.reference],
        segmentation=segmentation,
        findings=admit(run.findings),
        decisions=decisions,
        spacing_known=run.spacing_known,
        pixel_mm=pixel_mm,
    )
    out.mkdir(parents=True, exist_ok=True)
    more = write_native(aligned, segmentation, grids, out) if wanted.native else []
    more += write_images(aligned, out) if wanted.images else []
    if wanted.truth is not None:
        from dicom_node.workbench.comparison import Compared, compare_with  # noqa: PLC0415 - its figures take a second to load

        compared = Compared(aligned=aligned, segmentation=segmentation, grids=grids, spacing_known=run.spacing_known)
        more += compare_with(wanted.truth, compared, out)
    return write_result(found, out, more)
