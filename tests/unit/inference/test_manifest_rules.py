"""Each rule of a manifest holds up to its limit and not beyond it, and its sentence says what it wants."""

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from inference.manifest_rules import (
    AUTOENCODER_RULES,
    BRAIN_RULES,
    MODEL_RULES,
    NETWORK_RULES,
    check_fields,
    refuse,
)

NAN, INFINITE = float("nan"), float("inf")
SEQUENCES = ("T1", "T1CE", "T2", "FLAIR")
LEVELS = {name: [0.1, 0.2, 0.3] for name in SEQUENCES}
Case = tuple[str, list[Any], list[Any]]

MODEL: list[Case] = [
    ("name", ["a", "x" * 64, "glioma-2.0_b"], ["x" * 65, "a b", "glioma\n", "ü", "-a", "a..b", b"a", None]),
    ("version", ["1", "1.0+local", "2" * 32], ["2" * 33, "1 ", "+1", "1..0", 1]),
    ("licence", ["CC0", "x" * 10_000], ["", " \n\t", "x" * 10_001, 0]),
    ("channels", [("FLAIR",), SEQUENCES], [(), ["FLAIR"], ("flair",), ("FLAIR", "FLAIR"), None]),
    ("core_needs", [(), ("T1CE",)], ["", ("T1CE", 1), {"T1CE"}]),
    ("thresholds", [(0, 0.5, 1.01)], [(0.5, 0.5), (0.5,) * 4, [0.5] * 3, (0.5, 0.5, NAN), (0.5, 0.5, False), None]),
    ("minimum_core_ml", [0, 0.0, 2.5], [-0.1, NAN, INFINITE, "1", True, None]),
    ("minimum_peak", [0, 1, 0.5], [1.01, -0.01, NAN, True]),
    ("both_sides_ml", [0, 3], [-1, INFINITE]),
    (
        "smallest_seen_ml",
        [{}, {"FLAIR thick": 0.4, "T1CE+FLAIR thin": 0}],
        [{"FLAIR": 1}, {"FLAIR+T1CE thin": 1}, {"T2 thin": 1}, {"FLAIR thin": -1}, {"FLAIR thin": None}, []],
    ),
    ("space", ["native", "atlas"], ["", "Native", None, ["native"]]),
    ("label_map", [{}, {"WT": "from 0.5"}], [{"WT": None}, "WT", None]),
    ("training_data", ["", "ours"], [None, ["ours"]]),
    ("metrics", [{}, {"dice": [0.8]}], [[], None, "0.8"]),
]

NETWORK: list[Case] = [
    ("input", ["slices", "volume"], ["", "Volume", ["volume"], None]),
    ("context", [0, 16], [17, -1, 1.0, True, None]),
    ("spacing_mm", [0.1, 20, 20.0], [0.09, 20.1, NAN, True]),
    ("weights", ["a.safetensors", "a.onnx"], ["a.pt", ".safetensors", "a/b.onnx", "a..onnx", "a.onnx\n", "A.ONNX"]),
    ("weights_sha256", ["0" * 64, "0123456789abcdef" * 4], ["0" * 65, "A" * 64, None]),
    ("views", [1, 3], [0, 2, True, 1.0, 3.0, "3", None, []]),
    ("fold", [None, 0, 7], [-1, True, 1.0, "0"]),
    ("thresholds", [None, (0.4, 0.5, 0.6)], [(), (0.4,), (0.4, 0.5, -0.6)]),
    (
        "interval_factors",
        [{}, {"WT": [-1.5, 2.5]}, {"WT": [0, 0], "TC": [-1, 1], "ET": [-2.0, 3]}],
        [{"ED": [-1, 1]}, {"WT": [1]}, {"WT": (-1, 1)}, {"WT": [-1, NAN]}, {"WT": [True, 1]}, {"WT": 1}, [], None],
    ),
    ("agreement_flag", [0, 0.85, 1], [1.5, -0.1, None, True]),
    ("n4", [True, False], [0, 1, None, "true"]),
    ("blind_to", [(), ("T2",)], [("DWI",), ("T2", "T2"), ["T2"]]),
    ("share_on_volumes", [0, 0.999], [1, 1.0, -0.1, NAN]),
    ("brain_alone", [None, True, False], [0, "", 1]),
    ("regions", [("WT", "TC", "ET"), ("WT",)], [("TC",), ("TC", "WT", "ET"), (), ["WT"], "WT"]),
]

