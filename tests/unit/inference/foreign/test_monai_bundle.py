"""MONAI bundles: the weights come over unchanged, and nothing that a bundle says is ever executed."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from inference.errors import UnusableModel
from inference.foreign.addition import add_model
from inference.foreign.intake import ForeignFacts
from inference.model_bundle import load_model
from inference.prediction import predict
from inference.registry import Registry
from tests.support.hostile_pickle import Bomb
from tests.support.monai_bundle import ARGUMENTS, make_segresnet, write_bundle


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "node")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "brats_mri_segmentation")


def _refused(registry: Registry, source: Path) -> str:
    with pytest.raises(UnusableModel) as caught:
        add_model(registry, source)
    assert list(registry.own.rglob("*")) == []
    return str(caught.value)


def test_a_bundle_becomes_a_model_that_says_where_it_is_from(registry: Registry, bundle: Path) -> None:
    model = add_model(registry, bundle)
    manifest = model.manifest
    assert (model.name, model.version) == ("brats_mri_segmentation", "0.5.4")
    assert manifest.channels == manifest.needs == ("T1CE", "T1", "T2", "FLAIR")
    assert manifest.networks[0].settings == {
        "arguments": ARGUMENTS,
        "axes": "LPS",
        "outputs": ["TC", "WT", "ET"],
        "normalise": "nonzero",
    }
    assert (manifest.networks[0].input, manifest.networks[0].architecture) == ("volume", "monai.SegResNet")
    assert manifest.intended_use.startswith("Research use only, not a medical device. This is an example")
    assert manifest.licence == "Apache License, see LICENSE-WEIGHTS"
    assert manifest.training_data == "made for tests; 4 channel data, T1c, T1, T2, FLAIR at 1x1x1 mm"
    assert manifest.metrics == {"val_mean_dice": 0.5}
    files = {
        "LICENSE-WEIGHTS",
        "MODEL_CARD.md",
        "SHA256SUMS",
        "brain.safetensors",
        "manifest.json",
        "weights.safetensors",
    }
    assert {path.name for path in model.folder.iterdir()} == files
    assert (model.folder / "MODEL_CARD.md").read_text() == "# A small bundle\n"
    registry.verify(model)


def test_the_weights_come_over_bit_for_bit(registry: Registry, bundle: Path) -> None:
    converted = load_file(add_model(registry, bundle).folder / "weights.safetensors")
    original = make_segresnet().state_dict()
    assert set(converted) == {f"body.{name}" for name in original}
    assert all(torch.equal(converted[f"body.{name}"], value) for name, value in original.items())


def test_a_volume_is_seen_as_the_bundle_would_see_it(registry: Registry, bundle: Path) -> None:
    """The whole chain against MONAI by hand: order of channels and axes, normalisation, sigmoid, order of outputs."""
    model = load_model(str(add_model(registry, bundle).folder), "cpu", threads=1)
    images = torch.rand(4, 9, 16, 13, generator=torch.Generator().manual_seed(3))
    found = predict(model, images).probabilities
    padded = torch.nn.functional.pad(images, (0, 1, 0, 0, 0, 1))
    mean = images.mean((1, 2, 3), keepdim=True)
    spread = images.std((1, 2, 3), keepdim=True, correction=0)
    given = torch.where(padded != 0, (padded - mean) / spread, 0.0)
    with torch.no_grad():
        answer = make_segresnet()(given.permute(0, 3, 2, 1)[None])[0].sigmoid()
    expected = answer.permute(0, 3, 2, 1)[[1, 0, 2], :9, :16, :13]
    assert found.shape == (3, 9, 16, 13)
    assert (found - expected).abs().max() < 0.02  # the node runs in bfloat16
    assert (found[0] - expected[1]).abs().max() > 0.05


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_state_dict_in_a_wrapping_is_found(registry: Registry, bundle: Path, key: str) -> None:
    torch.save({key: make_segresnet().state_dict(), "epoch": 3}, bundle / "models" / "model.pt")
    assert add_model(registry, bundle).name == "brats_mri_segmentation"


def test_a_bundle_without_metadata_is_taken_for_the_published_one(registry: Registry, bundle: Path) -> None:
    (bundle / "configs" / "metadata.json").unlink()
    (bundle / "docs" / "README.md").unlink()
    (bundle / "LICENSE").unlink()
    model = add_model(registry, bundle)
    assert model.manifest.channels == ("T1CE", "T1", "T2", "FLAIR")
    assert model.manifest.networks[0].settings["outputs"] == ["TC", "WT", "ET"]
    assert (model.version, model.manifest.licence) == ("0", "not stated")
    assert "Research use only" in (model.folder / "MODEL_CARD.md").read_text()


def test_another_order_of_channels_is_followed(registry: Registry, tmp_path: Path) -> None:
    formats = {
        "inputs": {"image": {"channel_def": {"0": "FLAIR", "1": "T1", "2": "t1gd", "3": "T2"}}},
        "outputs": {"pred": {"channel_def": {"0": "Enhancing Tumour", "1": "WT", "2": "Tumor Core"}}},
    }
    model = add_model(registry, write_bundle(tmp_path / "other", metadata={"network_data_format": formats}))
    assert model.manifest.channels == ("FLAIR", "T1", "T1CE", "T2")
    assert model.manifest.networks[0].settings["outputs"] == ["ET", "WT", "TC"]


def test_what_a_person_says_goes_first(registry: Registry, bundle: Path) -> None:
    given = ForeignFacts(name="mine", version="7", channels=("T1", "T1CE", "T2", "FLAIR"), axes="RAS", spacing_mm=1.5)
    model = add_model(registry, bundle, given)
    assert (model.name, model.version) == ("mine", "7")
    assert model.manifest.channels == ("T1", "T1CE", "T2", "FLAIR")
    assert (model.manifest.networks[0].settings["axes"], model.manifest.networks[0].spacing_mm) == ("RAS", 1.5)


@pytest.mark.parametrize(
    "definition",
    [
        {"init_filters": "$__import__('os').abort()"},
        {"act": "$import os"},
        {"in_channels": "@channels"},
        {"norm": ["GROUP", {"num_groups": "$8"}]},
        {"norm": {"_target_": "os.system"}},
        {"_requires_": "$exit(3)"},
        {"_target_": "os.system"},
        {"_target_": "monai.networks.nets.UNETR"},
        {"_target_": "scripts.SegResNet"},
        {"_target_": "$monai.networks.nets.SegResNet"},
        {"_target_": ["SegResNet"]},
        {"init_filters": 10**9},
        {"blocks_down": [1] * 500},
        {"depth": 3},
        {"init_filters": 16},
        {"out_channels": 2},
    ],
    ids=repr,
)
def test_a_definition_that_is_not_plain_or_does_not_fit_is_refused(
    registry: Registry, tmp_path: Path, definition: dict[str, Any]
) -> None:
    assert _refused(registry, write_bundle(tmp_path / "bundle", definition))


@pytest.mark.parametrize("target", ["monai.networks.nets.SegResNet", "monai.networks.nets.segresnet.SegResNet"])
def test_the_class_may_be_named_in_full(registry: Registry, tmp_path: Path, target: str) -> None:
    assert add_model(registry, write_bundle(tmp_path / "bundle", {"_target_": target})).name == "bundle"


@pytest.mark.parametrize(
    "metadata",
    [
        {"network_data_format": {"inputs": {"image": {"channel_def": {"0": "CT"}}}}},
        {"network_data_format": {"inputs": {"image": {"channel_def": {"1": "T1", "2": "T2"}}}}},
        {"network_data_format": {"outputs": {"pred": {"channel_def": {"0": "Whole tumor"}}}}},
        {"version": "../../1"},
    ],
    ids=repr,
)
def test_metadata_that_nobody_understands_are_refused(
    registry: Registry, tmp_path: Path, metadata: dict[str, Any]
) -> None:
    assert _refused(registry, write_bundle(tmp_path / "bundle", metadata=metadata))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_a_program_is_refused_and_runs_nothing(
    registry: Registry, bundle: Path, tmp_path: Path, protocol: int
) -> None:
    trace = tmp_path / "trace"
    weights = bundle / "models" / "model.pt"
    weights.write_bytes(pickle.dumps(Bomb(trace), protocol))
    assert "weights_only" in _refused(registry, bundle)
    torch.save({**make_segresnet().state_dict(), "extra": Bomb(trace)}, weights)
    assert "weights_only" in _refused(registry, bundle)
    torch.save(make_segresnet(), weights)  # the whole network, pickled
    assert "weights_only" in _refused(registry, bundle)
    assert not trace.exists()


def test_a_program_in_torchscript_is_refused(registry: Registry, bundle: Path) -> None:
    with zipfile.ZipFile(bundle / "models" / "model.pt", "w") as archive:
        archive.writestr("model/constants.pkl", pickle.dumps(()))
        archive.writestr("model/code/__torch__.py", "")
    assert "TorchScript contains a program" in _refused(registry, bundle)


def test_an_archive_that_grows_is_refused(registry: Registry, bundle: Path) -> None:
    small = io.BytesIO()
    with zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b"")
    content = bytearray(small.getvalue())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (0xFFFFFFF0).to_bytes(4, "little")  # the size it claims to have when opened
    (bundle / "models" / "model.pt").write_bytes(content)
    assert "bytes when unpacked" in _refused(registry, bundle)


@pytest.mark.parametrize("damage", ["truncated", "empty", "link", "absent", "list"])
def test_damaged_weights_are_refused(registry: Registry, bundle: Path, tmp_path: Path, damage: str) -> None:
    weights = bundle / "models" / "model.pt"
    content = weights.read_bytes()
    weights.unlink()
    if damage == "truncated":
        weights.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        weights.touch()
    elif damage == "link":
        (tmp_path / "real.pt").write_bytes(content)
        weights.symlink_to(tmp_path / "real.pt")
    elif damage == "list":
        torch.save(list(make_segresnet().state_dict().values()), weights)
    assert "model.pt: " in _refused(registry, bundle)


@pytest.mark.parametrize(
    ("says", "changed"),
    [
        ("is not a tensor", lambda _: 1.0),
        ("contains values that are not finite", lambda value: value * float("inf")),
        ("claims more data than the file contains", lambda _: torch.zeros(1).expand(10**12)),  # terabytes of one number
        ("unsupported device or type (meta", lambda value: value.to("meta")),
        ("unsupported device or type (cpu, torch.float8", lambda value: value.to(torch.float8_e4m3fn)),
    ],
)
def test_tensors_that_are_no_weights_are_refused(
    registry: Registry, bundle: Path, says: str, changed: Callable[[torch.Tensor], object]
) -> None:
    state = {name: changed(value) for name, value in make_segresnet().state_dict().items()}
    torch.save(state, bundle / "models" / "model.pt")
    assert says in _refused(registry, bundle)


@pytest.mark.parametrize("name", ["configs", "models"])
def test_a_folder_of_the_bundle_that_is_a_link_is_refused(
    registry: Registry, bundle: Path, tmp_path: Path, name: str
) -> None:
    (bundle / name).rename(tmp_path / "elsewhere")
    (bundle / name).symlink_to(tmp_path / "elsewhere")
    assert _refused(registry, bundle) == f"{name}: a symbolic link; a model may contain plain files only"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"network_def": 3}', '{"network_def": {"a": 1}}', "[" * 9999])
def test_a_configuration_without_a_network_is_refused(registry: Registry, bundle: Path, content: str) -> None:
    (bundle / "configs" / "inference.json").write_text(content)
    assert "inference.json" in _refused(registry, bundle)


def test_the_folder_is_asked_for_its_name_alone(registry: Registry, tmp_path: Path) -> None:
    model = add_model(registry, write_bundle(tmp_path / "A bundle (copy) $HOME"))
    assert model.name == "A-bundle-copy-HOME"
    assert json.loads((model.folder / "manifest.json").read_text())["model"]["name"] == model.name
