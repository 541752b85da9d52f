"""Initial weights from an earlier model, for a training that continues it on more cases or for longer."""

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
    """Return the SHA-256 of the weights from which a training starts.

    Parameters
    ----------
    settings
        Settings of the network that is to be trained.
    fold
        The fold that is to be held out. In an ensemble, the network that held out the same fold is taken.

    Raises
    ------
    UnusableModel
        When no network of the model has the same settings.
    """
    return _network(model, settings, fold).weights_sha256


def start_weights(
    model: Path, settings: dict[str, object], fold: int, held_out: Sequence[PreparedCase]
) -> dict[str, Tensor]:
    """Return the tensors of a model's network.

    Raises
    ------
    UnusableModel
        When it may have been trained on a patient that is to be held out now.
    """
    manifest, network = read_manifest(str(model.absolute()))[1], _network(model, settings, fold)
    facts = manifest.metrics.get("trainings", {}).get(network.name, manifest.metrics)
    sources = set(facts.get("cases", {}))
    was_held_out = set(facts.get("held_out_dice", {}))
    if leaked := sorted(one.case_id for one in held_out if one.source in sources and one.case_id not in was_held_out):
        sentence = (
            f"{model}: its training did not hold out {len(leaked)} of the cases that fold {fold} holds out, such as "
            f"{leaked[0]}, so the held-out figures would be invalid; use the same split and fold"
        )
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
    content = read_weights(model, manifest.name, network)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load(content).items()}


def _network(model: Path, settings: dict[str, object], fold: int) -> NetworkManifest:
    networks = read_manifest(str(model.absolute()))[1].networks
    equal = [one for one in networks if _shape(one.settings) == _shape(settings)]
    if not equal:
        sentence = (
            f"{model}: its network has the settings {_shape(networks[0].settings)}; a training can only start from a "
            "network with the same settings as its own"
        )
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
    if len(equal) > 1:
        equal = [one for one in equal if one.fold == fold]
    if len(equal) != 1:
        sentence = (
            f"{model}: exactly one of its {len(networks)} networks must have the same settings and have held out fold "
            f"{fold}, but {len(equal)} do"
        )
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
    return equal[0]


def _shape(settings: Mapping[str, object]) -> dict[str, object]:
    """Return the settings that decide the names and shapes of the tensors."""
    return {key: value for key, value in settings.items() if key != "deep_supervision"}
