"""The C++ of the kernels: what its folders promise about headers, instruction sets and lattices."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent / "nqz" / "kernels" / "src"
HEADERS = sorted(SOURCES.rglob("*.h"))
COMPILER = shutil.which(os.environ.get("CXX") or "c++") or (
    None if os.environ.get("CXX") else shutil.which("g++")
)
X86 = platform.machine() in ("x86_64", "AMD64")
FLAGS = {
    "avx2.h": ["-mavx2"],
    "ymm.h": ["-mavx2"],
    "pclmul.h": ["-msse4.1", "-mpclmul"],
    "sha.h": ["-msse4.1", "-msha"],
    "avx512.h": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512cd"],
}


def name(path: Path) -> str:
    return str(path.relative_to(SOURCES))


def native(path: Path) -> bool:
    """Whether a header is for the processor that runs this test."""
    return X86 or path.name not in ("sse2.h", *FLAGS)


def for_python(path: Path) -> bool:
    """Whether a header belongs to the bindings, which need the headers of Python and nanobind."""
    return "<nanobind/" in path.read_text()


@pytest.mark.skipif(COMPILER is None, reason="no compiler")
@pytest.mark.parametrize("path", [h for h in HEADERS if native(h) and not for_python(h)], ids=name)
def test_a_header_compiles_alone(path):
    if path.name == "neon.h" and platform.machine() not in ("aarch64", "arm64"):
        pytest.skip("for another processor")
    flags = ["-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused-function", "-Werror"]
    # Compiled by way of a file that includes it: as a main file, it would be warned of for its `#pragma once`.
    command = [COMPILER, "-x", "c++", *flags, *FLAGS.get(path.name, []), "-"]
    done = subprocess.run(command, input=f'#include "{path}"\n', capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", HEADERS, ids=name)
def test_a_header_has_a_guard(path):
    assert "\n#pragma once\n" in path.read_text()


def test_intrinsics_stand_only_in_the_headers_of_instruction_sets():
    allowed = {p for p in SOURCES.rglob("*") if p.parent.name == "simd"}
    intrinsics = re.compile(r"\b_mm\d*_|\b__m\d+|__AVX|__SSE|__ARM|immintrin|arm_neon")
    found = [name(p) for p in SOURCES.rglob("*.*") if p not in allowed and intrinsics.search(p.read_text())]
    assert found == []


CONTRACTING = ["-O3", "-ffp-contract=fast", *(["-march=native"] if X86 else [])]
CHANCES = """
#include "codings/chances.h"

// Where the quotient steps from one integer to the next: the first sum from `first` to `last` that is wrong, or 0.
extern "C" uint32_t wrong_chance(uint32_t first, uint32_t last, uint32_t step) {
    const uint32_t most = 8 * 65535;
    for (uint32_t sum = first; sum <= last; sum += step)
        for (uint64_t quotient = 0; quotient < 4096; quotient++)
            for (uint64_t one = quotient * sum / 4095; one <= quotient * sum / 4095 + 1; one++) {
                if (one < 1 || one >= sum || one > most || sum - one > most) continue;
                uint64_t chance = nqz::baseline::chance_of((uint32_t)(sum - one), (uint32_t)one);
                if (chance != 1 + 4095 * one / sum || chance > 4095) return sum;
            }
    return 0;
}
"""


@pytest.mark.skipif(COMPILER is None, reason="no compiler")
@pytest.mark.parametrize(
    "flags", [["-O2"], ["-O3", "-ffp-contract=fast", *(["-march=native"] if X86 else [])]], ids=str
)
def test_chances_of_code_bits_are_exact_whatever_is_contracted(flags, tmp_path):
    library = tmp_path / "chances.so"
    command = [
        COMPILER,
        "-x",
        "c++",
        "-std=c++17",
        "-shared",
        "-fPIC",
        *flags,
        f"-I{SOURCES}",
        "-o",
        library,
        "-",
    ]
    subprocess.run(command, input=CHANCES, text=True, check=True)
    wrong = ctypes.CDLL(str(library)).wrong_chance
    for first, last, step in ((2, 1000, 1), (1001, 16 * 65535, 1999), (16 * 65535 - 99, 16 * 65535, 1)):
        assert wrong(first, last, step) == 0


def test_only_the_dispatch_knows_the_number_of_a_lattice():
    numbers = re.compile(r"\b\w+::NUMBER\b|switch \((number|lattice)\)")
    found = {name(p) for p in SOURCES.rglob("*.*") if numbers.search(p.read_text())}
    assert found == {"dispatch.h"}