AUTOENCODER: list[Case] = [
    ("settings", [{}], [[], None]),
    ("whole", [(1, 2, 3, 4), [0.1] * 4], [(1, 2, 3), (1,) * 5, (1, 1, 1, 0), (1, 1, 1, INFINITE), "1234", None]),
    (
        "channels",
        [LEVELS],
        [{}, LEVELS | {"T2": [0.1, 0.2]}, LEVELS | {"T2": [0.1, 0.2, 0]}, LEVELS | {"DWI": [1, 1, 1]}, [LEVELS]],
    ),
    ("flag", [0, 12.5], [-1, NAN]),
    ("gate", [0, 12.5], [INFINITE, "2"]),
]

BRAIN: list[Case] = [
    ("spacing_mm", [1, 4.0], [0.99, 4.01, True]),
    ("threshold", [0.01, 1], [0, 1.01, NAN]),
    ("agreement_flag", [0, 1], [-0.01, 1.01]),
]


def _table(rules: Mapping[str, Any], cases: list[Case]) -> list[Any]:
    return [pytest.param(rules, *case, id=case[0]) for case in cases]


@pytest.mark.parametrize(
    ("rules", "field", "good", "bad"),
    [
        *_table(MODEL_RULES, MODEL),
        *_table(NETWORK_RULES, NETWORK),
        *_table(AUTOENCODER_RULES, AUTOENCODER),
        *_table(BRAIN_RULES, BRAIN),
    ],
)
def test_a_field_is_taken_up_to_its_limit_and_refused_beyond(
    rules: Mapping[str, Any], field: str, good: list[Any], bad: list[Any]
) -> None:
    rule = {field: rules[field]}
    for value in good:
        check_fields(SimpleNamespace(**{field: value}), rule)
    sentence = re.compile(rf"{field} = .*: it must be {re.escape(rule[field][1])}", re.DOTALL)
    for value in bad:
        with pytest.raises(ValueError, match=f"^{field} = ") as caught:
            check_fields(SimpleNamespace(**{field: value}), rule)
        assert sentence.fullmatch(str(caught.value)), value


def test_the_first_field_that_breaks_its_rule_is_named() -> None:
    brain = SimpleNamespace(
        settings={}, weights="a.safetensors", weights_sha256="0" * 64, spacing_mm=9, threshold=9, agreement_flag=9
    )
    with pytest.raises(ValueError, match=r"^spacing_mm = 9: it must be a number from 1 to 4$"):
        check_fields(brain, BRAIN_RULES)
    brain.spacing_mm = 2
    with pytest.raises(ValueError, match=r"^threshold = 9: it must be a number above 0 and up to 1$"):
        check_fields(brain, BRAIN_RULES)
    brain.threshold, brain.agreement_flag = 0.5, 0.9
    check_fields(brain, BRAIN_RULES)


@pytest.mark.parametrize(("length", "shown"), [(78, "'" + "x" * 78 + "'"), (79, "'" + "x" * 76 + "...")])
def test_a_long_value_is_shortened_to_eighty_characters(length: int, shown: str) -> None:
    with pytest.raises(ValueError, match="must be short") as caught:
        refuse("name", "x" * length, "short")
    assert str(caught.value) == f"name = {shown}: it must be short"
    assert len(shown) == 80


@pytest.mark.parametrize("field", ["minimum_lesion_ml", "minimum_peak", "thresholds", "spacing_mm", "interval_factors"])
def test_an_integer_that_no_float_holds_is_refused_by_its_name(field: str) -> None:
    huge = 10**400
    value = {"thresholds": (huge,) * 3, "interval_factors": {"WT": [-1, huge]}}.get(field, huge)
    rules = {**NETWORK_RULES, **MODEL_RULES}
    with pytest.raises(ValueError, match=f"^{field} = "):
        check_fields(SimpleNamespace(**{field: value}), {field: rules[field]})
