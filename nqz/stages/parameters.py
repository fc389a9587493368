"""The parameters of one coded matrix: what its tensor header records, and all that a decoder needs beside norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nqz.ground.wording import counted
from nqz.stages import norms
from nqz.stages.center import LEAST_DIGITS, Digits
from nqz.stages.codings import CODINGS, Coding
from nqz.stages.lattices import Lattice
from nqz.stages.norms import LIMIT, Histogram
from nqz.stages.partner import EQUAL, Partner
from nqz.stages.partner import check as check_partner
from nqz.stages.scale import OCTAVES, NormScaling
from nqz.stages.transforms import TRANSFORMS, Transform


@dataclass(frozen=True)
class Parameters:
    """Parameters of a coded matrix of `columns` columns of length `n`.

    Attributes
    ----------
    n, columns : int
    m : int
        Kept coordinates of each column; κ = m / n.
    transform : Transform
    lattice : Lattice or None
        None of a coding without one.
    coding : Coding
    allocate : {"matrix", "column"}
        One lattice scale for the matrix, or one for each column in proportion to its norm.
    delta : int
        Δ = 2 ** (delta / GRID), see `scale`; 0 of a coding without a lattice.
    lowest_class : int
        Columns of lower classes are dropped; 0 of a coding without a lattice.
    mean_digits : int or None
        Additional digits of the means; None for a matrix that is not centered.
    norm_step : int
        Of what norm codes differ by multiples.
    rotation_seed : int
    dither_key : bytes
        16 bytes.
    coding_parameters : object or None
        What the coding alone has to know: a `Nesting` of the Voronoi coding, `Water` of the trellis coding, None of
        the entropy coding.
    partner : {"equal", "exact"} or float
        The other factor that it was coded for, see `partner`.
    mean_reference : int or None
        Norm code from which on means have more digits, see `center.Digits`.
    octaves : int
        With allocation "matrix", how far above Δ² the energy of a column may be, see `scale`.
    """

    n: int
    columns: int
    m: int
    transform: Transform
    lattice: Lattice | None
    coding: Coding
    allocate: str
    delta: int
    lowest_class: int
    mean_digits: int | None
    norm_step: int
    rotation_seed: int
    dither_key: bytes
    coding_parameters: Any
    partner: Partner = EQUAL
    mean_reference: int | None = None
    octaves: int = OCTAVES

    @property
    def digits(self) -> Digits | None:
        """Additional digits of the means; None for a matrix that is not centered."""
        return None if self.mean_digits is None else Digits(self.mean_digits, self.mean_reference)

    @property
    def kappa(self) -> float:
        """The kept fraction of coordinates."""
        return self.m / self.n

    def norm_scaling(self, histogram: Histogram) -> NormScaling:
        """What they say about columns of each of the norm codes of a matrix."""
        found = self.coding.scaling(self, histogram.codes)
        return NormScaling(histogram, found.kept, found.classes.astype(np.int16), found.noise)

    def check(self) -> None:
        """Raise ValueError, naming the field, unless all values are within the format's limits."""
        longest = self.transform.max_length
        if not 1 <= self.n <= longest:
            raise ValueError(f"columns of {counted(self.n, 'entry')}; the format allows 1 to {longest}")
        if not 1 <= self.m <= self.n:
            raise ValueError(f"{self.m} kept coordinates of {self.n}")
        if self.transform is not TRANSFORMS.get(self.transform.name):
            raise ValueError("unknown transform")
        if self.coding is not CODINGS.get(self.coding.name):
            raise ValueError("unknown coding")
        self.coding.check(self)
        if self.mean_digits is not None and not LEAST_DIGITS <= self.mean_digits <= 64:
            raise ValueError("the digits of the means are out of range")
        check_partner(self.partner)
        if self.mean_reference is not None and (self.mean_digits is None or abs(self.mean_reference) > LIMIT):
            raise ValueError("the norm code that the digits of the means refer to is out of range")
        if not 0 <= self.octaves <= OCTAVES:
            raise ValueError("the octaves of loud columns are out of range")
        step = self.norm_step
        if not 1 <= step <= norms.COARSEST or step & (step - 1):
            raise ValueError(f"the step of the norms is not a power of two up to {norms.COARSEST}")
        if len(self.dither_key) != 16:
            raise ValueError("the dither key is not 16 bytes long")
