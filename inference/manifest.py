"""What a model says about itself: the manifest in its folder, read without trust and written the same way back."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from conversion.sequences import Role
from inference.errors import InferenceReason, UnusableModel

__all__ = [
    "MANIFEST",
    "MODELS_FOLDER",
    "REGIONS",
    "AutoencoderManifest",
    "ModelManifest",
    "NetworkManifest",
    "parse_manifest",
    "read_manifest",
    "write_manifest",
]

MANIFEST = "manifest.json"
MODELS_FOLDER = Path(__file__).parent / "models"
REGIONS = ("WT", "TC", "ET")
"""Order of thresholds, and of what every network of this program answers."""

LARGEST_MANIFEST = 2**20
"""Bytes; the largest of ours has two thousand. A file beyond this is not read."""

_SEQUENCES = frozenset({Role.T1, Role.T1CE, Role.T2, Role.FLAIR})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,31}")
_WEIGHTS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(safetensors|onnx)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class NetworkManifest:
    """One network of a model.

    Attributes
    ----------
    input
        ``slices`` or ``volume``; networks of equal input are one ensemble.
    architecture
        Name in the allow-list of `inference.networks`, or ``onnx``.
    settings
        Keyword arguments of that architecture.
    context
        Neighbouring slices that are seen on each side of a slice.
    spacing_mm
        In plane for slices, of every axis for a volume.
    weights
        Name of a file in the model's folder.
    regions
        Those it has learned; what it answers for others is not heard.
    views
        1: slices as they come. 3: for a volume, slices along each of its axes, three answers.
    fold
        Of the split it was trained by, held out from it; None where nothing was.
    thresholds
        Instead of the model's, for all networks of this input.
    """

    name: str
    input: str
    architecture: str
    settings: dict[str, Any]
    context: int
    spacing_mm: float
    weights: str
    weights_sha256: str
    regions: tuple[str, ...] = REGIONS
    views: int = 1
    fold: int | None = None
    thresholds: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be used, naming the field."""
        _check_fields(self, _NETWORK_RULES)
        if self.input == "volume" and self.context and self.views == 1:
            _refuse("context", self.context, "0 for a network that sees volumes as such")
        if self.input == "slices" and self.views == 3:
            _refuse("views", self.views, "1 for a network that sees slices")


@dataclass(frozen=True, kw_only=True)
class AutoencoderManifest:
    """What tells how far a study is from anything the model was trained on; see `inference.novelty`.

    Attributes
    ----------
    settings
        Keyword arguments of `inference.autoencoder.HeadAutoencoder`.
    whole
        Error of the whole study that 95 % of held-out patients stay below, with one, two, three and four sequences.
    channels
        The same for each sequence made up from one, two and three others.
    flag, gate
        Novelty from which a result is flagged, and from which there is none.
    """

    settings: dict[str, Any]
    weights: str
    weights_sha256: str
    whole: tuple[float, ...]
    channels: dict[str, list[float]]
    flag: float
    gate: float

    def __post_init__(self) -> None:
        """Refuse what cannot be used, naming the field."""
        _check_fields(self, _AUTOENCODER_RULES)


@dataclass(frozen=True, kw_only=True)
class ModelManifest:
    """What the node acts on, and what a person should know before it does.

    Attributes
    ----------
    channels
        Sequences in channel order.
    one_of
        At least one of these sequences has to be there.
    core_needs
        Sequences without which TC and ET are not known.
    needs
        Sequences that all have to be there, for a model that was not trained to go without.
    thresholds
        Probability from which a voxel belongs to WT, TC, ET; above 1 a region is never answered.
    minimum_lesion_ml
        Connected whole-tumour components below this volume are left out.
    minimum_share
        So are those below this share of the largest component.
    minimum_core_ml, minimum_enhancing_ml
        Connected components of TC below the first are told as edema, of ET below the second as core.
    volume_intervals
        For WT, TC, ET by how many doubts an expert's volume lies below and above at most; see `inference.uncertainty`.
    agreement_flag, agreement_gate
        Agreement between the looks, for WT, under which a result is flagged, and under which there is none.
    autoencoder
        None for a model that cannot tell what is new to it.
    space
        ``native``: the axes of the reference; ``atlas``: the axes of the MNI152 atlas.
    label_map
        Region to the rule that makes it, for people.
    training_data
        Where the cases came from, for people.
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
    needs: tuple[str, ...] = ()
    volume_intervals: dict[str, list[float]] = field(default_factory=dict)
    agreement_flag: float = 0.0
    agreement_gate: float = 0.0
    autoencoder: AutoencoderManifest | None = None
    space: str = "native"
    label_map: dict[str, str] = field(default_factory=dict)
    training_data: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be used, naming the field."""
        _check_fields(self, _MODEL_RULES)
        for key in ("one_of", "core_needs", "needs"):
            if not set(getattr(self, key)) <= set(self.channels):
                _refuse(key, getattr(self, key), "sequences that are also channels")
        for key in ("name", "weights"):
            values = [getattr(network, key) for network in self.networks]
            values += [self.autoencoder.weights] if self.autoencoder and key == "weights" else []
            if len(set(values)) < len(values):
                _refuse(f"networks.{key}", values, "a value of its own for each network")


