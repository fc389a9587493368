"""Errors in the words of Python: what the command line calls ``--max-bytes`` is ``max_bytes=`` here.

What is below raises errors in the words of the command line. Every function for users turns them at its edge.
"""

from __future__ import annotations

import re
from contextlib import ContextDecorator
from threading import local
from typing import Any

import numpy as np

from nqz.ground.errors import NqzError

_PHRASES = {
    "a rate (-r), an error (--error) and a number of bytes (--max-bytes)": "rate=, error= and max_bytes=",
    "--force (-f)": "force=True",
    "--no-center": "center=False",
    "--center": "center=True",
    "--axis auto": "axis='auto'",
    "both --tensor-a and --tensor-b": "a tensor of each, nqz.open(file)[name]",
    "--tensor-a, --tensor-b": "a tensor of each, nqz.open(file)[name]",
    "--tensor": "tensors=",
    "--rule": "rules=",
    "--dequantize": "dequantize=True",
    "--axis-queries": "axis=",
    "--tensor-queries": "a tensor, nqz.open(file)[name]",
    "-k": "k=",
    "--axis-a": "a.T",
    "--axis-b": "b.T",
    "-r": "rate=",
    "-o": "to=",
    "-f": "force=True",
    "--out-dir": "",
}
"""What is not called there as it is on the command line."""

_QUOTED = r"(?<!\w)'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_COMMAND = r"\bnqz (?P<command>encode|decode|matmul|search|inspect|verify|sweep|compare|diff|report)\b(?: --out-dir)?"
_ADVICE = r"numpy\.save\('(?:x|re|im)\.npy', (?P<advice>x\.\w+(?:\('\w+'\))?)\)|with --axis-[ab] \d, or (?=transpose)"
_VALUE = r"^--(?P<given>[a-z][a-z-]*)(?= )"
_SPLIT = r"--rule '(?P<rule>(?:[^'\\]|\\.)*)=split'"
_DTYPE = r"(?<![\w-])--dtype (?P<dtype>\w+)"
_NUMBER = r"(?<![\w-])--(?P<number>[a-z][a-z-]*) (?=\d)"
_OPTION = r"(?<![\w-])(?:{}|--(?P<option>[a-z][a-z-]*))(?![\w-])".format(
    "|".join(f"(?:{re.escape(phrase)})" for phrase in _PHRASES)
)
_WORDS = re.compile(f"{_ADVICE}|{_QUOTED}|{_COMMAND}|{_VALUE}|{_SPLIT}|{_DTYPE}|{_NUMBER}|{_OPTION}")


def in_python(text: str) -> str:
    """A message in the words of Python; what it quotes stays as it is."""
    return _WORDS.sub(_word, text)


def _word(found: re.Match[str]) -> str:
    if found["command"] == "search":
        return "nqz.topk"
    if found["command"]:
        return f"nqz.{found['command']}"
    if found["given"]:
        return found["given"].replace("-", "_")
    if found["rule"] is not None:
        return f"rules={{'{found['rule']}': 'split'}}"
    if found["dtype"]:
        return f"dtype={found['dtype']!r}"
    if option := found["option"] or found["number"]:
        return option.replace("-", "_") + "="
    if found["advice"] or found[0].startswith("with --axis-"):  # on arrays, and not on files
        return found["advice"] or ""
    return _PHRASES.get(found[0], found[0])


class SpeaksPython(ContextDecorator):
    """A context, and a decorator, that errors of nqz leave in the words of Python.

    In it numpy is silent about underflow, and raises nothing, whatever `numpy.seterr` was told: squares of the smallest
    numbers are meant to be 0.
    """

    def __init__(self) -> None:
        self._before = local()

    def __enter__(self) -> None:
        self._before.__dict__.setdefault("found", []).append(np.seterr(all="warn", under="ignore"))

    def __exit__(self, kind: object, error: Any, traceback: object) -> None:
        np.seterr(**self._before.found.pop())
        if isinstance(error, NqzError) and len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (in_python(error.args[0]),)


speaks_python = SpeaksPython()
