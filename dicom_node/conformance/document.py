"""A document of numbered sections with paragraphs, lists and tables, whatever it is printed as."""

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Bullets", "Document", "Paragraph", "Section", "Table"]


@dataclass(frozen=True)
class Paragraph:
    """Text of one or more sentences."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of short texts."""

    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; every row has as many cells as there are columns.

    Attributes
    ----------
    widths
        Parts of the width for each column.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a table whose rows do not fit its columns."""
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.title!r}: a row has another number of cells than there are columns")


Block = Paragraph | Bullets | Table


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section with its number as in the template, such as ``5.1.2`` or ``A.A.1``."""

    number: str
    title: str
    blocks: tuple[Block, ...] = ()
    parts: tuple["Section", ...] = field(default_factory=tuple)

    @property
    def anchor(self) -> str:
        """Name by which links refer to it."""
        return "s-" + self.number.replace(".", "-").lower()

    def walk(self, level: int = 1) -> Iterator[tuple[int, "Section"]]:
        """Yield this section and those within it, each with its level from 1."""
        yield level, self
        for part in self.parts:
            yield from part.walk(level + 1)


@dataclass(frozen=True, kw_only=True)
class Document:
    """The whole statement."""

    title: str
    product: str
    version: str
    made_at: str
    sections: tuple[Section, ...]

    def walk(self) -> Iterator[tuple[int, Section]]:
        """Yield every section in order, each with its level from 1."""
        for section in self.sections:
            yield from section.walk()

    def table(self, title: str) -> Table:
        """Return a table by its title."""
        tables = (block for _, section in self.walk() for block in section.blocks if isinstance(block, Table))
        return next(one for one in tables if one.title == title)
