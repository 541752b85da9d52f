"""The card of a model says what its manifest says, line by line, and nothing of what it does not have."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference.integrity import CHECKSUMS, check_checksums
from inference.labelling import FAINT_ML
from inference.manifest import AutoencoderManifest, BrainManifest, ModelManifest, NetworkManifest, read_manifest
from inference.training.model_card import CARD, restate, write_card

NETWORK = NetworkManifest(
    name="slices-0",
    input="slices",
    architecture="tumour-unet",
    settings={},
    context=1,
    spacing_mm=1.0,
    weights="slices-0.safetensors",
    weights_sha256="0" * 64,
)
VOLUME = replace(NETWORK, name="volume-0", input="volume", context=0, spacing_mm=1.5, weights="volume-0.safetensors")
MANIFEST = ModelManifest(
    name="ours",
    version="3.1",
    licence="CC BY 4.0",
    intended_use="Finds {tumours} in MR.",
    channels=("T1", "T1CE", "T2", "FLAIR"),
    one_of=("T1CE", "FLAIR"),
    core_needs=("T1CE",),
    networks=(NETWORK,),
    thresholds=(0.5, 0.45, 1.01),
    minimum_lesion_ml=0.25,
    minimum_share=0.05,
    training_data="cases of ours (2024)",
)
BRAIN = BrainManifest(
    settings={}, weights="b.safetensors", weights_sha256="0" * 64, spacing_mm=2.0, threshold=0.5, agreement_flag=0.85
)
AUTOENCODER = AutoencoderManifest(
    settings={},
    weights="a.safetensors",
    weights_sha256="0" * 64,
    whole=(1.0,) * 4,
    channels=dict.fromkeys(MANIFEST.channels, [1.0] * 3),
    flag=1.25,
    gate=2.0,
)


def _card(folder: Path, **changes: Any) -> list[str]:  # noqa: ANN401 - values of any field
    write_card(folder, replace(MANIFEST, **changes))
    return (folder / CARD).read_text("utf-8").splitlines()


def _row(folder: Path, network: NetworkManifest, facts: dict[str, Any] | None = None) -> list[str]:
    """Return the cells of the network's line."""
    lines = _card(folder, networks=(network,), metrics={"trainings": {network.name: facts}} if facts else {})
    (row,) = [line for line in lines if line.startswith(f"| {network.name} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_card_begins_with_what_the_model_is(tmp_path: Path) -> None:
    lines = _card(tmp_path)
    assert lines[0] == "# ours 3.1"
    assert lines[2] == "Finds {tumours} in MR."
    text = " ".join(lines)
    assert "not a medical device.** Trained on cases of ours (2024); no training image is contained" in text
    assert "Licence of the weights: CC BY 4.0." in text
    assert "Thresholds: slices 0.5, 0.45, 1.01." in text
    assert "Islands below 0.25 ml or 5% of the largest lesion are left out." in text


def test_smallest_volumes_stand_where_they_belong(tmp_path: Path) -> None:
    text = " ".join(_card(tmp_path, minimum_core_ml=0.03, minimum_enhancing_ml=0.125))
    assert "Core below 0.03 ml and enhancing tumour below 0.125 ml count as the tissue around them." in text


def test_a_network_without_a_known_training_has_dashes(tmp_path: Path) -> None:
    assert _row(tmp_path, NETWORK) == ["slices-0", "slices", "WT, TC, ET", "-", "", "-", "-", "one CPU core"]


def test_a_network_s_training_is_told(tmp_path: Path) -> None:
    facts = {"cases": {"lgg": 110, "brats": 8}, "steps": 4000, "hours": 1.5, "device": "one GPU"}
    row = _row(tmp_path, replace(NETWORK, fold=0, regions=("WT",)), facts)
    assert row == ["slices-0", "slices", "WT", "0", "110 lgg, 8 brats", "4000", "1.5", "one GPU"]


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (VOLUME, "volume"),
        (replace(VOLUME, views=3), "volume, three axes"),
        (replace(NETWORK, share_on_volumes=0.4), "slices; 40% of the prediction for volumes"),
    ],
)
def test_the_input_of_a_network_is_told(tmp_path: Path, network: NetworkManifest, told: str) -> None:
    assert _row(tmp_path, network)[1] == told


def test_thresholds_of_each_input_are_told_once(tmp_path: Path) -> None:
    own = replace(VOLUME, thresholds=(0.4, 0.35, 0.3))
    networks = (NETWORK, replace(NETWORK, name="slices-1", weights="s.onnx"), own)
    assert "Thresholds: slices 0.5, 0.45, 1.01; volume 0.4, 0.35, 0.3." in " ".join(_card(tmp_path, networks=networks))


