"""Copies the shipped network for the brain into other models, so that each is complete. Nothing here loads torch."""

import shutil
from dataclasses import replace
from pathlib import Path

from inference.errors import InferenceReason, UnusableModel
from inference.integrity import read_weights
from inference.manifest import ModelManifest, read_manifest, write_manifest

__all__ = ["SHIPPED", "give_brain"]

SHIPPED = "glioma"
"""The model that contains the network."""


def give_brain(folder: Path) -> ModelManifest:
    """Add the shipped network for the brain to the folder of a model without one, and rewrite its manifest.

    Returns
    -------
    ModelManifest
        Of the folder.

    Raises
    ------
    UnusableModel
        If the folder contains no model, or the shipped network is missing or changed.
    """
    _, manifest, _ = read_manifest(str(folder.absolute()))
    if manifest.brain is not None:
        return manifest
    source, shipped, _ = read_manifest(SHIPPED)
    if shipped.brain is None:
        sentence = f"model {SHIPPED} has no network for the brain; install the program again"
        raise UnusableModel(InferenceReason.MODEL_MISSING, sentence)
    read_weights(source, SHIPPED, shipped.brain)
    shutil.copyfile(source / shipped.brain.weights, folder / shipped.brain.weights)
    manifest = replace(manifest, brain=shipped.brain)
    write_manifest(folder, manifest)
    return manifest
