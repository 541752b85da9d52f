"""The form of a peer as entered, so that it can be shown again with what is wrong with it."""

from dataclasses import asdict
from typing import Self

from pydantic import BaseModel

from dicom_node.peers.peer import Peer

__all__ = ["PeerForm"]

_DIGITS = 10
"""Digits of the largest number in an integer string (PS3.5 6.2)."""


class PeerForm(BaseModel):
    """The fields of the form."""

    name: str = ""
    ae_title: str = ""
    host: str = ""
    port: str = ""
    may_send: bool = False
    is_destination: bool = False
    is_urgent: bool = False
    is_source: bool = False
    dicomweb_url: str = ""
    send_by: str = "c-store"
    objects: str = "SEG,SR"
    transfer_syntax: str = "explicit"
    seg_form: str = "binary"
    seg_series: str = "7701"
    sr_series: str = "7702"
    proof: str = "auto"

    @classmethod
    def of(cls, peer: Peer) -> Self:
        """Return the form that shows a peer."""
        values = asdict(peer) | {"port": str(peer.port or "")}
        return cls(**values | {"seg_series": str(peer.seg_series), "sr_series": str(peer.sr_series)})

    def peer(self, name: str = "") -> Peer:
        """Return the peer; an entry that is not a number becomes one that is refused.

        Parameters
        ----------
        name
            Name of the peer that is changed; empty for a new one, which has the name that was entered.
        """
        return Peer(
            **self.model_dump(exclude={"name", "port", "seg_series", "sr_series"}),
            name=name or self.name,
            port=_number(self.port) if self.port.strip() else 0,
            seg_series=_number(self.seg_series),
            sr_series=_number(self.sr_series),
        )


def _number(entered: str) -> int:
    text = entered.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else -1
