"""Files of other kinds that are often given in place of matrices: what they are called, and how to convert them.

A kind is told by its first bytes, before any format of ours looks at them. What is none in this table may be a damaged
file of ours, and is left to those who can say so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from nqz.files.access import Access
from nqz.ground.errors import UnsupportedError
from nqz.ground.sources import SOURCES

_START = 1024
_BRIEF = 8
"""Fewer bytes are no text, but a file that has been cut short."""

_ZIP = SOURCES["npz"].mark
_TORCH_LOAD = "torch.load({file}, map_location='cpu', weights_only=True)"
_TORCH = (
    f"from safetensors.torch import save_file; import torch; save_file({_TORCH_LOAD}, 'x.safetensors')",
    "a file of PyTorch",
)
_PICKLE = "import pickle, numpy; numpy.save('x.npy', pickle.load(open({file}, 'rb')))"


@dataclass(frozen=True)
class Foreign:
    """A kind of file that is not ours.

    Attributes
    ----------
    what : str
        The kind, as in "is …".
    matches : callable
        Whether the first bytes of a file are of this kind.
    advice : str
        What to do; ``{file}`` stands for the name of the file.
    """

    what: str
    matches: Callable[[bytes], bool]
    advice: str


def _begins(*marks: bytes, at: int = 0) -> Callable[[bytes], bool]:
    return lambda start: start[at:].startswith(marks)


def _python(program: str) -> str:
    return f'convert it: python -c "{program}"'


def _unpack(tool: str) -> str:
    return f"unpack it: {tool} {{file}}"


def _torch_archive(start: bytes) -> bool:
    """A zip archive whose first member is called NAME/data.pkl, or lies beside it."""
    return start.startswith(_ZIP) and bool(
        re.match(rb"[^\0]*/(data\.pkl|\.format_version|byteorder)", start[30:300])
    )


def _torch_legacy(start: bytes) -> bool:
    return start.startswith(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")


def _pickle(start: bytes) -> bool:
    # what follows the protocol is a frame, or an opcode that makes something
    return len(start) > 2 and start[0] == 0x80 and 2 <= start[1] <= 5 and start[2:3] in b"\x95}](c\x8ac\x8cXU"


def is_text(start: bytes) -> bool:
    """Whether bytes are text in UTF-8, perhaps cut within a character."""
    if len(start) < _BRIEF or re.search(rb"[\0-\x08\x0e-\x1f\x7f]", start):
        return False
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(start) - 3
    return True


def _text(pattern: bytes) -> Callable[[bytes], bool]:
    return lambda start: (
        is_text(start)
        and bool(re.match(pattern, start.lstrip(b"\xef\xbb\xbf \t\r\n"), re.IGNORECASE | re.DOTALL))
    )


_NUMBER = rb"[-+.\deEnaif \t]"
_LINE = rb"(?:[^\n]*\n)*?[ \t]*[-+]?[.\d]" + _NUMBER + rb"*%s\r?(?:\n|\Z)"
"""The first line that is of numbers, after a heading or remarks."""

TABLE = (
    Foreign(
        "an HDF5 file",
        _begins(b"\x89HDF\r\n\x1a\n"),
        _python("import h5py, numpy; numpy.save('x.npy', h5py.File({file})['DATASET'][:])"),
    ),
    Foreign(
        "a Parquet file",
        _begins(b"PAR1"),
        _python("import pandas, numpy; numpy.save('x.npy', pandas.read_parquet({file}).to_numpy('float32'))"),
    ),
    Foreign(
        "an Arrow (Feather) file",
        _begins(b"ARROW1"),
        _python("import pandas, numpy; numpy.save('x.npy', pandas.read_feather({file}).to_numpy('float32'))"),
    ),
    Foreign(
        "a MATLAB file",
        _begins(b"MATLAB 5.0 MAT-file"),
        _python("import scipy.io, numpy; numpy.save('x.npy', scipy.io.loadmat({file})['NAME'])"),
    ),
    Foreign(_TORCH[1], lambda start: _torch_archive(start) or _torch_legacy(start), _python(_TORCH[0])),
    Foreign(
        "a pickle of Python, which nqz never loads, as it may run any code",
        _pickle,
        f"if you trust it, {_python(_PICKLE)}",
    ),
    Foreign("compressed with gzip", _begins(b"\x1f\x8b\x08"), _unpack("gunzip")),
    Foreign("compressed with zstd", _begins(b"\x28\xb5\x2f\xfd"), _unpack("unzstd")),
    Foreign("compressed with bzip2", _begins(b"1AY&SY", at=4), _unpack("bunzip2")),
    Foreign("compressed with xz", _begins(b"\xfd7zXZ\0"), _unpack("unxz")),
    Foreign("compressed with LZ4", _begins(b"\x04\x22\x4d\x18"), _unpack("unlz4")),
    Foreign("a tar archive", _begins(b"ustar", at=257), _unpack("tar -xf")),
    Foreign(
        "a Git LFS pointer, and not the file that it stands for",
        _text(rb"version https://git-lfs\.github\.com/spec/"),
        "fetch that: git lfs pull --include {file}",
    ),
    Foreign(
        "an HTML page, such as a server sends in place of a file",
        _text(rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<(!doctype html|html|head)\b"),
        "download the file itself",
    ),
    Foreign(
        "the index of a model in several .safetensors files",
        _text(rb'\{.*"weight_map"\s*:'),
        "give it to nqz encode by a name that ends in .safetensors.index.json, or give its folder",
    ),
    Foreign(
        "the manifest of a part set",
        _text(rb'\{"nqz_set": '),
        "give it by its path, which tells where its parts are, and by a name that ends in .nqzset",
    ),
    Foreign(
        "JSON text",
        _text(rb'[{\[]\s*["\[{\]}\d-]'),
        _python("import json, numpy; numpy.save('x.npy', numpy.array(json.load(open({file})), 'float32'))"),
    ),
    Foreign(
        "plain text, with commas",
        _text(_LINE % rb",[-+.\deEnaif, \t]*"),
        _python("import numpy; numpy.save('x.npy', numpy.loadtxt({file}, delimiter=',', dtype='float32'))"),
    ),
    Foreign(
        "plain text",
        _text(_LINE % b""),
        _python("import numpy; numpy.save('x.npy', numpy.loadtxt({file}, dtype='float32'))"),
    ),
    Foreign("plain text, which does not look like numbers", is_text, "give a file of arrays"),
)
"""All kinds; the first one that matches counts."""


def foreign(access: Access) -> str | None:
    """Return what kind of file an input is and what to do with it, if it is of a kind in the table."""
    start = bytearray(min(_START, access.size))
    access.pread_into(start, 0)
    data = bytes(start)
    if data[4:9] == b"\0\0\0\0{":  # a .safetensors header whose length looks like a mark
        return None
    for kind in TABLE:
        if kind.matches(data):
            program = "python -c" in kind.advice
            # a name within two pairs of quotes, if it can stand there
            file = access.name if re.fullmatch(r"[\w./+-]+", access.name) else "FILE"
            return f"is {kind.what}; {kind.advice.format(file=repr(file) if program else file)}"
    return None


def refuse_foreign(access: Access, expected: str) -> None:
    """Raise UnsupportedError for an input of a kind in the table, where `expected` is needed."""
    found = foreign(access)
    if found is not None:
        raise UnsupportedError(f"{access.name}: {found} ({expected} is expected)")
