"""Manifests: what is written is read back, and whatever cannot be used is refused with its field and its file."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from inference.errors import InferenceReason, UnusableModel
from inference.manifest import (
    LARGEST_MANIFEST,
    MODELS_FOLDER,
    ModelManifest,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from tests.support.detector_model import write_detector


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    """Return the JSON object of a manifest that can be used."""
    content: dict[str, Any] = json.loads((write_detector(tmp_path / "detector") / "manifest.json").read_text())["model"]
    return content


def _parse(model: object) -> ModelManifest:
    return parse_manifest(json.dumps({"model": model}).encode())


def test_a_manifest_is_written_as_it_is_read(tmp_path: Path, model: dict[str, Any]) -> None:
    more = {"label_map": {"WT": "from 0.5"}, "metrics": {"dice": [0.8, {"n": 3}]}, "space": "atlas", "needs": ["T1"]}
    manifest = _parse(model | more)
    sha256 = write_manifest(tmp_path, manifest)
    assert read_manifest(str(tmp_path)) == (tmp_path, manifest, sha256)
    assert sha256 == hashlib.sha256((tmp_path / "manifest.json").read_bytes()).hexdigest()
    assert manifest.metrics == more["metrics"]
    assert manifest.networks[0].settings == model["networks"][0]["settings"]


def test_what_a_manifest_may_leave_out_has_its_default(model: dict[str, Any]) -> None:
    manifest = _parse(model)
    assert (manifest.space, manifest.needs, manifest.label_map, manifest.metrics) == ("native", (), {}, {})


def test_a_model_of_before_states_no_intervals(model: dict[str, Any]) -> None:
    """Its factors were for another arithmetic; what nobody ever wrote is refused all the same."""
    network = model["networks"][0]
    old = {name: value for name, value in network.items() if name != "interval_factors"}
    manifest = _parse(model | {"networks": [old | {"volume_intervals": {"WT": [-1.5, 2.5]}}]})
    assert manifest.networks[0].interval_factors == {}
    with pytest.raises(ValueError, match="unknown field volume_interval;"):
        _parse(model | {"networks": [old | {"volume_interval": {}}]})


def test_the_shipped_manifests_name_every_region_and_their_data() -> None:
    for path in MODELS_FOLDER.glob("*/manifest.json"):
        _, manifest, _ = read_manifest(path.parent.name)
        assert set(manifest.label_map) == {"WT", "TC", "ET"}
        assert "LGG-MRI (Buda et al. 2019)" in manifest.training_data
        for source in ("BraTS 2013 to 2021 (Menze 2015", "NiChart", "Lesjak 2017", "Schmainda and Prah 2018"):
            assert source in manifest.training_data
        assert manifest.metrics
        card = " ".join((path.parent / "MODEL_CARD.md").read_text("utf-8").split())
        for said in (
            "on-commercial research only, not a medical device",
            f"rained on {manifest.training_data}",
            "no training image is contained; users are responsible for the source terms; retrain with `glionode train`",
        ):
            assert said in card
        assert "CC BY-NC-SA 4.0" in card


WRONG: list[tuple[str, Any]] = [
    ("name", "../x"),
    ("name", "a/b"),
    ("name", "a..b"),
    ("name", ".hidden"),
    ("name", ""),
    ("name", "x" * 65),
    ("name", 3),
    ("version", "1/../../2"),
    ("version", 1.0),
    ("licence", ""),
    ("licence", None),
    ("intended_use", ["x"]),
    ("channels", []),
    ("channels", ["T1", "T1"]),
    ("channels", ["T1", "DWI"]),
    ("channels", "T1"),
    ("channels", [["T1"]]),
    ("one_of", []),
    ("core_needs", {"T1CE": 1}),
    ("core_needs", ["FLAIR", 1]),
    ("needs", "T1"),
    ("networks", []),
    ("networks", {}),
    ("thresholds", [0.5, 0.5]),
    ("thresholds", [0.5, 0.5, "0.5"]),
    ("thresholds", [0.5, 0.5, -0.1]),
    ("thresholds", [0.5, 0.5, True]),
    ("minimum_lesion_ml", -1),
    ("minimum_lesion_ml", True),
    ("minimum_share", 1.5),
    ("space", "MNI"),
    ("space", ["native"]),
    ("label_map", {"WT": 1}),
    ("label_map", []),
    ("training_data", 1),
    ("metrics", [1]),
]
WRONG_NETWORK: list[tuple[str, Any]] = [
    ("name", "a/b"),
    ("input", "slice"),
    ("input", {}),
    ("architecture", ""),
    ("architecture", 7),
    ("settings", [1]),
    ("settings", None),
    ("context", -1),
    ("context", 1.0),
    ("context", True),
    ("spacing_mm", 0),
    ("spacing_mm", "1"),
    ("spacing_mm", 1e9),
    ("weights", "../weights.safetensors"),
    ("weights", "/etc/passwd"),
    ("weights", "weights.pt"),
    ("weights", "a\\b.safetensors"),
    ("weights", "a\n.safetensors"),
    ("weights", ["weights.safetensors"]),
    ("weights_sha256", "0" * 63),
    ("weights_sha256", "G" * 64),
    ("weights_sha256", 0),
    ("blind_to", ["DWI"]),
    ("blind_to", "T2"),
    ("needed_on_volumes", ["DWI"]),
    ("share_on_volumes", 1),
    ("share_on_volumes", -0.1),
    ("share_on_volumes", True),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=repr)
def test_a_field_of_a_wrong_kind_is_refused_by_its_name(model: dict[str, Any], field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{field}.* must be "):
        _parse(model | {field: value})


@pytest.mark.parametrize(("field", "value"), WRONG_NETWORK, ids=repr)
def test_a_field_of_a_network_of_a_wrong_kind_is_refused_by_its_name(
    model: dict[str, Any], field: str, value: object
) -> None:
    network = model["networks"][0] | {field: value}
    with pytest.raises(ValueError, match=rf"networks\[0\]: {field} = .* must be "):
        _parse(model | {"networks": [network]})


def test_networks_need_names_and_files_of_their_own(model: dict[str, Any]) -> None:
    network = model["networks"][0]
    with pytest.raises(ValueError, match=r"networks\.name"):
        _parse(model | {"networks": [network, network]})
    with pytest.raises(ValueError, match=r"networks\.weights"):
        _parse(model | {"networks": [network, network | {"name": "other"}]})
    both = _parse(model | {"networks": [network, network | {"name": "other", "weights": "other.safetensors"}]})
    assert [one.name for one in both.networks] == ["slices", "other"]


@pytest.mark.parametrize("field", ["one_of", "core_needs", "needs"])
def test_sequences_that_matter_are_channels(model: dict[str, Any], field: str) -> None:
    three = [name for name in model["channels"] if name != "T2"]
    with pytest.raises(ValueError, match=rf"{field} = .*also channels"):
        _parse(model | {"channels": three, field: ["T2"]})


def test_neighbours_belong_to_slices(model: dict[str, Any]) -> None:
    volume = model["networks"][0] | {"input": "volume", "context": 1}
    with pytest.raises(ValueError, match="context = 1"):
        _parse(model | {"networks": [volume]})


@pytest.mark.parametrize("level", ["model", "network"])
def test_a_field_too_many_or_too_few_is_named(model: dict[str, Any], level: str) -> None:
    target = model if level == "model" else model["networks"][0]
    target["test_time_dropout"] = True
    with pytest.raises(ValueError, match="unknown field test_time_dropout"):
        _parse(model)
    del target["test_time_dropout"], target["name"]
    with pytest.raises(ValueError, match="field name is missing"):
        _parse(model)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"model": 3}', b'{"model": {}, "more": {}}'],
    ids=lambda content: repr(content[:20]),
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the sentence may be that of Python's JSON
        parse_manifest(content)


def test_numbers_that_json_does_not_have_are_refused(model: dict[str, Any]) -> None:
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not a JSON number"):
            _parse(model | {"minimum_lesion_ml": number})


def test_a_manifest_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(UnusableModel, match=rf"too large for a manifest \({LARGEST_MANIFEST + 1} bytes"):
        read_manifest(str(tmp_path))


def test_the_refusal_names_model_file_and_field(tmp_path: Path) -> None:
    folder = write_detector(tmp_path / "detector", minimum_share=2)
    with pytest.raises(UnusableModel, match=r"detector.*manifest\.json: minimum_share = 2") as caught:
        read_manifest(str(folder))
    assert caught.value.reason is InferenceReason.MODEL_UNKNOWN


@pytest.mark.parametrize("name", ["../x", "no\0thing", "glioma/../..", ""])
def test_a_name_that_leads_elsewhere_finds_no_model(name: str) -> None:
    with pytest.raises(UnusableModel) as caught:
        read_manifest(name)
    assert caught.value.reason is InferenceReason.MODEL_MISSING
