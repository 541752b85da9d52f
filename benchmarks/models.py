"""Compares the shipped model with experts, for each patient by the networks that were not trained on that patient.

Run ``python benchmarks/models.py --lgg DIR --brats DIR --cases DIR`` (about half an hour on two cores). It writes
``benchmarks/models.md``. The folders contain the cases that the networks were trained on, the whole heads as written by
benchmarks/head_cases.py. The splits are made again from the seed and checked against the hash in the manifest.
``--compared`` names a folder with only those BraTS cases on which an earlier model was evaluated. With ``--plain``, for
cases that were in no training, the complete model makes the predictions.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.head_cases import head_sets
from inference.cases.layouts import open_cases
from inference.cases.splits import make_split, split_to_json
from inference.manifest import ModelManifest, read_manifest

REPORT = Path(__file__).with_suffix(".md")
WRITTEN = "## What was tried"
"""Heading of the part of the report that is written by hand, and that a new run keeps."""

ALLOWANCE = 0.03
"""Largest loss of Dice with two sequences instead of four."""

BRATS_LEAST = {"WT": 0.865, "TC": 0.817, "ET": 0.722}
"""The cross-validated figures of `glioma` 1.1.0, plus 0.02, 0.05 and 0.05. For LGG, F1 and Dice plus 0.01."""

Found = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One figure of one evaluation, and its target."""

    name: str
    run: str
    path: tuple[str, ...]
    least: float | None = None
    most: float | None = None

    def row(self, found: Found) -> str:
        """Return the row of the table."""
        value, ends = _at(found[self.run], self.path), _at(found[self.run], ("intervals", *self.path), missing=None)
        target = f"at least {self.least:.2f}" if self.least is not None else f"at most {self.most:g}"
        met = value >= self.least if self.least is not None else value <= (self.most or 0)
        interval = f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "-"
        return f"| {self.name} | {value:.3f} | {interval} | {target} | {'yes' if met else '**no**'} |"


def _bars(found: Found) -> list[Bar]:
    lgg = [
        Bar(name=f"LGG, WT, pooled {figure}", run="lgg", path=("pooled", "WT", figure), least=least)
        for figure, least in (("f1", 0.879), ("iou", 0.80), ("precision", 0.88), ("recall", 0.88))
    ]
    lgg.append(Bar(name="LGG, WT, mean Dice by patient", run="lgg", path=("mean", "WT", "dice"), least=0.853))
    brats = [
        Bar(name=f"BraTS, {region}, mean Dice{_of(found, run)}", run=run, path=("mean", region, "dice"), least=least)
        for run in ("brats", "compared")
        if run in found
        for region, least in BRATS_LEAST.items()
    ]
    brats.append(Bar(name="BraTS, WT, median HD95 (mm)", run="brats", path=("median", "WT", "hd95_mm"), most=6.0))
    brats.append(
        Bar(name="BraTS, WT, concordance", run="brats", path=("volume", "WT", "concordance", "value"), least=0.95)
    )
    two = [
        Bar(
            name=f"BraTS, FLAIR and T1CE only, {region}, mean Dice",
            run="two",
            path=("mean", region, "dice"),
            least=round(found["brats"]["mean"][region]["dice"] - ALLOWANCE, 3),
        )
        for region in ("WT", "TC", "ET")
    ]
    return [*lgg, *brats, *two]


def _of(found: Found, run: str) -> str:
    return f" ({found[run]['data']['patients']} patients of both models)" if run == "compared" else ""


