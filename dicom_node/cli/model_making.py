"""`glionode models combine` and `tune`: make finished trainings into one model that can be added and promoted."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from dicom_node.cli.conventions import NOTICE, emit, example, json_option, one_line_errors, sets_options
from dicom_node.settings import read_settings
from dicom_node.workbench.training_export import SEGMENT_CODES
from inference.cases.case import CaseReference
from inference.cases.layouts import open_cases
from inference.cases.splits import split_from_json
from inference.evaluation.held_out import HeldOutSegmenters
from inference.manifest import read_manifest, write_manifest
from inference.model_bundle import load_model
from inference.training.combination import Imprint
from inference.training.combination import combine as put_together
from inference.training.model_card import write_card
from inference.training.tuning import HeldOutAnswer, answers_of
from inference.training.tuning import tune as chosen

__all__ = ["combine", "tune"]

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(epilog=example("glionode models combine ./run0 ./run1 ./run2 --name our-model --out ./our-model"))
@click.argument("runs", nargs=-1, required=True, type=_FOLDER)
@click.option("--autoencoder", type=_FOLDER, help="Training of an autoencoder that detects unfamiliar images.")
@click.option("--name", required=True, help="Name of the model.")
@click.option("--model-version", "version", default="1", show_default=True, help="Version of the model.")
@click.option("--trained-on", default="", metavar="TEXT", help="Training cases and their sources, for the model card.")
@click.option("--licence", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Licence of the weights.")
@click.option(
    "--slices-on-volumes",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of the networks for slices in the prediction for volumes.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model folder to make; must not exist yet.")
@json_option
@one_line_errors
def combine(
    runs: tuple[Path, ...],
    autoencoder: Path | None,
    out: Path,
    as_json: bool,  # noqa: FBT001
    **imprint: Any,  # noqa: ANN401 - what click makes of the options
) -> None:
    """Combine several trainings into one model: the folds of a cross-validation, for slices, volumes or both."""
    put_together(runs, out, Imprint(**imprint), autoencoder)
    _, manifest, sha256 = read_manifest(str(out.absolute()))
    lines = [NOTICE, f"wrote {out}", f"manifest SHA-256 {sha256}"]
    lines += [f"network {one.name}: {one.input}, fold {one.fold} held out" for one in manifest.networks]
    lines += [f"next: glionode models tune {out} --dataset ... --data ... --split ...; then glionode models add {out}"]
    emit(as_json, {"manifest": asdict(manifest), "sha256": sha256, "folder": str(out)}, lines)


@click.command(epilog=example("glionode models tune ./our-model --dataset brats --data DIR --split ./run0/split.json"))
@click.argument("folder", type=_FOLDER)
@sets_options
@click.option(
    "--split",
    "splits",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Split file by which the networks for these cases were trained.",
)
@json_option
@one_line_errors
def tune(
    folder: Path,
    datasets: tuple[str, ...],
    folders: tuple[Path, ...],
    splits: tuple[Path, ...],
    as_json: bool,  # noqa: FBT001
) -> None:
    """Choose thresholds, smallest components, volume intervals and flag limits on held-out patients.

    Each patient is segmented only by networks that were not trained on that patient. The manifest in FOLDER is
    rewritten, so the model gets a new identity.
    """
    if not len(datasets) == len(folders) == len(splits):
        raise click.UsageError("give --dataset, --data and --split once each for every set of cases")
    answers = [answer for one in zip(datasets, folders, splits, strict=True) for answer in _answers(folder, *one)]
    manifest = chosen(read_manifest(str(folder.absolute()))[1], answers)
    sha256 = write_manifest(folder, manifest)
    write_card(folder, manifest)
    lines = [NOTICE, f"tuned {folder} on {len(answers)} held-out patients", f"manifest SHA-256 {sha256}"]
    lines += [f"network {one.name}: thresholds {one.thresholds or manifest.thresholds}" for one in manifest.networks]
    lines += [f"{name}: {values}" for name, values in manifest.metrics.items() if name.startswith("cross-validated")]
    lines += [
        f"volume interval of {region}, networks for {kind}: {factors} times the uncertainty of the volume"
        for kind, one in {one.input: one for one in manifest.networks}.items()
        for region, factors in one.interval_factors.items()
    ]
    emit(as_json, {"manifest": asdict(manifest), "sha256": sha256, "folder": str(folder)}, lines)


def _answers(folder: Path, dataset: str, data: Path, split: Path) -> list[HeldOutAnswer]:
    def bar(cases: Sequence[CaseReference]) -> Iterable[CaseReference]:
        return tqdm(cases, desc=dataset, unit="case", disable=None, file=sys.stderr)

    processing = read_settings().processing
    cases = open_cases(dataset, data, codes=SEGMENT_CODES)
    model = load_model(str(folder.absolute()), processing.device, processing.threads)
    segmenters = HeldOutSegmenters(model, split_from_json(split.read_text("utf-8"), cases.cases))
    return list(answers_of(segmenters, cases, progress=bar))
