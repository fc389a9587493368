"""What may be meant by a command or an option that is not there."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence

_ELSEWHERE = {
    "compress": "encode", "quantize": "encode", "pack": "encode", "convert": "encode", "decompress": "decode",
    "restore": "decode", "unpack": "decode", "extract": "decode", "multiply": "matmul", "product": "matmul",
    "dot": "matmul", "info": "inspect", "show": "inspect", "list": "inspect", "ls": "inspect", "check": "verify",
    "test": "verify", "validate": "verify", "plot": "sweep", "version": "--version",
}  # fmt: skip
"""What other programs call it."""

_OPTIONS = {
    "--bits": "--rate", "--bpw": "--rate", "--bpe": "--rate", "--bitrate": "--rate", "-b": "--rate",
    "--max-size": "--max-bytes", "--size": "--max-bytes", "--budget": "--max-bytes", "--bytes": "--max-bytes",
    "--tolerance": "--error", "--tol": "--error", "-e": "--error", "--out": "--output", "--output-dir": "--out-dir",
    "--outdir": "--out-dir", "--name": "--tensor", "--tensors": "--tensor", "-t": "--tensor", "--exact": "--rule",
    "--keep": "--rule", "--exclude": "--rule", "--skip": "--rule", "--overwrite": "--force", "-y": "--force",
    "--jobs": "--threads", "-j": "--threads", "--workers": "--threads", "--silent": "--quiet", "-s": "--quiet",
    "--plan": "--dry-run", "-n": "--dry-run", "--type": "--dtype", "--original": "--against", "-v": "--version",
    "--order": "--sort", "--lattices": "--lattice", "--rates": "--rate", "--rules": "--rule",
}  # fmt: skip
"""Options that other programs have, or that are a letter away; those that a command has come to mind first."""


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


def option_advice(name: str, options: Iterable[Sequence[str]]) -> str:
    """What to append to the message that a command has no such option; it may be empty.

    Parameters
    ----------
    name : str
        As it was given.
    options : iterable of sequence of str
        The names of each option that the command has.
    """
    spelled = {one: names for names in options for one in names}
    meant = spelled.get(_OPTIONS.get(name.lower(), ""))
    if meant is None:
        close = difflib.get_close_matches(name, [one for one in spelled if len(one) > 2], n=1, cutoff=0.6)
        meant = spelled[close[0]] if close else None
    if meant is None and f"-{name}" in spelled:
        meant = spelled[f"-{name}"]
    return f"; did you mean {' or '.join(meant)}?" if meant else ""
