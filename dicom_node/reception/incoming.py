"""A data set that is being received: in memory while it is small, in its own file once it is larger."""

from collections.abc import Callable

from dicom_node.reception.spool import Spool

__all__ = ["GATHERED_BYTES", "Incoming"]

GATHERED_BYTES = 2**23
"""Limit for data sets in memory: ten times a large slice. An association needs memory for only a few copies of this."""

SMALL_BYTES = 2**12
"""A smaller fragment is appended to the previous one: each separate fragment costs some 200 bytes more than its own."""


class Incoming:
    """A data set that is being received.

    Parameters
    ----------
    spool
        Creates the file for a data set that is too large for memory; raises OSError where it cannot. None keeps any
        data set in memory; the caller then limits its size.
    """

    def __init__(self, spool: Callable[[], Spool] | None = None) -> None:
        self._make_spool = spool
        self._spool: Spool | None = None
        self._fragments: list[memoryview | bytearray] = []
        self._size = 0
        self._error: OSError | None = None

    def take(self, fragment: memoryview) -> None:
        """Append a fragment; a failure to write it is raised by `spool`."""
        self._size += len(fragment)
        if self._error is not None:
            return
        if self._spool is None:
            self._gather(fragment)
        try:
            if self._spool is not None:
                self._spool.write(fragment)
            elif self._size > GATHERED_BYTES and self._make_spool is not None:
                self._begin_file(self._make_spool())
        except OSError as error:
            self.discard()
            self._error = error

    @property
    def content(self) -> bytes:
        """The data set, if it is in memory."""
        return self.behind(b"")

    def behind(self, header: bytes) -> bytes:
        """Return a file of the data set, if it is in memory: the header, then the data set."""
        return b"".join((header, *self._fragments))

    @property
    def spool(self) -> Spool | None:
        """The file of the data set, if it is not in memory.

        Raises
        ------
        OSError
            When the file could not be written.
        """
        if self._error is not None:
            raise self._error
        return self._spool

    def discard(self) -> None:
        """Remove the data set unless it was moved to its place; calling this twice is harmless."""
        self._fragments = []
        if self._spool is not None:
            self._spool.discard()

    def _gather(self, fragment: memoryview) -> None:
        if len(fragment) >= SMALL_BYTES:
            self._fragments.append(fragment)
        elif self._fragments and isinstance(self._fragments[-1], bytearray):
            self._fragments[-1] += fragment
        else:
            self._fragments.append(bytearray(fragment))

    def _begin_file(self, spool: Spool) -> None:
        self._spool = spool
        for fragment in self._fragments:
            spool.write(memoryview(fragment))
        self._fragments = []
