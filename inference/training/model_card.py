"""The card of a model that was made of several trainings: what it is, what it was trained on, how well it does."""

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

| network | input | regions | fold held out | trained on | steps | hours | of |
|---|---|---|---|---|---|---|---|
{networks}

Networks of equal input are averaged; the looks along three axes count as answers of their own.

{brain}
## Cross-validated figures

Each patient answered by the networks that never saw it, with thresholds and smallest parts that the other folds chose.

| input | figure | value |
|---|---|---|
{figures}

Thresholds {thresholds}. Islands below {minimum_lesion_ml:g} ml or {minimum_share:.0%} of the largest lesion are left
out; core below {minimum_core_ml:g} ml and enhancing tumour below {minimum_enhancing_ml:g} ml count as what is around.
{sides}{doubt}
"""


def restate(folder: Path, manifest: ModelManifest) -> str:
    """Write a folder's manifest anew, and with it the card and the list of checksums.

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
    """Write the card anew from what the manifest says."""
    limits = sorted({(one.input, one.thresholds or manifest.thresholds) for one in manifest.networks})
    told = {
        "networks": "\n".join(_network_rows(manifest)),
        "figures": "\n".join(_figure_rows(manifest)) or "| | not tuned yet: `glionode models tune` | |",
        "thresholds": "; ".join(f"{kind} {', '.join(f'{limit:g}' for limit in limit3)}" for kind, limit3 in limits),
        "doubt": _doubt(manifest),
        "brain": _brain(manifest),
        "sides": _sides(manifest),
    }
    names = ("name", "version", "intended_use", "licence", "training_data", "minimum_lesion_ml", "minimum_share")
    inner = ("minimum_core_ml", "minimum_enhancing_ml")
    text = _TEXT.format(**{name: getattr(manifest, name) for name in (*names, *inner)}, **told)
    (folder / CARD).write_text(text, encoding="utf-8")


def _network_rows(manifest: ModelManifest) -> list[str]:
    trainings = manifest.metrics.get("trainings", {})
    rows = []
    for one in manifest.networks:
        facts = trainings.get(one.name, {})
        cases = ", ".join(f"{count} {source}" for source, count in facts.get("cases", {}).items())
        looks = "volume, three axes" if one.views > 1 else one.input
        if one.share_on_volumes:
            looks += f"; {one.share_on_volumes:.0%} of what is said of volumes"
        rows.append(
            f"| {one.name} | {looks} | {', '.join(one.regions)} | {'-' if one.fold is None else one.fold} | {cases} | "
            f"{facts.get('steps', '-')} | {facts.get('hours', '-')} | {facts.get('device', 'one CPU core')} |"
        )
    return rows


def _brain(manifest: ModelManifest) -> str:
    """Return what finds the brain, and what it was trained on, where the model says so."""
    facts = manifest.metrics.get("brain")
    if manifest.brain is None or not isinstance(facts, dict):
        return ""
    return (
        f"A network of its own finds the brain on cubes of {manifest.brain.spacing_mm:g} mm, whatever the sequence: "
        f"{facts.get('trained_on', 'not said on what it was trained')}; {facts.get('steps', '-')} steps, "
        f"{facts.get('hours', '-')} hours of {facts.get('device', 'one CPU core')}.\n"
    )


def _sides(manifest: ModelManifest) -> str:
    """Return what else is left out: what is faint, and what both halves of a brain show."""
    told = ""
    if manifest.minimum_peak:
        told = (
            f"Spots below {FAINT_ML:g} ml without a core are left out where no voxel is tumour with a probability of "
            f"{manifest.minimum_peak:g}.\n"
        )
    if not manifest.both_sides_ml:
        return told
    return told + (
        f"Parts without a core of up to {manifest.both_sides_ml:g} ml that both halves of a brain show alike are taken "
        "for disease of the white matter and left out, which a flag says.\n"
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
            parts.append(f"Networks over {one.input} state volume intervals for {', '.join(one.interval_factors)}.")
        if one.agreement_flag:
            parts.append(
                f"Their results whose looks agree by a Dice below {one.agreement_flag:g} are flagged, below "
                f"{one.agreement_gate:g} withheld ({one.input})."
            )
    if manifest.brain is not None:
        parts.append(
            f"Brains of two sequences that agree by a Dice below {manifest.brain.agreement_flag:g} are flagged."
        )
    if manifest.autoencoder is not None:
        parts.append(
            f"Studies of a novelty from {manifest.autoencoder.flag:g} are flagged, from {manifest.autoencoder.gate:g} "
            "withheld."
        )
    return "\n" + "\n".join(parts) if parts else ""
