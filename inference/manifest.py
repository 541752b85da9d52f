"""The manifest in a model's folder, which describes the model: reads it with every field checked, and writes it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from inference.errors import InferenceReason, UnusableModel
from inference.manifest_parts import AutoencoderManifest, BrainManifest, NetworkManifest
from inference.manifest_rules import MODEL_RULES, NAME, REGIONS, check_fields, refuse

__all__ = [
    "MANIFEST",
    "MODELS_FOLDER",
    "REGIONS",
    "AutoencoderManifest",
    "BrainManifest",
    "ModelManifest",
    "NetworkManifest",
    "parse_manifest",
    "read_manifest",
    "write_manifest",
]

MANIFEST = "manifest.json"
MODELS_FOLDER = Path(__file__).parent / "models"
LARGEST_MANIFEST = 2**20
"""Bytes; a larger file is not read. The largest manifest of this program has two thousand."""


@dataclass(frozen=True, kw_only=True)
class ModelManifest:
    """The facts about a model that the node uses, and those for people.

    Attributes
    ----------
    channels
        Sequences in channel order.
    one_of
        Sequences of which at least one must be present.
    core_needs
        Sequences without which TC and ET are not known.
    needs
        Sequences that must all be present, for a model that was not trained without them.
    thresholds
        Probability from which a voxel belongs to WT, TC, ET. A region with a threshold above 1 is never segmented.
    minimum_lesion_ml
        Connected whole-tumour components below this volume are left out.
    minimum_share
        So are those below this share of the largest component.
    minimum_core_ml, minimum_enhancing_ml
        Connected components of TC below the first volume become edema, those of ET below the second become core.
    minimum_peak
        Probability that at least one voxel must reach in a spot without a core and below
        `inference.labelling.FAINT_ML`.
    both_sides_ml
        Connected components without a core up to this volume are left out as white matter disease where both halves of
        the brain show them alike (`inference.both_sides`). With 0 all stay.
    autoencoder
        None for a model that cannot judge novelty.
    brain
        None for a model without its own network for the brain; that of the shipped model is used.
    smallest_seen_ml
        Volume from which nine in ten lesions are found, by contrast and slice thickness, such as ``FLAIR thick``
        (`inference.smallest_seen`); empty where it was not measured.
    space
        ``native``: the networks' input has the axes of the reference. ``atlas``: it has those of the MNI152 atlas,
        unscaled.
    label_map
        Region to the rule that defines it, for people.
    training_data
        Origin of the cases, for people.
    metrics
        Any figures, as a JSON object.
    """

    name: str
    version: str
    licence: str
    intended_use: str
    channels: tuple[str, ...]
    one_of: tuple[str, ...]
    core_needs: tuple[str, ...]
    networks: tuple[NetworkManifest, ...]
    thresholds: tuple[float, float, float]
    minimum_lesion_ml: float
    minimum_share: float
    minimum_core_ml: float = 0.0
    minimum_enhancing_ml: float = 0.0
    minimum_peak: float = 0.0
    both_sides_ml: float = 0.0
    needs: tuple[str, ...] = ()
    autoencoder: AutoencoderManifest | None = None
    brain: BrainManifest | None = None
    smallest_seen_ml: dict[str, float] = field(default_factory=dict)
    space: str = "native"
    label_map: dict[str, str] = field(default_factory=dict)
    training_data: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values that cannot be used, naming the field."""
        check_fields(self, MODEL_RULES)
        networks = self.networks
        if not (isinstance(networks, tuple) and networks and all(isinstance(one, NetworkManifest) for one in networks)):
            refuse("networks", networks, "a list of at least one network")
        if not isinstance(self.autoencoder, AutoencoderManifest | None):
            refuse("autoencoder", self.autoencoder, "a JSON object or null")
        if not isinstance(self.brain, BrainManifest | None):
            refuse("brain", self.brain, "a JSON object or null")
        for key in ("one_of", "core_needs", "needs"):
            if not set(getattr(self, key)) <= set(self.channels):
                refuse(key, getattr(self, key), "sequences that are also channels")
        for key in ("name", "weights"):
            values = [getattr(network, key) for network in self.networks]
            values += [part.weights for part in (self.autoencoder, self.brain) if part and key == "weights"]
            if len(set(values)) < len(values):
                refuse(f"networks.{key}", values, "different for each network")


