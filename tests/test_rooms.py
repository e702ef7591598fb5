"""How files may import each other.

An import may only point left: presets, topology, costmodel, optimizer, moeplan. No files import
each other in a circle. An import inside a function says in a comment what it saves.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

ROOMS = ("presets", "topology", "costmodel", "optimizer", "moeplan")
ROOT = Path(__file__).parents[1]


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Line and first part of the name of each import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield node.lineno, (node.module or "").split(".")[0]


def wrong(room: str, source: str) -> list[tuple[int, str]]:
    """Find imports of a room to the right."""
    forbidden = ROOMS[ROOMS.index(room) + 1 :]
    return [(line, name) for line, name in imported(source) if name in forbidden]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_only_point_left(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    found = {
        str(path.relative_to(ROOT)): wrong(room, path.read_text(encoding="utf-8")) for path in files
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_its_tests(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        names = {name for _, name in imported(path.read_text(encoding="utf-8"))}
        assert not names & {"tests", "pytest", "hypothesis"}, path


def test_the_check_sees_imports_inside_functions_and_under_conditions() -> None:
    source = (
        "import costmodel.results\n"
        "def f():\n"
        "    from optimizer import best\n"
        "if TYPE_CHECKING:\n"
        "    import numpy, moeplan.cli\n"
        "from presets import Model\n"
    )
    assert wrong("costmodel", source) == [(3, "optimizer"), (5, "moeplan")]
    assert wrong("moeplan", source) == []
    assert [name for _, name in wrong("presets", source)] == ["costmodel", "optimizer", "moeplan"]


def modules() -> dict[str, Path]:
    """Every module by its name."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def run_imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that are run at some time, also inside functions; not those of types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        yield from run_imports(node)


def targets(node: ast.Import | ast.ImportFrom, known: dict[str, Path]) -> set[str]:
    """Modules of ours that an import names: a name may be a module of the package."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names} & known.keys()
    whole = {f"{node.module}.{alias.name}" for alias in node.names}
    inner = whole & known.keys()
    return inner or ({str(node.module)} & known.keys())


def circles(graph: nx.DiGraph[str]) -> list[list[str]]:
    """Modules that import each other."""
    return [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]


def test_no_files_import_each_other_in_a_circle() -> None:
    known = modules()
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name, path in known.items():
        for node in run_imports(ast.parse(path.read_text(encoding="utf-8"))):
            graph.add_edges_from((name, other) for other in targets(node, known) - {name})
    assert graph.number_of_edges() > 500
    assert circles(graph) == []


def unexplained(source: str) -> list[int]:
    """Lines of imports inside functions without a comment; one goes for imports in a row."""
    lines, found = source.splitlines(), set()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, functions):
            continue
        nodes = sorted(run_imports(function), key=lambda node: node.lineno)
        said, last = False, -1
        for node in nodes:
            end = node.end_lineno or node.lineno
            follows = all(not line.strip() for line in lines[last : node.lineno - 1])
            own = "#" in "".join(lines[node.lineno - 1 : end]) or lines[
                node.lineno - 2
            ].strip().startswith("#")
            said = own or (said and follows and last > 0)
            if not said:
                found.add(node.lineno)
            last = end
    return sorted(found)


def test_imports_inside_functions_say_what_they_save() -> None:
    found = {
        name: lines
        for name, path in modules().items()
        if (lines := unexplained(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_the_checks_see_circles_and_imports_without_a_word() -> None:
    assert circles(nx.DiGraph([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])) == [
        ["a", "b", "c"]
    ]
    source = (
        "import os\n"
        "def f():\n"
        "    import numpy  # only f needs it\n"
        "    import scipy\n"
        "    x = 1\n"
        "    from math import inf\n"
    )
    assert unexplained(source) == [6]
    nodes = run_imports(ast.parse("if TYPE_CHECKING:\n    import a\ndef f():\n    import b\n"))
    assert [ast.unparse(node) for node in nodes] == ["import b"]
