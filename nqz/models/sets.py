"""Sets: the containers of one encoding, each of which says in its manifest to which it belongs, as which part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nqz.format.manifest import PartOfSet
from nqz.ground import digests
from nqz.ground.errors import CorruptError
from nqz.models.collection import Collection, Part

ID_SIZE = 16
_DOMAIN = b"nqz set 0\0"
_NO_ID = bytes(ID_SIZE)


def numbered(held: Sequence[int]) -> list[PartOfSet | None]:
    """The place of each part in the set of all of them, by how many tensors it holds; the id is still to come.

    What holds none, and a part that is alone, belongs to no set.
    """
    parts = sum(map(bool, held))
    numbers = iter(range(parts))
    return [PartOfSet(_NO_ID, next(numbers), parts) if count and parts > 1 else None for count in held]


def set_id(identities: Sequence[bytes]) -> bytes:
    """The id of the set of parts with these digests, which differs as soon as anything in one of them does."""
    return digests.of(_DOMAIN + b"".join(identities))[:ID_SIZE]


def check_set(collection: Collection) -> None:
    """Check that containers are all parts of one encoding, where they say to which they belong.

    Raises
    ------
    CorruptError
        One is of another encoding, occurs twice or is missing.
    """
    known = [part for part in collection.parts if part.content.manifest.part is not None]
    if not known:
        return
    sets: dict[Any, list[Part]] = {}
    for part in known:
        sets.setdefault((_of(part).id, _of(part).parts), []).append(part)
    most = max(sets.values(), key=len)
    together = set(most)
    for part in collection.parts:
        if part not in together and (part.content.manifest.part is not None or part.tensors):
            other = f", with {_many(most)}" if len(most) > 1 else ""
            raise CorruptError(
                f"{collection.name}: {part.name} is no part of the encoding that {most[0].name} is of{other}; "
                "put the file of the same encoding in its place, or encode the model again"
            )
    found: dict[int, Part] = {}
    for part in most:
        other_part = found.setdefault(_of(part).number, part)
        if other_part is not part:
            raise CorruptError(
                f"{collection.name}: {other_part.name} and {part.name} are both {_place(part)}; take one of them away"
            )
    parts = _of(most[0]).parts
    missing = next((number for number in range(parts) if number not in found), None)
    if missing is not None:
        raise CorruptError(
            f"{collection.name}: part {missing + 1} of the {parts} of the encoding is missing, there is {_many(most)}; "
            "give all of them, or each by itself"
        )


def _of(part: Part) -> PartOfSet:
    place = part.content.manifest.part
    assert isinstance(place, PartOfSet)
    return place


def _place(part: Part) -> str:
    return f"part {_of(part).number + 1} of {_of(part).parts}"


def _many(parts: Sequence[Part]) -> str:
    words = [f"{part.name} (part {_of(part).number + 1})" for part in parts[:3]]
    if len(parts) > 3:
        words.append(f"{len(parts) - 3} more")
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
