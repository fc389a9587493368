"""Imports go in one direction: docs/architecture.md shows the layers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

# From the bottom up. A module may import from its own package and from packages in rows above its own.
LAYERS = [
    ["_version"],
    ["ground"],
    ["reference"],
    ["kernels"],
    ["stages", "files"],
    ["format"],
    ["matrix"],
    ["models", "plan", "product"],
    ["commands"],
    ["curve", "pages"],
    ["api", "cli", "adapters"],
    ["numcodecs", "torch", "zarr"],
    ["", "__main__"],  # `nqz` itself
]
RANK = {package: rank for rank, layer in enumerate(LAYERS) for package in layer}

# What a row could see but must not. The kernels are all that asks for the reference: it takes a moment to load.
NEVER = {
    **{package: {"reference"} for package in RANK if RANK[package] > RANK["kernels"]},
    "files": {"reference", "kernels"},
    "_version": set(RANK),
}


class Import(NamedTuple):
    """A module that imports another, and where."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer.replace('.', '/')}, line {self.line}, imports {self.imported}"


def modules() -> dict[str, Path]:
    """Return the files of the package by the full names of their modules."""
    found = {}
    for path in sorted((ROOT / "nqz").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def resolve(name: str, attribute: str | None) -> str:
    """Return the module that ``from name import attribute`` or ``import name`` reads."""
    full = f"{name}.{attribute}" if attribute else name
    # an extension module has no file here
    return full if full in MODULES or full == "nqz.kernels._native" else name


def walk(tree: ast.AST, *, everything: bool) -> Iterator[ast.AST]:
    """Yield all nodes, or those that are run when the module is imported."""
    if not everything:
        if isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return
        if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
            return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from walk(child, everything=everything)


def imports_of(module: str, source: str, *, package: bool, everything: bool = True) -> Iterator[Import]:
    """Yield the imports of nqz in a module; everything: those in functions and for types only, too."""
    for node in walk(ast.parse(source), everything=everything):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "nqz":
                    yield Import(module, resolve(alias.name, None), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + package]
                base = ".".join([*parts, *base.split(".")]).rstrip(".")
            if base.split(".")[0] == "nqz":
                for alias in node.names:
                    yield Import(module, resolve(base, alias.name), node.lineno)


def imports(*, everything: bool = True) -> list[Import]:
    """Return the imports of nqz in nqz."""
    found: list[Import] = []
    for module, path in MODULES.items():
        package, source = path.name == "__init__.py", path.read_text(encoding="utf-8")
        found += imports_of(module, source, package=package, everything=everything)
    return found


def package_of(module: str) -> str:
    """Return the package right under nqz that a module belongs to; "" for nqz itself."""
    return module.split(".")[1] if "." in module else ""


def wrong(found: Import) -> str | None:
    """Return what is wrong with an import, if anything."""
    importer, imported = package_of(found.importer), package_of(found.imported)
    if found.imported == "nqz":
        return "nqz/__init__ is for users; import from the module that defines the name"
    if importer == imported:
        return None
    if unknown := {importer, imported} - set(RANK):
        return f"{min(unknown)} has no layer"
    if imported == "adapters":
        return "adapters are imported by nobody"
    if RANK[imported] >= RANK[importer] or imported in NEVER.get(importer, ()):
        return f"{importer or 'nqz'} must not see {imported}"
    return None


def test_every_package_has_its_layer():
    assert {package_of(module) for module in MODULES} <= set(RANK)


def test_imports_go_in_one_direction():
    complaints = {f"{found}: {reason}": None for found in imports() if (reason := wrong(found))}
    assert not complaints, "\n".join(["", *complaints])


def test_no_module_imports_itself_in_a_circle():
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in imports(everything=False):
        if found.imported != found.importer:
            graph[found.importer].add(found.imported)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for imported in sorted(graph.get(module, ())):
                visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("nqz.reference.dither", "from nqz.kernels import name", "reference must not see kernels"),
        ("nqz.files.npy", "from nqz import kernels", "files must not see kernels"),
        ("nqz.stages.dither", "from nqz.reference import words", "stages must not see reference"),
        ("nqz.files.npy", "import nqz.stages.panels", "files must not see stages"),
        ("nqz.stages.norms", "def f():\n    from nqz.format import chnk", "stages must not see format"),
        ("nqz.plan.entropy", "from ..product import tiles", "plan must not see product"),
        ("nqz.cli.encode", "from nqz.adapters import torch", "adapters are imported by nobody"),
        ("nqz.cli.encode", "from nqz import encode", "nqz/__init__ is for users"),
        ("nqz.cli.encode", "import nqz", "nqz/__init__ is for users"),
        ("nqz.api", "if TYPE_CHECKING:\n    from nqz.cli import main", "api must not see cli"),
    ],
)
def test_a_wrong_import_is_found(module, source, reason):
    (found,) = imports_of(module, source, package=False)
    assert (wrong(found) or "").startswith(reason)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nqz.cli.encode", "from nqz.ground import errors"),
        ("nqz.files.npy", "from nqz.ground.dtypes import Dtype"),
        ("nqz.matrix.matrix", "from nqz.files.access import Access"),
        ("nqz.stages.scale", "from .dither import key\nfrom . import panels"),
        ("nqz.kernels", "from nqz.kernels import _native"),
    ],
)
def test_a_right_import_is_not(module, source):
    assert [wrong(found) for found in imports_of(module, source, package=False)] in ([None], [None, None])
