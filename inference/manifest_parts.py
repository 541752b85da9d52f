"""What a manifest says of each part of a model: its networks, the one that finds the brain, the autoencoder."""

from dataclasses import dataclass, field
from typing import Any

from inference.manifest_rules import (
    AUTOENCODER_RULES,
    BRAIN_RULES,
    NETWORK_RULES,
    REGIONS,
    check_fields,
    refuse,
)

__all__ = ["AutoencoderManifest", "BrainManifest", "NetworkManifest"]


@dataclass(frozen=True, kw_only=True)
class NetworkManifest:
    """One network of a model.

    Attributes
    ----------
    input
        ``slices`` or ``volume``; networks of equal input are one ensemble.
    architecture
        Name in the allow-list of `inference.networks`, or ``onnx``.
    settings
        Keyword arguments of that architecture.
    context
        Neighbouring slices that are seen on each side of a slice.
    spacing_mm
        In plane for slices, of every axis for a volume.
    weights
        Name of a file in the model's folder.
    regions
        Those it has learned; what it answers for others is not heard.
    views
        1: slices as they come. 3: for a volume, slices along each of its axes, three answers.
    fold
        Of the split it was trained by, held out from it; None where nothing was.
    thresholds
        Instead of the model's, for all networks of this input.
    interval_factors
        For WT, TC, ET by how many doubts an expert's volume lies below and above at most; see `inference.uncertainty`.
        Like the limits below it holds for the whole ensemble of this input.
    agreement_flag, agreement_gate
        Agreement between the looks, for WT, under which a result is flagged, and under which there is none.
    brain_alone
        Whether it is shown nothing but the brain of a head. None: as networks of `glionode train` learned it, that is
        those over volumes.
    n4
        Whether the bias field is taken out of what it is shown, as it was in training.
    blind_to
        Sequences that no case of its training had; they are emptied before it looks.
    share_on_volumes
        Of a network for slices: how much of the answer over volumes is its ensemble's, in the regions that it has
        learned, beside networks over volumes; 0 for none. It learned from other patients, so it errs elsewhere.
    needed_on_volumes
        Sequences without which it has no say over a volume: those that all cases of its training had.
    """

    name: str
    input: str
    architecture: str
    settings: dict[str, Any]
    context: int
    spacing_mm: float
    weights: str
    weights_sha256: str
    regions: tuple[str, ...] = REGIONS
    views: int = 1
    fold: int | None = None
    thresholds: tuple[float, float, float] | None = None
    interval_factors: dict[str, list[float]] = field(default_factory=dict)
    agreement_flag: float = 0.0
    agreement_gate: float = 0.0
    brain_alone: bool | None = None
    n4: bool = False
    blind_to: tuple[str, ...] = ()
    share_on_volumes: float = 0.0
    needed_on_volumes: tuple[str, ...] = ()

    @property
    def sees_brain_alone(self) -> bool:
        """Tell whether skull and scalp are taken away from what it is shown."""
        return self.input == "volume" if self.brain_alone is None else self.brain_alone

    def __post_init__(self) -> None:
        """Refuse what cannot be used, naming the field."""
        check_fields(self, NETWORK_RULES)
        if self.input == "volume" and self.context and self.views == 1:
            refuse("context", self.context, "0 for a network that sees volumes as such")
        if self.input == "slices" and self.views == 3:
            refuse("views", self.views, "1 for a network that sees slices")
        if self.input == "volume" and self.share_on_volumes:
            refuse("share_on_volumes", self.share_on_volumes, "0 for a network that sees volumes")


@dataclass(frozen=True, kw_only=True)
class AutoencoderManifest:
    """What tells how far a study is from anything the model was trained on; see `inference.novelty`.

    Attributes
    ----------
    settings
        Keyword arguments of `inference.autoencoder.HeadAutoencoder`.
    whole
        Error of the whole study that 95 % of held-out patients stay below, with one, two, three and four sequences.
    channels
        The same for each sequence made up from one, two and three others.
    flag, gate
        Novelty from which a result is flagged, and from which there is none.
    """

    settings: dict[str, Any]
    weights: str
    weights_sha256: str
    whole: tuple[float, ...]
    channels: dict[str, list[float]]
    flag: float
    gate: float

    def __post_init__(self) -> None:
        """Refuse what cannot be used, naming the field."""
        check_fields(self, AUTOENCODER_RULES)
        if self.gate < self.flag:
            refuse("gate", self.gate, f"no less than the flag's {self.flag:g}")


@dataclass(frozen=True, kw_only=True)
class BrainManifest:
    """The network that finds the brain; see `inference.brain_network`.

    Attributes
    ----------
    settings
        Keyword arguments of `inference.unet.TumourUNet`.
    spacing_mm
        Edge of the cubes that it sees.
    threshold
        Probability from which a cube belongs to the brain.
    agreement_flag
        Dice between what it finds in two sequences of a study under which the brain is in doubt.
    """

    settings: dict[str, Any]
    weights: str
    weights_sha256: str
    spacing_mm: float
    threshold: float
    agreement_flag: float

    def __post_init__(self) -> None:
        """Refuse what cannot be used, naming the field."""
        check_fields(self, BRAIN_RULES)
