"""How the pages are built: ``make docs`` writes them to build/docs."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes  # type: ignore[import-untyped, unused-ignore]

import nqz

project = "nqz"
author = copyright = "the nqz authors"
version = release = nqz.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
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
_PLAIN = (nodes.literal, nodes.literal_block, nodes.title, nodes.reference)


def _raise(app: Any, tree: Any, name: str) -> None:
    if name != "theory":
        return
    for text in [*tree.findall(nodes.Text)]:
        within, parent = text, text.parent
        while within is not None and not isinstance(within, _PLAIN):
            within = within.parent
        if within is None and _RAISED.search(text):
            parent.replace(text, _split(text))


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
    app.connect("doctree-resolved", _raise)
