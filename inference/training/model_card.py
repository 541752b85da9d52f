"""The card of a model that was made of several trainings: what it is, what it was trained on, how well it does."""

from pathlib import Path

from inference.manifest import ModelManifest

__all__ = ["CARD", "write_card"]

CARD = "MODEL_CARD.md"

_TEXT = """# {name} {version}

{intended_use}

**Research use only, not a medical device.** Made by `glionode train`, `models combine` and `models tune`. The licence
of the weights ({licence}) follows the terms of the cases they were trained on: look at them before passing this on.

## Networks

| network | input | regions | fold held out | trained on | steps | hours |
|---|---|---|---|---|---|---|
{networks}

Networks of equal input are averaged; the looks along three axes count as answers of their own.

## Cross-validated figures

Each patient answered by the networks that never saw it, with thresholds and smallest parts that the other folds chose.

| input | figure | value |
|---|---|---|
{figures}

Thresholds {thresholds}. Islands below {minimum_lesion_ml:g} ml or {minimum_share:.0%} of the largest lesion are left
out; core below {minimum_core_ml:g} ml and enhancing tumour below {minimum_enhancing_ml:g} ml count as what is around.
{doubt}
"""


def write_card(folder: Path, manifest: ModelManifest) -> None:
    """Write the card anew from what the manifest says."""
    limits = sorted({(one.input, one.thresholds or manifest.thresholds) for one in manifest.networks})
    told = {
        "networks": "\n".join(_network_rows(manifest)),
        "figures": "\n".join(_figure_rows(manifest)) or "| | not tuned yet: `glionode models tune` | |",
        "thresholds": "; ".join(f"{kind} {', '.join(f'{limit:g}' for limit in limit3)}" for kind, limit3 in limits),
        "doubt": _doubt(manifest),
    }
    names = ("name", "version", "intended_use", "licence", "minimum_lesion_ml", "minimum_share")
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
        rows.append(
            f"| {one.name} | {looks} | {', '.join(one.regions)} | {'-' if one.fold is None else one.fold} | {cases} | "
            f"{facts.get('steps', '-')} | {facts.get('hours', '-')} |"
        )
    return rows


def _figure_rows(manifest: ModelManifest) -> list[str]:
    return [
        f"| {name.removeprefix('cross-validated ')} | {figure} | {value:.3f} |"
        for name, figures in manifest.metrics.items()
        if name.startswith("cross-validated")
        for figure, value in figures.items()
    ]


def _doubt(manifest: ModelManifest) -> str:
    parts = []
    if manifest.volume_intervals:
        parts.append(f"Volume intervals are stated for {', '.join(manifest.volume_intervals)}.")
    if manifest.agreement_flag:
        parts.append(
            f"Results whose looks agree by a Dice below {manifest.agreement_flag:g} are flagged, below "
            f"{manifest.agreement_gate:g} withheld."
        )
    if manifest.autoencoder is not None:
        parts.append(
            f"Studies of a novelty from {manifest.autoencoder.flag:g} are flagged, from {manifest.autoencoder.gate:g} "
            "withheld."
        )
    return "\n" + "\n".join(parts) if parts else ""
