"""Containers on a server for http: the requests that opening them, a column and all of them take, and the time.

usage: python benchmarks/remote.py [--chunks 10000] [--mb 64] [--delay 0.02]

The server is in this process; it waits --delay seconds before each answer, as one far away does. The first container
is of one matrix of --chunks chunks, of which a panel is real and stands for all; the second of as many matrices of a
chunk each; the third of a matrix of --mb MB at 4 bits, decoded from the server, from the server asked for no more than
what is needed next, and from memory.
"""

from __future__ import annotations

import argparse
import sys
import time
from bisect import bisect_right
from pathlib import Path
from unittest import mock

import numpy as np

import nqz
from nqz.files.access import MemoryAccess
from nqz.files.remote.access import RemoteAccess
from nqz.format.reader import ContainerReader
from nqz.format.records import seal
from nqz.format.writer import ContainerWriter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from remote_server import serving


class Pieces:
    """Bytes that are put together when they are asked for, as the server does."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.data: list[bytes] = []
        self.size = 0

    def pwrite(self, data, offset):
        assert offset == self.size
        self.starts.append(offset)
        self.data.append(data)
        self.size += len(data)

    def pread_into(self, buffer, offset):
        buffer[:] = self[offset : offset + len(buffer)]

    def __len__(self):
        return self.size

    def __getitem__(self, chosen):
        start, stop, _ = chosen.indices(self.size)
        found, number = [], bisect_right(self.starts, start) - 1
        while start < stop:
            first = self.starts[number]
            found.append(bytes(self.data[number][start - first : stop - first]))
            start, number = first + len(self.data[number]), number + 1
        return b"".join(found)


def one_matrix(chunks: int) -> Pieces:
    """A container of a matrix of so many chunks, all panels as the first one."""
    column = np.tile(np.random.default_rng(0).standard_normal(1 << 16).astype(np.float32), 256)
    reader = ContainerReader(
        MemoryAccess(nqz.encode(column[:, None], rate=0.25, kappa=1.0, lattice="z")), "column"
    )
    records = [seal(record.type, reader.read(record)) for record in reader.records(0)]
    panels = -(-chunks // sum(record.type == "CHNK" for record in records))
    info, found = reader.manifest.tensors[0], Pieces()
    wide = info._replace(shape=(len(column), panels), parameters=None)
    writer = ContainerWriter(found, reader.manifest._replace(tensors=(wide,)))
    writer.begin(0)
    writer.parameters = info.parameters
    for _ in range(panels):
        for record in records:
            writer.add(record)
    writer.finish()
    return found


def many_matrices(count: int) -> bytes:
    """A container of so many matrices of a chunk each."""
    reader = ContainerReader(
        MemoryAccess(nqz.encode(np.random.default_rng(0).standard_normal((40, 30)), rate=4)), "w"
    )
    records = [seal(record.type, reader.read(record)) for record in reader.records(0)]
    info, data = reader.manifest.tensors[0], bytearray()
    tensors = tuple(info._replace(name=f"w{i}", parameters=None) for i in range(count))
    writer = ContainerWriter(
        MemoryAccess(data), reader.manifest._replace(tensors=tensors, source="safetensors")
    )
    for i in range(count):
        writer.begin(i)
        writer.parameters = info.parameters
        for record in records:
            writer.add(record)
    writer.finish()
    return bytes(data)


def main() -> None:
    """Print the requests and times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--mb", type=int, default=64)
    parser.add_argument("--delay", type=float, default=0.02)
    arguments = parser.parse_args()
    with serving() as server:
        server.delay = arguments.delay

        def told(what: str, work):
            before, start = len(server.requests), time.perf_counter()
            found = work()
            seconds, asked = time.perf_counter() - start, server.requests[before:]
            size = sum(one[2] for one in asked) / 1e6
            print(f"{what}: {len(asked)} requests, {size:.2f} MB, {seconds:.2f} s", flush=True)
            return found

        server.files["one.nqz"] = one_matrix(arguments.chunks)
        server.files["many.nqz"] = many_matrices(arguments.chunks)
        print(
            f"files of {len(server.files['one.nqz']) / 1e6:.0f} and {len(server.files['many.nqz']) / 1e6:.1f} MB"
        )
        with told("one matrix, open", lambda: nqz.open(server.url("one.nqz"))) as container:
            told("a column", lambda: container.matrix[:, 0])
            told("what inspect tells of it", lambda: container.matrix.predicted_error)
        with told("many matrices, open", lambda: nqz.open(server.url("many.nqz"))) as container:
            told("a column", lambda: container[f"w{arguments.chunks // 2}"][:, 3])
        side = int((arguments.mb * 1e6 / 4) ** 0.5)
        array = np.random.default_rng(1).standard_normal((side, side), np.float32)
        server.files["w.nqz"] = data = nqz.encode(array, rate=4)
        told(f"{len(data) / 1e6:.1f} MB, decoded from memory", lambda: nqz.decode(data))
        told("from the server", lambda: nqz.decode(server.url("w.nqz")))
        with (
            mock.patch.object(RemoteAccess, "_go_ahead", return_value=None),
            mock.patch.object(RemoteAccess, "prefetch", return_value=None),
        ):
            told("from the server, nothing ahead", lambda: nqz.decode(server.url("w.nqz")))


if __name__ == "__main__":
    main()
