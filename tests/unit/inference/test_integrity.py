"""The list of hashes of a model: that of sha256sum, and whatever differs from it is named."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from inference.errors import InferenceReason, UnusableModel
from inference.integrity import (
    CHECKSUMS,
    check_checksums,
    file_sha256,
    read_weights,
    verify_model,
    write_checksums,
)
from inference.manifest import AutoencoderManifest, BrainManifest, ModelManifest, NetworkManifest

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""Of "abc" and of no byte at all (FIPS 180-4, and its example values)."""

PARTS = ("one.safetensors", "two.safetensors", "autoencoder.safetensors", "brain.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b.md").write_bytes(b"abc")
    (tmp_path / "a.json").write_bytes(b"")
    write_checksums(tmp_path)
    return tmp_path


def _refusal(folder: Path, *, needed: bool = False) -> str:
    with pytest.raises(UnusableModel) as caught:
        check_checksums(folder, "ours", needed=needed)
    assert caught.value.reason is InferenceReason.MODEL_CHANGED
    assert str(caught.value).startswith("model ours: ")
    assert str(caught.value).endswith("; add the model again")
    return str(caught.value).removeprefix("model ours: ").removesuffix("; add the model again")


def test_a_hash_is_that_of_the_standard(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, sha256 in (
        (b"abc", ABC),
        (b"", NOTHING),
        (b"a" * 300_000, hashlib.sha256(b"a" * 300_000).hexdigest()),
    ):
        path.write_bytes(content)
        assert file_sha256(path) == sha256


def test_the_list_is_that_of_sha256sum_in_order_of_name_and_without_itself(folder: Path) -> None:
    expected = f"{NOTHING}  a.json\n{ABC}  b.md\n"
    assert (folder / CHECKSUMS).read_text() == expected
    write_checksums(folder)
    assert (folder / CHECKSUMS).read_text() == expected
    check_checksums(folder, "ours", needed=True)


def test_a_folder_without_a_list_passes_only_where_none_is_needed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    check_checksums(tmp_path, "ours")
    assert _refusal(tmp_path, needed=True) == "SHA256SUMS is missing"


def test_a_changed_a_missing_and_a_foreign_file_are_named(folder: Path) -> None:
    (folder / "b.md").write_bytes(b"abd")
    assert _refusal(folder) == "b.md differs from its SHA-256 in SHA256SUMS"
    (folder / "more.py").touch()
    assert _refusal(folder) == "more.py was not there when the model was added"
    (folder / "a.json").unlink()
    assert _refusal(folder) == "a.json is missing"


def test_a_hidden_file_and_a_folder_are_foreign_too(folder: Path) -> None:
    (folder / ".hidden").touch()
    assert _refusal(folder).startswith(".hidden was not there")
    (folder / ".hidden").unlink()
    (folder / "__pycache__").mkdir()
    assert _refusal(folder).startswith("__pycache__ was not there")


def test_a_link_to_the_same_bytes_is_not_the_file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "b.md"
    (folder / "b.md").rename(elsewhere)
    (folder / "b.md").symlink_to(elsewhere)
    assert (folder / "b.md").read_bytes() == b"abc"
    assert _refusal(folder).startswith("b.md differs")
    (folder / "b.md").unlink()
    (folder / "b.md").mkdir()
    assert _refusal(folder).startswith("b.md differs")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no hash at all",
        f"{ABC} b.md",
        f"{ABC} *b.md",
        f"{ABC.upper()}  b.md",
        f"{ABC[1:]}  b.md",
        f"{ABC}  ../b.md",
        f"{ABC}  /etc/passwd",
        f"{ABC}  .hidden",
        f"{ABC}  b.md ",
        f"{ABC}  ",
    ],
    ids=repr,
)
def test_one_line_that_is_no_hash_spoils_the_list(folder: Path, line: str) -> None:
    (folder / CHECKSUMS).write_text(f"{NOTHING}  a.json\n{line}\n")
    assert _refusal(folder) == "SHA256SUMS is not a list of hashes"


def test_an_empty_or_unreadable_list_is_no_list(folder: Path) -> None:
    (folder / CHECKSUMS).write_bytes(b"")
    assert _refusal(folder) == "SHA256SUMS is not a list of hashes"
    (folder / CHECKSUMS).write_bytes(b"\xff\xfe")
    assert _refusal(folder) == "SHA256SUMS cannot be read"
    (folder / CHECKSUMS).unlink()
    (folder / CHECKSUMS).mkdir()
    assert _refusal(folder) == "SHA256SUMS cannot be read"


