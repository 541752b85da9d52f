"""A MONAI bundle in the layout of `brats_mri_segmentation` with a very small network, made on the spot."""

import json
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets.segresnet import SegResNet

__all__ = ["ARGUMENTS", "make_segresnet", "write_bundle"]

ARGUMENTS: dict[str, Any] = {
    "blocks_down": [1, 1],
    "blocks_up": [1],
    "init_filters": 8,
    "in_channels": 4,
    "out_channels": 3,
    "dropout_prob": 0.2,
}
METADATA: dict[str, Any] = {
    "version": "0.5.4",
    "description": "A small network",
    "intended_use": "This is an example, not to be used for diagnostic purposes",
    "data_source": "made for tests",
    "image_classes": "4 channel data, T1c, T1, T2, FLAIR at 1x1x1 mm",
    "eval_metrics": {"val_mean_dice": 0.5},
    "network_data_format": {
        "inputs": {"image": {"channel_def": {"0": "T1c", "1": "T1", "2": "T2", "3": "FLAIR"}}},
        "outputs": {"pred": {"channel_def": {"0": "Tumor core", "1": "Whole tumor", "2": "Enhancing tumor"}}},
    },
}


def make_segresnet() -> SegResNet:
    """Return a network of MONAI with weights of its own."""
    torch.manual_seed(5)
    return SegResNet(spatial_dims=3, **ARGUMENTS).eval()


def write_bundle(
    folder: Path, definition: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
) -> Path:
    """Write a bundle; what the configuration says elsewhere would stop the program if anybody evaluated it.

    Parameters
    ----------
    definition
        Changes to ``network_def``.
    metadata
        Changes to ``metadata.json``.
    """
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    torch.save(make_segresnet().state_dict(), folder / "models" / "model.pt")
    configuration = {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "device": "$exit(3)",
        "network_def": {"_target_": "SegResNet", **ARGUMENTS, **(definition or {})},
        "network": "$@network_def.to(@device)",
        "evaluating": ["$__import__('os').abort()"],
    }
    (folder / "configs" / "inference.json").write_text(json.dumps(configuration))
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA | (metadata or {})))
    (folder / "docs" / "README.md").write_text("# A small bundle\n")
    (folder / "LICENSE").write_text("\n        Apache License\n        Version 2.0\n")
    return folder
