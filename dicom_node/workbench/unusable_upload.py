"""The error of files that a person gave and that cannot be used."""

from typing import Self

from conversion.errors import ConversionReason, UnusableStudy

__all__ = ["UnusableUpload"]


class UnusableUpload(UnusableStudy):
    """Files that cannot be used; the message states what is wrong and what would work, for the person who sent them."""

    @classmethod
    def because(cls, sentence: str) -> Self:
        """Return the error with its sentence."""
        return cls(ConversionReason.NO_IMAGES, sentence)
