"""Weights to begin with: a training that goes on from a model, on more cases or for longer."""

from pathlib import Path

from safetensors.torch import load
from torch import Tensor

from inference.cases.splits import Split
from inference.errors import InferenceReason, UnusableModel
from inference.integrity import read_weights
from inference.manifest import NetworkManifest, read_manifest

__all__ = ["check_start", "start_weights"]


def check_start(model: Path, settings: dict[str, object]) -> str:
    """Return the SHA-256 of a model's weights.

    Parameters
    ----------
    settings
        Of the network that is to begin with them.

    Raises
    ------
    UnusableModel
        When the model is an ensemble, or its network is another one.
    """
    network = _network(model)
    other = {key: value for key, value in network.settings.items() if key != "deep_supervision"}
    if other != {key: value for key, value in settings.items() if key != "deep_supervision"}:
        sentence = f"{model}: its network is {other}; a training begins with the weights of an equal one"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
    return network.weights_sha256


def start_weights(model: Path, split: Split, fold: int) -> dict[str, Tensor]:
    """Return the tensors of a model's one network.

    Raises
    ------
    UnusableModel
        When its training saw the patients that are to be held out now.
    """
    manifest = read_manifest(str(model.absolute()))[1]
    told = manifest.metrics
    if told.get("split_sha256") == split.sha256 and told.get("fold") != fold:
        sentence = f"{model}: it was trained on patients that fold {fold} holds out, so no figure would count"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
    content = read_weights(model, manifest.name, _network(model))
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load(content).items()}


def _network(model: Path) -> NetworkManifest:
    manifest = read_manifest(str(model.absolute()))[1]
    if len(manifest.networks) != 1:
        sentence = f"{model}: {len(manifest.networks)} networks; a training begins with the weights of one"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
    return manifest.networks[0]
