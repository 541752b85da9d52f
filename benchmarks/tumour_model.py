"""Combines the networks that benchmarks/tumour_learning.py trained into a model, and tunes it on held-out patients.

    python benchmarks/tumour_model.py --run DIR --run DIR ... [--autoencoder DIR] --brats DIR --cases DIR --out DIR
        [--base glioma] [--share 0.3] --version X.Y.Z

The networks over slices, the brain network and the licence terms are taken from the base model. So are its networks
over volumes of the same split whose folds no run holds out, and its autoencoder if none is given. Persons without a
tumour are included in the tuning: with a threshold that finds something in them, their Dice is 0 instead of 1.
"""

import argparse
import json
import pickle
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from tqdm import tqdm

from benchmarks.head_cases import head_sets
from inference.cases.case import CaseSet
from inference.cases.layouts import open_cases
from inference.cases.splits import split_from_json
from inference.evaluation.held_out import HeldOutSegmenters
from inference.manifest import ModelManifest, read_manifest, write_manifest
from inference.model_bundle import load_model
from inference.training.combination import LICENCE_FILE, Imprint, combine
from inference.training.model_card import restate
from inference.training.tuning import HeldOutAnswer, answers_of, tune

NEEDED_ON_VOLUMES = ("FLAIR",)
"""All 86 patients of LGG have FLAIR. In training it was left out in 3 % of the samples."""

TRAINED_ON = (
    "LGG-MRI (Buda et al. 2019), 86 patients; BraTS 2013 to 2021 (Menze 2015, Bakas 2017 and 2018, Baid 2021), 59 "
    "patients, and the healthier half of 29 of them; elderly persons without a tumour (NiChart demo data, 13), MS "
    "patients (Lesjak 2017, 4), glioblastomas after treatment (Schmainda and Prah 2018, 5)"
)


def main() -> None:
    """Combine the runs, add the parts of the base model, tune and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, action="append", required=True, help="folder of a training, one per fold")
    parser.add_argument("--autoencoder", type=Path, help="folder of a training of the autoencoder")
    parser.add_argument("--brats", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True, help="folder that head_cases.py wrote")
    parser.add_argument("--base", default="glioma")
    parser.add_argument("--share", type=float, default=0.0, help="weight of the slice networks in volumes")
    parser.add_argument("--version", required=True)
    parser.add_argument("--answers", type=Path, help="file for the held-out predictions, to look at them")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    source, base, _ = read_manifest(chosen.base)
    imprint = Imprint(
        name=base.name,
        version=chosen.version,
        trained_on=TRAINED_ON,
        licence=source / LICENCE_FILE,
        slices_on_volumes=0.0,
    )
    with TemporaryDirectory() as scratch:
        runs = [*chosen.run, *_kept_runs(source, base, chosen.run, Path(scratch))]
        runs.sort(key=lambda run: int(json.loads((run / "report.json").read_text("utf-8"))["fold"]))
        combine(runs, chosen.out, imprint, chosen.autoencoder)
    write_manifest(chosen.out, _with_base(chosen.out, source, base, chosen.share))
    answers = list(_answers(chosen))
    if chosen.answers:
        chosen.answers.write_bytes(pickle.dumps(answers))
    manifest = tune(read_manifest(str(chosen.out.absolute()))[1], answers)
    restate(chosen.out, manifest)
    for name, figures in manifest.metrics.items():
        if name.startswith("cross-validated"):
            print(name, figures)


def _kept_runs(source: Path, base: ModelManifest, runs: Sequence[Path], scratch: Path) -> Iterator[Path]:
    """Yield run folders for the base model's networks over volumes, except those whose fold a run holds out."""
    reports = [json.loads((run / "report.json").read_text("utf-8")) for run in runs]
    for network in (one for one in base.networks if one.input == "volume"):
        facts = base.metrics["trainings"][network.name]
        if facts["split_sha256"] != reports[0]["split_sha256"] or facts["fold"] in [one["fold"] for one in reports]:
            continue
        run = scratch / network.name
        (run / "model").mkdir(parents=True)
        for name in (network.weights, *([base.brain.weights] if base.brain else [])):
            shutil.copyfile(source / name, run / "model" / name)
        single = replace(network, name="network", agreement_flag=0.0, agreement_gate=0.0, interval_factors={})
        write_manifest(run / "model", replace(base, networks=(single,), autoencoder=None, metrics=facts))
        (run / "report.json").write_text(json.dumps(facts), encoding="utf-8")
        yield run


def _with_base(folder: Path, source: Path, base: ModelManifest, share: float) -> ModelManifest:
    """Copy the networks over slices, the brain network and the autoencoder, and return the manifest with them."""
    manifest = read_manifest(str(folder.absolute()))[1]
    changes = {"share_on_volumes": share, "needed_on_volumes": NEEDED_ON_VOLUMES}
    slices = [replace(one, **changes) for one in base.networks if one.input == "slices"]
    novelty = manifest.autoencoder or base.autoencoder
    others = [one.weights for one in (base.brain, novelty) if one is not None]
    for name in [*(one.weights for one in slices), *others]:
        if (folder / name).exists():
            continue
        shutil.copyfile(source / name, folder / name)
    trainings = {one.name: base.metrics["trainings"][one.name] for one in slices} | manifest.metrics["trainings"]
    kept = {name: base.metrics[name] for name in ("cross-validated slices", "brain") if name in base.metrics}
    return replace(
        manifest,
        intended_use=base.intended_use,
        licence=base.licence,
        networks=(*slices, *manifest.networks),
        minimum_peak=base.minimum_peak,
        both_sides_ml=base.both_sides_ml,
        brain=base.brain,
        autoencoder=novelty,
        metrics={"trainings": trainings} | kept,
    )


def _answers(chosen: argparse.Namespace) -> Iterator[HeldOutAnswer]:
    split = split_from_json((chosen.run[0] / "split.json").read_text("utf-8"), [])
    segmenters = HeldOutSegmenters(load_model(str(chosen.out.absolute()), "auto", 2), split)
    for one in (open_cases("brats", chosen.brats), *head_sets(chosen.cases)):
        if one.source != "operated":  # neither the whole tumour nor its core is annotated in them
            yield from answers_of(segmenters, _held(one, segmenters), progress=tqdm)


def _held(one: CaseSet, segmenters: HeldOutSegmenters) -> CaseSet:
    return replace(one, cases=tuple(case for case in one.cases if segmenters.fold_of(case.patient) is not None))


if __name__ == "__main__":
    main()
