"""Computes an upload: its files become masks, objects, findings and one archive of all of them."""

import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from dicom_node.database.engine import Database
from dicom_node.models.roles import production_model
from dicom_node.rules.site_rules import site_rules
from dicom_node.runs.step import Step
from dicom_node.settings import Settings
from dicom_node.workbench.archive import UnpackLimits
from dicom_node.workbench.example import make_example
from dicom_node.workbench.job_input import DicomInput, GivenFiles, SliceInput, VolumeInput, read_input
from dicom_node.workbench.jobs import ARCHIVE, EXAMPLE, enter_step, files_of, input_folder, result_folder
from dicom_node.workbench.segment_files import Wanted, segment_dicom, segment_nifti, segment_slice
from inference.registry import Registry

__all__ = ["JobSteps"]


class JobSteps:
    """Computes uploads."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def perform(self, _step: str, job_id: str) -> None:
        """Compute an upload from the start; what a killed child left is removed.

        Raises
        ------
        ConversionError, InferenceError, ResultError
            With a sentence for the person who sent it.
        """
        folder, limits = self._settings.node.folder, self._settings.workbench
        os.nice(max(0, limits.niceness - os.nice(0)))  # now, so that the process itself starts without waiting
        out = result_folder(folder, job_id)
        work = out.with_name("work")
        for path in (out, work):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True, mode=0o700)
        try:
            enter_step(self._database, job_id, "read")
            unpack = UnpackLimits(files=limits.files, total_bytes=limits.unpacked_bytes, edge=limits.edge)
            files = files_of(self._database, job_id)
            own = input_folder(folder, job_id)
            given = make_example(work) if files == (EXAMPLE,) else read_input(own, files, work, unpack)
            made = self._segment(given, job_id, out, next((file.pixel_mm for file in files if file.pixel_mm), None))
            _pack(made, out / ARCHIVE)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _segment(self, given: GivenFiles, job_id: str, out: Path, pixel_mm: float | None) -> Sequence[Path]:
        wanted = Wanted(images=True, truth=given.truth, entering=partial(self._enter, job_id))
        settings = self._with_production_model()
        match given.images:
            case DicomInput(folder=folder):
                done = segment_dicom(folder, out, settings, rules=site_rules(self._database), wanted=wanted)
            case VolumeInput(paths=paths):
                done = segment_nifti(paths, out, settings, wanted=wanted)
            case SliceInput(paths=paths):
                done = segment_slice(paths, out, settings, pixel_mm=pixel_mm, wanted=wanted)
        return done.files

    def _with_production_model(self) -> Settings:
        """Return the settings with the model that clinical studies get, whose files were checked."""
        model = production_model(self._database, self._settings)
        Registry(self._settings.node.folder).verify(model)
        return replace(self._settings, processing=replace(self._settings.processing, model=str(model.folder)))

    def _enter(self, job_id: str, step: Step) -> None:
        enter_step(self._database, job_id, step)


def _pack(files: Sequence[Path], archive: Path) -> None:
    """Put all files into one archive; most of them are compressed already."""
    with zipfile.ZipFile(archive, "w") as content:
        for path in files:
            content.write(path, path.name)
