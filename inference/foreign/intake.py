"""Copies a third-party model into an empty folder in our own format: plain files, safetensors or ONNX, a manifest."""

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.foreign.incoming import read_regular, refused, why_not
from inference.foreign.monai_bundle import BundleFacts, convert_weights, is_monai_bundle, read_bundle
from inference.foreign_network import ForeignNetwork
from inference.manifest import (
    MANIFEST,
    REGIONS,
    ModelManifest,
    NetworkManifest,
    parse_manifest,
    write_manifest,
)
from inference.onnx_network import ONNX, onnx_shape
from inference.preprocessing import CHANNELS
from inference.shipped_brain import give_brain

__all__ = ["ForeignFacts", "take_in"]

CARD, LICENCE = "MODEL_CARD.md", "LICENSE-WEIGHTS"
MOST_FILES = 32
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KINDS = frozenset({".json", ".md", ".onnx", ".safetensors", ".txt"})
_RESEARCH_USE = "Research use only, not a medical device."
_LARGEST_TEXT = 2**20


@dataclass(frozen=True, kw_only=True)
class ForeignFacts:
    """Facts that the user states about a third-party model; empty where the model itself or the default decides.

    Attributes
    ----------
    channels, outputs
        Sequences and regions in the network's order; for ONNX by default T1, T1CE, T2, FLAIR and WT, TC, ET.
    axes
        As in `inference.foreign_network.ForeignNetwork`.
    answers
        ``logits`` or ``probabilities``.
    normalise
        ``none`` (air 0, median of tissue 1) or ``nonzero``.
    """

    name: str = ""
    version: str = ""
    channels: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    axes: str = ""
    spacing_mm: float = 1.0
    answers: str = "logits"
    normalise: str = "none"


def take_in(source: Path, into: Path, given: ForeignFacts) -> None:
    """Fill an empty folder with a model.

    Raises
    ------
    UnusableModel
        When the source has none of the supported formats, or contains something that is not allowed.
    """
    if not source.exists():
        raise refused(source, "there is no such file or folder")
    try:
        if source.is_dir() and (source / MANIFEST).exists():
            _copy_own(source, into)
        elif source.is_dir() and is_monai_bundle(source):
            _from_monai(source, into, given)
            give_brain(into)
        elif source.suffix.lower() == ".onnx":
            _from_onnx(source, into, given)
            give_brain(into)
        elif source.is_dir():
            raise refused(source, f"has neither {MANIFEST} (our format) nor configs/inference.json (a MONAI bundle)")
        else:
            raise refused(source, why_not(source))
    except ValueError as error:
        raise refused(source, str(error)) from error


def _copy_own(source: Path, into: Path) -> None:
    entries = sorted(os.scandir(source), key=lambda entry: entry.name)
    if len(entries) > MOST_FILES:
        raise refused(source, f"{len(entries)} files; {MOST_FILES} at most")
    manifest = parse_manifest(read_regular(source / MANIFEST))
    for entry in entries:
        path = Path(entry.path)
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode) or not stat.S_ISREG(mode):
            raise refused(path, "a link, folder or device; a model may contain plain files only")
        plain = path.suffix.lower() in _KINDS or entry.name.startswith("LICEN") or entry.name == "SHA256SUMS"
        if not plain or not _FILE_NAME.fullmatch(entry.name):
            raise refused(path, why_not(path))
        if entry.name != "SHA256SUMS":  # written again once everything was checked
            (into / entry.name).write_bytes(read_regular(path))
    if missing := [network.weights for network in manifest.networks if not (into / network.weights).is_file()]:
        raise refused(source, f"{', '.join(missing)} is missing")


def _from_monai(source: Path, into: Path, given: ForeignFacts) -> None:
    facts = read_bundle(source)
    weights = convert_weights(source)
    (into / "weights.safetensors").write_bytes(weights)
    settings = {
        "arguments": facts.arguments,
        "axes": given.axes or ("LPS" if facts.dimensions == 3 else "LP"),
        "outputs": list(given.outputs or facts.outputs),
        "normalise": "nonzero",
    }
    network = _network(facts.architecture, settings, weights, "weights.safetensors", facts.dimensions)
    _copy_texts(source, into, facts)
    write_manifest(into, _monai_manifest(source, facts, given, network))


