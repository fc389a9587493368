"""The error of the decoders, which the native kernels and the reference share."""

from __future__ import annotations


class CorruptStream(ValueError):
    """A payload is not one that the encoder writes; the message says in a few words why."""
