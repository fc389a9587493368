"""Arrays of Zarr, in folders here and in stores, opened by the package zarr."""

from __future__ import annotations

from typing import Any


def open_zarr(path: str) -> Any:
    """The array at a path or an address, or the names of the arrays in a group; ImportError without zarr."""
    import zarr

    found = zarr.open(path, mode="r")
    if hasattr(found, "shape"):
        return found
    return [name for name, _ in found.arrays()]
