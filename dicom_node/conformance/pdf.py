"""The statement as a PDF, with bookmarks, a table of contents, and the number of each page."""

import io
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    ListFlowable,
    LongTable,
    NextPageTemplate,
    PageBreak,
    PageTemplate,
    Spacer,
    TableStyle,
)
from reportlab.platypus import Paragraph as Text
from reportlab.platypus.tableofcontents import TableOfContents

from dicom_node.conformance.document import Bullets, Document, Paragraph, Section, Table

__all__ = ["as_pdf"]

_MARGIN = 20 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_INK, _SOFT, _LINE, _SHADE = (colors.HexColor(code) for code in ("#16242b", "#56666e", "#c9d3d7", "#eef2f4"))
_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9.5, leading=13, textColor=_INK, spaceAfter=5)
_CELL = ParagraphStyle("cell", parent=_BODY, fontSize=7.8, leading=9.8, spaceAfter=0, splitLongWords=True)
_HEAD = ParagraphStyle("head", parent=_CELL, fontName="Helvetica-Bold")
_CAPTION = ParagraphStyle(
    "caption", parent=_BODY, fontName="Helvetica-Bold", fontSize=8.5, spaceBefore=6, keepWithNext=1
)
_TITLE = ParagraphStyle("title", parent=_BODY, fontName="Helvetica-Bold", fontSize=24, leading=30)
_HEADINGS = [
    ParagraphStyle(
        f"heading{level}",
        parent=_BODY,
        fontName="Helvetica-Bold",
        fontSize=size,
        leading=size * 1.3,
        spaceBefore=before,
        spaceAfter=4,
        keepWithNext=1,
    )
    for level, (size, before) in enumerate(((16, 16), (12.5, 12), (10.5, 9), (10, 8)))
]
_CONTENTS = [
    ParagraphStyle(f"contents{level}", parent=_BODY, leftIndent=level * 6 * mm, leading=12, spaceAfter=0)
    for level in range(2)
]
_GRID = TableStyle(
    [
        ("GRID", (0, 0), (-1, -1), 0.4, _LINE),
        ("BACKGROUND", (0, 0), (-1, 0), _SHADE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
        ("LEFTPADDING", (0, 0), (-1, -1), 4),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ]
)


def as_pdf(document: Document) -> bytes:
    """Return a statement as a PDF."""
    stream = io.BytesIO()
    contents = TableOfContents(levelStyles=_CONTENTS, dotsMinLevel=0)
    flow: list[Flowable] = [
        Spacer(0, 60 * mm),
        Text(document.title, _TITLE),
        Text(escape(f"{document.product} {document.version}"), _HEADINGS[1]),
        Text(escape(f"Made from the configuration of {document.made_at}."), _BODY),
        Text("Research use only. Not a medical device.", _BODY),
        NextPageTemplate("pages"),
        PageBreak(),
        Text("2 Table of contents", _HEADINGS[0]),
        contents,
    ]
    for section in document.sections:
        flow.append(PageBreak())
        for level, one in section.walk(0):
            flow += _section(level, one)
    _Pages(stream, document).multiBuild(flow)
    return stream.getvalue()


class _Pages(BaseDocTemplate):  # type: ignore[misc]  # reportlab has no types
    """Pages with a line at the foot, and headings that find their way into contents and bookmarks."""

    def __init__(self, stream: io.BytesIO, document: Document) -> None:
        super().__init__(
            stream,
            pagesize=A4,
            title=f"{document.title}, {document.product} {document.version}",
            author=document.product,
            lang="en-GB",
        )
        frame = Frame(_MARGIN, _MARGIN, _WIDTH, A4[1] - 2 * _MARGIN, leftPadding=0, rightPadding=0)
        self._foot = f"{document.product} {document.version} · {document.title} · {document.made_at}"
        self.addPageTemplates([PageTemplate("first", [frame]), PageTemplate("pages", [frame], onPage=self._draw_foot)])

    def _draw_foot(self, canvas: Any, _document: object) -> None:  # noqa: ANN401 - reportlab has no types
        canvas.setFont("Helvetica", 7.5)
        canvas.setFillColor(_SOFT)
        canvas.drawString(_MARGIN, 11 * mm, self._foot)
        canvas.drawRightString(A4[0] - _MARGIN, 11 * mm, str(canvas.getPageNumber()))

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802 - reportlab's name
        """Note the page of a heading."""
        anchor = getattr(flowable, "anchor", "")
        if not anchor:
            return
        level, text = flowable.level, flowable.getPlainText()
        self.canv.bookmarkPage(anchor)
        self.canv.addOutlineEntry(text, anchor, level, closed=level > 0)
        if level < len(_CONTENTS):
            self.notify("TOCEntry", (level, text, self.page, anchor))


class _Heading(Text):  # type: ignore[misc]  # reportlab has no types
    """A heading that knows its section."""

    def __init__(self, level: int, section: Section) -> None:
        super().__init__(escape(f"{section.number} {section.title}"), _HEADINGS[level])
        self.level, self.anchor = level, section.anchor


def _section(level: int, section: Section) -> list[Flowable]:
    flow: list[Flowable] = [_Heading(level, section)]
    for block in section.blocks:
        if isinstance(block, Paragraph):
            flow.append(Text(escape(block.text), _BODY))
        elif isinstance(block, Bullets):
            items = [Text(escape(text), _BODY) for text in block.texts]
            flow.append(ListFlowable(items, bulletType="bullet", start="•", leftIndent=12, bulletFontSize=8))
        else:
            flow += _table(block)
    return flow


def _table(table: Table) -> Sequence[Flowable]:
    parts = table.widths or (1,) * len(table.columns)
    widths = [_WIDTH * part / sum(parts) for part in parts]
    head = [Text(escape(column), _HEAD) for column in table.columns]
    rows = [[Text(escape(cell), _CELL) for cell in row] for row in table.rows]
    grid = LongTable([head, *rows], colWidths=widths, repeatRows=1, style=_GRID)
    return [Text(escape(table.title), _CAPTION), grid, Spacer(0, 4 * mm)]