def main() -> None:
    """Evaluate, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="glioma", help="a shipped model, or a folder")
    parser.add_argument("--lgg", type=Path, required=True)
    parser.add_argument("--brats", type=Path, required=True)
    parser.add_argument("--cases", type=Path, help="whole heads, if the networks over volumes were trained on them too")
    parser.add_argument("--compared", type=Path, help="BraTS cases on which an earlier model was evaluated")
    parser.add_argument("--plain", action="store_true", help="the cases were in no training: use no split")
    parser.add_argument("--out", type=Path, default=REPORT)
    chosen = parser.parse_args()
    manifest = read_manifest(chosen.model)[1]
    runs = {
        "lgg": ("lgg", chosen.lgg, ""),
        "brats": ("brats", chosen.brats, ""),
        "two": ("brats", chosen.brats, "flair,t1ce"),
    }
    if chosen.compared:
        runs["compared"] = ("brats", chosen.compared, "")
    found = {}
    with tempfile.TemporaryDirectory() as kept:
        for name, (layout, data, sequences) in runs.items():
            split = None if chosen.plain else _split(layout, chosen, manifest, Path(kept))
            found[name] = _evaluated(chosen.model, (layout, data, sequences), split, Path(kept) / f"{name}.json")
    text = _report(manifest, found, plain=chosen.plain) + _kept(chosen.out)
    print(text)
    chosen.out.write_text(text, encoding="utf-8")


def _kept(report: Path) -> str:
    """Return the part at the end of an earlier report that was written by hand, from its heading on."""
    text = report.read_text(encoding="utf-8") if report.exists() else ""
    return f"\n{WRITTEN}{text.partition(WRITTEN)[2]}" if WRITTEN in text else ""


def _split(layout: str, chosen: argparse.Namespace, manifest: ModelManifest, folder: Path) -> Path:
    """Write the split with which the networks for these cases were trained, and return its path."""
    kind, data = ("slices", chosen.lgg) if layout == "lgg" else ("volume", chosen.brats)
    facts = next(training for name, training in manifest.metrics["trainings"].items() if name.startswith(kind))
    heads = head_sets(chosen.cases) if layout == "brats" and chosen.cases else []
    split = make_split([open_cases(layout, data), *heads], facts["folds"], facts["seed"])
    if split.sha256 != facts["split_sha256"]:
        sys.exit(f"{data}: {manifest.name} was not trained on these patients (the SHA-256 of the split differs)")
    path = folder / f"{layout}-split.json"
    path.write_text(split_to_json(split), encoding="utf-8")
    return path


def _evaluated(model: str, given: tuple[str, Path, str], split: Path | None, out: Path) -> dict[str, Any]:
    layout, data, sequences = given
    command = [sys.executable, "-m", "dicom_node.cli", "evaluate", "--dataset", layout, "--data", str(data)]
    command += ["--model", model, "--json", str(out)]
    command += ["--sequences", sequences] if sequences else []
    command += ["--split", str(split)] if split else []
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1])  # noqa: S603 - this very program
    content: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return content


def _at(content: Any, path: Sequence[str], **default: Any) -> Any:  # noqa: ANN401 - any JSON
    for key in path:
        if key not in content and default:
            return default["missing"]
        content = content[key]
    return content


def _report(manifest: ModelManifest, found: Found, *, plain: bool) -> str:
    how = (
        "the complete model on cases that were in no training"
        if plain
        else "each patient by the networks that were not trained on them"
    )
    held = {name: found["brats"]["volume"][name] for name in ("WT", "TC", "ET")}
    intervals = ", ".join(f"{name} {one['intervals_held']} of {one['intervals']}" for name, one in held.items())
    counts = f"{found['lgg']['data']['patients']} patients of LGG, {found['brats']['data']['patients']} of BraTS"
    lines = [
        "# Models",
        "",
        f"`{manifest.name}` {manifest.version}, {how}: {counts}. Made by",
        "`python benchmarks/models.py`. Intervals are 95 % bootstrap intervals over patients.",
        "",
        "| figure | value | interval | target | met |",
        "|---|---|---|---|---|",
        *(bar.row(found) for bar in _bars(found)),
        "",
        f"Volume intervals (90 %) that contain the experts' volume: {intervals}.",
        "",
        "| network | trained on | steps | hours | hardware | held-out mean Dice, no mirrored views, threshold 0.5 |",
        "|---|---|---|---|---|---|",
    ]
    for name, facts in manifest.metrics.get("trainings", {}).items():
        cases = ", ".join(f"{count} {source}" for source, count in facts["cases"].items())
        dice = ", ".join(f"{key} {value:.3f}" for key, value in facts["held_out_mean_dice"].items())
        device = facts.get("device", "one CPU core")
        lines.append(f"| {name} | {cases} | {facts['steps']} | {facts['hours']:.2f} | {device} | {dice} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
