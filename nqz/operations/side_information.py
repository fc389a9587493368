"""The payloads of NORM and MEAN: a prefix from the codec, then byte planes, compressed where that makes them smaller."""

from __future__ import annotations

from collections.abc import Callable

from nqz.container.exact import zstd_pack, zstd_unpack
from nqz.errors import CorruptError

_STORED = 0x80
_LEVELS = 19, 12  # up to 64 KiB, and beyond, where the highest levels are slow


def pack_side(prefix: bytes, body: bytes) -> bytes:
    """Payload of a prefix and a body. Bit 7 of the first byte: the body is stored as it is, not as a zstd frame."""
    packed = zstd_pack(body, _LEVELS[len(body) > 1 << 16])
    if len(packed) < len(body):
        return prefix + packed
    return bytes([prefix[0] | _STORED]) + prefix[1:] + body


def unpack_side(
    payload: bytes, prefix_size: int, body_size: Callable[[bytes, int], int], columns: int, where: str
) -> tuple[bytes, bytes]:
    """Prefix and body of a payload.

    Parameters
    ----------
    payload : bytes
    prefix_size : int
    body_size : callable
        body_size(prefix, columns) gives the length of the body; it raises ValueError for an invalid prefix.
    columns : int
    where : str
        File, record and offset, for messages.

    Raises
    ------
    CorruptError
        The payload is not of that form.
    """
    stored = bool(payload) and bool(payload[0] & _STORED)
    prefix = (bytes([payload[0] & ~_STORED]) if payload else b"") + payload[1:prefix_size]
    try:
        size = body_size(prefix, columns)
    except ValueError as error:
        raise CorruptError(f"{where}: {error}") from None
    body = payload[prefix_size:]
    if not stored:
        return prefix, zstd_unpack(body, size, where)
    if len(body) != size:
        raise CorruptError(f"{where}: {len(body)} bytes where {size} are needed")
    return prefix, body
