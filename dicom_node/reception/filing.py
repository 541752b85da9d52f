"""From the journal into the inbox: many with one wait, and none that holds up the others or is lost.

What fails now may pass: a full disk, a database that restarts. That is tried again without end. What only one instance
is to blame for never passes: it is set aside where a person finds it.
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
"""Files arrivals, all or none; raises where it cannot, and is called again."""

_OF_ONE_PLACE = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP)
"""Something else lies where one instance belongs; other errors of the file system concern all of them."""

_OF_ONE_ROW = (sa.exc.DataError, sa.exc.IntegrityError)
"""The database takes other rows."""

_log = structlog.get_logger()


class Filer:
    """Files arrivals as far as that goes.

    Parameters
    ----------
    aside
        Where instances go that can never be filed.
    folder
        The node's: where the files lie that were too large to be gathered.
    """

    def __init__(self, file: File, aside: Path, folder: Path) -> None:
        self._file, self._aside, self._folder = file, aside, folder

    def file(self, arrivals: Sequence[ArrivedInstance]) -> int:
        """File in order, as many at once as a batch has; return of how many nothing more has to be done."""
        done = 0
        while done < len(arrivals):
            batch = arrivals[done : done + BATCH]
            filed = self._file_some(batch)
            done += filed
            if filed < len(batch):
                break
        return done

    def set_aside(self, content: bytes | Path, name: str, error: str) -> None:
        """Keep what can never be filed, or a copy of the file that holds it, where a person finds it.

        Raises
        ------
        OSError
            When it cannot be written there either.
        """
        write_durably(self._aside / f"{name}.dcm", content)
        _log.error("set_aside", file=f"{name}.dcm", error=error)

    def _file_some(self, batch: Sequence[ArrivedInstance]) -> int:
        """File a batch; where it fails as a whole, singly, so that one bad instance does not hold up the others."""
        if self._filed_now(batch):
            return len(batch)
        for number, arrival in enumerate(batch):
            if not self._filed_now([arrival]):
                return number
        return len(batch)

    def _filed_now(self, arrivals: Sequence[ArrivedInstance]) -> bool:
        try:
            self._file(arrivals)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not hold up what comes behind it
            if not _passes(error) and len(arrivals) == 1:
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
        except OSError as now:
            _log.warning("not_filed", instances=1, error=type(now).__name__)
            return False
        return True


def _passes(error: Exception) -> bool:
    """Tell whether something may work at another time, rather than never for this instance."""
    if isinstance(error, OSError):
        return error.errno not in _OF_ONE_PLACE
    if isinstance(error, sa.exc.DBAPIError):
        return not isinstance(error, _OF_ONE_ROW)
    return isinstance(error, (MemoryError, sa.exc.TimeoutError))
