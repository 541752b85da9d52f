"""The gate: what is refused, what is declared, and in which words."""

from dataclasses import replace

import numpy as np
import pytest

from conversion.registration.quality import Registration, blurred, doubts, faults, misfits

SOUND = Registration(
    matrix=np.eye(4),
    metric_before=-0.2,
    metric_after=-1.0,
    move_mm=20.0,
    rotation_deg=15.0,
    overlap=0.95,
    sharpness=0.45,
    inverse_consistency_mm=1.0,
    shared_frame=True,
    attempts=1,
)


def test_a_sound_registration_passes_without_a_word() -> None:
    assert (faults(SOUND), misfits(SOUND), doubts(SOUND)) == ((), (), ())


@pytest.mark.parametrize(
    ("change", "faulty", "doubtful"),
    [
        ({"sharpness": 0.359}, False, True),
        ({"sharpness": 0.361}, False, False),
        ({"sharpness": 0.299}, True, True),
        ({"sharpness": 0.299, "inverse_consistency_mm": 0.5}, False, True),
        ({"inverse_consistency_mm": 4.1}, False, True),
        ({"inverse_consistency_mm": 10.1}, True, True),
        ({"overlap": 0.74}, False, True),
        ({"overlap": 0.09}, True, True),
        ({"move_mm": 61.0}, False, True),
        ({"move_mm": 61.0, "shared_frame": False}, False, False),
        ({"rotation_deg": 46.0}, False, True),
    ],
)
def test_the_gate_refuses_and_declares(change: dict[str, float], faulty: bool, doubtful: bool) -> None:  # noqa: FBT001 - a table
    found = replace(SOUND, **change)
    assert bool(faults(found)) is faulty
    assert bool(doubts(found)) is doubtful


def test_only_a_misfit_is_tried_again() -> None:
    assert misfits(replace(SOUND, sharpness=0.2))
    assert misfits(replace(SOUND, inverse_consistency_mm=5.0))
    assert not misfits(replace(SOUND, overlap=0.3, move_mm=80.0, rotation_deg=60.0))


def test_every_reason_carries_its_figures() -> None:
    poor = replace(SOUND, sharpness=0.21, inverse_consistency_mm=12.3, overlap=0.05, move_mm=80.4, rotation_deg=70.0)
    assert faults(poor) == (
        "the anatomy does not match clearly (an offset of 4 mm loses only 21% of the mutual information, limit 30%)",
        "registering in the opposite direction gives a different result (up to 12.3 mm apart, limit 10 mm)",
        "it covers only 5% of the reference's tissue (limit 10%)",
    )
    assert doubts(poor)[-2:] == (
        "a translation of 80 mm is more than a head coil leaves room for",
        "a rotation of 70° is more than a head coil leaves room for",
    )
    assert blurred(0.5) == ""
