"""The last step of a run on a node, `deliver`: performed by the worker itself, as it only waits for the network."""

from dicom_node.database.states import RunState
from dicom_node.delivery.outbox import Outbox
from dicom_node.runs.lifecycle import Lifecycle

__all__ = ["deliver"]


def deliver(run_id: str, outbox: Outbox, lifecycle: Lifecycle) -> None:
    """Send the results to every destination once; if not all accept them, `dicom_node.delivery.outbox` continues."""
    outbox.deliver(run_id)
    if lifecycle.state_of(run_id) != RunState.UNDELIVERED:
        lifecycle.tidy(run_id)
