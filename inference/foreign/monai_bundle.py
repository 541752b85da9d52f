"""Imports a MONAI bundle with the layout of `brats_mri_segmentation`: converts its weights and executes nothing.

Only the network definition in ``configs/inference.json`` is read, as plain values. Other expressions in it are not
read, and none is evaluated. Channels, outputs and figures are read from ``configs/metadata.json``. The published
bundle (Project-MONAI/model-zoo, models/brats_mri_segmentation/configs/metadata.json, ``network_data_format``) has the
channels T1c, T1, T2, FLAIR and the outputs tumour core, whole tumour, enhancing tumour; it normalises each channel over
its non-zero voxels (NormalizeIntensityd: nonzero, channel_wise), returns logits, and takes arrays in the axis order of
BraTS files (LPS).
"""

import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from inference.foreign.incoming import LARGEST_FILE, read_json, read_regular, refused
from inference.foreign_network import MONAI_TARGETS, plain_arguments
from inference.manifest import REGIONS

__all__ = ["BundleFacts", "convert_weights", "is_monai_bundle", "read_bundle"]

CONFIGURATION = "configs/inference.json"
METADATA = "configs/metadata.json"
WEIGHTS = "models/model.pt"

_CHANNELS = {"T1": "T1", "T1C": "T1CE", "T1CE": "T1CE", "T1GD": "T1CE", "T2": "T2", "FLAIR": "FLAIR"}
_OUTPUTS = {
    "tumor core": "TC",
    "tc": "TC",
    "whole tumor": "WT",
    "wt": "WT",
    "enhancing tumor": "ET",
    "et": "ET",
}
_PUBLISHED_CHANNELS = ("T1CE", "T1", "T2", "FLAIR")
_PUBLISHED_OUTPUTS = ("TC", "WT", "ET")
_WRAPPED_IN = ("state_dict", "model", "network", "net")
_LONGEST_TEXT = 2000
_TYPES = frozenset(
    {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool}
)


class BundleFacts:
    """The facts that a bundle states about its network.

    Attributes
    ----------
    architecture, arguments
        The network, in the terms of `inference.foreign_network`.
    channels, outputs
        In the network's order.
    """

    def __init__(self, source: Path) -> None:
        self.metadata = read_json(source / METADATA) if (source / METADATA).exists() else {}
        definition = read_json(source / CONFIGURATION).get("network_def")
        if not isinstance(definition, dict) or not isinstance(definition.get("_target_"), str):
            raise refused(source, f"{CONFIGURATION} has no network_def with a _target_")
        if definition["_target_"] not in MONAI_TARGETS:
            known = ", ".join(name for name in MONAI_TARGETS if "." not in name)
            raise refused(source, f"the network class {definition['_target_'][:60]!r} is not among {known}")
        self.architecture = MONAI_TARGETS[definition["_target_"]]
        try:
            self.arguments = plain_arguments({key: value for key, value in definition.items() if key != "_target_"})
        except ValueError as error:
            raise refused(source, f"{CONFIGURATION}: network_def: {error}") from error
        self.channels = self._order(source, "inputs", _CHANNELS, _PUBLISHED_CHANNELS)
        self.outputs = self._order(source, "outputs", _OUTPUTS, _PUBLISHED_OUTPUTS)
        if sorted(self.outputs) != sorted(REGIONS):
            raise refused(source, f"{METADATA}: outputs are {', '.join(self.outputs)}; WT, TC and ET are needed")

    @property
    def dimensions(self) -> int:
        """Return 2 for a network over slices, 3 for a network over volumes."""
        return 2 if self.arguments.get("spatial_dims", 3) == 2 else 3

    def text(self, name: str) -> str:
        """Return a text of the metadata, or an empty string if it is missing."""
        value = self.metadata.get(name)
        return value.strip()[:_LONGEST_TEXT] if isinstance(value, str) else ""

    def _order(self, source: Path, side: str, known: Mapping[str, str], published: tuple[str, ...]) -> tuple[str, ...]:
        """Return the order of inputs or outputs stated in the metadata, or else that of the published bundle."""
        formats = self.metadata.get("network_data_format")
        sides = formats.get(side) if isinstance(formats, dict) else None
        first = next((one for one in sides.values() if isinstance(one, dict)), {}) if isinstance(sides, dict) else {}
        channel_def = first.get("channel_def")
        if not isinstance(channel_def, dict) or not channel_def:
            return published
        try:
            names = [str(channel_def[str(place)]).strip() for place in range(len(channel_def))]
        except KeyError as error:
            raise refused(source, f"{METADATA}: channel_def of {side} is not numbered from 0") from error
        folded = {name.casefold().replace("tumour", "tumor"): meaning for name, meaning in known.items()}
        keys = [name.casefold().replace("tumour", "tumor") for name in names]
        if unknown := [name for name, key in zip(names, keys, strict=True) if key not in folded]:
            raise refused(
                source, f"{METADATA}: channel_def of {side} names {', '.join(unknown)[:80]}, which is unknown"
            )
        return tuple(folded[key] for key in keys)


def is_monai_bundle(source: Path) -> bool:
    """Tell whether a folder has the layout of a bundle; refuse it if one of its folders is a link."""
    for name in ("configs", "models", "docs"):
        if (source / name).is_symlink():
            raise refused(source / name, "a symbolic link; a model may contain plain files only")
    return (source / CONFIGURATION).is_file() or (source / METADATA).is_file()


def read_bundle(source: Path) -> BundleFacts:
    """Read a bundle's configuration without evaluating anything.

    Raises
    ------
    UnusableModel
        When it does not have this layout, or names something that is not allowed.
    """
    return BundleFacts(source)


def convert_weights(source: Path) -> bytes:
    """Return the bundle's weights as safetensors, named as `inference.foreign_network.ForeignNetwork` names them.

    Raises
    ------
    UnusableModel
        When the file contains anything but tensors.
    """
    path = source / WEIGHTS
    content = read_regular(path)
    _check_archive(path, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about old formats, which it then refuses or reads
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        EOFError,
    ) as error:
        reason = "contains more than weights, or cannot be read; only tensors are loaded (weights_only)"
        raise refused(path, reason) from error
    for key in _WRAPPED_IN:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    return save(_tensors(path, loaded))


def _check_archive(path: Path, content: bytes) -> None:
    """Refuse TorchScript, and archives that are too large when unpacked."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError) as error:
        raise refused(path, "a damaged archive") from error
    if any(entry.filename.endswith("constants.pkl") for entry in entries):
        raise refused(path, "TorchScript contains a program; give the state_dict")
    if sum(entry.file_size for entry in entries) > LARGEST_FILE:
        raise refused(path, f"more than {LARGEST_FILE} bytes when unpacked")


def _tensors(path: Path, loaded: Any) -> dict[str, Tensor]:  # noqa: ANN401 - any content of a file
    if not isinstance(loaded, dict) or not loaded:
        raise refused(path, "contains no state_dict")
    total = 0
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            raise refused(path, f"{str(name)[:60]!r} is not a tensor")
        total += tensor.numel() * tensor.element_size()
        if tensor.device.type != "cpu" or tensor.dtype not in _TYPES:
            raise refused(path, f"{name[:60]!r} has an unsupported device or type ({tensor.device}, {tensor.dtype})")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes() or total > LARGEST_FILE:
            raise refused(path, f"{name[:60]!r} claims more data than the file contains")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise refused(path, f"{name[:60]!r} contains values that are not finite")
    return {f"body.{name}": tensor.detach().clone().contiguous() for name, tensor in loaded.items()}
