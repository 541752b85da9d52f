"""Headers as nobody should write them, 20,000 of them: nothing raises but what its room foresees.

More by hand: ``python -m benchmarks.fuzz_headers --count 1000000``.
"""

import ast
import os
import random
from pathlib import Path

import numpy as np
import pydicom.config
import pytest
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from benchmarks.fuzz_headers import header_fuzz, look_at, look_at_all
from tests.support.dicom_series import axis_aligned
from tests.support.enhanced_series import enhanced_instance
from tests.support.header_fuzz import READ, changed_inside, elements_of, leaves

SEED = 14
PARTS = 20
"""So that none comes near the limit of time of one test."""
QUERIED_EVERY = 4
"""Of the variants the viewer asks for one in so many here, and for all by hand: its JSON takes a third of the time."""

COUNT = int(os.environ.get("GLIONODE_TEST_HEADERS", "20000")) // PARTS


@pytest.fixture(autouse=True)
def _as_the_node_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("part", range(PARTS))
def test_no_header_raises_what_nobody_foresees(part: int) -> None:
    ended = look_at_all(header_fuzz(SEED), part * COUNT, COUNT, queried_every=QUERIED_EVERY)
    assert ended.total() == COUNT
    assert len(ended) > 1, "variants differ in how they end"


def test_a_variant_depends_on_its_seed_and_number_alone() -> None:
    assert header_fuzz(SEED).variant(7) == header_fuzz(SEED).variant(7) != header_fuzz(SEED + 1).variant(7)
    assert look_at(header_fuzz(SEED).variant(7)) == look_at(header_fuzz(SEED).variant(7))


ROOT = Path(__file__).parents[3]
NO_HEADER = {"FailedSOPSequence", "FailureReason", "ReferencedSOPSequence", "TransactionUID", "Grid", "Date", "UID"}
"""Of answers about storage commitment, which are fuzzed as PDUs; a type of this house, a word of matplotlib's
and the head of a column that DICOM has, too."""


def _named_in(path: Path) -> set[str]:
    """Return the attributes that a source names as text, as whoever reads by `conversion.values` has to."""
    constants = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant))
    names = {node.value for node in constants if isinstance(node.value, str) and node.value}
    tags = {name: tag_for_keyword(name) for name in names}
    return {name for name, tag in tags.items() if tag is not None and 0x0002FFFF < tag < 0x7FE00000}


def test_every_attribute_that_is_read_is_changed() -> None:
    rooms = ("conversion", "inference", "viewer_integration", "dicom_node")
    sources = [path for room in rooms for path in (ROOT / room).rglob("*.py") if "migrations" not in path.parts]
    named = set().union(*(_named_in(path) for path in sources))
    assert named - set(READ) - NO_HEADER == set(), "add them to READ of tests/support/header_fuzz.py"
    assert set(READ) - named == set(), "nobody reads them any more"


def test_what_stands_inside_functional_groups_is_changed() -> None:
    """Each attribute of each frame and of those shared by all is reached, and no other one is touched with it."""
    voxels = np.zeros((2, 4, 4), np.uint16)
    image = elements_of(enhanced_instance(voxels, axis_aligned("axial"), spread=True))
    before, reached = dict(leaves(image)), set[str]()
    for seed in range(4000):
        changed = list(image)
        changed_inside(random.Random(seed), changed)  # noqa: S311 - to be the same again
        after = dict(leaves(changed))
        different = {way for way in before.keys() | after.keys() if before.get(way) != after.get(way)}
        assert len(different) < len(before) / 2
        reached |= different
        assert [element.tag for element in changed] == [element.tag for element in image]
    assert before.keys() <= reached
    names = {keyword_for_tag(int(way.rpartition("/")[2], 16)) for way in before}
    assert names >= {"ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "EffectiveEchoTime"}
