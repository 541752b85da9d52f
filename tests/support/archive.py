"""A PACS over data sets in memory: it stores, answers C-FIND in the study root model, sends by C-GET, and commits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from tests.support.pacs import OpenSockets

__all__ = ["Archive", "running_archive"]

PENDING = 0xFF00
_UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


@dataclass(kw_only=True)
class Archive:
    """What it holds, by SOP Instance UID, and how it answers.

    Attributes
    ----------
    answer
        Final status of every C-FIND.
    asked
        Level of each question, in order.
    store_answer
        Status of every C-STORE.
    loses
        Whether it says that it stored, and does not.
    stored
        SOP Instance UID of each C-STORE request that was answered with success.
    before_answer
        What is done with the SOP Instance UID of each C-STORE request before it is kept and answered.
    """

    ae_title: str = "ARCHIVE"
    port: int = 0
    holds: dict[str, Dataset] = field(default_factory=dict)
    answer: int = 0x0000
    asked: list[str] = field(default_factory=list)
    store_answer: int = 0x0000
    loses: bool = False
    stored: list[str] = field(default_factory=list)
    before_answer: Callable[[str], object] = str

    def put(self, *datasets: Dataset) -> None:
        """Hold further instances, or newer versions."""
        for ds in datasets:
            self.holds[str(ds.SOPInstanceUID)] = ds

    def _on_store(self, event: evt.Event) -> int:
        self.before_answer(str(event.request.AffectedSOPInstanceUID))
        if self.store_answer == 0x0000:
            ds = event.dataset
            ds.file_meta = event.file_meta
            self.stored.append(str(ds.SOPInstanceUID))
            if not self.loses:
                self.put(ds)
        return self.store_answer

    def _on_get(self, event: evt.Event) -> Iterator[Any]:
        wanted = [ds for ds in self.holds.values() if ds.StudyInstanceUID == event.identifier.StudyInstanceUID]
        yield len(wanted)
        for ds in wanted:
            yield PENDING, ds

    def _on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        query: Any = event.identifier
        self.asked.append(str(query.QueryRetrieveLevel))
        if self.answer != 0x0000:
            yield self.answer, None
            return
        unique = _UNIQUE[query.QueryRetrieveLevel]
        told = set()
        for ds in list(self.holds.values()):
            if ds.get(unique) not in told and all(_fits(element, ds) for element in query):
                told.add(ds.get(unique))
                yield PENDING, _answer(query, ds)


def _fits(element: Any, ds: Dataset) -> bool:  # noqa: ANN401 - a data element
    if element.keyword in ("QueryRetrieveLevel", "SpecificCharacterSet") or element.value in (None, ""):
        return True
    return str(ds.get(element.keyword, "")) == str(element.value)


def _answer(query: Dataset, ds: Dataset) -> Dataset:
    found = Dataset()
    found.QueryRetrieveLevel = query.QueryRetrieveLevel
    for element in query:
        if element.keyword != "QueryRetrieveLevel":
            setattr(found, element.keyword, ds.get(element.keyword, ""))
    return found


@contextmanager
def running_archive(ae_title: str = "ARCHIVE") -> Iterator[Archive]:
    """Serve on a free port until the block ends."""
    archive = Archive(ae_title=ae_title)
    entity = AE(ae_title=ae_title)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), scu_role=True, scp_role=True)
    sockets = OpenSockets()
    handlers: list[Any] = [
        (evt.EVT_C_FIND, archive._on_find),
        (evt.EVT_C_STORE, archive._on_store),
        (evt.EVT_C_GET, archive._on_get),
        sockets.handler,
    ]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    archive.port = int(server.server_address[1])
    try:
        yield archive
    finally:
        entity.shutdown()
        sockets.close()
