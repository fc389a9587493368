"""The demonstration in docs/: pairs against which quantizers without randomness fail, and nqz does not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "docs" / "adversary.py"


@pytest.fixture(scope="module")
def adversary():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("adversary", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_errors_of_rounding_grow_with_n_and_those_of_nqz_do_not(adversary):
    short, long = adversary.attacked(256), adversary.attacked(1024)
    assert list(short) == ["int4", "NF4", "E8", "int4, rotated", "NF4, rotated", "E8, rotated"]
    for name, (error, _, _) in short.items():
        assert error > 0.7
        assert long[name][0] == pytest.approx(4.0 * error, rel=0.15)
    for found in (short, long):
        ratios = [error / predicted for _, error, predicted in found.values()]
        assert all(predicted < 0.0125 for _, _, predicted in found.values())
        assert (
            max(ratios) < 1.3
        )  # columns of B are of little more than one dimension, so that products scatter by 7 %
        assert np.mean(ratios) == pytest.approx(1.0, abs=0.12)


def test_they_are_good_quantizers_of_what_was_not_made_against_them(adversary):
    found = adversary.unaimed(1024)
    assert max(found.values()) < 0.06 and found["nqz"] < 0.5 * found["NF4"]


def test_whoever_has_the_file_can_aim_at_it_and_another_seed_is_safe(adversary):
    error, predicted = adversary.residue(1024, 0)
    assert error > 5.0 * predicted
    error, predicted = adversary.residue(1024, 1)
    assert error == pytest.approx(predicted, rel=0.15)


def test_the_script_prints_its_tables(adversary, capsys):
    adversary.main([256])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a Gaussian pair, n = 4096: int4 0.05")
    assert lines[5].split()[0] == "256" and len(lines[5].split()) == 9
