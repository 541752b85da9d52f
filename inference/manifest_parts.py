"""The parts of a manifest: the model's networks, the network that finds the brain, the autoencoder."""

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
        Name on the allow-list of `inference.networks`, or ``onnx``.
    settings
        Keyword arguments of that architecture.
    context
        Number of neighbouring slices in the input on each side of a slice.
    spacing_mm
        In plane for slices, of every axis for a volume.
    weights
        Name of a file in the model's folder.
    regions
        Those it was trained on; its output for others is ignored.
    views
        1: along the slices of the stack. 3: for a volume, slices along each of its axes, which gives three predictions.
    fold
        The fold that was held out from its training; None where none was.
    thresholds
        Used instead of the model's, for all networks of this input.
    interval_factors
        For WT, TC, ET: how many doubts an expert's volume lies at most below and above; see `inference.uncertainty`.
        Like the limits below, they hold for the whole ensemble of this input.
    agreement_flag, agreement_gate
        Agreement between the predictions, for WT, below which a result is flagged, and below which it is withheld.
    brain_alone
        Whether its input is the brain only. None: as in `glionode train`, where this holds for volume networks.
    n4
        Whether the bias field of its input is corrected, as it was in training.
    blind_to
        Sequences that no case of its training had; they are set to zero in its input.
    share_on_volumes
        For a slice network: the share of its ensemble in the result over volumes, beside volume networks, in the
        regions that it was trained on; 0 for none. It was trained on other patients, so its errors are in other places.
    needed_on_volumes
        Sequences without which it is not used for volumes: those that all cases of its training had.
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
        """Return whether skull and scalp are removed from its input."""
        return self.input == "volume" if self.brain_alone is None else self.brain_alone

    def __post_init__(self) -> None:
        """Refuse values that cannot be used, naming the field."""
        check_fields(self, NETWORK_RULES)
        if self.input == "volume" and self.context and self.views == 1:
            refuse("context", self.context, "0 for a volume network with one view")
        if self.input == "slices" and self.views == 3:
            refuse("views", self.views, "1 for a slice network")
        if self.input == "volume" and self.share_on_volumes:
            refuse("share_on_volumes", self.share_on_volumes, "0 for a volume network")


@dataclass(frozen=True, kw_only=True)
class AutoencoderManifest:
    """The autoencoder that measures how far a study differs from the training data; see `inference.novelty`.

    Attributes
    ----------
    settings
        Keyword arguments of `inference.autoencoder.HeadAutoencoder`.
    whole
        Error of the whole study that 95 % of held-out patients stay below, with one, two, three and four sequences.
    channels
        The same for each sequence when it is reconstructed from one, two and three others.
    flag, gate
        Novelty from which a result is flagged, and from which it is withheld.
    """

    settings: dict[str, Any]
    weights: str
    weights_sha256: str
    whole: tuple[float, ...]
    channels: dict[str, list[float]]
    flag: float
    gate: float

    def __post_init__(self) -> None:
        """Refuse values that cannot be used, naming the field."""
        check_fields(self, AUTOENCODER_RULES)
        if self.gate < self.flag:
            refuse("gate", self.gate, f"at least the limit for the flag ({self.flag:g})")


@dataclass(frozen=True, kw_only=True)
class BrainManifest:
    """The network that finds the brain; see `inference.brain_network`.

    Attributes
    ----------
    settings
        Keyword arguments of `inference.unet.TumourUNet`.
    spacing_mm
        Edge length of the cubes in its input.
    threshold
        Probability from which a cube belongs to the brain.
    agreement_flag
        Dice between the brains found in two sequences of a study below which the brain is in doubt.
    """

    settings: dict[str, Any]
    weights: str
    weights_sha256: str
    spacing_mm: float
    threshold: float
    agreement_flag: float

    def __post_init__(self) -> None:
        """Refuse values that cannot be used, naming the field."""
        check_fields(self, BRAIN_RULES)
