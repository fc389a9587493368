"""``--partner``: the other factor that a matrix is coded for."""

from __future__ import annotations

import re
from typing import Any

import click

from nqz.stages.partner import NAMED

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")


class PartnerOf(click.ParamType):  # type: ignore[type-arg]
    """The partner of a matrix: one of some names in any case, or a rate; who takes it checks it."""

    name = "partner"
    choices = NAMED

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | float:
        """Return the name, or the number."""
        text = str(value).strip().lower()
        return float(text) if _NUMBER.fullmatch(text) else text