def _monai_manifest(source: Path, facts: BundleFacts, given: ForeignFacts, network: dict[str, Any]) -> ModelManifest:
    channels = given.channels or facts.channels
    data = [text for text in (facts.text("data_source"), facts.text("image_classes")) if text]
    metrics = facts.metadata.get("eval_metrics")
    return ModelManifest(
        name=given.name or _name_of(source),
        version=given.version or facts.text("version") or "0",
        licence=_licence(source),
        intended_use=f"{_RESEARCH_USE} {facts.text('intended_use')}".strip(),
        **_imported_fields(channels, network, given),
        training_data="; ".join(data),
        metrics=metrics if isinstance(metrics, dict) else {},
    )


def _from_onnx(source: Path, into: Path, given: ForeignFacts) -> None:
    content = read_regular(source)
    shape = onnx_shape(content)
    channels = given.channels or CHANNELS
    if shape.channels not in {None, len(channels)}:
        sentence = f"has {shape.channels} input channels; name them in order, out of {', '.join(CHANNELS)}"
        raise ValueError(sentence)
    outputs = list(given.outputs or REGIONS)
    settings = {
        "axes": given.axes or "SPL"[3 - shape.dimensions :],
        "outputs": outputs,
        "normalise": given.normalise,
        "answers": given.answers,
        "multiple": shape.multiple,
    }
    (into / "network.onnx").write_bytes(content)
    network = _network(ONNX, settings, content, "network.onnx", shape.dimensions)
    manifest = ModelManifest(
        name=given.name or _name_of(source),
        version=given.version or "1",
        licence="not stated",
        intended_use=_RESEARCH_USE,
        **_imported_fields(channels, network, given),
    )
    write_manifest(into, manifest)


def _imported_fields(channels: tuple[str, ...], network: dict[str, Any], given: ForeignFacts) -> dict[str, Any]:
    """Return the manifest fields of an imported network: it needs all of its channels, and no threshold is tuned."""
    return {
        "channels": channels,
        "one_of": channels,
        "core_needs": ("T1CE",) if "T1CE" in channels else (),
        "needs": channels,
        "networks": (NetworkManifest(**network | {"spacing_mm": given.spacing_mm}),),
        "thresholds": (0.5, 0.5, 0.5),
        "minimum_lesion_ml": 0.0,
        "minimum_share": 0.0,
        "label_map": _label_map(network["settings"]["outputs"]),
    }


def _network(architecture: str, settings: dict[str, Any], weights: bytes, file: str, dimensions: int) -> dict[str, Any]:
    return {
        "name": "volume" if dimensions == 3 else "slices",
        "input": "volume" if dimensions == 3 else "slices",
        "architecture": architecture,
        "settings": settings,
        "context": ForeignNetwork.context,
        "weights": file,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }


def _copy_texts(source: Path, into: Path, facts: BundleFacts) -> None:
    """Copy the model card and licences; write a card from the metadata if the bundle has none."""
    for name, target in (("docs/README.md", CARD), ("LICENSE", LICENCE), ("docs/data_license.txt", "DATA_LICENSE.txt")):
        if (source / name).exists():
            (into / target).write_bytes(read_regular(source / name, _LARGEST_TEXT))
    if not (into / CARD).exists():
        lines = [f"# {_name_of(source)}", facts.text("description"), f"**{_RESEARCH_USE}**", facts.text("intended_use")]
        (into / CARD).write_text("\n\n".join(line for line in lines if line) + "\n", encoding="utf-8")


def _licence(source: Path) -> str:
    """Return the title of the bundle's licence."""
    if not (source / "LICENSE").exists():
        return "not stated"
    text = read_regular(source / "LICENSE", _LARGEST_TEXT).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{lines[0][:80]}, see {LICENCE}" if lines else "not stated"


def _label_map(outputs: list[str]) -> dict[str, str]:
    return {region: f"output {outputs.index(region)}, probability from 0.5" for region in REGIONS}


def _name_of(source: Path) -> str:
    """Return a name with only the characters that a manifest allows."""
    stem = source.resolve().stem if source.is_file() else source.resolve().name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:64] or "model"