def _refuse(name: str, value: object, wanted: str) -> NoReturn:
    shown = repr(value)
    message = f"{name} = {shown if len(shown) <= 80 else shown[:77] + '...'}: {wanted} needed"
    raise ValueError(message)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= 10_000


def _is_number(value: object, least: float = 0.0) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= least


def _is_sequences(value: object) -> bool:
    if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
        return False
    return len(set(value)) == len(value) and set(value) <= _SEQUENCES


def _matches(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None and ".." not in value


def _is_thresholds(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == len(REGIONS) and all(_is_number(limit) for limit in value)


def _is_networks(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(one, NetworkManifest) for one in value)


def _is_label_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(rule, str) for rule in value.values())


def _is_share(value: object) -> bool:
    return _is_number(value) and isinstance(value, int | float) and value <= 1


def _are_levels(value: object, count: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == count and all(_is_number(level, 1e-6) for level in value)


def _are_channel_levels(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) <= _SEQUENCES
        and all(_are_levels(levels, len(_SEQUENCES) - 1) for levels in value.values())
    )


def _are_intervals(value: object) -> bool:
    if not isinstance(value, dict) or not set(value) <= set(REGIONS):
        return False
    pairs = list(value.values())
    return all(isinstance(pair, list) and len(pair) == 2 and all(map(_is_finite, pair)) for pair in pairs)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_Rules = Mapping[str, tuple[Callable[[Any], bool], str]]
_NAMED = (_matches(_NAME), "1 to 64 letters, digits, '.', '_' or '-'")
_SENTENCE = (_is_text, "a text")
_JSON_OBJECT = (lambda value: isinstance(value, dict), "a JSON object")

_NETWORK_RULES: _Rules = {
    "name": _NAMED,
    "input": (lambda value: value in {"slices", "volume"}, '"slices" or "volume"'),
    "architecture": _SENTENCE,
    "settings": _JSON_OBJECT,
    "context": (lambda value: type(value) is int and 0 <= value <= 16, "a whole number from 0 to 16"),
    "spacing_mm": (lambda value: _is_number(value, 0.1) and value <= 20, "a number from 0.1 to 20"),
    "weights": (_matches(_WEIGHTS), "the name of a .safetensors or .onnx file in the folder, without a path,"),
    "weights_sha256": (_matches(_SHA256), "64 hexadecimal digits"),
    "views": (lambda value: type(value) is int and value in {1, 3}, "1 or 3"),
    "fold": (lambda value: value is None or (type(value) is int and value >= 0), "a whole number from 0 on, or null,"),
    "thresholds": (lambda value: value is None or _is_thresholds(value), "a list of three numbers from 0 on, or null,"),
    "regions": (lambda value: value in {REGIONS, REGIONS[:1]}, "all of WT, TC, ET, or WT alone,"),
}

_AUTOENCODER_RULES: _Rules = {
    "settings": _JSON_OBJECT,
    "weights": (_matches(_WEIGHTS), "the name of a .safetensors file in the folder, without a path,"),
    "weights_sha256": (_matches(_SHA256), "64 hexadecimal digits"),
    "whole": (lambda value: _are_levels(value, len(_SEQUENCES)), "four numbers above 0"),
    "channels": (_are_channel_levels, "three numbers above 0 for each of T1, T1CE, T2, FLAIR"),
    "flag": (_is_number, "a number from 0 on"),
    "gate": (_is_number, "a number from 0 on"),
}

_MODEL_RULES: _Rules = {
    "name": _NAMED,
    "version": (_matches(_VERSION), "1 to 32 letters, digits, '.', '+', '_' or '-'"),
    "licence": _SENTENCE,
    "intended_use": _SENTENCE,
    "channels": (lambda value: _is_sequences(value) and bool(value), "a list of T1, T1CE, T2, FLAIR"),
    "one_of": (lambda value: _is_sequences(value) and bool(value), "a list of T1, T1CE, T2, FLAIR"),
    "core_needs": (_is_sequences, "a list of T1, T1CE, T2, FLAIR"),
    "needs": (_is_sequences, "a list of T1, T1CE, T2, FLAIR"),
    "networks": (_is_networks, "a list of at least one network"),
    "thresholds": (_is_thresholds, "a list of three numbers from 0 on, for WT, TC, ET,"),
    "minimum_lesion_ml": (_is_number, "a number from 0 on"),
    "minimum_core_ml": (_is_number, "a number from 0 on"),
    "minimum_enhancing_ml": (_is_number, "a number from 0 on"),
    "minimum_share": (_is_share, "a number from 0 to 1"),
    "volume_intervals": (_are_intervals, "a JSON object of two numbers for each of WT, TC, ET"),
    "agreement_flag": (_is_share, "a number from 0 to 1"),
    "agreement_gate": (_is_share, "a number from 0 to 1"),
    "autoencoder": (lambda value: value is None or isinstance(value, AutoencoderManifest), "a JSON object or null"),
    "space": (lambda value: value in {"native", "atlas"}, '"native" or "atlas"'),
    "label_map": (_is_label_map, "a JSON object of texts"),
    "training_data": (lambda value: isinstance(value, str), "a text"),
    "metrics": _JSON_OBJECT,
}


def _check_fields(manifest: object, rules: _Rules) -> None:
    for name, (holds, wanted) in rules.items():
        value = getattr(manifest, name)
        try:
            good = holds(value)
        except TypeError:  # unhashable, so nothing that a rule allows
            good = False
        if not good:
            _refuse(name, value, wanted)


def parse_manifest(content: bytes) -> ModelManifest:
    """Read a manifest's bytes.

    Raises
    ------
    ValueError
        With a sentence that names the field, for whatever is not a manifest of this version.
    """
    if len(content) > LARGEST_MANIFEST:
        message = f"{len(content)} bytes are too many for a manifest"
        raise ValueError(message)
    try:
        document = json.loads(content, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(document, dict) or set(document) != {"model"}:
        raise ValueError('one JSON object with the key "model" is needed')
    model = _arguments(ModelManifest, document["model"], "model")
    if not isinstance(model.get("networks"), tuple):
        _refuse("networks", model.get("networks"), "a list of at least one network")
    networks = []
    for place, entry in enumerate(model["networks"]):
        try:
            networks.append(NetworkManifest(**_arguments(NetworkManifest, entry, "network")))
        except ValueError as error:
            message = f"networks[{place}]: {error}"
            raise ValueError(message) from error
    return ModelManifest(**model | {"networks": tuple(networks), "autoencoder": _autoencoder(model)})


def _autoencoder(model: Mapping[str, Any]) -> AutoencoderManifest | None:
    entry = model.get("autoencoder")
    if entry is None:
        return None
    try:
        return AutoencoderManifest(**_arguments(AutoencoderManifest, entry, "autoencoder"))
    except ValueError as error:
        message = f"autoencoder: {error}"
        raise ValueError(message) from error


def _no_constant(text: str) -> NoReturn:
    message = f"{text} is not a JSON number"
    raise ValueError(message)


def _arguments(
    kind: type[ModelManifest | NetworkManifest | AutoencoderManifest], entry: object, what: str
) -> dict[str, Any]:
    """Return the fields of a JSON object, lists as tuples; unknown and missing ones are refused."""
    if not isinstance(entry, dict):
        message = f"a {what} is a JSON object"
        raise ValueError(message)  # noqa: TRY004 - one kind of error for every unusable manifest
    known = {one.name: one.default is MISSING and one.default_factory is MISSING for one in fields(kind)}
    if unknown := sorted(set(entry) - set(known)):
        message = f"unknown field {', '.join(unknown)}; this version knows {', '.join(known)}"
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
        When there is no such model or its manifest cannot be used.
    """
    shipped = MODELS_FOLDER / name_or_folder
    folder = shipped if _NAME.fullmatch(name_or_folder) and shipped.is_dir() else Path(name_or_folder)
    try:
        with (folder / MANIFEST).open("rb") as file:
            content = file.read(LARGEST_MANIFEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        known = ", ".join(sorted(path.parent.name for path in MODELS_FOLDER.glob(f"*/{MANIFEST}")))
        sentence = f"no model {name_or_folder!r}; shipped models: {known or 'none'}, or give a folder with a {MANIFEST}"
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
