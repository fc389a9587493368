"""The .nqz container: records, manifest, index, end record and checksums.

This layer knows how a file is put together and nothing about how a matrix is coded. It sees a file only
through an access object with ``pread_into(buffer, offset)``, ``pwrite(buffer, offset)`` and ``size``.
The byte layout is specified in docs/format.md.
"""

from __future__ import annotations

from nqz.container.exact import PIECE, decode_exact, exact_pieces, zstd_pack, zstd_unpack
from nqz.container.manifest import Manifest, TensorInfo
from nqz.container.maps import pack_fields, unpack_fields
from nqz.container.reader import ContainerReader
from nqz.container.records import FRAMING, MAGIC, VERSION, Record
from nqz.container.writer import ContainerWriter

__all__ = [
    "FRAMING",
    "MAGIC",
    "PIECE",
    "VERSION",
    "ContainerReader",
    "ContainerWriter",
    "Manifest",
    "Record",
    "TensorInfo",
    "decode_exact",
    "exact_pieces",
    "pack_fields",
    "unpack_fields",
    "zstd_pack",
    "zstd_unpack",
]
