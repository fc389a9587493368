"""The manifest of a part set: one form for each value, and nothing else is read."""

from __future__ import annotations

import hashlib
import json

import pytest

from nqz.format import part_set
from nqz.format.part_set import MOST_PARTS, PartEntry, PartSet, is_part_name
from nqz.ground.errors import CorruptError, NewerFormatError

PLAN = {
    "coding": "entropy",
    "lattice": "conv128",
    "allocate": "matrix",
    "delta": -122,
    "lowest_class": 0,
    "seed": 0,
}
PARTS = tuple(PartEntry(f"x-{i}.nqz", 100 + i, f"{i:064x}") for i in range(6))
SET = PartSet(0, "float32", (3, 4), (5, 6, 7), PLAN, PARTS)


def resealed(text: str) -> bytes:
    """A text with the digest that it should have."""
    body = text[: text.rindex(',\n "digest"')]
    digest = hashlib.sha256(b"nqz part set 0\0" + body.encode()).hexdigest()
    return f'{body},\n "digest": "{digest}"}}\n'.encode()


def test_what_is_written_is_read_and_says_where_parts_belong():
    again = PartSet.unpack(SET.pack(), "x")
    assert again == SET
    assert again.shape == (7, 18)
    assert PartSet(1, "float32", (7,), (18,), PLAN, PARTS[:1]).shape == (18, 7)
    assert again.places()[5] == (range(3, 7), range(11, 18))
    assert again.file_bytes == 615


def test_a_stranger_reads_it_by_the_document():
    text = SET.pack()
    found = json.loads(text)
    assert list(found) == ["nqz_set", "axis", "dtype", "coordinates", "vectors", "plan", "parts", "digest"]
    body = text[: text.index(b"]],\n") + 2].decode()
    assert found["digest"] == hashlib.sha256(b"nqz part set 0\0" + body.encode()).hexdigest()
    assert resealed(text.decode()) == text


def test_any_changed_byte_is_noticed():
    text = SET.pack()
    for at in range(len(text)):
        for value in (text[at] ^ 1, text[at] ^ 0x20):
            changed = text[:at] + bytes([value]) + text[at + 1 :]
            with pytest.raises((CorruptError, NewerFormatError)):
                PartSet.unpack(changed, "x")
    for size in range(len(text)):
        with pytest.raises(CorruptError):
            PartSet.unpack(text[:size], "x")


@pytest.mark.parametrize(
    "old, new, said",
    [
        ('"nqz_set": 0', '"nqz_set": 1', "of version 1; this release reads version 0"),
        ('"axis": 0', '"axis": 2', "neither 0 nor 1"),
        ('"axis": 0', '"axis": false', "neither 0 nor 1"),
        ('"float32"', '"int32"', "not one that is compressed"),
        ("[3, 4]", "[3, 0]", "no lengths"),
        ("[3, 4]", "[]", "no lengths"),
        ("[3, 4]", "[7]", "6 parts where 1 x 3 are needed"),
        ("[3, 4]", "[3, 9223372036854775808]", "no lengths"),
        ("[3, 4]", "[3,4]", "not in the form"),
        ('"delta": -122', '"delta": 1.5', "plan has to have"),
        ('"seed": 0}', '"seed": 0, "more": 1}', "plan has to have"),
        ('"coding": "entropy", ', "", "plan has to have"),
        ('"coding": "entropy"', '"coding": 0', "plan has to have"),
        ("x-1.nqz", "x-0.nqz", "names a file twice"),
        ("x-1.nqz", "../x.nqz", "no name of a file beside the manifest"),
        ("x-1.nqz", "/x.nqz", "no name of a file beside the manifest"),
        ("101", "-1", "number of bytes"),
        ("101", "101.0", "number of bytes"),
        (PARTS[1].digest, PARTS[1].digest[:-1], "digest"),
        ("x-1.nqz", "\\u0078-1.nqz", "not in the form"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_one_thing_is_refused_by_name(old, new, said):
    text = SET.pack().decode()
    assert old in text
    kind = NewerFormatError if "version" in said else CorruptError
    with pytest.raises(kind, match=said):
        PartSet.unpack(resealed(text.replace(old, new, 1)), "x")


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"\x8eNQZ\r\n\x1a\n", b'{"nqz_set": 0' + b"[" * 100000, b'{"nqz_set": 0}']
)
def test_other_files_are_no_manifests(text):
    with pytest.raises(CorruptError):
        PartSet.unpack(text, "x")


@pytest.mark.parametrize("name, good", [
    ("a.nqz", True), ("a/b.nqz", True), ("ü.nqz", True), ("", False), (".", False), ("..", False), ("a/..", False),
    ("../a", False), ("a/../b", False), ("/a", False), ("a//b", False), ("a\\b", False), ("a\nb", False),
    ("a\0", False), ("x" * 251, False), (3, False), ("a\ud800", False), ("\udcff", True),
])  # fmt: skip
def test_names_of_parts_stay_in_the_folder(name, good):
    assert is_part_name(name) == good


@pytest.mark.parametrize("where, more", [
    ("[3, 4]", "[" + "1, " * (2 * MOST_PARTS + 256) + "1]"),
    ('"lattice"', '"k": 0, ' * 257 + '"lattice"'),
    ('["x-0.nqz", 100,', '["x-0.nqz", 100, 1, 1, 1,'),
    ('"x-0.nqz"', '["x-0.nqz"]'),
    ('"x-0.nqz"', '"' + "\\u00e9" * 20000 + '"'),
    ('["x-0.nqz"', "[],\n  " * 2 + '["x-0.nqz"'),
    (',\n "digest"', ',\n "more": [' + "1, " * 99 + '1],\n "digest"'),
])  # fmt: skip
def test_what_says_more_than_a_set_can_have_is_refused_before_it_is_taken_apart(monkeypatch, where, more):
    text = SET.pack().decode()
    assert where in text
    monkeypatch.setattr(part_set.json, "loads", None)
    with pytest.raises(CorruptError, match="not in the form"):
        PartSet.unpack(resealed(text.replace(where, more, 1)), "x")


def test_the_largest_names_are_read():
    long = "/".join(["\U0001f600" * 250] * 32)
    made = PartSet(0, "float32", (3,), (5,), PLAN, (PartEntry(long, 1, "0" * 64),))
    assert PartSet.unpack(made.pack(), "x") == made


def test_a_manifest_of_a_later_release_is_told_whatever_else_it_says():
    with pytest.raises(NewerFormatError, match="of version 7"):
        PartSet.unpack(b'{"nqz_set": 7, "form": [1]}', "x")
