"""A model folder whose answer is known: a real U-Net of the allow-list with weights set by hand.

It calls WT what is bright on FLAIR, TC what is bright on T1CE, and ET what is bright on T1, in each axial slice, and
moves its answer by `SHIFT_ROWS` rows to the back: so an exchanged channel, a flipped row or a transposed slice shows.
"""

import hashlib
import json
from dataclasses import fields
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from inference.manifest import NetworkManifest
from inference.networks import build_network

__all__ = ["NETWORK", "SHIFT_ROWS", "write_detector"]

NETWORK = {"dimensions": 2, "filters": [3, 3, 3], "norm": "instance"}
SHIFT_ROWS = 2
LIMIT = 2.0
"""Brightness from which the detector answers, in standard deviations of a slice."""

_CHANNELS = ["T1", "T1CE", "T2", "FLAIR"]


def write_detector(folder: Path, seen: tuple[str, str, str] = ("FLAIR", "T1CE", "T1"), **changes: object) -> Path:
    """Write the model folder.

    Parameters
    ----------
    seen
        The sequences on which WT, TC and ET are bright; with a plus between them, on any of several.
    changes
        Other values of the manifest's fields, or of those of its one network.

    Returns
    -------
    pathlib.Path
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_weights(seen), folder / "weights.safetensors")
    network = {
        "name": "slices",
        "input": "slices",
        "architecture": "tumour-unet",
        "settings": NETWORK,
        "context": 0,
        "spacing_mm": 1.0,
        "weights": "weights.safetensors",
        "weights_sha256": hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest(),
    }
    of_network = {one.name for one in fields(NetworkManifest)} - {"name", "thresholds"}
    network |= {name: changes.pop(name) for name in of_network & set(changes)}
    manifest = {
        "name": "detector",
        "version": "1.2.3",
        "licence": "CC0",
        "intended_use": "Tests",
        "channels": _CHANNELS,
        "one_of": ["T1CE", "FLAIR"],
        "core_needs": ["T1CE"],
        "networks": [network],
        "thresholds": [0.5, 0.5, 0.5],
        "minimum_lesion_ml": 0.3,
        "minimum_share": 0.0,
    }
    (folder / "manifest.json").write_text(json.dumps({"model": manifest | changes}))
    return folder


def _weights(seen: tuple[str, str, str]) -> dict[str, Tensor]:
    """Return weights that lead three channels through the first level and nothing through the deeper ones."""
    weights = {
        name: torch.ones_like(value) if "norm" in name and name.endswith("weight") else torch.zeros_like(value)
        for name, value in build_network("tumour-unet", NETWORK).state_dict().items()
    }
    for feature, channel in enumerate(seen):
        for one in channel.split("+"):
            weights["body.input_block.conv1.conv.weight"][feature, _CHANNELS.index(one), 0, 1] = 1.0
        weights["body.input_block.conv2.conv.weight"][feature, feature, 0, 1] = 1.0
    for feature in range(3):
        weights["body.upsamples.1.conv_block.conv1.conv.weight"][feature, 3 + feature, 1, 1] = 1.0
        weights["body.upsamples.1.conv_block.conv2.conv.weight"][feature, feature, 1, 1] = 1.0
    for region in range(3):
        weights["body.output_block.conv.conv.weight"][region, region] = 4.0
        weights["body.output_block.conv.conv.bias"][region] = -4.0 * LIMIT
    return weights
