"""A dynamic T1 as files of one series, for all phases of which the console names an agent: which phase is which."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from conversion.reading import dicom_files, read_series, read_study, read_volumes
from conversion.recognition.recognise import recognise
from conversion.selection import SeriesSelection, select_series
from conversion.sequences import Role
from tests.support.dicom_series import mr_slices, uid_of, write_slices
from tests.support.phantom_volumes import phantom_volume

PHASES = 4


def _series(role: str, number: int, **attributes: object) -> list[Dataset]:
    volume = phantom_volume(role)
    voxels = np.clip(volume.voxels, 0, 4095).astype(np.uint16)
    return mr_slices(voxels, np.array(volume.grid.affine), str(number), SeriesNumber=number, **attributes)


def _dynamic(before: int) -> list[Dataset]:
    """Return the phases as they come from the console, of which so many are made before the agent arrives."""
    images = []
    for phase in range(PHASES):
        time = f"15{10 + phase:02d}00"
        told = {"SeriesDescription": "T1 VIBE DYN KM", "ProtocolName": "T1 VIBE DYN KM", "ContrastBolusAgent": "GD"}
        told |= {"SeriesTime": "151000", "AcquisitionTime": time, "ContentTime": time}
        numbers = {"AcquisitionNumber": phase + 1, "TemporalPositionIdentifier": phase + 1}
        images.append(
            _series("T1" if phase < before else "T1CE", 700, NumberOfTemporalPositions=PHASES, **numbers, **told)
        )
    flat = list(itertools.chain.from_iterable(images))
    for number, ds in enumerate(flat, start=1):
        ds.InstanceNumber = number
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid_of("dynamic", str(number))
    return flat


def _flair() -> list[Dataset]:
    timing = {"RepetitionTime": 9000.0, "EchoTime": 120.0, "InversionTime": 2500.0}
    named = {"SeriesDescription": "FLAIR", "ScanningSequence": ["SE", "IR"], "SeriesTime": "150000"}
    return _series("FLAIR", 2, **timing, **named)


def _selected(folder: Path, before: int) -> SeriesSelection:
    dynamic = _dynamic(before)
    order = np.random.default_rng(7).permutation(len(dynamic)).tolist()
    write_slices(folder, dynamic, order)
    write_slices(folder / "flair", _flair())
    study = read_study(dicom_files(folder))
    return select_series(study, recognise(study, read_series))


@pytest.mark.parametrize("before", [1, 2])
def test_what_was_made_before_the_agent_is_t1_and_what_after_it_t1ce(tmp_path: Path, before: int) -> None:
    selection = _selected(tmp_path, before)
    parts = {role: series.part for role, series in selection.series.items()}
    assert parts == {Role.T1: "phase 1", Role.T1CE: f"phase {PHASES}", Role.FLAIR: ""}
    volumes = read_volumes(selection)
    for role in (Role.T1, Role.T1CE):
        assert np.array_equal(volumes[role].voxels, np.clip(phantom_volume(role).voxels, 0, 4095).astype(np.uint16))


def test_where_all_phases_are_after_the_agent_there_is_no_t1(tmp_path: Path) -> None:
    parts = {role: series.part for role, series in _selected(tmp_path, before=0).series.items()}
    assert parts == {Role.T1CE: f"phase {PHASES}", Role.FLAIR: ""}
