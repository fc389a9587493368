"""README.md and docs/ name all that there is."""

from __future__ import annotations

import re

from page_blocks import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
PYTHON = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")


def test_every_function_of_the_interface_is_in_its_page():
    import nqz

    for name in nqz.__all__:
        if name != "__version__":
            assert re.search(rf":: nqz\.{name}$", PYTHON, re.MULTILINE), name
        if not isinstance(getattr(nqz, name), type) and name != "__version__":
            assert f"nqz.{name}(" in API or f"`{name}`" in API, name


def test_every_command_is_in_the_table():
    from nqz.cli import app

    for name in app.list_commands(app.make_context("nqz", ["help"])):
        assert f"| `nqz {name} " in README or name in ("help", "completion"), name


def test_every_exit_status_is_in_the_reference():
    from nqz.ground import errors

    codes = {error.exit_code for error in vars(errors).values() if isinstance(error, type)}
    table = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    table = table[table.index("## Exit status") :]
    for code in codes | {0, 130, 141, 143}:
        assert f"\n| {code} | " in table, code
