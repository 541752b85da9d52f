"""The rules for each field of a manifest: a test, and the words for the message when a value fails it."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from conversion.sequences import Role
from inference.smallest_seen import CONTRASTS

__all__ = [
    "AUTOENCODER_RULES",
    "BRAIN_RULES",
    "MODEL_RULES",
    "NAME",
    "NETWORK_RULES",
    "REGIONS",
    "check_fields",
    "refuse",
]

REGIONS = ("WT", "TC", "ET")
"""Order of the thresholds, and of the outputs of every network of this program."""

_SEQUENCES = frozenset({Role.T1, Role.T1CE, Role.T2, Role.FLAIR})
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,31}")
_WEIGHTS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(safetensors|onnx)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def refuse(name: str, value: object, wanted: str) -> NoReturn:
    """Raise an error that names a field, shows its value, shortened, and states what it must be."""
    shown = repr(value)
    message = f"{name} = {shown if len(shown) <= 80 else shown[:77] + '...'}: it must be {wanted}"
    raise ValueError(message)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= 10_000


def _is_number(value: object, least: float = 0.0) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= least


def _is_sequences(value: object) -> bool:
    if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
        return False
    return len(set(value)) == len(value) and set(value) <= _SEQUENCES


def _matches(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None and ".." not in value


def _is_thresholds(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == len(REGIONS) and all(_is_number(limit) for limit in value)


def _are_volumes(value: object) -> bool:
    kinds = {f"{contrast} {slices}" for contrast in CONTRASTS for slices in ("thin", "thick")}
    return isinstance(value, dict) and set(value) <= kinds and all(_is_number(volume) for volume in value.values())


def _is_label_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(rule, str) for rule in value.values())


def _is_share(value: object) -> bool:
    return _is_number(value) and isinstance(value, int | float) and value <= 1


def _are_levels(value: object, count: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == count and all(_is_number(level, 1e-6) for level in value)


def _are_channel_levels(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == _SEQUENCES
        and all(_are_levels(levels, len(_SEQUENCES) - 1) for levels in value.values())
    )


def _are_intervals(value: object) -> bool:
    if not isinstance(value, dict) or not set(value) <= set(REGIONS):
        return False
    pairs = list(value.values())
    return all(isinstance(pair, list) and len(pair) == 2 and all(map(_is_finite, pair)) for pair in pairs)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


Rules = Mapping[str, tuple[Callable[[Any], bool], str]]
_NAMED = (_matches(NAME), "1 to 64 letters, digits, '.', '_' or '-'")
_SENTENCE = (_is_text, "a text that is not empty")
_JSON_OBJECT = (lambda value: isinstance(value, dict), "a JSON object")

NETWORK_RULES: Rules = {
    "name": _NAMED,
    "input": (lambda value: value in {"slices", "volume"}, '"slices" or "volume"'),
    "architecture": _SENTENCE,
    "settings": _JSON_OBJECT,
    "context": (lambda value: type(value) is int and 0 <= value <= 16, "a whole number from 0 to 16"),
    "spacing_mm": (lambda value: _is_number(value, 0.1) and value <= 20, "a number from 0.1 to 20"),
    "weights": (_matches(_WEIGHTS), "the name of a .safetensors or .onnx file in the folder, without a path"),
    "weights_sha256": (_matches(_SHA256), "64 hexadecimal digits"),
    "views": (lambda value: type(value) is int and value in {1, 3}, "1 or 3"),
    "fold": (lambda value: value is None or (type(value) is int and value >= 0), "a whole number from 0 on, or null"),
    "thresholds": (lambda value: value is None or _is_thresholds(value), "a list of three numbers from 0 on, or null"),
    "interval_factors": (_are_intervals, "a JSON object of two numbers for each of WT, TC, ET"),
    "agreement_flag": (_is_share, "a number from 0 to 1"),
    "agreement_gate": (_is_share, "a number from 0 to 1"),
    "n4": (lambda value: isinstance(value, bool), "true or false"),
    "blind_to": (_is_sequences, "a list of T1, T1CE, T2, FLAIR"),
    "share_on_volumes": (lambda value: _is_share(value) and value < 1, "a number from 0 to below 1"),
    "needed_on_volumes": (_is_sequences, "a list of T1, T1CE, T2, FLAIR"),
    "brain_alone": (lambda value: value is None or isinstance(value, bool), "true, false or null"),
    "regions": (lambda value: value in {REGIONS, REGIONS[:1]}, "a list of WT, TC, ET, or of WT only"),
}

AUTOENCODER_RULES: Rules = {
    "settings": _JSON_OBJECT,
    "weights": (_matches(_WEIGHTS), "the name of a .safetensors file in the folder, without a path"),
    "weights_sha256": (_matches(_SHA256), "64 hexadecimal digits"),
    "whole": (lambda value: _are_levels(value, len(_SEQUENCES)), "four numbers above 0"),
    "channels": (_are_channel_levels, "three numbers above 0 for each of T1, T1CE, T2, FLAIR"),
    "flag": (_is_number, "a number from 0 on"),
    "gate": (_is_number, "a number from 0 on"),
}

BRAIN_RULES: Rules = {
    "settings": _JSON_OBJECT,
    "weights": (_matches(_WEIGHTS), "the name of a .safetensors file in the folder, without a path"),
    "weights_sha256": (_matches(_SHA256), "64 hexadecimal digits"),
    "spacing_mm": (lambda value: _is_number(value, 1.0) and value <= 4, "a number from 1 to 4"),
    "threshold": (lambda value: _is_share(value) and value > 0, "a number above 0 and up to 1"),
    "agreement_flag": (_is_share, "a number from 0 to 1"),
}

MODEL_RULES: Rules = {
    "name": _NAMED,
    "version": (_matches(_VERSION), "1 to 32 letters, digits, '.', '+', '_' or '-'"),
    "licence": _SENTENCE,
    "intended_use": _SENTENCE,
    "channels": (lambda value: _is_sequences(value) and bool(value), "a list of T1, T1CE, T2, FLAIR"),
    "one_of": (lambda value: _is_sequences(value) and bool(value), "a list of T1, T1CE, T2, FLAIR"),
    "core_needs": (_is_sequences, "a list of T1, T1CE, T2, FLAIR"),
    "needs": (_is_sequences, "a list of T1, T1CE, T2, FLAIR"),
    "thresholds": (_is_thresholds, "a list of three numbers from 0 on, for WT, TC, ET"),
    "minimum_lesion_ml": (_is_number, "a number from 0 on"),
    "minimum_core_ml": (_is_number, "a number from 0 on"),
    "minimum_enhancing_ml": (_is_number, "a number from 0 on"),
    "minimum_peak": (_is_share, "a number from 0 to 1"),
    "both_sides_ml": (_is_number, "a number from 0 on"),
    "minimum_share": (_is_share, "a number from 0 to 1"),
    "smallest_seen_ml": (_are_volumes, 'a JSON object of numbers from 0 on, with keys such as "FLAIR thick"'),
    "space": (lambda value: value in {"native", "atlas"}, '"native" or "atlas"'),
    "label_map": (_is_label_map, "a JSON object of texts"),
    "training_data": (lambda value: isinstance(value, str), "a text"),
    "metrics": _JSON_OBJECT,
}


def check_fields(manifest: object, rules: Rules) -> None:
    """Refuse the first field that breaks its rule.

    Raises
    ------
    ValueError
        The sentence names the field.
    """
    for name, (holds, wanted) in rules.items():
        value = getattr(manifest, name)
        try:
            good = holds(value)
        except (OverflowError, TypeError):  # an integer that no float holds, or unhashable: nothing that a rule allows
            good = False
        if not good:
            refuse(name, value, wanted)
