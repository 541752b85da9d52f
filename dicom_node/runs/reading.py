"""Reads and recognises a run's study; gives an unforeseen error a place, so that the study gets a reason."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from conversion.errors import ConversionError
from conversion.reading import read_series, read_study
from conversion.recognition.recognise import Recognition, recognise
from conversion.recognition.site_rules import SiteRule
from conversion.study import Series, Study
from conversion.volume import ImageVolume
from dicom_node.runs.consequences import UnreadableStudy, is_foreseen
from dicom_node.storage.byte_cache import ByteCache

__all__ = ["cores", "read_run", "reading_once", "recognise_run"]

KEPT_BYTES = 2**30
"""Limit of the volumes that recognition keeps for a second use: a usual study is kept completely, a large one in
part."""


def cores(threads: int = 0) -> int:
    """Return the number of threads for a setting; 0 means one on every core that this process may use."""
    return threads or len(os.sched_getaffinity(0))


def reading_once(read: Callable[[Series], ImageVolume] = read_series) -> Callable[[Series], ImageVolume]:
    """Return a function that reads a series and keeps it for the next call."""
    kept: ByteCache[ImageVolume] = ByteCache(KEPT_BYTES)

    def sized(series: Series) -> tuple[ImageVolume, int]:
        volume = read(series)
        return volume, volume.voxels.nbytes

    return lambda series: kept.get(series.key, lambda: sized(series))


def read_run(paths: Iterable[Path]) -> Study:
    """Read the headers of a run's study.

    Raises
    ------
    UnusableStudy
        As `read_study` does.
    UnreadableStudy
        When something in a file raises an unforeseen error.
    """
    try:
        return read_study(paths)
    except Exception as error:
        if is_foreseen(error):
            raise
        raise UnreadableStudy(f"its images: {_unreadable(error)}") from error


def recognise_run(
    study: Study,
    rules: Sequence[SiteRule],
    read: Callable[[Series], ImageVolume] = read_series,
    threads: int = 1,
) -> tuple[Recognition, ...]:
    """Recognise the series of a run's study, by headers and pixels; each is read once.

    Raises
    ------
    UnreadableStudy
        When something in a series raises an unforeseen error; it names the series.
    """
    try:
        return tuple(recognise(study, reading_once(read), rules, threads=threads))
    except Exception as error:
        if is_foreseen(error):
            raise
        faulty = [one.name for one in study.series if _raises(partial(recognise, _of(study, one), read, rules))]
        where = ", ".join(faulty) or "its series in combination"
        raise UnreadableStudy(f"{where}: {_unreadable(error)}") from error


def _unreadable(error: Exception) -> str:
    return f"the content cannot be interpreted ({type(error).__name__}); correct it, or send the study without it"


def _of(study: Study, series: Series) -> Study:
    return replace(study, series=(series,))


def _raises(action: Callable[[], object]) -> bool:
    try:
        action()
    except ConversionError:
        return False
    except Exception:  # noqa: BLE001 - to find the faulty series
        return True
    return False
