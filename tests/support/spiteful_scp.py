"""An SCP that fails with words: each answer of its holds a comment, and what it sends is another patient's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from tests.support.pacs import OpenSockets

__all__ = ["SpitefulScp", "running_spiteful_scp"]

OUT_OF_RESOURCES, UNABLE_TO_PROCESS, PENDING = 0xA700, 0xC001, 0xFF00
_LONGEST_COMMENT = 64


@dataclass(kw_only=True)
class SpitefulScp:
    """What it says.

    Attributes
    ----------
    comment
        Of every failure.
    sends
        What it sends to a C-GET, whatever was asked for.
    stores
        Whether it takes what is sent to it.
    asked
        Names of the requests that came.
    """

    comment: str
    sends: tuple[Dataset, ...] = ()
    stores: bool = False
    port: int = 0
    asked: list[str] = field(default_factory=list)

    def _failure(self, status: int) -> Dataset:
        ds = Dataset()
        ds.Status, ds.ErrorComment = status, self.comment[:_LONGEST_COMMENT]
        return ds

    def _on_store(self, _event: evt.Event) -> Any:  # noqa: ANN401 - a status, or a data set with one
        self.asked.append("C-STORE")
        return 0x0000 if self.stores else self._failure(OUT_OF_RESOURCES)

    def _on_find(self, _event: evt.Event) -> Iterator[Any]:
        self.asked.append("C-FIND")
        yield self._failure(UNABLE_TO_PROCESS), None

    def _on_get(self, _event: evt.Event) -> Iterator[Any]:
        self.asked.append("C-GET")
        yield len(self.sends) + 1
        for ds in self.sends:
            yield PENDING, ds
        yield self._failure(UNABLE_TO_PROCESS), None

    def _on_move(self, _event: evt.Event) -> Iterator[Any]:
        self.asked.append("C-MOVE")
        yield None, None  # a destination that it does not know

    def _on_action(self, _event: evt.Event) -> Any:  # noqa: ANN401
        self.asked.append("N-ACTION")
        return self._failure(UNABLE_TO_PROCESS), None


@contextmanager
def running_spiteful_scp(scp: SpitefulScp, *, gets: bool = True) -> Iterator[SpitefulScp]:
    """Serve on a free port until the block ends; C-MOVE instead of C-GET if wanted."""
    entity = AE(ae_title="SPITEFUL")
    retrieve = StudyRootQueryRetrieveInformationModelGet if gets else StudyRootQueryRetrieveInformationModelMove
    for model in (StudyRootQueryRetrieveInformationModelFind, retrieve, StorageCommitmentPushModel):
        entity.add_supported_context(model)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), scu_role=True, scp_role=True)
    sockets = OpenSockets()
    handlers: Mapping[evt.EventType, Any] = {
        evt.EVT_C_STORE: scp._on_store,
        evt.EVT_C_FIND: scp._on_find,
        evt.EVT_C_GET: scp._on_get,
        evt.EVT_C_MOVE: scp._on_move,
        evt.EVT_N_ACTION: scp._on_action,
    }
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[*handlers.items(), sockets.handler])
    assert server is not None
    scp.port = int(server.server_address[1])
    try:
        yield scp
    finally:
        entity.shutdown()
        sockets.close()
