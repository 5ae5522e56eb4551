"""One self-contained HTML page: tables, figures and text, without scripts and without anything from the network."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from vadistill.io.files import whole_file

KINDS = {".svg": "image/svg+xml", ".jpg": "image/jpeg", ".png": "image/png"}


@dataclass(frozen=True)
class Card:
    """A number that a reader shall see first."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table; its first column holds names, all others numbers.

    Attributes:
        columns: Names of the columns.
        rows: Cells, as text.
        caption: Stands above it.
        first_is_own: Whether the first row is what the page is about.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    first_is_own: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture inside the page.

    Attributes:
        uri: Its content as ``data:`` URI.
        alt: What it shows, for people and programs that do not see it.
        caption: Stands below it.
    """

    uri: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Detail:
    """Long text that is folded away."""

    title: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading.

    Attributes:
        id: Its anchor.
        title: Its heading.
        text: What a reader should know of it.
        tables: Come first.
        notes: Explain them.
        figures: Come next, side by side where the screen is wide enough.
        width: ``wide`` or ``narrow`` figures.
        details: Come last.
    """

    id: str
    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    figures: Sequence[Picture] = ()
    width: str = "wide"
    details: Sequence[Detail] = ()


@dataclass(frozen=True)
class Page:
    """The whole page; sections without content are left out."""

    title: str
    lines: Sequence[str] = ()
    cards: Sequence[Card] = ()
    sections: Sequence[Section] = field(default_factory=list)


def picture(content: bytes, suffix: str, alt: str, caption: str = "") -> Picture:
    """Return a picture of the content of a .svg, .jpg or .png file."""
    return Picture(f"data:{KINDS[suffix]};base64,{base64.b64encode(content).decode('ascii')}", alt, caption)


def write_page(path: str | Path, page: Page) -> None:
    """Write the page as one HTML file, whole or not at all."""
    environment = Environment(
        loader=PackageLoader("vadistill", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html").render(page=page)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
