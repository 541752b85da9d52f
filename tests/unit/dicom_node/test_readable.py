"""A study whose files make something raise that nobody foresaw is rejected, with what is known of the place."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conversion.errors import ConversionReason, UnreadableSeries, UnusableStudy
from conversion.study import Series
from conversion.volume import ImageVolume
from dicom_node.runs.consequences import Consequence, UnreadableStudy, consequence_of, reason_of
from dicom_node.runs.reading import read_run, recognise_run
from tests.support.small_study import make_small_study


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = []
    for number, ds in enumerate(make_small_study("readable", ["FLAIR", "T1"])):
        ds.save_as(tmp_path / f"{number:03}.dcm", enforce_file_format=True)
        found.append(tmp_path / f"{number:03}.dcm")
    return found


def test_a_series_that_raises_is_named_and_its_study_rejected(paths: list[Path]) -> None:
    study = read_run(paths)

    def read(series: Series) -> ImageVolume:
        if series is study.series[0] or series.series_uid == study.series[0].series_uid:
            raise ZeroDivisionError("TELLTALE")
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, "no pixels")

    with pytest.raises(UnreadableStudy) as caught:
        recognise_run(study, (), read)
    code, reason = reason_of(caught.value)
    assert (code, consequence_of(caught.value)) == ("unreadable_study", Consequence.REJECT)
    assert reason.startswith(f"{study.series[0].name}: ")
    assert "ZeroDivisionError" in reason
    assert "TELLTALE" not in reason


def test_files_that_raise_have_their_study_rejected(paths: list[Path]) -> None:
    def broken() -> Iterator[Path]:
        yield from paths
        raise ZeroDivisionError("TELLTALE")

    with pytest.raises(UnreadableStudy) as caught:
        read_run(broken())
    code, reason = reason_of(caught.value)
    assert (code, consequence_of(caught.value)) == ("unreadable_study", Consequence.REJECT)
    assert reason.startswith("its images: ")
    assert "TELLTALE" not in reason


def test_what_has_its_own_reason_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no DICOM", "utf-8")
    with pytest.raises(UnusableStudy):
        read_run([tmp_path / "text"])
