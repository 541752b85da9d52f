"""Thousands of associations as no sender writes them; the long form is `python -m benchmarks.fuzz_pdus`."""

import os
from pathlib import Path

from tests.support.attacked_listener import attack

COUNT = int(os.environ.get("GLIONODE_FUZZ_PDUS", "1500"))
GROWTH_MIB = 24.0
"""Measured: 2 to 7 MiB over 1,500 attacks; 49 MiB where each association leaves 20 KiB behind."""


def test_a_listener_that_is_attacked_keeps_its_word_and_leaks_nothing(tmp_path: Path) -> None:
    outcome = attack(tmp_path, COUNT, seed=20261128)
    assert outcome.noise == ()
    assert outcome.false_thanks == 0
    assert outcome.thanks > COUNT / 30  # else the attacks do not come as far as storing
    assert set(outcome.study_statuses) == {0x0000}
    assert outcome.study_held
    assert {kind: max(0, more) for kind, more in outcome.leaked.items()} == {"threads": 0, "sockets": 0}
    assert outcome.grown_mib < GROWTH_MIB
