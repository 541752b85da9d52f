"""Headers as nobody should write them, 20,000 of them: nothing raises but what its room foresees.

More by hand: ``python -m benchmarks.fuzz_headers --count 1000000``.
"""

import os

import pydicom.config
import pytest

from benchmarks.fuzz_headers import header_fuzz, look_at, look_at_all

SEED = 14
PARTS = 50
"""Many, since xdist begins with the files of most tests, and this one takes longest."""
COUNT = int(os.environ.get("GLIONODE_TEST_HEADERS", "20000")) // PARTS


@pytest.fixture(autouse=True)
def _as_the_node_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("part", range(PARTS))
def test_no_header_raises_what_nobody_foresees(part: int) -> None:
    ended = look_at_all(header_fuzz(SEED), part * COUNT, COUNT)
    assert ended.total() == COUNT
    assert len(ended) > 1, "variants differ in how they end"


def test_a_variant_depends_on_its_seed_and_number_alone() -> None:
    assert header_fuzz(SEED).variant(7) == header_fuzz(SEED).variant(7) != header_fuzz(SEED + 1).variant(7)
    assert look_at(header_fuzz(SEED).variant(7)) == look_at(header_fuzz(SEED).variant(7))
