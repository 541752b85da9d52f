"""Whether the trail ends as the database knows: a glance at one record, where `verification` reads all of them."""

from pathlib import Path

from dicom_node.audit.files import last_record, trail_files
from dicom_node.audit.head import known_head
from dicom_node.database.engine import Database

__all__ = ["trail_ends_as_known"]


def trail_ends_as_known(folder: Path, database: Database) -> bool:
    """Return whether the last record is the one that the database knows, or a later one.

    A process notes a record in the database after writing it, so that the files may be ahead and never behind.

    Raises
    ------
    OSError
        When the files cannot be read.
    """
    sequence, code = known_head(database)
    if not sequence:
        return True
    for path in reversed(trail_files(folder)):
        record, _ = last_record(path)
        if record is not None:
            return record.sequence > sequence or (record.sequence == sequence and record.code == code)
    return False
