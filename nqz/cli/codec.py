"""Options of what encodes: how coordinates become points, and points bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from nqz.cli.parameters import choice
from nqz.cli.partner import PartnerOf
from nqz.commands.options import AUTO
from nqz.ground.errors import UsageError
from nqz.stages.codings import ALLOCATIONS, CODINGS
from nqz.stages.codings import DEFAULT as CODING
from nqz.stages.codings.trellis import WINDOWS
from nqz.stages.lattices import DEFAULT, DEFAULT_STATES, FAMILIES
from nqz.stages.partner import EQUAL

_OPTIONS = (
    click.option(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        show_default=True,
        help="Seed of rotation and dither; both operands of a product need the same.",
    ),
    click.option(
        "--lattice",
        type=choice(FAMILIES),
        default=DEFAULT,
        show_default=True,
        help="Lattice that coordinates are rounded to; conv comes closest to the limit.",
    ),
    click.option(
        "--states",
        type=int,
        metavar="S",
        help=f"States of the lattice conv, a power of two from 4 to 4096; {DEFAULT_STATES} by default.",
    ),
    click.option(
        "--coding",
        type=choice(CODINGS),
        default=CODING.name,
        show_default=True,
        help="How points become bits: entropy takes the fewest, voronoi a number known in advance; trellis, up to 4 "
        "bits, is for products with few vectors.",
    ),
    click.option(
        "--allocate",
        type=choice(ALLOCATIONS),
        help="Seek the least error of the whole product, as entropy does by default, or the same relative error "
        "for every vector.",
    ),
    click.option(
        "--window",
        type=choice((AUTO, *map(str, WINDOWS))),
        default=AUTO,
        show_default=True,
        help="Bits that an entry of the trellis depends on: the more, the less error, and the slower to encode.",
    ),
    click.option(
        "--kappa",
        type=float,
        metavar="K",
        help="Share of the coordinates to keep, at most 1; by default chosen from the rate.",
    ),
    click.option(
        "--partner",
        type=PartnerOf(),
        default=EQUAL,
        show_default=True,
        metavar="P",
        help="The other factor of the products: equal, coded alike; exact, not compressed; or its bits per entry.",
    ),
)


def codec_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that codes matrices."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def window_of(text: str) -> int | None:
    """What ``--window`` says."""
    return None if text == AUTO else int(text)


def metadata_of(given: Sequence[str]) -> dict[str, str]:
    """What ``--metadata`` says."""
    pairs = [pair.partition("=") for pair in given]
    for pair, (key, equals, _) in zip(given, pairs, strict=True):
        if not key or not equals:
            raise UsageError(f"--metadata {pair}: KEY=VALUE is needed")
    found = {key: value for key, _, value in pairs}
    if len(found) != len(pairs):
        raise UsageError("--metadata: a key is given twice")
    return found
