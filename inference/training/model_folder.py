"""Writes a trained network as a model folder: manifest, weights, card and licence."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from inference.autoencoder import HeadAutoencoder
from inference.manifest import REGIONS, AutoencoderManifest, ModelManifest, NetworkManifest, write_manifest
from inference.novelty import NoveltyScale
from inference.preprocessing import CHANNELS
from inference.shipped_brain import give_brain
from inference.training.plan import TrainingPlan
from inference.unet import TumourUNet

__all__ = [
    "AUTOENCODER",
    "AUTOENCODER_WEIGHTS",
    "LABEL_MAP",
    "WEIGHTS",
    "write_autoencoder",
    "write_model",
    "write_weights",
]

WEIGHTS, AUTOENCODER_WEIGHTS, AUTOENCODER = "weights.safetensors", "autoencoder.safetensors", "autoencoder.json"

FLAGGED_FROM = 0.99
"""Share of held-out studies that stay below the flag, thick slices and missing sequences included."""

GATE_FACTOR = 1.5
"""The result is withheld if the novelty exceeds the largest of the held-out studies by half. Chosen, not measured on
patients yet."""

LICENCE = "CC BY-NC-SA 4.0"
INTENDED_USE = "Research use only, not a medical device. Untreated glioma of adults."
THRESHOLDS = (0.5, 0.5, 0.5)
MINIMUM_LESION_ML = 0.3
"""As in the first shipped model: 300 voxels of 1 mm, not tuned."""

MINIMUM_SHARE = 0.1
MINIMUM_INNER_ML = 0.05
"""The BraTS challenge of 2023 ignores lesions of fewer than 50 voxels of 1 mm."""

SPACING_MM = 1.0
LABEL_MAP = {
    "WT": "whole-tumour probability at or above its threshold, inside the brain, islands left out",
    "TC": "core probability at or above its threshold, within WT; elsewhere WT is edema",
    "ET": "enhancing-tumour probability at or above its threshold, within TC; the rest of TC is necrosis",
}
"""The rules of `inference.labelling`, for people."""

_CARD = """# {name}

A {kind} U-Net with the channels T1, T1 after contrast, T2, FLAIR. A missing sequence is an empty channel. Three
outputs: whole tumour (WT), tumour core (TC), enhancing tumour (ET).

**Research use only, not a medical device.** Made by `glionode train`. The licence of the weights depends on the terms
of the cases that they were trained on: check these terms before you pass this folder on.

## Training

{cases}; {steps} steps, seed {seed}, {hours} hours. Fold {fold} of {folds} was held out. Plan SHA-256 {plan}, split
SHA-256 {split}.

## Held-out figures

Mean plain Dice by patient, threshold 0.5, without mirrored views.{chosen}

| set and region | mean Dice |
|---|---|
{figures}
"""


def write_model(
    folder: Path,
    network: TumourUNet,
    plan: TrainingPlan,
    facts: dict[str, Any],
    regions: tuple[str, ...] = REGIONS,
) -> None:
    """Write a folder for ``glionode models add``, with the weights as float16.

    Parameters
    ----------
    facts
        Facts about the training, as `inference.training.run` collects them.
    regions
        Regions in which the cases were annotated.
    """
    weights_sha256 = write_weights(folder, network)
    volume = network.dimensions == 3 or plan.views == 3
    name = f"trained-{plan.sha256[:8]}-{facts['fold']}"
    manifest = ModelManifest(
        name=name,
        version="1",
        licence=LICENCE,
        intended_use=INTENDED_USE,
        channels=CHANNELS,
        one_of=("T1CE", "FLAIR"),
        core_needs=("T1CE",),
        networks=(
            NetworkManifest(
                name="volume" if volume else "slices",
                input="volume" if volume else "slices",
                architecture="tumour-unet",
                settings=plan.network | {"deep_supervision": False},
                context=network.context,
                spacing_mm=SPACING_MM,
                weights=WEIGHTS,
                weights_sha256=weights_sha256,
                regions=regions,
                views=plan.views,
                fold=facts["fold"],
                n4=facts["n4"],
                blind_to=tuple(facts.get("not_seen", ())),
            ),
        ),
        thresholds=THRESHOLDS,
        minimum_lesion_ml=MINIMUM_LESION_ML,
        minimum_share=MINIMUM_SHARE,
        minimum_core_ml=MINIMUM_INNER_ML,
        minimum_enhancing_ml=MINIMUM_INNER_ML,
        label_map=LABEL_MAP,
        training_data=_cases(facts),
        metrics=facts,
    )
    write_manifest(folder, manifest)
    give_brain(folder)
    (folder / "MODEL_CARD.md").write_text(_card(name, volume=volume, facts=facts), encoding="utf-8")


def write_autoencoder(
    folder: Path, network: HeadAutoencoder, plan: TrainingPlan, scale: NoveltyScale, held_out: Sequence[float]
) -> None:
    """Write the folder from which ``glionode models combine`` takes an autoencoder.

    Parameters
    ----------
    held_out
        Novelty of the held-out studies. The limits are computed from it.
    """
    manifest = AutoencoderManifest(
        settings=plan.network,
        weights=AUTOENCODER_WEIGHTS,
        weights_sha256=write_weights(folder, network, AUTOENCODER_WEIGHTS),
        whole=tuple(round(level, 5) for level in scale.whole),
        channels={name: [round(level, 5) for level in levels] for name, levels in scale.channels.items()},
        flag=round(float(np.quantile(held_out, FLAGGED_FROM)), 3),
        gate=round(float(np.max(held_out)) * GATE_FACTOR, 3),
    )
    (folder / AUTOENCODER).write_text(json.dumps(asdict(manifest), indent=1))


def write_weights(folder: Path, network: nn.Module, name: str = WEIGHTS) -> str:
    """Write a network's weights as float16 and return the file's SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    content = save({key: _stored(tensor) for key, tensor in network.state_dict().items()})
    (folder / name).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().half().contiguous() if tensor.is_floating_point() else tensor.detach().cpu()


def _cases(facts: dict[str, Any]) -> str:
    return ", ".join(f"{count} cases of {source}" for source, count in facts["cases"].items())


def _card(name: str, *, volume: bool, facts: dict[str, Any]) -> str:
    figures = "\n".join(f"| {row} | {dice:.3f} |" for row, dice in facts["held_out_mean_dice"].items())
    return _CARD.format(
        name=name,
        kind="three-dimensional" if volume else "slice-wise",
        cases=_cases(facts),
        steps=facts["steps"],
        seed=facts["seed"],
        hours=facts["hours"],
        fold=facts["fold"] + 1,
        folds=facts["folds"],
        plan=facts["plan_sha256"][:16],
        split=facts["split_sha256"][:16],
        chosen=f" The same patients also decided {facts['fold_also_chose']}." if facts["fold_also_chose"] else "",
        figures=figures or "| (none held out) | |",
    )
