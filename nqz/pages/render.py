"""The kinds of pages that there are."""

from __future__ import annotations

from typing import Any

from nqz.pages.card import card
from nqz.pages.html import page

KINDS = {"html": page, "md": card}
"""What makes each kind of page, by the suffix of its files; the usual one first."""


def render(facts: dict[str, Any], kind: str) -> str:
    """A page of a kind, the same for the same facts."""
    return KINDS[kind](facts)
