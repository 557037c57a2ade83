"""HTML pages that open offline: one look for all of them, pictures as data URIs, no script, no address.

A page is a list of sections; a section is text, tables, charts and galleries, which `blocks.html.jinja` lays out.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
import PIL.Image
from markupsafe import Markup

_FOLDER = Path(__file__).parent  # of the templates that pages share


class Table(NamedTuple):
    """Rows of texts under headings; the first of each names the row. `prose`: the others are texts, not numbers."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = False


class Chart(NamedTuple):
    """A chart of `pipeline.pages.charts` with what it shows."""

    caption: str
    svg: Markup


class Tile(NamedTuple):
    """One picture of a gallery, as a data URI, with the lines under it."""

    uri: str
    lines: Sequence[str]


class Gallery(NamedTuple):
    """Pictures side by side, as many in a row as fit; `wide` ones are strips of several, `folded` ones wait for a click."""

    caption: str
    tiles: Sequence[Tile]
    wide: bool = False
    folded: bool = False


class Section(NamedTuple):
    """A part of a page under its own heading."""

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    galleries: Sequence[Gallery] = ()


def render_sections(title: str, lead: str, sections: Sequence[Section]) -> str:
    """A whole page of sections under a title and one sentence."""
    return render_page(_FOLDER / "sections.html.jinja", {"title": title, "lead": lead, "sections": sections})


def render_page(template: Path, values: Mapping[str, object]) -> str:
    """Fill a template, which may use those of this folder; every value is escaped, and a missing one is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, _FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(values)


def data_uri(image: PIL.Image.Image, form: str = "PNG", quality: int = 75) -> str:
    """A picture as part of the page: `PNG`, exact, or `JPEG` of a `quality`, several times smaller."""
    buffer = io.BytesIO()
    image.save(buffer, form, optimize=True, **({"quality": quality} if form == "JPEG" else {}))
    return f"data:image/{form.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


def shown(value: float, places: int) -> str:
    """A number of a table: infinity as such, a missing one as a dash."""
    if math.isnan(value):
        return "-"
    return "∞" if math.isinf(value) else f"{value:,.{places}f}"
