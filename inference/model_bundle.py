"""A model as a folder: manifest, safetensors weights, card and licence, verified before use."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from conversion.volume import Grid, ImageVolume, LabelVolume
from inference.brain_region import BrainAtlas
from inference.errors import InferenceReason, UnusableModel
from inference.networks import build_network
from inference.segmentation import ModelIdentity

__all__ = ["MODELS_FOLDER", "ModelBundle", "load_model", "read_manifest"]

MODELS_FOLDER = Path(__file__).parent / "models"


@dataclass(frozen=True, kw_only=True)
class ModelManifest:
    """What a manifest says that the node acts on.

    Attributes
    ----------
    channels
        Sequences in channel order.
    one_of
        At least one of these sequences has to be there.
    core_needs
        Sequences without which TC and ET are not known.
    spacing_mm
        In-plane spacing of the axial slices the network was trained on.
    thresholds
        Probability from which a voxel belongs to WT, TC, ET.
    minimum_lesion_ml
        Connected whole-tumour components below this volume are left out.
    minimum_share
        So are those below this share of the largest component.
    """

    name: str
    version: str
    architecture: str
    network: dict[str, object]
    channels: tuple[str, ...]
    one_of: tuple[str, ...]
    core_needs: tuple[str, ...]
    spacing_mm: float
    thresholds: tuple[float, float, float]
    minimum_lesion_ml: float
    minimum_share: float
    weights_sha256: str
    licence: str
    intended_use: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelBundle:
    """A verified model, ready to run on one device."""

    manifest: ModelManifest
    identity: ModelIdentity
    network: nn.Module
    device: torch.device
    atlas: BrainAtlas


def read_manifest(name_or_folder: str) -> tuple[Path, ModelManifest, str]:
    """Find a model and read its manifest.

    Returns
    -------
    tuple
        Folder, manifest, SHA-256 of the manifest.

    Raises
    ------
    UnusableModel
        When there is no such model or its manifest is not complete.
    """
    shipped = MODELS_FOLDER / name_or_folder
    folder = shipped if shipped.is_dir() else Path(name_or_folder)
    try:
        content = (folder / "manifest.json").read_bytes()
    except OSError as error:
        known = ", ".join(sorted(path.parent.name for path in MODELS_FOLDER.glob("*/manifest.json")))
        sentence = (
            f"no model {name_or_folder!r}; shipped models: {known or 'none'}, or give a folder with a manifest.json"
        )
        raise UnusableModel(InferenceReason.MODEL_MISSING, sentence) from error
    try:
        fields = json.loads(content)["model"]
        fields = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
        manifest = ModelManifest(**fields)
    except (ValueError, KeyError, TypeError) as error:
        sentence = f"the manifest of model {name_or_folder!r} cannot be used: {error}"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence) from error
    return folder, manifest, hashlib.sha256(content).hexdigest()


def load_model(name_or_folder: str, device: str = "auto", threads: int = 0) -> ModelBundle:
    """Verify and load a model.

    Parameters
    ----------
    device
        ``auto`` takes CUDA when there, else the CPU; or a torch device name.
    threads
        CPU threads of the process's torch, 0 for all cores.

    Raises
    ------
    UnusableModel
        When files are missing, a byte of the weights has changed, or the architecture is unknown.
    """
    folder, manifest, manifest_sha256 = read_manifest(name_or_folder)
    try:
        content = (folder / "weights.safetensors").read_bytes()
    except OSError as error:
        sentence = f"model {manifest.name}: weights.safetensors is missing"
        raise UnusableModel(InferenceReason.MODEL_MISSING, sentence) from error
    if hashlib.sha256(content).hexdigest() != manifest.weights_sha256:
        sentence = (
            f"model {manifest.name}: the weights differ from the SHA-256 in the manifest; install the model again"
        )
        raise UnusableModel(InferenceReason.MODEL_CHANGED, sentence)
    chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    try:
        network = build_network(manifest.architecture, manifest.network)
        network.load_state_dict({name: tensor.float() for name, tensor in load(content).items()})
    except (ValueError, TypeError, RuntimeError, SafetensorError) as error:
        sentence = f"model {manifest.name}: its network does not fit this version ({str(error).splitlines()[0]})"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence) from error
    if threads:
        torch.set_num_threads(threads)
    identity = ModelIdentity(name=manifest.name, version=manifest.version, sha256=manifest_sha256)
    placed = network.eval().to(chosen)
    return ModelBundle(manifest=manifest, identity=identity, network=placed, device=chosen, atlas=_load_atlas())


def _load_atlas() -> BrainAtlas:
    """Return the MNI152 T1 template and brain mask that nilearn carries, at 2 mm."""
    image, mask = load_mni152_template(resolution=2), load_mni152_brain_mask(resolution=2)
    voxels: NDArray[np.float32] = np.asarray(image.get_fdata(), np.float32).transpose(2, 1, 0)
    affine = image.affine[:, [2, 1, 0, 3]].copy()  # (column, row, slice) to (slice, row, column)
    affine[:2] *= -1  # NIfTI's RAS to LPS
    grid = Grid(shape=voxels.shape, affine=affine, frame_of_reference_uid="MNI152")
    labels = np.asarray(mask.get_fdata() > 0, np.uint8).transpose(2, 1, 0)
    return BrainAtlas(image=ImageVolume(grid=grid, voxels=voxels), mask=LabelVolume(grid=grid, labels=labels))
