"""Adds a model to a node: copies, converts, loads and tries it in a temporary folder, and then moves it into place."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from inference.foreign.incoming import refused
from inference.foreign.intake import ForeignFacts, take_in
from inference.integrity import write_checksums
from inference.manifest import REGIONS, ModelManifest
from inference.model_bundle import UNFIT, LoadedNetwork, ModelBundle, load_model
from inference.novelty import GRID_MM
from inference.prediction import predict
from inference.registry import Registry, StoredModel
from inference.trust import novelty_of

__all__ = ["add_model"]

_TRIAL_EDGE = 32
"""Minimum edge, in voxels, of the image on which a new model is tried."""


def add_model(registry: Registry, source: Path, given: ForeignFacts | None = None) -> StoredModel:
    """Add a model: a folder in our own format, a MONAI bundle, or an ONNX file.

    Parameters
    ----------
    given
        Facts from the user about a model that does not state them itself.

    Raises
    ------
    UnusableModel
        With the reason; then no part of the model is kept.
    """
    registry.own.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=registry.own) as scratch:
        staged = Path(scratch) / "model"
        staged.mkdir()
        take_in(source, staged, given or ForeignFacts())
        manifest = _tried(source, staged)
        if any((one.name, one.version) == (manifest.name, manifest.version) for one in registry.listing().models):
            raise refused(source, f"{manifest.name} {manifest.version} exists already; give it another version")
        write_checksums(staged)
        place = registry.own / manifest.name / manifest.version
        place.parent.mkdir(exist_ok=True)
        staged.rename(place)
    return registry.find(manifest.name, manifest.version)


def _tried(source: Path, staged: Path) -> ModelManifest:
    """Load the copied model, run every network once, and return the manifest."""
    try:
        model = load_model(str(staged), "cpu")
        for network in model.networks:
            images = _trial_images(network, len(model.manifest.channels))
            answer = predict(replace(model, networks=(network,)), images).probabilities
            if answer.shape != (len(REGIONS), *images.shape[1:]):
                raise refused(source, f"its network {network.manifest.name} returns {answer.shape} for {images.shape}")
            if not 0 <= float(answer.min()) <= float(answer.max()) <= 1:
                raise refused(source, f"its network {network.manifest.name} returns values that are not probabilities")
        _try_novelty(source, model)
    except UNFIT as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise refused(source, f"its network cannot be run: {first}") from error
    return model.manifest


def _try_novelty(source: Path, model: ModelBundle) -> None:
    """Run the autoencoder on a ramp of brightness, with all sequences and with one."""
    names = model.manifest.channels
    ramp = torch.linspace(0, 2, len(names) * _TRIAL_EDGE**3).reshape(-1, *[_TRIAL_EDGE] * 3)
    for present in (names, names[:1]):
        novelty = novelty_of(model, ramp, (GRID_MM,) * 3, present)
        if novelty is not None and not math.isfinite(novelty):
            raise refused(source, "its autoencoder returns a value that is not a finite number")


def _trial_images(network: LoadedNetwork, channels: int) -> Tensor:
    """Return a ramp of brightness that is large enough for every level of the network."""
    edge = max(_TRIAL_EDGE, 2 * int(getattr(network.module, "multiple", 1)))
    shape = (channels, edge if network.manifest.input == "volume" else 1, edge, edge)
    return torch.linspace(0, 2, math.prod(shape)).reshape(shape)
