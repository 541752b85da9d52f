"""Networks in ONNX, run by onnxruntime on the CPU; it is loaded only for manifests that need it.

onnxruntime (MIT) and onnx (Apache-2.0) come with the extra ``glionode[onnx]``. Telemetry is switched off.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from inference.errors import InferenceReason, UnusableModel
from inference.foreign_network import ForeignNetwork
from inference.manifest_rules import REGIONS

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["ONNX", "OnnxShape", "load_onnx", "onnx_shape"]

ONNX = "onnx"
"""The architecture's name in a manifest."""

_EXTERNAL = 1
"""TensorProto.DataLocation of a tensor stored in another file (onnx.proto)."""

USUAL_MULTIPLE = 16

OVERLAP = 0.25
"""Share of a window that overlaps the next one (MONAI's default)."""

_ERRORS_ONLY = 3
"""onnxruntime's severity of log lines."""


class OnnxShape:
    """The shapes of a model's single input and single output.

    Attributes
    ----------
    dimensions
        2 for slices, 3 for volumes.
    channels
        Of the input, or None where the model leaves the number open.
    multiple
        Number to a multiple of which every axis is padded. A model does not state it, so it allows for four halvings.
    window
        Fixed size of each axis in voxels, or -1 where any size is possible.
    """

    def __init__(self, session: "onnxruntime.InferenceSession") -> None:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(f"one input and one output are needed (found {len(inputs)} and {len(outputs)})")
        given, answer = inputs[0], outputs[0]
        if {given.type, answer.type} != {"tensor(float)"}:
            raise ValueError(f"input and output must be float32 (found {given.type} and {answer.type})")
        if len(given.shape) not in {4, 5} or len(answer.shape) != len(given.shape):
            shapes = f"{given.shape} and {answer.shape}"
            raise ValueError(f"input and output must have batch, channel and 2 or 3 axes (found {shapes})")
        if isinstance(answer.shape[1], int) and answer.shape[1] != len(REGIONS):
            raise ValueError(f"{len(REGIONS)} output channels are needed, for WT, TC, ET (found {answer.shape[1]})")
        self.dimensions = len(given.shape) - 2
        self.channels = given.shape[1] if isinstance(given.shape[1], int) else None
        self.multiple = USUAL_MULTIPLE
        self.window = [size if isinstance(size, int) else -1 for size in given.shape[2:]]


class _OnnxBody(nn.Module):
    """An onnxruntime session in place of a network's layers."""

    def __init__(self, session: "onnxruntime.InferenceSession") -> None:
        super().__init__()
        self._session = session
        self._input = session.get_inputs()[0].name
        self._window = OnnxShape(session).window
        # Callers take a network's device from its parameters.
        self.place = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the session's output, through a sliding window where the model fixes the size of its images."""
        if max(self._window) < 0:
            return self._run(images)
        from monai.inferers.utils import sliding_window_inference  # noqa: PLC0415 - MONAI takes long to load

        output = sliding_window_inference(images, self._window, 1, self._run, overlap=OVERLAP, mode="gaussian")
        return torch.as_tensor(output)

    def _run(self, images: Tensor) -> Tensor:
        """Run image by image, because many models fix the batch size at one."""
        given = np.ascontiguousarray(images.detach().cpu().float().numpy())
        try:
            answers = [self._session.run(None, {self._input: one[np.newaxis]})[0] for one in given]
        except Exception as error:  # onnxruntime's errors share no other class
            message = f"onnxruntime: {str(error).splitlines()[0]}"
            raise ValueError(message) from error
        return torch.from_numpy(np.concatenate(answers)).to(images.device)


def onnx_shape(content: bytes) -> OnnxShape:
    """Return the shapes of a model's input and output.

    Raises
    ------
    UnusableModel
        If onnxruntime is not installed.
    ValueError
        If the model cannot be used.
    """
    return OnnxShape(_session(content, threads=1))


def load_onnx(content: bytes, settings: Mapping[str, Any], channels: int, threads: int = 0) -> ForeignNetwork:
    """Open a model.

    Parameters
    ----------
    content
        The file's bytes; nothing outside them is read.
    settings
        Keyword arguments of `ForeignNetwork`, from the manifest, without `dimensions`.
    channels
        Number of channels in the manifest.
    threads
        0 for all cores.

    Raises
    ------
    UnusableModel
        If onnxruntime is not installed.
    ValueError
        If the model cannot be used.
    """
    session = _session(content, threads)
    shape = OnnxShape(session)
    if shape.channels not in {None, channels}:
        raise ValueError(f"the model takes {shape.channels} channels, but the manifest lists {channels}")
    return ForeignNetwork(_OnnxBody(session), dimensions=shape.dimensions, **settings)


def _session(content: bytes, threads: int) -> "onnxruntime.InferenceSession":
    try:
        import onnx  # noqa: PLC0415 - an extra
        import onnxruntime  # noqa: PLC0415
    except ImportError as error:
        sentence = "this model is in ONNX and needs onnxruntime: pip install 'glionode[onnx]'"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence) from error
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's errors share no public class
        raise ValueError("not an ONNX file") from error
    if _reads_other_files(model):
        raise ValueError("weights in files outside the ONNX file are not read; store them inside it")
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other class
        message = f"onnxruntime cannot open it: {str(error).splitlines()[0]}"
        raise ValueError(message) from error


def _reads_other_files(message: Any) -> bool:  # noqa: ANN401 - any message of onnx.proto
    """Return whether any tensor, at any depth of graphs, attributes and functions, is stored outside the model."""
    if message.DESCRIPTOR.name == "TensorProto":
        return bool(message.external_data) or message.data_location == _EXTERNAL
    return any(
        _reads_other_files(child)
        for field, value in message.ListFields()
        if field.message_type is not None
        for child in (value if field.is_repeated else [value])
    )
