"""The constants of the trellis coding as docs/format.md, section 16.2, has them.

python tests/ring_constants.py          prints them
python tests/ring_constants.py --write  puts them into the document; only while the format's version is 0
"""

from __future__ import annotations

import sys
from pathlib import Path

from nqz.format.records import preamble
from nqz.reference.codings.ring_codes import BITS2, WINDOWS, form_of

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "format.md"
BEGIN, END = "<!-- rings -->\n", "<!-- end of rings -->\n"


def constants() -> str:
    """Return the lines of all rates and windows."""
    lines = ["```text"]
    for bits2 in BITS2:
        for window in WINDOWS:
            form = form_of(bits2, window)
            lines.append(f"2K {bits2}  L {window}  H {form.labels}  D {form.distortion!r}  g {form.gain!r}")
            lines += [f"  G {' '.join(map(str, generator))}" for generator in form.generators]
            lines.append(f"  C {' '.join(map(str, form.half))}")
    return "\n".join([*lines, "```", ""])


if __name__ == "__main__":
    if "--write" in sys.argv:
        assert preamble()[8:10] == b"\0\0", "the constants of a final version do not change"
        text = DOCUMENT.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        DOCUMENT.write_text(before + BEGIN + constants() + END + after, encoding="utf-8")
    else:
        print(constants())
