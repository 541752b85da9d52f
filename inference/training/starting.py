"""Weights to begin with: a training that goes on from a model, on more cases or for longer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import load
from torch import Tensor

from inference.cases.prepared import PreparedCase
from inference.errors import InferenceReason, UnusableModel
from inference.integrity import read_weights
from inference.manifest import NetworkManifest, read_manifest

__all__ = ["check_start", "start_weights"]


def check_start(model: Path, settings: dict[str, object], fold: int) -> str:
    """Return the SHA-256 of a model's weights.

    Parameters
    ----------
    settings
        Of the network that is to begin with them.
    fold
        The one that is to be held out; of an ensemble the network counts that held it out too.

    Raises
    ------
    UnusableModel
        When no network of the model is an equal one.
    """
    return _network(model, settings, fold).weights_sha256


def start_weights(
    model: Path, settings: dict[str, object], fold: int, held_out: Sequence[PreparedCase]
) -> dict[str, Tensor]:
    """Return the tensors of a model's network.

    Raises
    ------
    UnusableModel
        When its training may have seen a patient that is to be held out now.
    """
    manifest, network = read_manifest(str(model.absolute()))[1], _network(model, settings, fold)
    told = manifest.metrics.get("trainings", {}).get(network.name, manifest.metrics)
    sources = set(told.get("cases", {}))
    not_seen = set(told.get("held_out_dice", {}))
    if seen := sorted(one.case_id for one in held_out if one.source in sources and one.case_id not in not_seen):
        sentence = (
            f"{model}: its training did not hold out {len(seen)} of the cases that fold {fold} holds out, such as "
            f"{seen[0]}, so no figure would count; take the same split and fold"
        )
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
    content = read_weights(model, manifest.name, network)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load(content).items()}


def _network(model: Path, settings: dict[str, object], fold: int) -> NetworkManifest:
    networks = read_manifest(str(model.absolute()))[1].networks
    equal = [one for one in networks if _shape(one.settings) == _shape(settings)]
    if not equal:
        sentence = (
            f"{model}: its network is {_shape(networks[0].settings)}; a training begins with one equal to its own"
        )
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
    if len(equal) > 1:
        equal = [one for one in equal if one.fold == fold]
    if len(equal) != 1:
        sentence = f"{model}: of its {len(networks)} networks not one alone is equal and held out fold {fold}"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
    return equal[0]


def _shape(settings: Mapping[str, object]) -> dict[str, object]:
    """Return the settings that decide which tensors there are."""
    return {key: value for key, value in settings.items() if key != "deep_supervision"}
