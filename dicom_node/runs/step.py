"""The names of the steps of a run: as the database, logs and pages have them."""

import enum

__all__ = ["Step"]


class Step(enum.StrEnum):
    """A step of a run; the order is that of the list."""

    SELECT = "select"  # recognise the series, and choose one for each role
    CONVERT = "convert"  # read the voxels of these, and see that a result could be written
    ALIGN = "align"  # bring every sequence onto the reference's grid
    SEGMENT = "segment"  # find the tumour and measure it
    ENCODE = "encode"  # write SEG and SR, and prove them
    DELIVER = "deliver"  # send them to every destination, once

    @property
    def place(self) -> int:
        """Return its place in the order, counted from 0."""
        return list(Step).index(self)
