"""A model as a folder: manifest, weights, card and licence, verified before use and loaded."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from conversion.volume import Grid, ImageVolume, LabelVolume
from inference.autoencoder import HeadAutoencoder
from inference.brain_region import BrainAtlas
from inference.errors import InferenceReason, UnusableModel
from inference.foreign.network import plain_arguments
from inference.foreign.onnx_model import ONNX, load_onnx
from inference.integrity import check_checksums, read_weights
from inference.manifest import MODELS_FOLDER, ModelManifest, NetworkManifest, read_manifest
from inference.networks import build_network
from inference.segmentation import ModelIdentity

__all__ = ["MODELS_FOLDER", "UNFIT", "LoadedNetwork", "ModelBundle", "load_model", "read_manifest"]

UNFIT = (ValueError, TypeError, RuntimeError, LookupError, AttributeError, AssertionError, ArithmeticError)
"""What torch and MONAI raise over settings or weights that do not fit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedNetwork:
    """One network, in evaluation mode on its device."""

    manifest: NetworkManifest
    module: nn.Module


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelBundle:
    """A verified model, ready to run on one device."""

    manifest: ModelManifest
    identity: ModelIdentity
    networks: tuple[LoadedNetwork, ...]
    device: torch.device
    atlas: BrainAtlas
    autoencoder: HeadAutoencoder | None = None


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
        When files are missing, a byte has changed, or the architecture is unknown.
    """
    folder, manifest, manifest_sha256 = read_manifest(name_or_folder)
    check_checksums(folder, manifest.name)
    chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    modules = [_load_network(folder, manifest, network, threads) for network in manifest.networks]
    if threads:
        torch.set_num_threads(threads)
    return ModelBundle(
        manifest=manifest,
        identity=ModelIdentity(name=manifest.name, version=manifest.version, sha256=manifest_sha256),
        networks=tuple(
            LoadedNetwork(manifest=network, module=module.eval().to(chosen))
            for network, module in zip(manifest.networks, modules, strict=True)
        ),
        device=chosen,
        atlas=_load_atlas(),
        autoencoder=_load_autoencoder(folder, manifest, chosen),
    )


def _load_network(folder: Path, manifest: ModelManifest, network: NetworkManifest, threads: int) -> nn.Module:
    content = read_weights(folder, manifest.name, network)
    try:
        module: nn.Module
        if network.architecture == ONNX:
            module = load_onnx(content, network.settings, len(manifest.channels), threads)
        else:
            module = build_network(network.architecture, network.settings)
            module.load_state_dict({name: tensor.float() for name, tensor in load(content).items()})
        flat = "slices" if network.views == 1 else "volume"
        sees = {2: flat, 3: "volume"}.get(getattr(module, "dimensions", 0), network.input)
        if sees != network.input:
            raise ValueError(f"it sees {sees}, and the manifest says {network.input}")
    except (*UNFIT, SafetensorError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        sentence = f"model {manifest.name}: its network {network.name} does not fit this version ({first})"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence) from error
    return module


def _load_autoencoder(folder: Path, manifest: ModelManifest, device: torch.device) -> HeadAutoencoder | None:
    if manifest.autoencoder is None:
        return None
    content = read_weights(folder, manifest.name, manifest.autoencoder)
    try:
        module = HeadAutoencoder(**plain_arguments(manifest.autoencoder.settings))
        module.load_state_dict({name: tensor.float() for name, tensor in load(content).items()})
    except (*UNFIT, SafetensorError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        sentence = f"model {manifest.name}: its autoencoder does not fit this version ({first})"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence) from error
    return module.eval().to(device)


@cache
def _load_atlas() -> BrainAtlas:
    """Return the MNI152 T1 template and brain mask that nilearn carries, at 2 mm."""
    image, mask = load_mni152_template(resolution=2), load_mni152_brain_mask(resolution=2)
    voxels: NDArray[np.float32] = np.asarray(image.get_fdata(), np.float32).transpose(2, 1, 0)
    affine = image.affine[:, [2, 1, 0, 3]].copy()  # (column, row, slice) to (slice, row, column)
    affine[:2] *= -1  # NIfTI's RAS to LPS
    grid = Grid(shape=voxels.shape, affine=affine, frame_of_reference_uid="MNI152")
    labels = np.asarray(mask.get_fdata() > 0, np.uint8).transpose(2, 1, 0)
    return BrainAtlas(image=ImageVolume(grid=grid, voxels=voxels), mask=LabelVolume(grid=grid, labels=labels))
