"""Models in ONNX: the same interface, the same answers, and nothing read beside the file."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference.errors import UnusableModel
from inference.foreign.addition import add_model
from inference.foreign.intake import ForeignFacts
from inference.model_bundle import ModelBundle, load_model
from inference.prediction import predict
from inference.registry import Registry

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

OPSET = 21
AXES = {2: ["rows", "columns"], 3: ["slices", "rows", "columns"]}


def _weights(dimensions: int, channels: int = 4) -> NDArray[np.float32]:
    """Return a kernel of one voxel that answers the first three channels, times 2, 3 and 4."""
    kernel = np.zeros((3, channels) + (1,) * dimensions, np.float32)
    for place in range(3):
        kernel[place, place % channels] = place + 2
    return kernel


def _write(path: Path, dimensions: int = 2, *, shape: list[Any] | None = None, **changes: Any) -> Path:  # noqa: ANN401
    """Write a model of one convolution.

    Parameters
    ----------
    shape
        Of input and output without the channels: batch and axes.
    changes
        `channels` in; `operator` instead of Conv's answer; `kind` of numbers; `more` outputs.
    """
    batch, *axes = shape or ["batch", *AXES[dimensions]]
    kind = changes.get("kind", onnx.TensorProto.FLOAT)
    channels = changes.get("channels", 4)
    given = onnx.helper.make_tensor_value_info("images", kind, [batch, channels, *axes])
    answers = [onnx.helper.make_tensor_value_info("answer", kind, [batch, 3, *axes])]
    values = _weights(dimensions, 4 if isinstance(channels, str) else channels)
    kernel = onnx.numpy_helper.from_array(values.astype(onnx.helper.tensor_dtype_to_np_dtype(kind)), "kernel")
    if changes.get("external"):
        kernel.ClearField("raw_data")
        kernel.data_location = onnx.TensorProto.EXTERNAL
        kernel.external_data.add(key="location", value="../../../etc/passwd")
    nodes = [onnx.helper.make_node("Conv", ["images", "kernel"], ["logits"])]
    if changes.get("external in an attribute"):
        outside = onnx.TensorProto(name="far", data_type=onnx.TensorProto.FLOAT, dims=[1])
        outside.data_location = onnx.TensorProto.EXTERNAL
        outside.external_data.add(key="location", value="secret.bin")
        nodes.append(onnx.helper.make_node("Constant", [], ["far"], value=outside))
    nodes.append(onnx.helper.make_node(changes.get("operator", "Identity"), ["logits"], ["answer"]))
    if changes.get("more"):
        nodes.append(onnx.helper.make_node("Identity", ["logits"], ["second"]))
        answers.append(onnx.helper.make_tensor_value_info("second", kind, [batch, 3, *axes]))
    graph = onnx.helper.make_graph(nodes, "small", [given], answers, [kernel])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "node")


def _added(registry: Registry, path: Path, **given: Any) -> ModelBundle:  # noqa: ANN401
    return load_model(str(add_model(registry, path, ForeignFacts(**given)).folder), "cpu", threads=1)


def _images(slices: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(4).uniform(-1, 1, (4, slices, 40, 37)).astype(np.float32)


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-values)), np.float32)


FACTORS = np.array([2, 3, 4], np.float32)[:, None, None, None]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_model_answers_through_the_same_interface(registry: Registry, tmp_path: Path, dimensions: int) -> None:
    model = _added(registry, _write(tmp_path / "small.onnx", dimensions))
    images = torch.from_numpy(_images())
    assert np.allclose(predict(model, images).probabilities, _sigmoid(images.numpy()[:3] * FACTORS), atol=1e-5)
    manifest = model.manifest
    assert (manifest.name, manifest.version) == ("small", "1")
    assert manifest.channels == manifest.needs == ("T1", "T1CE", "T2", "FLAIR")
    assert manifest.networks[0].input == {2: "slices", 3: "volume"}[dimensions]
    assert (manifest.networks[0].architecture, manifest.networks[0].weights) == ("onnx", "network.onnx")


def test_what_a_person_says_about_it_is_followed(registry: Registry, tmp_path: Path) -> None:
    told = {"channels": ("FLAIR", "T1", "T2", "T1CE"), "outputs": ("ET", "TC", "WT"), "axes": "LP", "name": "mine"}
    model = _added(registry, _write(tmp_path / "small.onnx", operator="Sigmoid"), **told, answers="probabilities")
    images = torch.from_numpy(_images())
    expected = _sigmoid(images.numpy()[:3] * FACTORS)[[2, 1, 0]]
    assert np.allclose(predict(model, images).probabilities, expected, atol=1e-5)
    assert model.manifest.channels == told["channels"]
    assert model.manifest.name == "mine"


@pytest.mark.parametrize("window", [16, 64], ids=["smaller", "larger"])
def test_a_model_of_a_fixed_size_looks_through_a_window(registry: Registry, tmp_path: Path, window: int) -> None:
    model = _added(registry, _write(tmp_path / "small.onnx", shape=[1, window, window]))
    images = torch.from_numpy(_images())
    assert np.allclose(predict(model, images).probabilities, _sigmoid(images.numpy()[:3] * FACTORS), atol=1e-4)


def test_the_channels_may_be_left_open(registry: Registry, tmp_path: Path) -> None:
    model = _added(registry, _write(tmp_path / "small.onnx", channels="channels"))
    assert model.manifest.channels == ("T1", "T1CE", "T2", "FLAIR")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"channels": 2}, "has 2 input channels; name them in order"),
        ({"more": True}, "one output are needed .found 1 and 2"),
        ({"kind": 10}, "must be float32"),
        ({"external": True}, "outside the ONNX file are not read"),
        ({"external in an attribute": True}, "outside the ONNX file are not read"),
        ({"operator": "NoSuchOperator"}, "onnxruntime cannot open it"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_model_that_does_not_fit_is_refused(
    registry: Registry, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    path = _write(tmp_path / "small.onnx", **changes)
    with pytest.raises(UnusableModel, match=says):
        add_model(registry, path)
    assert list(registry.own.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"not ONNX", b"\x08\xff" * 50])
def test_what_is_no_onnx_is_refused(registry: Registry, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "small.onnx").write_bytes(content)
    with pytest.raises(UnusableModel, match=r"small\.onnx: (onnxruntime cannot open it|not an ONNX file)"):
        add_model(registry, tmp_path / "small.onnx")


def test_without_onnxruntime_the_extra_is_named(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnusableModel, match=r"pip install 'glionode\[onnx\]'"):
        add_model(registry, _write(tmp_path / "small.onnx"))


def test_a_changed_byte_stops_it(registry: Registry, tmp_path: Path) -> None:
    model = add_model(registry, _write(tmp_path / "small.onnx"))
    network = model.folder / "network.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"\0")
    with pytest.raises(UnusableModel, match="differs from its SHA-256"):
        load_model(str(model.folder), "cpu", threads=1)


def test_it_can_be_taken_along_to_another_node(registry: Registry, tmp_path: Path) -> None:
    """A folder that one node made is our own form to the next."""
    first = add_model(registry, _write(tmp_path / "small.onnx"))
    second = add_model(Registry(tmp_path / "other"), first.folder)
    assert (second.sha256, second.manifest) == (first.sha256, first.manifest)
