"""How the pages are built: ``make docs`` writes them to build/docs."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes  # type: ignore[import-untyped, unused-ignore]

import nqz

project = "nqz"
author = copyright = "the nqz authors"
version = release = nqz.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
default_role = "py:obj"  # `name` in docstrings
autodoc_mock_imports = ["numcodecs", "torch", "zarr"]  # need not be there to build pages
exclude_patterns = ["man"]
nitpicky = True
# what docstrings call a parameter's type is for people
nitpick_ignore_regex = [("py:.*", ".*")]

myst_enable_extensions = ["deflist"]
smartquotes = False  # "--help" is no dash
myst_heading_anchors = 4
suppress_warnings = [
    "myst.header",
    "misc.highlighting_failure",
    "ref.python",
]  # blocks of hex; names in prose
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # else attributes are described twice
autodoc_typehints = "none"
autodoc_member_order = "bysource"
add_module_names = False
copybutton_prompt_text = "$ "  # copied are the commands, not what they print
copybutton_only_copy_prompt_lines = True
copybutton_remove_prompts = True

html_theme = "furo"
html_title = f"nqz {version}"
html_static_path = ["static"]
html_css_files = ["nqz.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#1d5fa8", "color-brand-content": "#1d5fa8"},
    "dark_css_variables": {"color-brand-primary": "#7db4ee", "color-brand-content": "#7db4ee"},
}

# 4^{−R} and G_A are read as they stand in the sources; here they are shown as powers and indices.
_RAISED = re.compile(
    r"(?<=[^\s^])\^(?:\{(?P<up>[^{}]*)\}|(?P<power>−?\([^()]*\)|−?⌊[^⌊⌋]*⌋|−?\w+))"
    r"|(?<=[^\W\d_])_(?:\{(?P<down>[^{}]*)\}|(?P<index>[A-Za-zκλω]{1,2}\d?)(?![A-Za-z_]))"
)
_PAGE = re.compile(r"\bdocs/([\w/]+)\.md")
"""In docstrings and in prose: the name of the file of a page."""


def _finish(app: Any, tree: Any, name: str) -> None:
    """Show powers as powers, names of pages as links, and dashes of lists of parameters as dashes."""
    for text in [*tree.findall(nodes.Text)]:
        outer: Any = text.parent
        within = {type(outer)}
        while outer.parent is not None:
            outer = outer.parent
            within.add(type(outer))
        if nodes.field in within and " -- " in text:
            text.parent.replace(text, nodes.Text(text.replace(" -- ", " – ")))
        elif within & {nodes.literal_block, nodes.title, nodes.reference}:
            continue
        elif _PAGE.search(text):
            whole = text.parent if isinstance(text.parent, nodes.literal) else text
            whole.parent.replace(whole, _linked(app, text, name))
        elif name == "theory" and nodes.literal not in within and _RAISED.search(text):
            text.parent.replace(text, _split(text))


def _linked(app: Any, text: str, name: str) -> list[Any]:
    found: list[Any] = []
    last = 0
    for match in _PAGE.finditer(text):
        page = match[1]
        if page in app.env.titles:
            found += [nodes.Text(text[last : match.start()])]
            address = app.builder.get_relative_uri(name, page)
            found += [nodes.reference("", app.env.titles[page].astext(), refuri=address, internal=True)]
            last = match.end()
    return [*found, nodes.Text(text[last:])]


def _split(text: str) -> list[Any]:
    """A text with powers and indices raised and lowered."""
    found: list[Any] = []
    last = 0
    for match in _RAISED.finditer(text):
        up, power, down, index = match.group("up", "power", "down", "index")
        inside = next(one for one in (up, power, down, index) if one is not None)
        made = nodes.superscript if match[0][0] == "^" else nodes.subscript
        found += [nodes.Text(text[last : match.start()]), made("", "", *_split(inside))]
        last = match.end()
    return [*found, nodes.Text(text[last:])]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("doctree-resolved", _finish)
