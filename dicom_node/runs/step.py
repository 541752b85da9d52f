"""The names of the steps of a run, as used in the database, logs and pages."""

import enum

__all__ = ["Step"]


class Step(enum.StrEnum):
    """A step of a run; the order is that of the list."""

    SELECT = "select"  # recognise the series, and choose one for each role
    CONVERT = "convert"  # read their voxels, and check that a result can be written
    ALIGN = "align"  # register every sequence with the reference, on its grid
    SEGMENT = "segment"  # find the tumour and measure it
    ENCODE = "encode"  # write SEG and SR, and verify them
    DELIVER = "deliver"  # send them to every destination, once

    @property
    def place(self) -> int:
        """Return its place in the order, counted from 0."""
        return list(Step).index(self)
