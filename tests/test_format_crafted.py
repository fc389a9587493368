"""Commands on containers that are wrong in one thing, with right checksums: what comes of it, and that they agree."""

from __future__ import annotations

import random

import pytest

import crafted
from cli_tools import MANY, process
from fuzz_containers import Fuzzer
from mutations import mutated

EVERY = 5 if MANY else 20
"""All take minutes: ``make fuzz`` runs them, `make test-faults` every fifth."""

FEW = ("panels", "slices", "ties")
"""Groups of which there are few cases."""


@pytest.mark.parametrize("group", crafted.GROUPS)
def test_commands_do_what_the_document_says(group):
    tried, faults = crafted.run_group(group, 5 if group in FEW else EVERY)
    assert not faults, "\n".join(f"{case}: {'; '.join(found)}" for case, found in faults.items())
    assert tried >= 2


def test_there_are_thousands_of_cases():
    names = [case.name for case in crafted.cases()]
    assert len(names) > 10_000
    assert len(set(names)) == len(names)


@pytest.mark.filterwarnings("error")
def test_random_changes():
    """A few of those that `make fuzz` makes."""
    fuzzer, rng = Fuzzer(), random.Random(1)
    with fuzzer.runner:
        for _ in range(60):
            what, data = mutated(rng)
            assert not fuzzer.faults(data), what
    assert len(fuzzer.outcomes) > 3


LIMITED = f"""import resource, sys
if sys.platform == "linux":
    resource.setrlimit(resource.RLIMIT_AS, ({crafted.MEMORY}, {crafted.MEMORY}))
from nqz.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("command", ["verify", "decode", "inspect", "itself"])
def test_the_program_does_the_same(command, tmp_path):
    """In processes, as users run it."""
    chosen = [
        case for case in crafted.cases("claims", "chunks", "columns") if command in case.seen and case.code
    ]
    for case in chosen[:: len(chosen) // 4]:
        file = tmp_path / "x.nqz"
        file.write_bytes(case.data)
        words = ["matmul", file, file] if command == "itself" else [command, file]
        found = process(*words, "-q", program=LIMITED, env={"OPENBLAS_NUM_THREADS": "1"})
        assert found.returncode == case.code
        assert found.stdout == b""
        assert found.stderr.startswith(b"nqz: error: ") and found.stderr.count(b"\n") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["x.nqz"]