def _network(name: str) -> NetworkManifest:
    return NetworkManifest(
        name=name,
        input="slices",
        architecture="tumour-unet",
        settings={},
        context=0,
        spacing_mm=1.0,
        weights=f"{name}.safetensors",
        weights_sha256=hashlib.sha256(f"{name}.safetensors".encode()).hexdigest(),
    )


@pytest.fixture
def manifest(tmp_path: Path) -> ModelManifest:
    """Return the manifest of a model of four parts, the bytes of each of which are its name."""
    for name in PARTS:
        (tmp_path / name).write_text(name)
    told = {name: hashlib.sha256(name.encode()).hexdigest() for name in PARTS}
    autoencoder = AutoencoderManifest(
        settings={},
        weights=PARTS[2],
        weights_sha256=told[PARTS[2]],
        whole=(1.0,) * 4,
        channels=dict.fromkeys(("T1", "T1CE", "T2", "FLAIR"), [1.0] * 3),
        flag=1.0,
        gate=2.0,
    )
    brain = BrainManifest(
        settings={}, weights=PARTS[3], weights_sha256=told[PARTS[3]], spacing_mm=2.0, threshold=0.5, agreement_flag=0.8
    )
    return ModelManifest(
        name="ours",
        version="1",
        licence="CC0",
        intended_use="Tests",
        channels=("FLAIR",),
        one_of=("FLAIR",),
        core_needs=(),
        networks=(_network("one"), _network("two")),
        thresholds=(0.5, 0.5, 0.5),
        minimum_lesion_ml=0.0,
        minimum_share=0.0,
        autoencoder=autoencoder,
        brain=brain,
    )


def test_a_whole_model_passes_and_its_weights_are_the_bytes_of_the_file(
    tmp_path: Path, manifest: ModelManifest
) -> None:
    verify_model(tmp_path, manifest)
    assert read_weights(tmp_path, "ours", manifest.networks[1]) == b"two.safetensors"
    assert manifest.brain is not None
    assert read_weights(tmp_path, "ours", manifest.brain) == b"brain.safetensors"


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_a_model_is_hashed_again(tmp_path: Path, manifest: ModelManifest, part: str) -> None:
    (tmp_path / part).write_text(part + " ")
    with pytest.raises(UnusableModel, match=f"^model ours: the weights in {part} differ from the SHA-256") as caught:
        verify_model(tmp_path, manifest)
    assert caught.value.reason is InferenceReason.MODEL_CHANGED
    (tmp_path / part).unlink()
    with pytest.raises(UnusableModel, match=f"^model ours: {part} is missing$") as caught:
        verify_model(tmp_path, manifest)
    assert caught.value.reason is InferenceReason.MODEL_MISSING


def test_a_model_without_autoencoder_and_brain_needs_no_files_of_theirs(
    tmp_path: Path, manifest: ModelManifest
) -> None:
    for part in PARTS[2:]:
        (tmp_path / part).unlink()
    with pytest.raises(UnusableModel, match="is missing"):
        verify_model(tmp_path, manifest)
    verify_model(tmp_path, replace(manifest, autoencoder=None, brain=None))


def test_the_list_is_checked_beside_the_manifest_and_needed_on_request(tmp_path: Path, manifest: ModelManifest) -> None:
    with pytest.raises(UnusableModel, match="SHA256SUMS is missing"):
        verify_model(tmp_path, manifest, listed=True)
    (tmp_path / "card.md").write_text("first")
    write_checksums(tmp_path)
    verify_model(tmp_path, manifest, listed=True)
    (tmp_path / "card.md").write_text("other")
    with pytest.raises(UnusableModel, match=r"card\.md differs from its SHA-256"):
        verify_model(tmp_path, manifest)


def test_weights_of_gigabytes_are_not_read(tmp_path: Path, manifest: ModelManifest) -> None:
    with (tmp_path / PARTS[0]).open("r+b") as file:
        file.truncate(2**31 + 1)
    with pytest.raises(UnusableModel, match=rf"too large \({2**31 + 1} bytes; at most {2**31} are read\)") as caught:
        read_weights(tmp_path, "ours", manifest.networks[0])
    assert caught.value.reason is InferenceReason.MODEL_UNKNOWN
