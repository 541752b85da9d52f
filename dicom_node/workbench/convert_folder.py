"""`glionode convert`: every MR series of a folder as NIfTI and JSON, and a list of what was left out, with reasons."""

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from conversion.decision import Decision
from conversion.errors import ConversionError, UnusableStudy
from conversion.nifti import write_canonical_nifti
from conversion.reading import check_one_patient, dicom_files, read_studies
from conversion.recognition.recognise import Recognition, recognise
from conversion.recognition.site_rules import SiteRule
from conversion.sequences import Role
from conversion.stack import stack_slices
from conversion.study import Series, Study
from conversion.usable_instances import NOT_USED
from conversion.volume import Grid, ImageVolume
from dicom_node.runs.reading import cores, reading_once

__all__ = ["Conversion", "LeftOut", "Progress", "convert_folder"]

_Item = TypeVar("_Item")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A series or file that was not converted; `series_uid` is empty for a file that belongs to no series."""

    subject: str
    series_uid: str
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What a conversion wrote and what it left out."""

    files: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


class Progress:
    """Progress of a conversion: wraps its three loops; silent unless a bar is given.

    Parameters
    ----------
    bar
        Takes the items and the name of the phase, and iterates over the items; for example `tqdm`.
    """

    def __init__(self, bar: Callable[[Sequence[Any], str], Iterable[Any]] | None = None) -> None:
        self._bar = bar

    def over(self, items: Iterable[_Item], phase: str) -> Iterable[_Item]:
        """Iterate over items."""
        return items if self._bar is None else self._bar(list(items), phase)

    def on_call(self, function: Callable[[Series], ImageVolume], items: Sequence[Series], phase: str) -> Any:  # noqa: ANN401
        """Return the function so that each call advances the phase by one step."""
        steps, lock = iter(self.over(items, phase)), threading.Lock()

        def counted(series: Series) -> ImageVolume:
            with lock:  # a bar is a generator, which only one thread at a time may advance
                next(steps, None)
            return function(series)

        return counted


def convert_folder(
    folder: Path, out: Path, rules: Sequence[SiteRule] = (), progress: Progress | None = None
) -> Conversion:
    """Convert every MR series of every study in a folder.

    Parameters
    ----------
    rules
        The site's rules for its series.

    Raises
    ------
    UnusableStudy
        When the folder contains no DICOM image.
    """
    progress = progress or Progress()
    studies = read_studies(dicom_files(folder), lambda paths: progress.over(paths, "reading headers"))
    out.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    left_out: list[LeftOut] = []
    for study in studies:
        left_out += [_left_out(decision) for decision in study.decisions if decision.code in _LEAVES_OUT]
        try:
            check_one_patient(study)
        except UnusableStudy as error:
            left_out.append(LeftOut(subject="study", series_uid="", code=str(error.reason), reason=str(error)))
            continue
        read = reading_once()
        counted = progress.on_call(read, study.series, "recognising")
        recognitions = recognise(study, counted, rules, threads=cores())
        with _Writers() as writers:
            for recognition in progress.over(recognitions, "converting"):
                try:
                    path = _path(recognition, out, taken=files)
                    writers.write(read(recognition.series), path, _sidecar(recognition, study))
                except ConversionError as error:
                    series = recognition.series
                    code, reason = str(error.reason), str(error)
                    left_out.append(
                        LeftOut(subject=series.name, series_uid=series.series_uid, code=code, reason=reason)
                    )
                else:
                    files.append(path)
    (out / "left_out.json").write_text(json.dumps([asdict(item) for item in left_out], indent=1))
    return Conversion(files=tuple(files), left_out=tuple(left_out))


_LEAVES_OUT = ("unreadable_file", *NOT_USED, "copied_image")
"""Codes of the decisions by which reading leaves something out of the volumes."""


def _left_out(decision: Decision) -> LeftOut:
    return LeftOut(subject=decision.subject, series_uid=decision.series_uid, code=decision.code, reason=decision.reason)


class _Writers:
    """Write volumes on every core, because compression takes longest; at most two volumes per core wait."""

    def __init__(self) -> None:
        self._pool, self._most = ThreadPoolExecutor(cores()), 2 * cores()
        self._written: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        """Return the writers."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Wait for the remaining writes; after an error, start no further ones."""
        self._pool.shutdown(cancel_futures=kind is not None)
        while kind is None and self._written:
            self._written.popleft().result()

    def write(self, volume: ImageVolume, path: Path, sidecar: Callable[[Grid], str]) -> None:
        """Write a volume and then its JSON; an earlier write that failed raises here."""
        if len(self._written) == self._most:
            self._written.popleft().result()
        self._written.append(self._pool.submit(self._write, volume, path, sidecar))

    @staticmethod
    def _write(volume: ImageVolume, path: Path, sidecar: Callable[[Grid], str]) -> None:
        write_canonical_nifti(volume, path)
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(sidecar(volume.grid))


def _path(recognition: Recognition, out: Path, taken: Sequence[Path]) -> Path:
    """Return an unused path; the file name consists of series number, part and kind."""
    series = recognition.series
    words = (f"{series.number:04d}", series.part, recognition.kind)
    stem = re.sub(r"[^A-Za-z0-9.]+", "_", "_".join(word for word in words if word))
    path, count = out / f"{stem}.nii.gz", 1
    while path in taken:
        count += 1
        path = out / f"{stem}_{count}.nii.gz"
    return path


def _sidecar(recognition: Recognition, study: Study) -> Callable[[Grid], str]:
    """Return a function from the grid of a series' volume to the text of its JSON."""
    on_reading = (decision for decision in study.decisions if decision.series_uid == recognition.series.series_uid)
    decisions = [*on_reading, *stack_slices(recognition.series).decisions, *recognition.decisions]
    return lambda grid: json.dumps(_describe(recognition, grid, decisions), indent=1)


def _describe(recognition: Recognition, grid: Grid, decisions: Iterable[Decision]) -> dict[str, Any]:
    series = recognition.series
    return {
        "series_uid": series.series_uid,
        "role": _role(recognition),
        "evidence": {
            "kind": recognition.kind,
            "confidence": round(recognition.confidence, 4),
            "weighting": recognition.weighting,
            "weighting_confidence": round(recognition.weighting_confidence, 4),
            "after_contrast": round(recognition.after_contrast, 4),
            "needs": recognition.needs,
            "items": [asdict(item) for item in recognition.evidence],
        },
        "geometry": {
            "shape_slice_row_column": grid.shape,
            "spacing_mm": grid.spacing_mm.tolist(),
            "affine_lps_mm": grid.affine.tolist(),
            "frame_of_reference_uid": grid.frame_of_reference_uid,
            "part": series.part,
        },
        "decisions": [asdict(decision) for decision in decisions],
    }


def _role(recognition: Recognition) -> str | None:
    """Return one of the four roles, ``other``, or None where recognition abstained."""
    if recognition.kind in list(Role):
        return recognition.kind
    return None if recognition.abstained else "other"
