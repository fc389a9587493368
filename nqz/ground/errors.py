"""The closed hierarchy of errors that nqz raises for anything a user or a file can get wrong.

Each class carries the exit status of the command line, so that the mapping stands in one place.
"""

from __future__ import annotations

from nqz.ground.urls import redacted


class NqzError(Exception):
    """Base of every error that nqz raises on purpose.

    Attributes
    ----------
    exit_code : int
        Exit status of the command line for this kind of error.
    """

    exit_code = 1

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(redacted(one) if isinstance(one, str) else one for one in arguments))


class UsageError(NqzError):
    """An option or an argument makes no sense (exit status 2)."""

    exit_code = 2


class InputError(NqzError):
    """An input cannot be opened or read (exit status 3)."""

    exit_code = 3


class UnsupportedError(NqzError):
    """An input is not what nqz takes (exit status 4).

    It is a file of another kind than needed; or its type, its shape or an entry that is not finite is not supported.
    """

    exit_code = 4


class CorruptError(NqzError):
    """A file is damaged or truncated, or of no kind that is known (exit status 5)."""

    exit_code = 5


class NewerFormatError(NqzError):
    """A container was written by a later version of the format (exit status 6)."""

    exit_code = 6


class OperandError(NqzError):
    """The two operands of a product do not fit together, or the product does not fit its type (exit status 7)."""

    exit_code = 7


class VerifyError(NqzError):
    """A reconstruction is further from its original than predicted, or of another matrix (exit status 8)."""

    exit_code = 8


class OutputExistsError(NqzError):
    """The output exists and may not be replaced, or it is one of the inputs (exit status 9)."""

    exit_code = 9


class OutputError(NqzError):
    """The output cannot be written (exit status 10)."""

    exit_code = 10


class DiskFullError(OutputError):
    """The device of the output is full (exit status 11)."""

    exit_code = 11
