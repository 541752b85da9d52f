"""Combines several trainings into one model: the networks of all folds and an autoencoder in one folder."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inference.errors import InferenceReason, UnusableModel
from inference.integrity import read_weights
from inference.manifest import AutoencoderManifest, ModelManifest, NetworkManifest, read_manifest, write_manifest
from inference.shipped_brain import give_brain
from inference.training.model_card import write_card
from inference.training.model_folder import AUTOENCODER, LABEL_MAP

__all__ = ["Imprint", "combine"]


LICENCE_FILE = "LICENSE-WEIGHTS"


@dataclass(frozen=True, kw_only=True)
class Imprint:
    """What the user states about a combined model.

    Attributes
    ----------
    trained_on
        The cases with their sources, for the model card. When empty, the names and counts of the data sets are used.
    licence
        File with the licence terms of the weights. It is copied beside them.
    slices_on_volumes
        Weight of the networks for slices in the prediction for volumes, in the regions they were trained on.
    """

    name: str
    version: str
    trained_on: str = ""
    licence: Path | None = None
    slices_on_volumes: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _Run:
    """The outcome of a training."""

    folder: Path
    manifest: ModelManifest
    facts: dict[str, Any]

    @property
    def network(self) -> NetworkManifest:
        return self.manifest.networks[0]


def combine(runs: Sequence[Path], out: Path, imprint: Imprint, autoencoder: Path | None = None) -> Path:
    """Put the networks of several trainings into one model folder, without tuning.

    Parameters
    ----------
    runs
        Folders that `inference.training.run` wrote. Networks of equal input become one ensemble. They must come from
        one split, else a patient held out from one of them would have been trained on by another.
    out
        Folder to create. It must not exist.
    autoencoder
        Folder of an autoencoder's training.

    Returns
    -------
    pathlib.Path
        `out`.

    Raises
    ------
    UnusableModel
        When a run has no model, or the runs cannot be combined.
    FileExistsError
        When `out` exists.
    """
    found = [_read(folder) for folder in runs]
    for kind in {run.network.input for run in found}:
        _check_together([run for run in found if run.network.input == kind])
    novelty = None if autoencoder is None else _autoencoder(autoencoder)
    out.mkdir(parents=True)
    if imprint.licence is not None:
        shutil.copyfile(imprint.licence, out / LICENCE_FILE)
    if novelty is not None and autoencoder is not None:
        shutil.copyfile(autoencoder / "autoencoder" / novelty.weights, out / novelty.weights)
    if (brain := found[0].manifest.brain) is not None:
        read_weights(found[0].folder / "model", found[0].manifest.name, brain)
        shutil.copyfile(found[0].folder / "model" / brain.weights, out / brain.weights)
    networks = []
    for run in found:
        weights = f"{_name(run)}.safetensors"
        read_weights(run.folder / "model", run.manifest.name, run.network)
        shutil.copyfile(run.folder / "model" / run.network.weights, out / weights)
        share = imprint.slices_on_volumes if run.network.input == "slices" else 0.0
        fold = int(run.facts["fold"])
        networks.append(replace(run.network, name=_name(run), weights=weights, fold=fold, share_on_volumes=share))
    manifest = replace(
        found[0].manifest,
        name=imprint.name,
        version=imprint.version,
        networks=tuple(networks),
        autoencoder=novelty,
        label_map=LABEL_MAP,
        training_data=imprint.trained_on or "; ".join(dict.fromkeys(run.manifest.training_data for run in found)),
        metrics={"trainings": {_name(run): run.facts for run in found}},
    )
    write_manifest(out, manifest)
    write_card(out, give_brain(out))  # a training by an earlier version has no brain network
    return out


def _name(run: _Run) -> str:
    return f"{run.network.input}-{run.facts['fold']}"


def _read(folder: Path) -> _Run:
    manifest = read_manifest(str(folder / "model"))[1]
    try:
        facts = json.loads((folder / "report.json").read_text("utf-8"))
        needed = {"fold": int(facts["fold"]), "split_sha256": str(facts["split_sha256"])}
        return _Run(folder=folder, manifest=manifest, facts={**facts, **needed})
    except (OSError, ValueError, KeyError, TypeError) as error:
        sentence = f"{folder}: no report.json of a finished training; use the folders that `glionode train --out` wrote"
        raise UnusableModel(InferenceReason.MODEL_MISSING, sentence) from error


def _check_together(runs: Sequence[_Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if run.facts["split_sha256"] != first.facts["split_sha256"]:
            sentence = (
                f"{run.folder} and {first.folder} were trained with different splits; their folds cannot be combined"
            )
            raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
        if run.network.regions != first.network.regions or run.network.spacing_mm != first.network.spacing_mm:
            sentence = f"{run.folder} and {first.folder} were trained on different regions or voxel sizes"
            raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
    if len({run.facts["fold"] for run in runs}) < len(runs):
        sentence = f"two of the {len(runs)} trainings with input {first.network.input} held out the same fold"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)


def _autoencoder(run: Path) -> AutoencoderManifest:
    folder = run / "autoencoder"
    try:
        content = json.loads((folder / AUTOENCODER).read_text("utf-8"))
        manifest = AutoencoderManifest(**content | {"whole": tuple(content["whole"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        sentence = f"{run}: no autoencoder of a finished training (`glionode train --network autoencoder`)"
        raise UnusableModel(InferenceReason.MODEL_MISSING, sentence) from error
    read_weights(folder, "autoencoder", manifest)
    return manifest
