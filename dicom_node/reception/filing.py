"""Files instances from the journal into the inbox: many with one sync; no instance delays the others or is lost.

A full disk or a database that restarts is a temporary failure: filing is tried again without end. A failure that a
single instance causes is permanent: the instance is set aside where a person finds it.
"""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import sqlalchemy as sa
import structlog

from dicom_node.reception.arrived_instance import ArrivedInstance
from dicom_node.storage.durable import write_durably

__all__ = ["BATCH", "File", "Filer"]

BATCH = 256

File = Callable[[Sequence[ArrivedInstance]], None]
"""Files all arrivals or none; raises where it cannot, and is then called again."""

_OF_ONE_PLACE = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP)
"""Something else is where this instance belongs; other errors of the file system concern all instances."""

_OF_ONE_ROW = (sa.exc.DataError, sa.exc.IntegrityError)
"""The database refuses this row but accepts others."""

_log = structlog.get_logger()


class Filer:
    """Files as many arrivals as it can.

    Parameters
    ----------
    aside
        Folder for instances that can never be filed.
    folder
        The node's folder, for arrivals whose file is already in the inbox.
    """

    def __init__(self, file: File, aside: Path, folder: Path) -> None:
        self._file, self._aside, self._folder = file, aside, folder

    def file(self, arrivals: Sequence[ArrivedInstance]) -> int:
        """File arrivals in order and in batches; return how many are finished, that is filed or set aside."""
        done = 0
        while done < len(arrivals):
            batch = arrivals[done : done + BATCH]
            filed = self._file_some(batch)
            done += filed
            if filed < len(batch):
                break
        return done

    def set_aside(self, content: bytes | Path, name: str, error: str) -> None:
        """Keep the content of an instance that can never be filed, or a copy of its file, where a person finds it.

        Raises
        ------
        OSError
            When it cannot be written to that folder either.
        """
        write_durably(self._aside / f"{name}.dcm", content)
        _log.error("set_aside", file=f"{name}.dcm", error=error)

    def _file_some(self, batch: Sequence[ArrivedInstance]) -> int:
        """File a batch. If that fails, file its instances one by one, so that a bad one does not delay the others."""
        if self._filed_now(batch):
            return len(batch)
        for number, arrival in enumerate(batch):
            if not self._filed_now([arrival]):
                return number
        return len(batch)

    def _filed_now(self, arrivals: Sequence[ArrivedInstance]) -> bool:
        try:
            self._file(arrivals)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not delay the arrivals behind it
            if not _is_temporary(error) and len(arrivals) == 1:
                return self._is_set_aside(arrivals[0], error)
            _log.warning("not_filed", instances=len(arrivals), error=type(error).__name__)
            return False
        return True

    def _is_set_aside(self, arrival: ArrivedInstance, error: Exception) -> bool:
        place = self._folder / arrival.path
        try:
            self.set_aside(place if arrival.is_in_place else arrival.content, arrival.sha256, type(error).__name__)
            if arrival.is_in_place:
                place.unlink()
        except OSError as failure:
            _log.warning("not_filed", instances=1, error=type(failure).__name__)
            return False
        return True


def _is_temporary(error: Exception) -> bool:
    """Return whether filing may succeed later, rather than never for this instance."""
    if isinstance(error, OSError):
        return error.errno not in _OF_ONE_PLACE
    if isinstance(error, sa.exc.DBAPIError):
        return not isinstance(error, _OF_ONE_ROW)
    return isinstance(error, (MemoryError, sa.exc.TimeoutError))
