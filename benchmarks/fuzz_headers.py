"""Fuzzes headers: reading, recognition, selection, readiness, queries, routing, and header values of results.

Run ``python -m benchmarks.fuzz_headers --count 200000 --seed 7``. There is no time limit. It ends with exit code 1 at
the first header that raises an unexpected exception, and prints its number. ``--first`` with that number and
``--count 1`` repeat it.
"""

import argparse
import io
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pydicom.misc
from pydicom import Dataset, dcmread

from conversion.completeness import series_progress
from conversion.errors import ConversionError
from conversion.reading import SourceImages, dicom_files, read_studies
from conversion.recognition.recognise import recognise
from conversion.references import referenced_instances
from conversion.selection import select_series
from conversion.sequences import Role
from conversion.stack import stack_slices
from conversion.study import Series, Study
from dicom_node.routing.study_facts import header_values
from dicom_node.studies.readiness import Patience, StudyTransfer, judge
from dicom_node.studies.stored_study import headers_only
from dicom_node.web.routes_routing import SUGGESTED
from tests.support.dicom_series import axis_aligned, mr_slices
from tests.support.enhanced_series import enhanced_instance
from tests.support.header_fuzz import HeaderFuzz, elements_of
from viewer_integration.dicom_json import dicom_json
from viewer_integration.dicomweb import Query, StudySummary, study_answer
from viewer_integration.errors import UnusableSource
from viewer_integration.source_header import clean_source_headers

__all__ = ["Unforeseen", "header_fuzz", "look_at", "look_at_all"]

NOW = datetime(2026, 1, 2, tzinfo=UTC)
_SUMMARY = StudySummary(modalities=("MR",), sop_classes=("1.2",), series=1, instances=1)


class Unforeseen(Exception):  # noqa: N818 - named for what happened
    """A header raised an unexpected exception. The message contains the number of the variant."""


def header_fuzz(seed: int, folders: tuple[Path, ...] = ()) -> HeaderFuzz:
    """Return variants of synthetic series, classic and enhanced, and of real ones.

    Parameters
    ----------
    folders
        Folders of real series. Their first three images are used.
    """
    voxels = np.zeros((3, 8, 10), np.uint16)
    classic = mr_slices(voxels, axis_aligned("axial"))
    philips = enhanced_instance(voxels, axis_aligned("sagittal"), spread=True, scale_slopes=(0.01,))
    bases = [classic, [enhanced_instance(voxels, axis_aligned("axial"), echo_times_ms=(12.0,))], [philips]]
    for folder in folders:
        paths = [path for path in dicom_files(folder) if pydicom.misc.is_dicom(path)][:3]
        bases.append([dcmread(path, stop_before_pixels=True) for path in paths])
    return HeaderFuzz([[elements_of(ds) for ds in base] for base in bases], seed)


def look_at(files: list[bytes], *, queried: bool = True) -> str:
    """Process a variant as the node does, but without pixels. Return the outcome: the reasons of errors, or ``whole``.

    Parameters
    ----------
    queried
        Whether to answer the viewer's queries as well, which takes a third of the time.

    Raises
    ------
    Exception
        Any exception that the packages do not expect.
    """
    contents = {Path(f"{number}.dcm"): content for number, content in enumerate(files)}
    read: dict[Path, Dataset] = {}

    def header(path: Path) -> Dataset:
        read[path] = dcmread(io.BytesIO(contents[path]), stop_before_pixels=True)
        return read[path]

    try:
        studies = read_studies(contents, read=header)
    except ConversionError as error:
        return str(error.reason)
    if read and queried:  # read anew, as the viewer does: pydicom drops the raw bytes of an element once it is accessed
        first = contents[next(iter(read))]
        _ask_for(dcmread(io.BytesIO(first), stop_before_pixels=True))
        _compare(dcmread(io.BytesIO(first), stop_before_pixels=True))
    return " ".join(_look_at(study, read) for study in studies)


def _ask_for(ds: Dataset) -> None:
    """Answer the viewer's queries for a header."""
    json.dumps(dicom_json(ds, "http://node/bulk"), allow_nan=False)
    json.dumps(dicom_json(study_answer(ds, _SUMMARY, "http://node", Query()), ""), allow_nan=False)


def _compare(ds: Dataset) -> None:
    """Read from a header what rules of routing and corrections compare."""
    for attribute in SUGGESTED:
        header_values(ds, attribute)
    frozenset(referenced_instances(ds))


def _look_at(study: Study, read: Mapping[Path, Dataset]) -> str:
    recognitions = recognise(study, headers_only)
    progress = series_progress(recognitions)
    transfer = StudyTransfer(first_at=NOW, last_at=NOW, open_associations=0, released=None)
    judge(progress, frozenset(Role), transfer, None, Patience(quiet=timedelta(seconds=1)), NOW + timedelta(hours=1))
    ended = [_as_source(series, read) for series in study.series]
    try:
        select_series(study, recognitions)
    except ConversionError as error:
        ended.append(str(error.reason))
    return " ".join(dict.fromkeys(ended))


def _as_source(series: Series, read: Mapping[Path, Dataset]) -> str:
    """Read from a series the values that results copy."""
    try:
        images = stack_slices(series).images
        instances = tuple(read[path] for path in dict.fromkeys(image.path for image in images))
        uid = series.frame_of_reference_uid
        clean_source_headers(SourceImages(instances=instances, images=images, frame_of_reference_uid=uid))
    except (ConversionError, UnusableSource) as error:
        return str(error.reason)
    return "whole"


def look_at_all(fuzz: HeaderFuzz, first: int, count: int, *, queried_every: int = 1) -> Counter[str]:
    """Process variants by their numbers. Return the count of each outcome.

    Parameters
    ----------
    queried_every
        The viewer's queries are answered for one in this many variants.

    Raises
    ------
    Unforeseen
        At the first variant that raised an unexpected exception.
    """
    ended: Counter[str] = Counter()
    for number in range(first, first + count):
        try:
            ended[look_at(fuzz.variant(number), queried=number % queried_every == 0)] += 1
        except Exception as error:
            raise Unforeseen(f"variant {number}: {type(error).__name__}") from error
    return ended


def main() -> None:
    """Process variants, and print their outcomes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders of real series")
    chosen = parser.parse_args()
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # as the node's commands do
    warnings.simplefilter("ignore")
    began = time.monotonic()
    ended = look_at_all(header_fuzz(chosen.seed, tuple(chosen.data)), chosen.first, chosen.count)
    for how, count in ended.most_common():
        sys.stdout.write(f"{count:8d}  {how}\n")
    sys.stdout.write(f"{chosen.count} variants in {time.monotonic() - began:.0f} s\n")


if __name__ == "__main__":
    main()
