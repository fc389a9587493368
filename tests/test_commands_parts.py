"""Several files as the parts of one thing: one rate, one error or one number of bytes for all of them."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from nqz.commands.encode import encode, encode_parts
from nqz.commands.options import EncodeOptions
from nqz.files.access import MemoryAccess
from nqz.files.source import open_source
from nqz.ground.errors import UsageError
from nqz.ground.threads import Workers

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Sources of two files."""
    folder = tmp_path_factory.mktemp("parts")
    names = ("one", "two")
    for number, name in enumerate(names):
        tensors = {
            f"{name}.weight": RNG.standard_normal((96, 64 + 64 * number)).astype(np.float32),
            f"{name}.bias": np.arange(10, dtype=np.float32),
        }
        save_file(tensors, folder / f"{name}.safetensors")
    return [open_source(folder / f"{name}.safetensors") for name in names]


def encoded(sources, threads=1, **options):
    """Containers of some sources, and the report."""
    files = [bytearray() for _ in sources]
    report = encode_parts(
        sources, [MemoryAccess(f) for f in files], EncodeOptions(**options), Workers(threads)
    )
    return [bytes(f) for f in files], report


@pytest.mark.parametrize("options", [{"rate": 3}, {"error": 0.1}], ids=str)
def test_at_one_rate_parts_are_the_files_of_each_by_itself(parts, options):
    files, report = encoded(parts, threads=2, states=4, **options)
    for source, data in zip(parts, files, strict=True):
        alone = bytearray()
        encode(source, MemoryAccess(alone), EncodeOptions(states=4, **options), Workers(1))
        assert data == alone
    assert report["files"] == [len(data) for data in files] and report["file_bytes"] == sum(report["files"])
    assert report["matrices"] == 2 and report["exact"] == 2 and report["entries"] == 96 * (64 + 128)


def test_a_number_of_bytes_is_that_of_all_parts_and_of_what_comes_with_them(parts):
    files, _ = encoded(parts, states=4, max_bytes=12_000, other_bytes=3000)
    assert 8500 < sum(map(len, files)) <= 9000


def test_a_pattern_takes_tensors_of_any_part(parts):
    _, report = encoded(parts, states=4, rate=3, tensors=["two.*"])
    assert (report["matrices"], report["exact"]) == (1, 1)
    with pytest.raises(UsageError, match=r"one\.safetensors and 1 more file: no tensor is called 'three'"):
        encoded(parts, rate=3, tensors=["two.*", "three"])