def test_figures_are_those_of_cross_validation_and_no_others(tmp_path: Path) -> None:
    metrics = {
        "cross-validated slices": {"Dice WT": 0.87654, "cases": 118},
        "cross-validated volume": {"Dice ET": 0.7},
        "on training data": {"Dice WT": 0.99},
        "trainings": {},
    }
    lines = _card(tmp_path, metrics=metrics)
    table = lines[lines.index("| input | figure | value |") + 2 :]
    assert table[: table.index("")] == [
        "| slices | Dice WT | 0.877 |",
        "| slices | cases | 118.000 |",
        "| volume | Dice ET | 0.700 |",
    ]
    assert "0.99" not in " ".join(lines)


def test_a_model_without_figures_says_how_to_get_them(tmp_path: Path) -> None:
    assert "| | not tuned yet: `glionode models tune` | |" in _card(tmp_path)


def test_what_is_left_out_beside_islands_is_told_only_where_it_is(tmp_path: Path) -> None:
    assert "without a core" not in " ".join(_card(tmp_path))
    begins = f"Spots below {FAINT_ML:g} ml without a core are left out if the tumour probability is below 0.8 "
    faint = f"{begins}in all of their voxels."
    sides = "Parts of up to 3.5 ml without a core that appear alike in both halves of the brain"
    only_faint = _card(tmp_path, minimum_peak=0.8)
    assert faint in only_faint
    assert sides not in " ".join(only_faint)
    only_sides = " ".join(_card(tmp_path, both_sides_ml=3.5))
    assert sides in only_sides
    assert faint not in only_sides
    both = _card(tmp_path, minimum_peak=0.8, both_sides_ml=3.5)
    assert both[both.index(faint) + 1].startswith(sides)


def test_doubts_are_told_for_each_input_once(tmp_path: Path) -> None:
    slices = replace(
        NETWORK, interval_factors={"WT": [-1.0, 2.0], "TC": [-1.0, 3.0]}, agreement_flag=0.7, agreement_gate=0.25
    )
    more = replace(slices, name="slices-1", weights="s.onnx")
    volume = replace(VOLUME, agreement_flag=0.75, agreement_gate=0.5)
    lines = _card(tmp_path, networks=(slices, more, volume))
    assert [line for line in lines if "intervals" in line] == ["Volume intervals are given for WT, TC (input slices)."]
    agreement = "A result is flagged if the ensemble's predictions agree with a Dice below"
    assert [line for line in lines if line.startswith(agreement)] == [
        f"{agreement} 0.7, and withheld below 0.25 (input slices).",
        f"{agreement} 0.75, and withheld below 0.5 (input volume).",
    ]


def test_a_model_without_doubts_says_nothing_of_flags(tmp_path: Path) -> None:
    text = " ".join(_card(tmp_path))
    assert "flagged" not in text
    assert "intervals" not in text


def test_brain_and_novelty_are_told_where_the_model_has_them(tmp_path: Path) -> None:
    lines = _card(tmp_path, brain=BRAIN, autoencoder=AUTOENCODER)
    assert "A result is flagged if the brains found in two sequences agree with a Dice below 0.85." in lines
    assert "A result is flagged if the novelty of the study is 1.25 or more, and withheld at 2 or more." in lines
    assert not any("A separate network finds the brain" in line for line in lines)
    facts = {"trained_on": "40 heads", "steps": 900, "hours": 0.2, "device": "one GPU"}
    assert (
        "A separate network finds the brain at 2 mm in any sequence. It was trained on 40 heads; 900 steps, "
        "0.2 hours on one GPU."
    ) in _card(tmp_path, brain=BRAIN, metrics={"brain": facts})
    bare = " ".join(_card(tmp_path, brain=BRAIN, metrics={"brain": {}}))
    assert "trained on data that are not stated; - steps, - hours on one CPU core." in bare
    assert "finds the brain" not in " ".join(_card(tmp_path, metrics={"brain": facts}))


def test_a_restated_model_is_whole_and_has_the_identity_of_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "LICENSE-WEIGHTS").write_text("CC BY 4.0")
    first = restate(tmp_path, MANIFEST)
    assert first == hashlib.sha256((tmp_path / "manifest.json").read_bytes()).hexdigest()
    check_checksums(tmp_path, "ours", needed=True)
    second = restate(tmp_path, replace(MANIFEST, version="3.2"))
    check_checksums(tmp_path, "ours", needed=True)
    assert second != first
    assert read_manifest(str(tmp_path))[1:] == (replace(MANIFEST, version="3.2"), second)
    assert (tmp_path / CARD).read_text("utf-8").startswith("# ours 3.2\n")
    listed = [line.split("  ")[1] for line in (tmp_path / CHECKSUMS).read_text().splitlines()]
    assert listed == ["LICENSE-WEIGHTS", CARD, "manifest.json"]
