"""``python -m nqz``, and the program ``nqz``."""

# Nothing here takes a moment to load, not even `signal` or `__future__`: what comes before `main` may be interrupted.
import os
import sys
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIGHUP,
    SIGINT,
    SIGTERM,
    default_int_handler,
    getsignal,
    signal,
)

_ENDS = {SIGINT: ("interrupted", 130), SIGTERM: ("terminated", 143), SIGHUP: ("hung up", 129)}


def main() -> int:
    """Entry point of the program: `nqz.cli.main`, which takes a moment to load, without a traceback on Ctrl-C."""
    try:
        for number in _ENDS:
            if getsignal(number) in (SIG_DFL, default_int_handler):  # not those that are ignored
                signal(number, _leave)
    except KeyboardInterrupt:  # before the first one was handled
        _leave(SIGINT, None)
    from nqz.cli import main

    return main()


def _leave(number: int, frame: object) -> None:
    what, code = _ENDS[number]
    try:
        os.write(2, f"nqz: error: {what}\n".encode())
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
