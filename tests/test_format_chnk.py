"""The layout of chunks: what is packed comes back, and nothing else is taken."""

from __future__ import annotations

import numpy as np
import pytest

from nqz.format import chnk


def sections(coding, lanes, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for section in chnk.LAYOUTS[coding]:
        count = {chnk.LANES: lanes, chnk.COUNTED: 7, chnk.DERIVED: 5}.get(section.length, section.length)
        dtype = np.dtype(section.dtype).newbyteorder("=")
        made.append(rng.integers(0, np.iinfo(dtype).max, count, dtype))
    return made


def payload(coding, made):
    return b"".join(piece.tobytes() for piece in chnk.pack(coding, made))


@pytest.mark.parametrize("lanes", [1, 2, 32])
@pytest.mark.parametrize("coding", chnk.LAYOUTS)
def test_sections_come_back(coding, lanes):
    made = sections(coding, lanes)
    found = chnk.unpack(coding, payload(coding, made), lanes, [5, 5])
    assert len(found) == len(made)
    for a, b in zip(found, made, strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)


def test_the_entropy_layout_is_that_of_the_format():
    made = [np.array([0x01020304], np.uint32), np.array([0x0506], np.uint16)]
    made += [np.array(values, np.uint8) for values in ([7], [8], [9, 10])]
    assert (
        payload("entropy", made).hex() == "04030201" + "01000000" + "02000000" + "0605" + "07" + "08" + "090a"
    )


def test_the_voronoi_layout_is_that_of_the_format():
    made = [np.array([4], np.uint32), np.array([1, 2, 3], np.uint16), np.array([5], np.uint16),
            np.array([6], np.uint8), np.array([7], np.uint8)]  # fmt: skip
    assert payload("voronoi", made).hex() == "04000000" + "01000000" + "010002000300" + "0500" + "06" + "07"


@pytest.mark.parametrize("coding", chnk.LAYOUTS)
def test_other_lengths_are_refused(coding):
    data = payload(coding, sections(coding, 2))
    for end in range(len(data)):
        with pytest.raises(ValueError, match="shorter than its sections"):
            chnk.unpack(coding, data[:end], 2, [5, 5])
    with pytest.raises(ValueError, match="longer than its sections"):
        chnk.unpack(coding, data + b"\0", 2, [5, 5])
    derived = [section.length for section in chnk.LAYOUTS[coding]].count(chnk.DERIVED)
    with pytest.raises(ValueError, match="longer than its sections"):
        chnk.unpack(coding, data, 2, [5] * (derived - 1) + [4])
