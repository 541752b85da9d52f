"""Loads a model from its folder (manifest, weights, card, licence) after verifying it."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from inference.autoencoder import HeadAutoencoder
from inference.brain_network import BrainNetwork
from inference.errors import InferenceReason, UnusableModel
from inference.foreign_network import check_size, plain_arguments
from inference.integrity import check_checksums, read_weights
from inference.manifest import MODELS_FOLDER, ModelManifest, NetworkManifest, read_manifest
from inference.networks import Network, build_network
from inference.onnx_network import ONNX, load_onnx
from inference.segmentation import ModelIdentity
from inference.shipped_brain import SHIPPED
from inference.unet import TumourUNet

__all__ = ["MODELS_FOLDER", "UNFIT", "LoadedNetwork", "ModelBundle", "load_brain", "load_model", "read_manifest"]

UNFIT = (ValueError, TypeError, RuntimeError, LookupError, AttributeError, AssertionError, ArithmeticError)
"""Exceptions of torch and MONAI for settings or weights that do not fit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedNetwork:
    """One network, in evaluation mode on its device."""

    manifest: NetworkManifest
    module: Network


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelBundle:
    """A verified model, ready to run on one device."""

    manifest: ModelManifest
    identity: ModelIdentity
    networks: tuple[LoadedNetwork, ...]
    device: torch.device
    brain: BrainNetwork
    autoencoder: HeadAutoencoder | None = None

    def for_input(self, kind: str) -> "ModelBundle":
        """Return the model with the networks, and their thresholds, for slices or for volumes.

        For volumes, slice networks that have a share in the result come last.
        """
        networks = [one for one in self.networks if one.manifest.input == kind]
        limits = networks[0].manifest.thresholds or self.manifest.thresholds
        if kind == "volume":
            networks += [one for one in self.networks if one.manifest.share_on_volumes > 0]
        return replace(self, networks=tuple(networks), manifest=replace(self.manifest, thresholds=limits))


def load_model(name_or_folder: str, device: str = "auto", threads: int = 0) -> ModelBundle:
    """Verify and load a model.

    Parameters
    ----------
    device
        ``auto`` for CUDA where available, else the CPU; or the name of a torch device.
    threads
        CPU threads of torch in this process, 0 for all cores.

    Raises
    ------
    UnusableModel
        If files are missing, a byte has changed, or the architecture is unknown.
    """
    folder, manifest, manifest_sha256 = read_manifest(name_or_folder)
    check_checksums(folder, manifest.name, needed=folder.parent == MODELS_FOLDER)
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
        brain=_load_brain(folder, manifest, chosen) or load_brain(chosen),
        autoencoder=_load_autoencoder(folder, manifest, chosen),
    )


def _load_network(folder: Path, manifest: ModelManifest, network: NetworkManifest, threads: int) -> Network:
    content = read_weights(folder, manifest.name, network)
    try:
        module: Network
        if network.architecture == ONNX:
            module = load_onnx(content, network.settings, len(manifest.channels), threads)
        else:
            module = build_network(network.architecture, network.settings)
            module.load_state_dict({name: tensor.float() for name, tensor in load(content).items()})
            if module.dimensions == 2:  # the memory order that its convolutions use
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        flat = "slices" if network.views == 1 else "volume"
        needed = {2: flat, 3: "volume"}.get(getattr(module, "dimensions", 0), network.input)
        if needed != network.input:
            raise ValueError(f'it needs the input "{needed}", but the manifest states "{network.input}"')
    except (*UNFIT, SafetensorError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        sentence = f"model {manifest.name}: its network {network.name} does not fit this version ({first})"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence) from error
    return module


def load_brain(device: torch.device) -> BrainNetwork:
    """Return the shipped model's network for the brain, for models that contain none.

    Raises
    ------
    UnusableModel
        If its files are missing or a byte has changed.
    """
    folder, manifest, _ = read_manifest(SHIPPED)
    check_checksums(folder, manifest.name, needed=True)
    brain = _load_brain(folder, manifest, device)
    if brain is None:
        sentence = f"model {manifest.name} has no network for the brain; install the program again"
        raise UnusableModel(InferenceReason.MODEL_MISSING, sentence)
    return brain


def _load_brain(folder: Path, manifest: ModelManifest, device: torch.device) -> BrainNetwork | None:
    if manifest.brain is None:
        return None
    content = read_weights(folder, manifest.name, manifest.brain)
    try:
        module = build_network("tumour-unet", manifest.brain.settings)
        if not isinstance(module, TumourUNet) or module.dimensions != 3:
            raise ValueError("it must be a U-Net of three dimensions")
        module.load_state_dict({name: tensor.float() for name, tensor in load(content).items()})
    except (*UNFIT, SafetensorError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        sentence = f"model {manifest.name}: its network for the brain does not fit this version ({first})"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence) from error
    module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return BrainNetwork(manifest=manifest.brain, module=module.eval().to(device))


def _load_autoencoder(folder: Path, manifest: ModelManifest, device: torch.device) -> HeadAutoencoder | None:
    if manifest.autoencoder is None:
        return None
    content = read_weights(folder, manifest.name, manifest.autoencoder)
    try:
        settings = plain_arguments(manifest.autoencoder.settings)
        check_size(lambda: HeadAutoencoder(**settings))
        module = HeadAutoencoder(**settings)
        module.load_state_dict({name: tensor.float() for name, tensor in load(content).items()})
    except (*UNFIT, SafetensorError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        sentence = f"model {manifest.name}: its autoencoder does not fit this version ({first})"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence) from error
    return module.eval().to(device)
