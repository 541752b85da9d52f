"""`glionode segment`: find out what kind of input was given; `dicom_node.workbench.segment_files` processes it."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conversion.sequences import Role
from dicom_node.cli.conventions import NOTICE, emit, example, given_rules, json_option, one_line_errors, rules_option
from dicom_node.settings import Settings, read_settings

if TYPE_CHECKING:
    from dicom_node.workbench.result_files import WorkbenchResult

__all__ = ["segment"]


@click.command(
    epilog=example("glionode segment ./study ./out   or   glionode segment --flair f.nii.gz --t1ce c.nii.gz ./out")
)
@click.argument("paths", metavar="[INPUT] OUT", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--t1", type=click.Path(path_type=Path, exists=True), help="NIfTI volume, T1.")
@click.option("--t1ce", type=click.Path(path_type=Path, exists=True), help="NIfTI volume, T1 with contrast agent.")
@click.option("--t2", type=click.Path(path_type=Path, exists=True), help="NIfTI volume, T2.")
@click.option("--flair", type=click.Path(path_type=Path, exists=True), help="NIfTI volume, FLAIR.")
@click.option("--sequence", default="FLAIR", show_default=True, help="Sequence of a grey image slice or NIfTI INPUT.")
@click.option("--model", default="", help="Name of a model, or a model folder; by default the one in the settings.")
@rules_option
@click.option(
    "--truth",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Label map (NIfTI), SEG or image mask to compare the result with; figures go to comparison.json.",
)
@click.option("--pixel-mm", type=click.FloatRange(0.05, 10.0), help="Edge of a pixel of an image slice, for its area.")
@click.option("--native", is_flag=True, help="Also write the labels on every sequence's own grid.")
@json_option
@one_line_errors
def segment(
    paths: tuple[Path, ...],
    sequence: str,
    model: str,
    pixel_mm: float | None,
    native: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    **files: Path | None,
) -> None:
    """Segment a DICOM folder, NIfTI volumes or one image slice; write the results to OUT."""
    rules, truth = files.pop("rules"), files.pop("truth")
    given = _given(paths, sequence, files)
    in_folder = not given and paths[0].is_dir()
    if pixel_mm and (given or in_folder):
        raise click.UsageError("--pixel-mm: volumes state the size of their voxels; only an image slice does not")
    if rules and not in_folder:
        raise click.UsageError("--rules: site rules match DICOM headers, and this input has none")
    if native and not (given or in_folder):
        raise click.UsageError("--native: the labels of an image slice are on its own grid already")
    settings, out = _settings(model), paths[-1]
    site_rules = given_rules(rules)
    from dicom_node.workbench import segment_files as work  # noqa: PLC0415 - loads torch, for which no help has to wait
    from dicom_node.workbench.ground_truth import TruthFile  # noqa: PLC0415

    wanted = work.Wanted(native=native, truth=TruthFile(path=truth, name=truth.name) if truth else None)
    if in_folder:
        done = work.segment_dicom(paths[0], out, settings, rules=site_rules, wanted=wanted)
    elif given:
        done = work.segment_nifti(given, out, settings, wanted=wanted)
    else:
        slices = {Role(sequence.upper()): paths[0]}
        done = work.segment_slice(slices, out, settings, pixel_mm=pixel_mm, wanted=wanted)
    _show(done, as_json=as_json)


def _given(paths: tuple[Path, ...], sequence: str, files: dict[str, Path | None]) -> dict[Role, Path]:
    """Return the volumes that were given by their sequence; empty for a folder or an image slice."""
    given = {Role(name.upper()): path for name, path in files.items() if path is not None}
    if len(paths) != (1 if given else 2):
        raise click.UsageError("give INPUT and OUT; with --t1, --t1ce, --t2 or --flair, give only OUT")
    if sequence.upper() not in list(Role):
        raise click.UsageError(f"--sequence {sequence!r}: use one of {', '.join(Role)}")
    if not given and not paths[0].exists():
        raise click.UsageError(f"{paths[0]}: no such file or folder")
    if not given and paths[0].name.endswith((".nii", ".nii.gz")):
        given = {Role(sequence.upper()): paths[0]}
    return given


def _show(done: "WorkbenchResult", *, as_json: bool) -> None:
    content = {
        "sequences": done.sequences,
        "volumes_ml": dict(done.volumes_ml),
        "no_tumour": done.no_tumour,
        "flags": [{"code": flag.code, "sentence": flag.sentence} for flag in done.flags],
        "files": [str(path) for path in done.files],
        "decisions": [asdict(decision) for decision in done.decisions],
    }
    lines = [NOTICE, f"sequences: {', '.join(done.sequences)}"]
    lines += [
        f"{region:4}{'no pixel spacing' if ml is None else f'{ml:8.2f} ml'}" for region, ml in done.volumes_ml.items()
    ]
    lines += [done.no_tumour] if done.no_tumour else []
    lines += [f"! {flag.sentence} ({flag.code})" for flag in done.flags]
    lines += [f"wrote {path}" for path in done.files]
    emit(as_json, content, lines)


def _settings(model: str) -> Settings:
    settings = read_settings()
    return replace(settings, processing=replace(settings.processing, model=model)) if model else settings
