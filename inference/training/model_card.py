"""Writes the model card of a model that was combined from several trainings: purpose, training data, figures."""

from pathlib import Path

from inference.integrity import write_checksums
from inference.labelling import FAINT_ML
from inference.manifest import ModelManifest, write_manifest

__all__ = ["CARD", "restate", "write_card"]

CARD = "MODEL_CARD.md"

_TEXT = """# {name} {version}

{intended_use}

**Non-commercial research only, not a medical device.** Trained on {training_data}; no training image is contained;
users are responsible for the source terms; retrain with `glionode train` for other use. Licence of the weights:
{licence}. Made by `glionode train`, `models combine` and `models tune`.

## Networks

| network | input | regions | held-out fold | trained on | steps | hours | hardware |
|---|---|---|---|---|---|---|---|
{networks}

The predictions of networks of equal input are averaged. Each of the three axes counts as a separate prediction.

{brain}
## Cross-validated figures

For each patient, the networks that were not trained on it made the prediction. Thresholds and smallest volumes were
chosen on the other folds.

| input | figure | value |
|---|---|---|
{figures}

Thresholds: {thresholds}. Islands below {minimum_lesion_ml:g} ml or {minimum_share:.0%} of the largest lesion are left
out. Core below {minimum_core_ml:g} ml and enhancing tumour below {minimum_enhancing_ml:g} ml count as the tissue
around them.
{sides}{doubt}
"""


def restate(folder: Path, manifest: ModelManifest) -> str:
    """Rewrite the manifest of a model folder, its card and its list of checksums.

    Returns
    -------
    str
        SHA-256 of the manifest: the model's new identity.
    """
    sha256 = write_manifest(folder, manifest)
    write_card(folder, manifest)
    write_checksums(folder)
    return sha256


def write_card(folder: Path, manifest: ModelManifest) -> None:
    """Write the model card from the manifest."""
    limits = sorted({(one.input, one.thresholds or manifest.thresholds) for one in manifest.networks})
    computed = {
        "networks": "\n".join(_network_rows(manifest)),
        "figures": "\n".join(_figure_rows(manifest)) or "| | not tuned yet: `glionode models tune` | |",
        "thresholds": "; ".join(f"{kind} {', '.join(f'{limit:g}' for limit in limit3)}" for kind, limit3 in limits),
        "doubt": _doubt(manifest),
        "brain": _brain(manifest),
        "sides": _sides(manifest),
    }
    names = ("name", "version", "intended_use", "licence", "training_data", "minimum_lesion_ml", "minimum_share")
    inner = ("minimum_core_ml", "minimum_enhancing_ml")
    text = _TEXT.format(**{name: getattr(manifest, name) for name in (*names, *inner)}, **computed)
    (folder / CARD).write_text(text, encoding="utf-8")


def _network_rows(manifest: ModelManifest) -> list[str]:
    trainings = manifest.metrics.get("trainings", {})
    rows = []
    for one in manifest.networks:
        facts = trainings.get(one.name, {})
        cases = ", ".join(f"{count} {source}" for source, count in facts.get("cases", {}).items())
        input_text = "volume, three axes" if one.views > 1 else one.input
        if one.share_on_volumes:
            input_text += f"; {one.share_on_volumes:.0%} of the prediction for volumes"
        rows.append(
            f"| {one.name} | {input_text} | {', '.join(one.regions)} | {'-' if one.fold is None else one.fold} | "
            f"{cases} | {facts.get('steps', '-')} | {facts.get('hours', '-')} | {facts.get('device', 'one CPU core')} |"
        )
    return rows


def _brain(manifest: ModelManifest) -> str:
    """Return a paragraph about the brain network and its training, if the manifest describes it."""
    facts = manifest.metrics.get("brain")
    if manifest.brain is None or not isinstance(facts, dict):
        return ""
    return (
        f"A separate network finds the brain at {manifest.brain.spacing_mm:g} mm in any sequence. It was trained on "
        f"{facts.get('trained_on', 'data that are not stated')}; {facts.get('steps', '-')} steps, "
        f"{facts.get('hours', '-')} hours on {facts.get('device', 'one CPU core')}.\n"
    )


def _sides(manifest: ModelManifest) -> str:
    """Return what else is left out: faint spots, and parts that appear in both halves of the brain."""
    text = ""
    if manifest.minimum_peak:
        text = (
            f"Spots below {FAINT_ML:g} ml without a core are left out if the tumour probability is below "
            f"{manifest.minimum_peak:g} in all of their voxels.\n"
        )
    if not manifest.both_sides_ml:
        return text
    return text + (
        f"Parts of up to {manifest.both_sides_ml:g} ml without a core that appear alike in both halves of the brain "
        "are taken for white matter disease and left out; the result is flagged.\n"
    )


def _figure_rows(manifest: ModelManifest) -> list[str]:
    return [
        f"| {name.removeprefix('cross-validated ')} | {figure} | {value:.3f} |"
        for name, figures in manifest.metrics.items()
        if name.startswith("cross-validated")
        for figure, value in figures.items()
    ]


def _doubt(manifest: ModelManifest) -> str:
    parts = []
    for one in {one.input: one for one in manifest.networks}.values():
        if one.interval_factors:
            parts.append(f"Volume intervals are given for {', '.join(one.interval_factors)} (input {one.input}).")
        if one.agreement_flag:
            parts.append(
                f"A result is flagged if the ensemble's predictions agree with a Dice below {one.agreement_flag:g}, "
                f"and withheld below {one.agreement_gate:g} (input {one.input})."
            )
    if manifest.brain is not None:
        parts.append(
            "A result is flagged if the brains found in two sequences agree with a Dice below "
            f"{manifest.brain.agreement_flag:g}."
        )
    if manifest.autoencoder is not None:
        parts.append(
            f"A result is flagged if the novelty of the study is {manifest.autoencoder.flag:g} or more, and withheld "
            f"at {manifest.autoencoder.gate:g} or more."
        )
    return "\n" + "\n".join(parts) if parts else ""
