"""``python -m nqz``."""

from __future__ import annotations

import sys

from nqz.cli import main

if __name__ == "__main__":
    sys.exit(main())
