"""HTML pages that open offline: one look for all of them, pictures as data URIs, no script, no address."""

import base64
import io
import math
from collections.abc import Mapping
from pathlib import Path

import jinja2
import PIL.Image


def render_page(template: str, values: Mapping[str, object]) -> str:
    """Fill a template of this folder; every value is escaped, and one that the template lacks a value for is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)


def data_uri(image: PIL.Image.Image, form: str = "PNG") -> str:
    """A picture as part of the page: `PNG`, exact, or `JPEG`, several times smaller."""
    buffer = io.BytesIO()
    image.save(buffer, form, optimize=True)
    return f"data:image/{form.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


def shown(value: float, places: int) -> str:
    """A number of a table: infinity as such, a missing one as a dash."""
    if math.isnan(value):
        return "-"
    return "∞" if math.isinf(value) else f"{value:,.{places}f}"
