"""The index of a model in several files, as Hugging Face writes it: the file in which each tensor is.

``{"metadata": {…}, "weight_map": {tensor: file, …}}``, called ``NAME.safetensors.index.json``; that of a compressed
model is ``NAME.nqz.index.json``, and the same but for the names of the files.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from nqz.files.access import Access
from nqz.ground.errors import CorruptError, UnsupportedError

SUFFIX = ".index.json"
MOST_BYTES = 32 << 20
MOST_NESTED = 1 << 20
"""Brackets and braces in a file: each may stand for an object, which takes memory."""

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_COLON = re.compile(rb"\s*:")


@dataclass(frozen=True)
class Index:
    """An index that makes sense by itself: whether the files agree is for who has them.

    Attributes
    ----------
    name : str
        What messages call it.
    weight_map : dict of str to str
        Tensors, in order, and the file of each, relative to the folder of the index.
    text : bytes
        All of it.
    """

    name: str
    weight_map: dict[str, str]
    text: bytes

    @property
    def files(self) -> list[str]:
        """The files that it names, in order."""
        return list(dict.fromkeys(self.weight_map.values()))

    def renamed(
        self, old: str, new: str, sizes: Mapping[str, int] | None = None, *, resized: bool = False
    ) -> bytes:
        """The same index of files with another suffix, byte for byte but for that unless something else differs.

        Parameters
        ----------
        old, new : str
        sizes : mapping of str to int, optional
            The tensors that are kept, and their bytes; all by default.
        resized : bool
            Whether these are other bytes than before.
        """
        if sizes is not None and (resized or len(sizes) != len(self.weight_map)):
            whole = json.loads(self.text)
            some = {tensor: file for tensor, file in self.weight_map.items() if tensor in sizes}
            whole["weight_map"] = {tensor: file.removesuffix(old) + new for tensor, file in some.items()}
            if isinstance(whole.get("metadata"), dict) and "total_size" in whole["metadata"]:
                whole["metadata"]["total_size"] = sum(sizes.values())
            return (json.dumps(whole, indent=2) + "\n").encode()
        pieces, done, end = [], 0, f'{old}"'.encode()
        for start, stop in _values(self.text):
            if self.text[start:stop].endswith(end):
                pieces += [self.text[done : stop - len(end)], f'{new}"'.encode()]
            else:  # the suffix is written with escapes
                file: str = json.loads(self.text[start:stop])
                pieces += [self.text[done:start], json.dumps(file.removesuffix(old) + new).encode()]
            done = stop
        return b"".join([*pieces, self.text[done:]])


def _values(text: bytes) -> Iterator[tuple[int, int]]:
    """Where the values of ``weight_map`` stand, in the text of an index that is known to be one."""
    depth, key, inside, value = 0, "", False, False
    for found in _TOKEN.finditer(text):
        token = found.group()
        if token in b"{[":
            inside = inside or (depth == 1 and key == "weight_map")
            depth, value = depth + 1, False
        elif token in b"}]":
            depth -= 1
            inside = inside and depth > 1
        elif inside:  # names and files take turns
            if value:
                yield found.span()
            value = not value
        elif depth == 1:
            key = json.loads(token)
            if not _COLON.match(text, found.end()):
                key = ""


def read_index(access: Access, name: str) -> Index:
    """Read and check an index.

    Raises
    ------
    CorruptError
        It is no JSON, or names tensors twice, or files that are not in its folder.
    UnsupportedError
        It is of another kind.
    """
    text = read_text(access, name)
    found = parse_object(text, name)
    weight_map = found.get("weight_map")
    if not isinstance(weight_map, dict):
        raise UnsupportedError(f"{name}: is no index of a model: it has no weight_map")
    for tensor, file in weight_map.items():
        _check_tensor(tensor, name)
        _check_file(tensor, file, name)
    return Index(name, weight_map, text)


def read_text(access: Access, name: str) -> bytes:
    """All of a file of JSON; UnsupportedError if it is too large to be what it should be."""
    if access.size > MOST_BYTES:
        raise UnsupportedError(f"{name}: has {access.size} bytes; at most {MOST_BYTES} are read")
    text = bytearray(access.size)
    access.pread_into(text, 0)
    if text.count(b"{") + text.count(b"[") > MOST_NESTED:
        raise UnsupportedError(f"{name}: has more than {MOST_NESTED} brackets; no model needs so many")
    return bytes(text)


def _corrupt(name: str, what: str) -> NoReturn:
    raise CorruptError(f"{name}: the index is damaged: {what}")


def parse_object(text: bytes, name: str, *, strict: bool = True) -> dict[str, Any]:
    """An object of JSON; if `strict`, no key of which occurs twice.

    Raises
    ------
    CorruptError
        It is none.
    """

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if strict and len(made) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise _TwiceError(twice)
        return made

    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=distinct)
    except _TwiceError as error:
        raise CorruptError(f"{name}: the key {_quote(error.key)} occurs twice") from None
    except UnicodeDecodeError as error:
        raise CorruptError(f"{name}: is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise CorruptError(f"{name}: is nested too deeply") from None
    except ValueError as error:
        raise CorruptError(f"{name}: is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise CorruptError(f"{name}: is no object of JSON")
    return found


class _TwiceError(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _quote(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _check_tensor(tensor: str, name: str) -> None:
    try:
        tensor.encode("utf-8")
    except UnicodeEncodeError:
        _corrupt(name, f"the name of a tensor has half of a surrogate pair: {_quote(tensor)}")


def _check_file(tensor: str, file: Any, name: str) -> None:
    """Refuse a file that is not in the folder of the index, or below."""
    if not isinstance(file, str):
        _corrupt(name, f"the file of tensor {_quote(tensor)} is not a string")
    steps = file.split("/")
    if "\0" in file or "\\" in file or any(step in ("", ".", "..") for step in steps):
        _corrupt(
            name, f"tensor {_quote(tensor)} is in {_quote(file)}, which is no name of a file in its folder"
        )
    try:
        os.fsencode(file)
    except UnicodeEncodeError:
        _corrupt(name, f"tensor {_quote(tensor)} is in {_quote(file)}, which is no name of a file")


def check_agreement(index: Index, parts: Mapping[str, Collection[str]]) -> None:
    """Check that the files hold the tensors that an index says.

    Parameters
    ----------
    index : Index
    parts : mapping of str to names
        The files, and the tensors that each holds.

    Raises
    ------
    CorruptError
        A tensor is not where it should be, or is not listed.
    """
    for tensor, file in index.weight_map.items():
        if tensor not in parts[file]:
            other = next((part for part, held in parts.items() if tensor in held), None)
            where = "in no file of the model" if other is None else f"in {other}"
            raise CorruptError(f"{index.name}: says that tensor {_quote(tensor)} is in {file}; it is {where}")
    for part, held in parts.items():
        for tensor in held:
            listed = index.weight_map.get(tensor)
            if listed is None:
                raise CorruptError(
                    f"{index.name}: does not list tensor {_quote(tensor)}, which is in {part}; "
                    "the two do not belong together"
                )
            if listed != part:
                raise CorruptError(
                    f"{index.name}: tensor {_quote(tensor)} is in {listed} and in {part}; it must be in one of them"
                )
