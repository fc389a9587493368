"""``python -m nqz``, and the program ``nqz``."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Entry point of the program: `nqz.cli.main`, which takes a moment to load, without a traceback on Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from nqz.cli import main

    return main()


def _leave(number: int, frame: FrameType | None) -> None:
    try:
        os.write(2, b"nqz: error: interrupted\n")
    finally:
        os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
