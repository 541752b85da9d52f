"""The error of files that a person gave and that cannot be used."""

from conversion.errors import ConversionReason, UnusableStudy

__all__ = ["UnusableUpload"]


class UnusableUpload(UnusableStudy):
    """Files that cannot be used; the message states what is wrong and what would work, for the person who sent them."""

    def __init__(self, sentence: str) -> None:
        super().__init__(ConversionReason.NO_IMAGES, sentence)
