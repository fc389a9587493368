"""Part sets of arrays that are read by slices: little at a time, every entry twice, the bytes of a set of a file."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import nqz
from nqz.files import rectangle
from nqz.ground.errors import InputError, UnsupportedError, UsageError
from test_commands_sets import Elsewhere


class Sliced:
    """An array that is elsewhere, in chunks: counts what is read of it; pickled, it says where it is."""

    def __init__(self, path, chunks=None):
        self.path, self.array = path, np.load(path, mmap_mode="r")
        self.shape, self.dtype, self.read, self.largest = self.array.shape, self.array.dtype, 0, 0
        self.slices = []
        if chunks is not None:
            self.chunks = chunks

    def __reduce__(self):
        return Sliced, (self.path, getattr(self, "chunks", None))

    def __getitem__(self, key):
        found = np.array(self.array[key])
        self.read, self.largest = self.read + found.size, max(self.largest, found.nbytes)
        self.slices.append(key)
        return found


@pytest.fixture
def path(tmp_path):
    """A matrix of rows of different loudness."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((300, 200)) * rng.lognormal(0, 1, 300)[:, None]
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    return str(tmp_path / "x.npy")


def files(folder):
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def encoded(source, folder, **options):
    folder.mkdir()
    nqz.encode_set(source, folder / "s.nqzset", rate=3, **options)
    return files(folder)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("chunks", [None, (64, 50), (7, 13), (300, 1)])
def test_a_set_of_slices_is_that_of_a_file_and_every_entry_is_read_twice(
    path, tmp_path, axis, chunks, monkeypatch
):
    monkeypatch.setattr(rectangle, "_BLOCK", 4 * 2000)
    array = Sliced(path, chunks)
    whole = encoded(path, tmp_path / "file", axis=axis, parts=(2, 3))
    assert encoded(array, tmp_path / "slices", axis=axis, parts=(2, 3)) == whole
    assert array.read == 2 * 300 * 200
    assert array.largest <= 4 * max(2000, np.prod(chunks or 1))
    for rows, columns in array.slices if chunks else ():
        for cut, step, length in ((rows, chunks[0], 300), (columns, chunks[1], 200)):
            edges = [64 * k for k in range(5)] + [length]
            assert all(edge % step == 0 or edge in edges for edge in (cut.start, cut.stop))


def test_workers_read_the_array_themselves(path, tmp_path):
    array, whole = Sliced(path, (64, 50)), encoded(path, tmp_path / "file", parts=(2, 2))
    assert encoded(array, tmp_path / "slices", parts=(2, 2), executor=Elsewhere()) == whole
    assert array.read == 0  # by who asks


def test_arrays_in_memory_and_of_any_order_are_taken(path, tmp_path):
    x, whole = np.load(path), encoded(path, tmp_path / "file", parts=(1, 2))
    wide = np.zeros((600, 400), np.float32)
    wide[::2, ::2] = x
    swapped = Sliced(path)
    swapped.array, swapped.dtype = x.astype(">f4"), np.dtype(">f4")
    for number, array in enumerate([x, np.load(path, mmap_mode="r"), wide[::2, ::2], swapped]):
        assert encoded(array, tmp_path / str(number), parts=(1, 2)) == whole, number
    down = np.asfortranarray(x)
    np.save(tmp_path / "down.npy", down)
    whole = encoded(tmp_path / "down.npy", tmp_path / "down file", parts=(1, 2))
    assert encoded(down, tmp_path / "down", parts=(1, 2)) == whole
    several = encoded([x, x], tmp_path / "several")
    assert several == encoded([path, Sliced(path)], tmp_path / "mixed")


def test_memory_is_that_of_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(rectangle, "_BLOCK", 1 << 16)

    class Zeros:
        shape, dtype = (64, 1 << 17), np.dtype(np.float32)

        def __getitem__(self, key):
            rows, columns = key
            return np.ones((rows.stop - rows.start, columns.stop - columns.start), np.float32)

    access = rectangle.sliceable_tensor(Zeros(), "zeros").access
    tracemalloc.start()
    found = np.empty(5, np.float32)
    access.pread_into(found, 4 * 64 * (1 << 17) - 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.tolist() == [1.0] * 5 and peak < 1 << 20
    access.close()


class Changing(Sliced):
    """One whose last entry is another once all of it was read."""

    def __getitem__(self, key):
        again, found = self.read >= self.array.size, super().__getitem__(key)
        if again and [one.stop for one in key] == list(self.shape):
            found[-1, -1] += 1
        return found


@pytest.mark.parametrize("kind", [Sliced, Changing])
@pytest.mark.parametrize("parts", [(1, 1), (2, 3)])
def test_an_array_that_changes_between_its_passes_is_noticed(path, tmp_path, kind, parts):
    def encode():
        nqz.encode_set(kind(path), tmp_path / "s.nqzset", rate=3, parts=parts)

    if kind is Sliced:
        encode()
        return
    with pytest.raises(InputError, match=r"<array>: .*seems to have changed while being read"):
        encode()
    assert [one.name for one in tmp_path.iterdir()] == ["x.npy"]


def test_one_of_several_arrays_that_changes_between_its_passes_is_noticed(path, tmp_path):
    for sources in ([path, Changing(path)], [Changing(path), Sliced(path)]):
        with pytest.raises(InputError, match="seems to have changed while being read"):
            nqz.encode_set(sources, tmp_path / "s.nqzset", rate=3, along="contracted", parts=(3, 1))
        assert [one.name for one in tmp_path.iterdir()] == ["x.npy"]


def test_what_is_no_such_array_is_refused(path, tmp_path):
    array, to = Sliced(path), tmp_path / "no.nqzset"
    for shape, dtype, said in (
        ((300, 20, 10), "float32", "has 3 dimensions; a matrix of two is needed"),
        ((300, 200), "int32", "of floating-point numbers"),
        ((300, 200), "M8[s]", "not supported"),
        ((0, 200), "float32", "is 0x200 float32"),
    ):
        array.shape, array.dtype = shape, np.dtype(dtype)
        with pytest.raises(UnsupportedError, match=said):
            nqz.encode_set(array, to, rate=3)
    array.shape, array.dtype = (300, 201), np.dtype("float32")
    with pytest.raises(
        InputError, match=r"columns 0 to 200 are float32 of shape \(\d+, 200\), not float32 of shape"
    ):
        nqz.encode_set(array, to, rate=3)

    class Broken(Sliced):
        def __getitem__(self, key):
            raise RuntimeError("the store is gone")

    with pytest.raises(InputError, match=r"<array>: cannot read rows 0 to .*: the store is gone"):
        nqz.encode_set(Broken(path), to, rate=3)
    assert not to.exists() and len(list(tmp_path.iterdir())) == 1


def test_an_array_that_has_its_entries_with_it_is_not_passed_on(path, tmp_path):
    class Heavy(Sliced):
        def __reduce__(self):
            return Heavy, (self.path, bytes(2 << 20))

    class Tied(Sliced):
        def __reduce__(self):
            raise TypeError("not to be pickled")

    for array in (np.load(path), np.load(path)[::2], np.load(path, mmap_mode="r"), Heavy(path), Tied(path)):
        with pytest.raises(UsageError, match="or an array that is passed on without its entries"):
            nqz.encode_set(array, tmp_path / "no.nqzset", rate=3, executor=Elsewhere())
