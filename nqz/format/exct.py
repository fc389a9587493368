"""Exact tensors: pieces of 4 MiB, each one zstd frame (records EXCT). Also the zstd frames of other records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from nqz.format.tensors import PIECE
from nqz.ground.errors import CorruptError, NqzError

if TYPE_CHECKING:
    from nqz.format.reader import ContainerReader
    from nqz.format.records import Record

Buffer = bytes | bytearray | memoryview

MAX_WINDOW = 8 << 20
MAX_LEVEL = 19  # higher levels use larger windows
# The library returns before it looks at the rest of an empty frame, so there is just this one.
_EMPTY_FRAME = bytes.fromhex("28b52ffd2400010000 99e9d851")
_FRAME_MAGIC = b"\x28\xb5\x2f\xfd"


def zstd_pack(data: bytes | bytearray | memoryview, level: int = 3) -> bytes:
    """Compress to one zstd frame that declares its size and carries a checksum; `level` is 1 to 19."""
    import zstandard

    if not 1 <= level <= MAX_LEVEL:
        raise NqzError(f"internal error: zstd level {level} is not between 1 and {MAX_LEVEL}")
    if not memoryview(data).nbytes:
        return _EMPTY_FRAME
    return zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True).compress(data)


def zstd_unpack(data: bytes, expected_size: int, where: str = "zstd frame") -> bytes:
    """Decompress exactly one frame that declares exactly `expected_size` bytes.

    Parameters
    ----------
    data : bytes
    expected_size : int
        Size in bytes, known from elsewhere; nothing is allocated unless the frame declares the same.
    where : str
        File, record and offset, for messages.

    Raises
    ------
    CorruptError
        Not one frame of that size with a checksum and a window of at most 8 MiB, or damaged.
    """
    import zstandard

    if expected_size == 0 and data != _EMPTY_FRAME:
        raise CorruptError(f"{where}: not an empty zstd frame, expected 0 bytes")
    if data[:4] != _FRAME_MAGIC:
        raise CorruptError(f"{where}: not a zstd frame")
    try:
        frame = zstandard.get_frame_parameters(data)
    except zstandard.ZstdError as error:
        raise CorruptError(f"{where}: damaged zstd frame: {error}") from None
    if frame.content_size != expected_size:
        # All ones stand for "unknown", so such a frame is refused here as well.
        raise CorruptError(f"{where}: a zstd frame of {frame.content_size} bytes, expected {expected_size}")
    if not frame.has_checksum or frame.dict_id:
        raise CorruptError(f"{where}: a zstd frame needs a checksum and no dictionary")
    # A frame of one segment has its content for a window; it needs no memory beyond the content.
    if frame.window_size > max(MAX_WINDOW, expected_size):
        raise CorruptError(f"{where}: a zstd window of {frame.window_size} bytes, beyond {MAX_WINDOW}")
    try:
        window = max(MAX_WINDOW, frame.window_size)
        # The library's buffer is of the declared size; it takes neither more nor fewer bytes of content.
        return zstandard.ZstdDecompressor(max_window_size=window).decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptError(f"{where}: damaged zstd frame: {error}") from None


def exact_pieces(
    raw_pieces: Iterable[Buffer], level: int = 3, each: Callable[..., Iterator[Any]] = map
) -> Iterator[bytes]:
    """Turn the raw bytes of a tensor, in pieces of any sizes, into the payloads of its records EXCT.

    Every payload but the last stands for exactly 4 MiB. They are compressed by `each`, which takes the place of `map`.
    """
    return iter(each(lambda piece: zstd_pack(piece, level), _cut(raw_pieces)))


def _cut(raw_pieces: Iterable[Buffer]) -> Iterator[Buffer]:
    """The same bytes in pieces of 4 MiB, the last one shorter."""
    pending = bytearray()
    for piece in raw_pieces:
        view = memoryview(piece).cast("B") if len(piece) else memoryview(b"")
        while len(view):
            if not pending and len(view) >= PIECE:
                yield view[:PIECE]
                view = view[PIECE:]
                continue
            taken = min(PIECE - len(pending), len(view))
            pending += view[:taken]
            view = view[taken:]
            if len(pending) == PIECE:
                yield pending
                pending = bytearray()
    if pending:
        yield pending


def decode_exact(
    reader: ContainerReader,
    tensor_index: int,
    nbytes: int | None = None,
    each: Callable[..., Iterator[Any]] = map,
) -> Iterator[bytes]:
    """Return the raw bytes of an exact tensor, in pieces of 4 MiB and a last one.

    Parameters
    ----------
    reader : ContainerReader
    tensor_index : int
    nbytes : int, optional
        Bytes that the caller expects; must equal what shape and dtype in the manifest give.
    each : callable
        Takes the place of `map`.

    Raises
    ------
    CorruptError
        A piece is damaged or of the wrong size.
    """
    info = reader.manifest.tensors[tensor_index]
    if info.kind != "exact" or nbytes not in (None, info.nbytes):
        raise NqzError(
            f"internal error: tensor {info.name!r} of {reader.name} is {info.kind} with {info.nbytes} bytes, "
            f"asked for {nbytes} exact ones"
        )

    def unpack(numbered: tuple[int, Record]) -> bytes:
        number, record = numbered
        where = f"{reader.name}: record EXCT at byte {record.offset}"
        return zstd_unpack(reader.read(record, "EXCT"), min(info.nbytes - number * PIECE, PIECE), where)

    return iter(each(unpack, enumerate(reader.find(tensor_index, "EXCT"))))
