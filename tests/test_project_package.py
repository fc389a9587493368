"""What is packaged: the archive of sources, the wheel that is built from it, and what they say of themselves."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

import nqz
from cli_tools import environment, process

ROOT = Path(__file__).resolve().parent.parent
PROSE = {path.name for path in ROOT.glob("*.md")}
PAGES = sorted(path.name for path in (ROOT / "docs" / "man").glob("*.1"))


def build(kind: str, source: Path, target: Path) -> Path:
    """Build an archive as pip does where no compiler is found, which takes a moment."""
    program = f"import sys, scikit_build_core.build as b; print(b.build_{kind}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(target)], cwd=source, env=environment(CXX="no-compiler"),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sources) as archive:
        archive.extractall(folder)
    (source,) = folder.iterdir()
    with zipfile.ZipFile(build("wheel", source, tmp_path_factory.mktemp("wheel"))) as archive:
        archive.extractall(folder / "wheel")
    return folder / "wheel"


def test_sources_have_no_tests_and_little_weight(sources):
    with tarfile.open(sources) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    top = {name.split("/")[0] for name in names}
    assert top == {"nqz", "docs", "pyproject.toml", "LICENSE", "PKG-INFO", *PROSE}
    assert "nqz/kernels/src/module.cpp" in names and not [name for name in names if name.endswith(".so")]
    assert sources.stat().st_size < 1_200_000


def test_a_wheel_of_the_sources_has_the_package_and_its_manual(wheel):
    assert {path.name for path in wheel.iterdir()} == {
        "nqz", f"nqz-{nqz.__version__}.data", f"nqz-{nqz.__version__}.dist-info"
    }  # fmt: skip
    found = {str(path.relative_to(wheel)) for path in wheel.rglob("*.py")}
    assert found == {str(path.relative_to(ROOT)) for path in (ROOT / "nqz").rglob("*.py")}
    assert {path.name for path in (wheel / "nqz" / "pages").iterdir()} >= {"page.css", "page.js"}
    assert (wheel / "nqz" / "py.typed").exists() and not (wheel / "nqz" / "kernels" / "src").exists()
    manual = wheel / f"nqz-{nqz.__version__}.data" / "data" / "share" / "man" / "man1"
    assert sorted(path.name for path in manual.iterdir()) == PAGES and "nqz-encode.1" in PAGES
    done = process("--version", env={"PYTHONPATH": str(wheel)}, cwd=wheel)
    assert done.returncode == 0 and done.stdout.decode() == f"nqz {nqz.__version__}\n"


def test_the_package_says_what_it_is(wheel):
    information = wheel / f"nqz-{nqz.__version__}.dist-info"
    found = BytesParser().parsebytes((information / "METADATA").read_bytes())
    assert found["Name"] == "nqz" and found["Version"] == nqz.__version__
    assert found["License-Expression"] == "MIT" and list(information.rglob("LICENSE"))
    assert found["Description-Content-Type"] == "text/markdown"
    assert found.get_payload().lstrip().startswith("# nqz\n")
    kinds = found.get_all("Classifier")
    assert (
        "Typing :: Typed" in kinds
        and f"Programming Language :: Python :: {found['Requires-Python'][2:]}" in kinds
    )
    extras = set(found.get_all("Provides-Extra"))
    own = {"test", "coverage", "bench", "docs", "all"}
    (everything,) = [
        need for need in found.get_all("Requires-Dist") if need.replace("'", '"').endswith('extra == "all"')
    ]
    assert "nqz[" + ",".join(sorted(extras - own)) + "]" in everything.replace(" ", "")
    assert "nqz = nqz.__main__:main" in (information / "entry_points.txt").read_text()


def test_the_manual_is_what_the_commands_say_of_themselves():
    from nqz.cli.manual import pages

    kept = {name: (ROOT / "docs" / "man" / name).read_text(encoding="utf-8") for name in PAGES}
    assert kept == pages(), "run: make man"


def test_the_reference_of_the_command_line_is_what_the_commands_say_of_themselves():
    script = ROOT / "docs" / "command_pages.py"
    kept = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(script))["page"]() == kept, "run: make man"


def test_the_manual_has_every_option_and_plain_characters():
    from nqz.cli.manual import pages

    found = pages()
    assert r"\fB\-\-max\-bytes\fR \fIN\fR" in found["nqz-encode.1"]
    assert r"\fBNQZ_THREADS\fR" in found["nqz.1"] and r"nqz encode a.npy \-r 3" in found["nqz.1"]
    for name, text in found.items():
        assert not any("\u0300" <= character < "\u0370" for character in text), name


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="no mandoc here")
@pytest.mark.parametrize("name", PAGES)
def test_the_manual_is_in_order(name):
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", str(ROOT / "docs" / "man" / name)],
        capture_output=True,
        text=True,
    )
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []
