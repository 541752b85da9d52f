"""Who decides whether an association is let in."""

from collections.abc import Callable

from pynetdicom.association import Association

from dicom_node.reception.acceptor.association_request import Rejection

__all__ = ["Admit"]

Admit = Callable[[Association], Rejection | None]
"""Says why a request for association that was understood is rejected all the same; None where it is not."""
