"""The id of a set of containers (section 3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from .container import Container, require


def set_id(paths: Sequence[str | Path]) -> bytes:
    """The id that containers, given in the order of their numbers, must have."""
    text = b"nqz set 0\0"
    for number, path in enumerate(paths):
        container = Container(path)
        container.verify()
        place = container.part
        require(place is not None and place[1:] == [number, len(paths)], "files are not the parts of a set")
        length = int.from_bytes(container.data[container.mani + 8 : container.mani + 16], "little")
        manifest = container.record(b"MANI", container.mani, length)
        at = manifest.index(b"\xa3set\x93\xc4\x10" + place[0]) + 4
        rest = manifest.index(b"\xa6writer", at)
        ends = [16, *(offset + 16 + size + -size % 8 for _, offset, size in container.index)]
        hashes = [
            hashlib.sha256(container.data[a:b]).digest() for a, b in zip([0, *ends], ends, strict=False)
        ]
        text += hashlib.sha256(b"".join([manifest[:at], b"\xc0", manifest[rest:], *hashes])).digest()
    return hashlib.sha256(text).digest()[:16]
