"""What may be meant by a command that is not there."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence

_ELSEWHERE = {
    "compress": "encode", "quantize": "encode", "pack": "encode", "convert": "encode", "decompress": "decode",
    "restore": "decode", "unpack": "decode", "extract": "decode", "multiply": "matmul", "product": "matmul",
    "dot": "matmul", "info": "inspect", "show": "inspect", "list": "inspect", "ls": "inspect", "check": "verify",
    "test": "verify", "validate": "verify", "plot": "sweep", "version": "--version",
}  # fmt: skip
"""What other programs call it."""


def advice(name: str, commands: Sequence[str]) -> str:
    """What to append to the message that there is no command of a name; it may be empty."""
    meant = _ELSEWHERE.get(name.lower())
    if meant is None:
        close = difflib.get_close_matches(name.lower(), commands, n=2, cutoff=0.6)
        if not close and os.path.lexists(name):
            what = "inspect" if name.lower().endswith(".nqz") else "encode"
            return f"; a command goes first, as in 'nqz {what} {name}'"
        meant = "' or '".join(close)
    return f"; did you mean '{meant}'?" if meant else ""
