"""A run's study, read and recognised; what raises all the same is named, so that the study gets a reason."""

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
"""Of the volumes that recognition read, until they are asked for again: a usual study is kept whole, a large one in
part."""


def cores(threads: int = 0) -> int:
    """Return how many threads a setting stands for: 0 is one on every core that this process may use."""
    return threads or len(os.sched_getaffinity(0))


def reading_once(read: Callable[[Series], ImageVolume] = read_series) -> Callable[[Series], ImageVolume]:
    """Return what reads a series, and keeps it for whoever asks next."""
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
        When something in a file makes it raise what nobody foresaw.
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
        When something in a series makes it raise what nobody foresaw; it names the series.
    """
    try:
        return tuple(recognise(study, reading_once(read), rules, threads=threads))
    except Exception as error:
        if is_foreseen(error):
            raise
        faulty = [one.name for one in study.series if _raises(partial(recognise, _of(study, one), read, rules))]
        where = ", ".join(faulty) or "its series together"
        raise UnreadableStudy(f"{where}: {_unreadable(error)}") from error


def _unreadable(error: Exception) -> str:
    return (
        f"what stands there cannot be made sense of ({type(error).__name__}); correct it, or send the study without it"
    )


def _of(study: Study, series: Series) -> Study:
    return replace(study, series=(series,))


def _raises(look: Callable[[], object]) -> bool:
    try:
        look()
    except ConversionError:
        return False
    except Exception:  # noqa: BLE001 - to find out which it is
        return True
    return False
