"""Sphinx builds docs/_build/html from these pages: `make docs`, in which a warning is an error."""

project = "PoseGAN"
author = "the authors of PoseGAN"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "One person, another pose", "page_width": "1080px"}
html_show_sphinx = False
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
nitpicky = False
