import subprocess
import sys

import pytest

import moeplan

HEAVY = ("numpy", "pydantic", "networkx", "ortools", "scipy", "rich", "yaml")


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stderr.split())


def test_all_is_sorted_and_complete() -> None:
    assert moeplan.__all__ == sorted(moeplan.__all__)
    assert set(moeplan.__all__) == set(moeplan._ROOM_OF)
    assert set(moeplan.__all__) <= set(dir(moeplan))


@pytest.mark.parametrize("name", moeplan.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(moeplan, name).__name__ == name


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'worst'"):
        moeplan.worst  # noqa: B018


def test_import_is_light() -> None:
    assert not modules_after("import moeplan") & {*HEAVY, "typer"}


@pytest.mark.parametrize("arguments", [["--help"], ["best", "--help"], ["--version"]])
def test_help_is_light(arguments: list[str]) -> None:
    loaded = modules_after(f"from moeplan.cli import main\nmain({arguments!r})")
    # Some releases of Typer load pydantic for the parameters of a command.
    assert loaded & set(HEAVY) <= ({"pydantic"} if "best" in arguments else set())
