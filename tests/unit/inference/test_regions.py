"""Names and values of the regions are final: files, reports and trained weights rest on them."""

from inference.regions import REGION_LABELS, Label, Region


def test_label_values_are_final() -> None:
    assert {label.name: int(label) for label in Label} == {
        "BACKGROUND": 0,
        "NCR": 1,
        "ED": 2,
        "ET": 3,
        "WHOLE_TUMOUR": 5,
    }


def test_region_names_are_final() -> None:
    assert [str(region) for region in Region] == ["NCR", "ED", "ET", "WT", "TC"]


def test_which_labels_make_up_each_region_is_final() -> None:
    values = {str(region): {int(label) for label in labels} for region, labels in REGION_LABELS.items()}
    assert values == {"NCR": {1}, "ED": {2}, "ET": {3}, "TC": {1, 3}, "WT": {1, 2, 3, 5}}
