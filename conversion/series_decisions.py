"""Makes the `Decision`s about the files of a series before it is split into volumes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom import Dataset

from conversion.attributes import Attributes
from conversion.decision import Decision
from conversion.encoding import SettledDataset
from conversion.pixel_format import remarks
from conversion.values import identifier

__all__ = ["encoding_decisions", "pixel_decisions", "series_decision", "series_number"]

_Group = Sequence[tuple[Path, Dataset]]


def series_number(ds: Dataset) -> int:
    """Return the number of the series that an instance belongs to; 0 if it has none."""
    return Attributes(ds).integer("SeriesNumber")


def series_decision(ds: Dataset, code: str, reason: str) -> Decision:
    """Return a decision about the series that an instance belongs to."""
    return Decision(
        code=code, subject=f"series {series_number(ds)}", reason=reason, series_uid=identifier(ds, "SeriesInstanceUID")
    )


def encoding_decisions(ds: Dataset, group: _Group) -> Iterator[Decision]:
    """Yield a decision for each wrong statement of files about their encoding, each statement once."""
    wrong = Counter(each.encoding.contradiction for _, each in group if isinstance(each, SettledDataset))
    for contradiction, count in wrong.items():
        if contradiction:
            yield series_decision(ds, "encoding_corrected", f"{count} file(s): {contradiction}")


def pixel_decisions(ds: Dataset, group: _Group) -> Iterator[Decision]:
    """Yield a decision for each special treatment of pixel values, each once."""
    for (code, what), count in Counter(remark for _, each in group for remark in remarks(each)).items():
        reason = f"{count} instance(s): {what}"
        yield series_decision(ds, code, reason)
