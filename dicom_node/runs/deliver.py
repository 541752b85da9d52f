"""The last step of a run on a node, `deliver`: done by the worker itself, since it waits for the network alone."""

from dicom_node.database.states import RunState
from dicom_node.delivery.outbox import Outbox
from dicom_node.runs.lifecycle import Lifecycle

__all__ = ["deliver"]


def deliver(run_id: str, outbox: Outbox, lifecycle: Lifecycle) -> None:
    """Send the results to every destination, once; `dicom_node.delivery.outbox` goes on where not all accept them."""
    outbox.deliver(run_id)
    if lifecycle.state_of(run_id) != RunState.UNDELIVERED:
        lifecycle.tidy(run_id)
