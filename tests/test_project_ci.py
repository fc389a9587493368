"""What runs by itself, here and in public: every step is one goal of the Makefile, on every supported system."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
GOALS = {
    goal
    for line in re.findall(r"^\.PHONY:(.*)$", MAKEFILE, re.MULTILINE)
    for goal in line.split()
    if re.search(rf"^{re.escape(goal)}:", MAKEFILE, re.MULTILINE)
}
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
JOBS = WORKFLOW["jobs"]


def goals(job: dict) -> list[str]:
    """Return the goals that a job makes; it must run nothing else."""
    found = []
    for step in job["steps"]:
        assert ("run" in step) != ("uses" in step), step
        if "run" in step:
            program, *arguments = shlex.split(step["run"])
            assert program == "make", step["run"]
            assert len(arguments) == 1, step["run"]
            found += arguments
    return found


def test_every_phony_goal_is_there():
    declared = {
        goal for line in re.findall(r"^\.PHONY:(.*)$", MAKEFILE, re.MULTILINE) for goal in line.split()
    }
    assert declared == GOALS
    assert {"test", "lint", "format", "demo", "test-all", "bench", "fuzz", "coverage", "clean"} <= GOALS


@pytest.mark.parametrize("name", JOBS)
def test_every_step_is_one_goal(name):
    assert len(goals(JOBS[name])) == 1
    assert set(goals(JOBS[name])) <= GOALS


@pytest.mark.parametrize("name", JOBS)
def test_every_job_checks_out_then_chooses_a_python_then_makes(name):
    steps = [step.get("uses", step.get("run")) for step in JOBS[name]["steps"]]
    assert [step.split("@")[0].split()[0] for step in steps[:3]] == [
        "actions/checkout",
        "actions/setup-python",
        "make",
    ]
    assert JOBS[name]["timeout-minutes"] <= 60


def test_linux_and_macos_on_both_processors_with_every_python():
    matrix = JOBS["test"]["strategy"]["matrix"]
    assert matrix.keys() == {"system", "python"}  # nothing left out of it
    assert matrix["python"] == ["3.10", "3.11", "3.12", "3.13", "3.14"]
    kinds = {"ubuntu-24.04": "Linux x86-64", "ubuntu-24.04-arm": "Linux arm64"} | {
        "macos-15-intel": "macOS x86-64",
        "macos-15": "macOS arm64",
    }
    assert [kinds[system] for system in matrix["system"]] == list(kinds.values())
    assert JOBS["test"]["runs-on"] == "${{ matrix.system }}"
    assert JOBS["test"]["strategy"]["fail-fast"] is False
    assert goals(JOBS["test"]) == ["pytest"]


def test_the_oldest_python_is_the_one_that_is_asked_for():
    (oldest,) = re.findall(
        r'^requires-python = ">=(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert JOBS["test"]["strategy"]["matrix"]["python"][0] == oldest


def test_the_code_is_checked_and_a_job_has_no_compiler():
    made = [goal for job in JOBS.values() for goal in goals(job)]
    assert {
        "lint",
        "pytest",
        "test-reference",
        "test-zarr",
        "test-remote",
        "test-dask",
        "docs",
        "demo",
    } <= set(made)
    assert "test-reference: export CXX := no-compiler" in MAKEFILE
    assert (ROOT / ".ci/run").read_text().count("make test") == 1


def test_workflows_can_write_nothing():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in JOBS.values())


def test_hooks_are_local_and_use_the_tools_of_the_project():
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    for repository in configuration["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            assert hook["language"] == "system"
            program, goal = hook["entry"].split()
            assert program == "make"
            assert goal in GOALS


def test_the_tools_that_check_are_pinned_and_apart():
    pins = [
        line
        for line in (ROOT / "tests" / "requirements-lint.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert {"ruff", "mypy", "clang-format"} <= {pin.split("==")[0] for pin in pins}
    assert all(re.fullmatch(r"[\w-]+==[\d.]+(; python_version (<|>=) \"3\.\d+\")?", pin) for pin in pins)
    # neither the demonstration nor the tests wait for them
    for goal in ("demo", "pytest"):
        (needs,) = re.findall(rf"^{goal}:(.*)$", MAKEFILE, re.MULTILINE)
        assert "lint" not in needs


def test_tools_that_build_are_those_of_pyproject():
    tomllib = pytest.importorskip("tomllib")
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    (tools,) = re.findall(r"^BUILD_TOOLS := (.*)$", MAKEFILE, re.MULTILINE)
    assert set(needed) <= set(shlex.split(tools))


def test_types_are_shipped():
    assert (ROOT / "nqz/py.typed").read_bytes() == b""


def test_windows_is_said_not_to_be_supported():
    for name in ("README.md", "CONTRIBUTING.md"):
        text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
        assert "Linux and macOS are supported, on x86-64 and arm64; Windows is not." in text, name
