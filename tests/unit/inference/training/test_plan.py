"""A training plan: what cannot be trained is refused before hours are spent."""

from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import pytest

from inference.training.plan import TrainingPlan

HEADS = {"filters": [4, 8], "narrow": 4}


def test_the_rate_rises_and_falls() -> None:
    plan = TrainingPlan(steps=1000, warm_up=100)
    rates = [plan.rate_at(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates.index(max(rates)) == 99
    assert all(later <= earlier for earlier, later in pairwise(rates[99:]))
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"crop": (1, 100, 224)}, "multiples of 32"),
        ({"network": {"dimensions": 3, "filters": [4, 8, 8]}, "crop": (6, 24, 24)}, "multiples of 4"),
        ({"network": {"dimensions": 3, "context": 1, "filters": [4, 8, 8]}}, "use 2 with any context"),
        (
            {"network": {"dimensions": 2, "variant": "wide", "filters": [4, 8, 8]}},
            "use one of plain, residual, attention",
        ),
        (
            {"network": {"dimensions": 2, "variant": "attention", "deep_supervision": True, "filters": [4, 8, 8]}},
            "attention excludes deep supervision",
        ),
        ({"network": {"dimensions": 2, "filters": [4, 8]}}, "three levels"),
        ({"source_share": {"lgg": 0.7, "brats": 0.5}}, "add up to 1 or less"),
        ({"views": 2}, "views 2: use 1, or 3 with a network of 2 dimensions"),
        ({"views": 3, "network": {"dimensions": 3, "filters": [4, 8, 8]}, "crop": (8, 8, 8)}, "use 1, or 3"),
        (
            {"network": {"dimensions": 2, "variant": "residual", "filters": [4, 8, 8]}},
            "a residual network needs 8 or more",
        ),
        ({"task": "classify"}, "task 'classify': use segment or reconstruct"),
        ({"task": "reconstruct", "network": HEADS, "crop": (40, 48, 42)}, "multiples of 4"),
        ({"task": "reconstruct", "network": HEADS, "crop": (40, 48, 40), "validate_every": 5}, "leave validate_every"),
    ],
)
def test_what_cannot_be_trained_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TrainingPlan(**change)


def test_every_setting_counts_in_the_hash() -> None:
    plan = TrainingPlan()
    assert plan.sha256 == TrainingPlan().sha256
    changes: dict[str, Any] = {"crop": (1, 192, 192), "drop": (0, 0, 0, 0), "source_share": {"lgg": 0.5}}
    changes["network"] = plan.network | {"variant": "residual"}
    changes["start_sha256"] = "0" * 64
    changes["carved_share"] = (0.5, 0.1)
    plan = replace(plan, validate_every=5)  # without validations there is no patience
    assert TrainingPlan(views=3).sha256 != plan.sha256
    heads = TrainingPlan(task="reconstruct", network=HEADS, crop=(40, 48, 40))
    assert heads.sha256 != TrainingPlan(network=plan.network, crop=(40, 64, 64)).sha256
    for name, value in asdict(plan).items():
        if name in ("task", "views"):
            continue
        other = replace(plan, **{name: changes.get(name, value + 1 if isinstance(value, (int, float)) else value)})
        assert other.sha256 != plan.sha256, name


def test_patience_without_validations_and_numbers_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="patience 3: it counts validations"):
        TrainingPlan(patience=3)
    for name in ("steps", "warm_up", "checkpoint_every", "accumulate", "batch_size"):
        with pytest.raises(ValueError, match=f"{name} 0: 1 or more needed"):
            TrainingPlan(**{name: 0})
