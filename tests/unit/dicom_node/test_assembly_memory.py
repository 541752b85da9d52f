"""Judging a study decodes no pixels: what would be gigabytes once it is decoded costs the worker nothing."""

import subprocess
import sys
from pathlib import Path

from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from dicom_node.database.engine import Database
from dicom_node.database.states import StudyState
from dicom_node.database.tables import StudyRow
from tests.support.held_study import hold_small_study
from tests.support.small_study import make_small_study
from tests.support.viewer_study import instance_row

SIDE = 16_384
"""Rows and columns: 512 MiB an image once it is decoded, from 8 MiB."""

MOST_BYTES = 256 * 2**20

PROGRAM = """
import resource, sys
from datetime import timedelta
from pathlib import Path
from dicom_node.studies.assembly import Assembly
from dicom_node.database.engine import open_database
from dicom_node.settings import AssemblySettings
from dicom_node.database.tables import utc_now

folder = Path(sys.argv[1])
database = open_database(f"sqlite:///{folder / 'node.sqlite'}")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assembly = Assembly(database, folder, AssemblySettings(quiet_period_s=1.0, wanted="FLAIR"), "GLIONODE")
assert len(assembly.ready_studies(utc_now() + timedelta(hours=3))) == 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def _bomb() -> bytes:
    """Return zeros of 16 bits as RLE has them: runs of 128 (PS3.5 Annex G)."""
    segment = b"\x81\x00" * (SIDE * SIDE // 128)
    offsets = (2, 64, 64 + len(segment), *[0] * 13)
    return b"".join(number.to_bytes(4, "little") for number in offsets) + 2 * segment


def test_two_images_of_one_place_are_compared_without_decoding_them(database: Database, tmp_path: Path) -> None:
    study_uid = hold_small_study(database, tmp_path, "bomb", ["FLAIR"])
    twins = make_small_study("bomb", ["FLAIR"])[:2]
    with database.session() as session:
        session.get_one(StudyRow, study_uid).state = StudyState.RECEIVING
        for number, ds in enumerate(twins):
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
            ds.ImagePositionPatient = [0, 0, 500]
            ds.Rows = ds.Columns = SIDE
            ds.file_meta.TransferSyntaxUID = RLELossless
            ds.PixelData = encapsulate([_bomb()])
            ds["PixelData"].is_undefined_length = True
            ds.save_as(tmp_path / f"inbox/bomb/twin{number}.dcm", enforce_file_format=True)
            session.add(instance_row(ds, f"inbox/bomb/twin{number}.dcm"))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) * 1024 < MOST_BYTES
