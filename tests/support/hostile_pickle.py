"""A pickle that acts when it is read."""

from pathlib import Path
from typing import Any

__all__ = ["Bomb"]


class Bomb:
    """Leaves a trace wherever it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._trace,))
