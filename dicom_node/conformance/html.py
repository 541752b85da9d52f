"""The statement as HTML: a part of the panel's page, or a page by itself."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dicom_node.conformance.document import Bullets, Document, Paragraph, Table

__all__ = ["as_html", "body"]

_TEMPLATES = Path(__file__).parent / "templates"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.tests["paragraph"] = lambda block: isinstance(block, Paragraph)
    environment.tests["bullets"] = lambda block: isinstance(block, Bullets)
    environment.tests["table"] = lambda block: isinstance(block, Table)
    return environment


def body(document: Document) -> Markup:
    """Return the statement as a part of a page, with its table of contents."""
    return Markup(_environment().get_template("body.html").render(document=document))  # noqa: S704 - escaped within


def as_html(document: Document) -> str:
    """Return the statement as a page by itself, which needs no other file."""
    return _environment().get_template("page.html").render(document=document, body=body(document))
