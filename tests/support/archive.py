"""A PACS that answers what it holds: a real C-FIND SCP in the study root model over data sets in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

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
    """

    ae_title: str = "ARCHIVE"
    port: int = 0
    holds: dict[str, Dataset] = field(default_factory=dict)
    answer: int = 0x0000
    asked: list[str] = field(default_factory=list)

    def put(self, *datasets: Dataset) -> None:
        """Hold further instances, or newer versions."""
        for ds in datasets:
            self.holds[str(ds.SOPInstanceUID)] = ds

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
    sockets = OpenSockets()
    handlers: list[Any] = [(evt.EVT_C_FIND, archive._on_find), sockets.handler]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    archive.port = int(server.server_address[1])
    try:
        yield archive
    finally:
        entity.shutdown()
        sockets.close()
