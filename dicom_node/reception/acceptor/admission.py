"""The type of the function that accepts or rejects an association."""

from collections.abc import Callable

from pynetdicom.association import Association

from dicom_node.reception.acceptor.association_request import Rejection

__all__ = ["Admit"]

Admit = Callable[[Association], Rejection | None]
"""Returns why a well-formed association request is rejected; None where it is accepted."""
