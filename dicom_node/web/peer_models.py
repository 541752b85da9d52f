"""The peers and what is known of them, as the API shows them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from dicom_node.database.states import ProbeState
from dicom_node.peers.echo import EchoOutcome

__all__ = [
    "EchoModel", "ImportModel", "PeerChange", "PeerDetail", "PeerModel", "PeerSettings", "TestModel", "TestStarted",
]  # fmt: skip


class PeerSettings(BaseModel):
    """What can be changed of a peer; what is not stated has the value that the form of the panel suggests."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    ae_title: str
    host: str = ""
    port: int = 0
    may_send: bool = True
    is_destination: bool = False
    is_urgent: bool = False
    is_source: bool = False
    dicomweb_url: str = ""
    send_by: str = "c-store"
    objects: str = "SEG,SR"
    transfer_syntax: str = "explicit"
    seg_form: str = "binary"
    seg_series: int = 7701
    sr_series: int = 7702
    proof: str = "auto"


class PeerModel(PeerSettings):
    """A peer."""

    name: str
    enabled: bool = True


class WaitingModel(BaseModel):
    """What hangs on a peer."""

    model_config = ConfigDict(from_attributes=True)

    objects: int
    studies: int
    fetches: int


class PeerDetail(PeerModel):
    """A peer, and the objects, their studies and the fetches that wait for it."""

    waiting: WaitingModel


class PeerChange(BaseModel):
    """A change of a peer."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool


class EchoModel(BaseModel):
    """The result of a C-ECHO: what came of it, what to try, the status and how long each part took."""

    model_config = ConfigDict(from_attributes=True)

    ok: bool
    outcome: EchoOutcome
    sentence: str
    advice: str
    measured: str
    status: int | None
    connect_ms: float | None
    associate_ms: float | None
    answer_ms: float | None


class StepModel(BaseModel):
    """One step of a connection test."""

    model_config = ConfigDict(from_attributes=True)

    step: str
    ok: bool | None
    sentence: str
    took_s: float


class TestModel(BaseModel):
    """A connection test as it stands."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    peer: str
    state: ProbeState
    began_at: datetime
    ended_at: datetime | None
    steps: list[StepModel]


class TestStarted(BaseModel):
    """The id of a connection test that was started."""

    id: int


class FieldChangeModel(BaseModel):
    """One setting that an import changes; both values as TOML."""

    model_config = ConfigDict(from_attributes=True)

    field: str
    before: str
    after: str


class ChangedModel(BaseModel):
    """A peer that an import changes."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    changes: list[FieldChangeModel]


class ImportModel(BaseModel):
    """What an import does or would do; `left` are the peers that the file does not name, which stay as they are."""

    model_config = ConfigDict(from_attributes=True)

    added: list[str]
    changed: list[ChangedModel]
    unchanged: list[str]
    left: list[str]
