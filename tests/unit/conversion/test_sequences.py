"""The vocabulary of kinds, and how an echo is made."""

import pytest

from conversion.sequences import PRIORS, WEIGHTINGS, Role, pulse_family
from tests.support.series_headers import series_of


@pytest.mark.parametrize(
    ("scanning_sequence", "technique", "family"),
    [
        ("SE", "", "SE"),
        ("SE", "tse", "SE"),
        ("IR", "tir", "SE"),
        ("SE\\IR", "*tir2d1_16", "SE"),
        ("GR\\IR", "*tfl3d1_ns", "GR"),
        ("GR", "", "GR"),
        ("EP", "*ep_b1000t", "EP"),
        ("EP\\GR", "*epfid2d1_64", "EP"),
        ("SE", "dwise", "EP"),
        ("RM", "dwise", "EP"),
        ("RM", "", ""),
        ("", "*spc3d", "SE"),
        ("", "*fl2d1", "GR"),
        ("", "se", "SE"),
        ("", "", ""),
    ],
)
def test_how_the_echo_is_made(scanning_sequence: str, technique: str, family: str) -> None:
    assert pulse_family(series_of(seq=scanning_sequence, tech=technique)) == family


def test_the_name_of_a_sequence_goes_before_what_philips_calls_a_spin_echo() -> None:
    assert pulse_family(series_of(seq="SE", tech="dwise")) == "EP"


def test_weightings_are_roles_and_have_the_same_prior() -> None:
    assert set(WEIGHTINGS) == set(Role) - {Role.T1CE}
    assert {PRIORS[kind] for kind in WEIGHTINGS} == {0.0}
    assert all(prior < 0 for kind, prior in PRIORS.items() if kind not in WEIGHTINGS)
    assert "T1CE" not in PRIORS
