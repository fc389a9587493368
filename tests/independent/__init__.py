"""An independent decoder of nqz containers, written from the format document alone."""

from .rebuild import decode_file, verify_file
from .sequences import CorruptError, NewerFormatError

__all__ = ["CorruptError", "NewerFormatError", "decode_file", "verify_file"]