def parse_manifest(content: bytes) -> ModelManifest:
    """Parse a manifest's bytes.

    Raises
    ------
    ValueError
        If it is not a manifest of this version; the sentence names the field.
    """
    if len(content) > LARGEST_MANIFEST:
        message = f"the file is too large for a manifest ({len(content)} bytes, {LARGEST_MANIFEST} at most)"
        raise ValueError(message)
    try:
        document = json.loads(content, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error
    if not isinstance(document, dict) or set(document) != {"model"}:
        raise ValueError('it must be a JSON object with the single key "model"')
    model = _arguments(ModelManifest, document["model"], "model")
    if not isinstance(model.get("networks"), tuple):
        refuse("networks", model.get("networks"), "a list of at least one network")
    networks = []
    for place, entry in enumerate(model["networks"]):
        try:
            networks.append(NetworkManifest(**_arguments(NetworkManifest, entry, "network")))
        except ValueError as error:
            message = f"networks[{place}]: {error}"
            raise ValueError(message) from error
    parts = {"networks": tuple(networks), "autoencoder": _part(AutoencoderManifest, model, "autoencoder")}
    return ModelManifest(**model | parts | {"brain": _part(BrainManifest, model, "brain")})


_Part = TypeVar("_Part", AutoencoderManifest, BrainManifest)


def _part(kind: type[_Part], model: Mapping[str, Any], name: str) -> _Part | None:
    entry = model.get(name)
    if entry is None:
        return None
    try:
        return kind(**_arguments(kind, entry, name))
    except ValueError as error:
        message = f"{name}: {error}"
        raise ValueError(message) from error


def _no_constant(text: str) -> NoReturn:
    message = f"{text} is not a JSON number"
    raise ValueError(message)


_RETIRED = frozenset({"volume_intervals"})
"""Fields of older models that are ignored. Their factors were for another computation, so such a model states no
intervals until it is tuned again."""


def _arguments(
    kind: type[ModelManifest | NetworkManifest | AutoencoderManifest | BrainManifest], entry: object, what: str
) -> dict[str, Any]:
    """Return the fields of a JSON object, with lists as tuples; refuse unknown and missing fields."""
    if not isinstance(entry, dict):
        message = f"the {what} must be a JSON object"
        raise ValueError(message)  # noqa: TRY004 - one kind of error for every unusable manifest
    entry = {name: value for name, value in entry.items() if name not in _RETIRED}
    known = {one.name: one.default is MISSING and one.default_factory is MISSING for one in fields(kind)}
    if unknown := sorted(set(entry) - set(known)):
        message = f"unknown field {', '.join(unknown)}; this version supports {', '.join(known)}"
        raise ValueError(message)
    if missing := [name for name, needed in known.items() if needed and name not in entry]:
        message = f"field {', '.join(missing)} is missing"
        raise ValueError(message)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}


def read_manifest(name_or_folder: str) -> tuple[Path, ModelManifest, str]:
    """Find a shipped model, or one in any folder, and read its manifest.

    Returns
    -------
    tuple
        Folder, manifest, SHA-256 of the manifest.

    Raises
    ------
    UnusableModel
        If there is no such model, or its manifest cannot be used.
    """
    shipped = MODELS_FOLDER / name_or_folder
    folder = shipped if NAME.fullmatch(name_or_folder) and shipped.is_dir() else Path(name_or_folder)
    try:
        with (folder / MANIFEST).open("rb") as file:
            content = file.read(LARGEST_MANIFEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        known = ", ".join(sorted(path.parent.name for path in MODELS_FOLDER.glob(f"*/{MANIFEST}")))
        sentence = f"no model {name_or_folder!r}; name a shipped model ({known or 'none'}) or a folder with {MANIFEST}"
        raise UnusableModel(InferenceReason.MODEL_MISSING, sentence) from error
    try:
        manifest = parse_manifest(content)
    except ValueError as error:
        sentence = f"the manifest of model {name_or_folder!r} cannot be used: {MANIFEST}: {error}"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence) from error
    return folder, manifest, hashlib.sha256(content).hexdigest()


def write_manifest(folder: Path, manifest: ModelManifest) -> str:
    """Write the manifest into the model's folder.

    Returns
    -------
    str
        SHA-256 of the file: the model's identity.
    """
    content = json.dumps({"model": asdict(manifest)}, indent=1, allow_nan=False, ensure_ascii=False).encode()
    (folder / MANIFEST).write_bytes(content)
    return hashlib.sha256(content).hexdigest()
