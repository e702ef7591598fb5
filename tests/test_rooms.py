"""An import may only point left: presets, topology, costmodel, optimizer, moeplan."""

import ast
from collections.abc import Iterator
from pathlib import Path

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
