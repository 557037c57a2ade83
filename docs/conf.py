"""How `make docs` builds these pages."""

from importlib.metadata import version as _version
from typing import Any

project = "PoseGAN"
author = "the PoseGAN authors"
copyright = "the PoseGAN authors; AGPL-3.0-or-later"
release = _version("posegan")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # notebooks keep no outputs: what a page shows, the code has just done
nb_execution_timeout = 600  # seconds a cell
nb_execution_raise_on_error = True
default_role = "code"  # docstrings put code between single backticks, as Markdown does

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "special-members": "__call__"}
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "PoseGAN"
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False


def setup(app: Any) -> None:
    """Leave out what Python itself says of a NamedTuple's fields."""
    app.connect("autodoc-skip-member", lambda _app, _what, _name, member, skip, _options: skip or _says_nothing(member))


def _says_nothing(member: object) -> bool:
    return (member.__doc__ or "").startswith("Alias for field number")
