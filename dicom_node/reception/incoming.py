"""A data set that is under way: gathered in memory while it is small, in a file of its own beyond that."""

from collections.abc import Callable

from dicom_node.reception.spool import Spool

__all__ = ["GATHERED_BYTES", "Incoming"]

GATHERED_BYTES = 2**23
"""Ten times a large slice, which the journal takes; a few copies of it, for each association, are all the memory."""

SMALL_BYTES = 2**12
"""A fragment that is smaller joins the one before it: each takes some 200 bytes beside its own."""


class Incoming:
    """A data set that is under way.

    Parameters
    ----------
    spool
        Makes the file for one that is too large to be gathered; raises OSError where it cannot. None: it is gathered
        whatever its size, which others limit.
    """

    def __init__(self, spool: Callable[[], Spool] | None = None) -> None:
        self._make_spool = spool
        self._spool: Spool | None = None
        self._fragments: list[memoryview | bytearray] = []
        self._size = 0
        self._error: OSError | None = None

    def take(self, fragment: memoryview) -> None:
        """Add what came; that it could not be written is told when it is asked for."""
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
        """The data set, where it was gathered."""
        return self.behind(b"")

    def behind(self, header: bytes) -> bytes:
        """Return the data set, where it was gathered, behind what stands before it in a file."""
        return b"".join((header, *self._fragments))

    @property
    def spool(self) -> Spool | None:
        """The file, where it is in one.

        Raises
        ------
        OSError
            When it could not be written.
        """
        if self._error is not None:
            raise self._error
        return self._spool

    def discard(self) -> None:
        """Remove what has not been given its place; saying so twice does no harm."""
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
