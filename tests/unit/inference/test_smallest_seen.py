"""What is told of a study without a finding depends on its contrast and its slices."""

import pytest

from inference.smallest_seen import contrast_of, no_tumour_sentence, smallest_seen_ml

MEASURED = {"T1CE+FLAIR thin": 0.4, "FLAIR thin": 0.8, "FLAIR thick": 2.5}


@pytest.mark.parametrize(
    ("sequences", "slice_mm", "expected"),
    [
        (("T1", "T1CE", "T2", "FLAIR"), 1.0, 0.4),
        (("FLAIR", "T1"), 3.0, 0.8),
        (("FLAIR",), 5.0, 2.5),
        (("T1CE",), 1.0, None),
        (("T1CE", "FLAIR"), 6.0, None),
    ],
)
def test_the_volume_is_that_of_the_contrast_and_the_slices(
    sequences: tuple[str, ...], slice_mm: float, expected: float | None
) -> None:
    assert smallest_seen_ml(MEASURED, sequences, (0.5, slice_mm, 0.5)) == expected


def test_the_sentence_says_what_may_have_been_missed() -> None:
    assert contrast_of(("T2", "FLAIR", "T1CE")) == "T1CE+FLAIR"
    assert no_tumour_sentence(2.5, ("T1", "FLAIR")) == (
        "No tumour found. The model finds nine in ten tumours of 2.5 ml in such images (FLAIR) "
        "and may miss smaller ones"
    )
    assert "was not measured" in no_tumour_sentence(None, ("FLAIR",))
