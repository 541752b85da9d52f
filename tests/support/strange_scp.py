"""An SCP of Query/Retrieve whose answers are whatever bytes a test wants, and whose counts are what it says."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from tests.support.pacs import OpenSockets

__all__ = ["StrangeScp", "identifier", "running_strange_scp"]

PENDING = 0xFF00


def identifier(values: Mapping[str, bytes]) -> Dataset:
    """Return an identifier with values as they are, valid or not, for implicit VR."""
    ds = Dataset()
    for keyword, value in values.items():
        tag = Tag(tag_for_keyword(keyword) or 0)
        padded = value + b" " * (len(value) % 2)
        ds[tag] = RawDataElement(tag, None, len(padded), padded, 0, is_implicit_VR=True, is_little_endian=True)
    return ds


@dataclass(kw_only=True)
class StrangeScp:
    """What it does.

    Attributes
    ----------
    finds
        Gives the identifiers that answer a C-FIND at a level.
    sends
        What it sends to each C-GET.
    says
        Completed and failed sub-operations that its final answer tells of; None: what is so.
    closes
        Ends the association instead of answering.
    offers
        SOP classes of Query/Retrieve.
    """

    port: int = 0
    finds: Callable[[str], Iterable[Dataset]] = lambda _level: ()
    sends: Callable[[], Iterable[Dataset]] = lambda: ()
    says: tuple[int | None, int | None] | None = None
    closes: bool = False
    asked: list[str] = field(default_factory=list)

    def _on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        level = str(event.identifier.QueryRetrieveLevel)
        self.asked.append(level)
        if self.closes:
            event.assoc.abort()
            return
        for answer in self.finds(level):
            if not event.assoc.is_established:
                return
            yield PENDING, answer

    def _on_get(self, event: evt.Event) -> Iterator[Any]:
        yield 65535
        for ds in self.sends():
            if not event.assoc.is_established:
                return
            yield PENDING, ds
        if self.says is not None:
            self._answer(event, C_GET())

    def _on_move(self, event: evt.Event) -> Iterator[Any]:
        self._answer(event, C_MOVE())
        yield None, None

    def _answer(self, event: evt.Event, response: Any) -> None:  # noqa: ANN401 - C_GET or C_MOVE
        request: Any = event.request
        assert self.says is not None
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID = request.AffectedSOPClassUID
        response.Status = 0x0000
        response.NumberOfCompletedSuboperations, response.NumberOfFailedSuboperations = self.says
        context = event.context.context_id
        assert context is not None
        event.assoc.dimse.send_msg(response, context)


@contextmanager
def running_strange_scp(*, moves: bool = False) -> Iterator[StrangeScp]:
    """Serve in implicit VR on a free port until the block ends, C-MOVE instead of C-GET if wanted."""
    scp = StrangeScp()
    entity = AE(ae_title="STRANGE")
    entity.implementation_version_name = "A_VERSION_NAME_1"
    entity.maximum_pdu_size = 0
    retrieve = StudyRootQueryRetrieveInformationModelMove if moves else StudyRootQueryRetrieveInformationModelGet
    for model in (StudyRootQueryRetrieveInformationModelFind, retrieve):
        entity.add_supported_context(model, ImplicitVRLittleEndian)
    for context in AllStoragePresentationContexts:
        syntax = ImplicitVRLittleEndian
        entity.add_supported_context(str(context.abstract_syntax), syntax, scu_role=True, scp_role=True)
    sockets = OpenSockets()
    handlers: list[Any] = [
        (evt.EVT_C_FIND, scp._on_find),
        (evt.EVT_C_GET, scp._on_get),
        (evt.EVT_C_MOVE, scp._on_move),
        sockets.handler,
    ]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    scp.port = int(server.server_address[1])
    try:
        yield scp
    finally:
        entity.shutdown()
        sockets.close()
