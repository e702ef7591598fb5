"""Are the packages that moeplan imports its own? Their names are common, and others take them.

``presets``, ``topology``, ``costmodel`` and ``optimizer`` stand beside ``moeplan`` on the path. A
file or folder of such a name that stands earlier hides ours, and `pip install` of a package of
such a name writes over ours: both would fail later, far from the cause.
"""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from moeplan.started import BAD_INPUT, end, is_command

PACKAGES = ("presets", "topology", "costmodel", "optimizer")

MARK = b"moeplan"
"""Stands in the first file of each of our packages, as in no other of the same name."""

ISOLATED = "install moeplan in an environment of its own (pipx install . or uv tool install .)"


def check_packages() -> None:
    """Refuse to go on where a package is not ours. Nothing of another's is run to find out.

    Raises
    ------
    ShadowedError
        Saying what hides which package, and how to get out. The command ends with status 2.
    """
    home = Path(__file__).parents[1]
    for name in PACKAGES:
        problem = _problem(name, home)
        if problem is None:
            continue
        if is_command():
            end(problem, BAD_INPUT)
        raise _error(problem, home)


def _problem(name: str, home: Path) -> str | None:
    """Say why a package is not ours; None where it is."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module that was put in place by hand
        spec = None
    ours = home / name / "__init__.py"
    found = _place(spec)
    if found is not None and found != ours and not _same(found, ours):
        return (
            f"{str(found)!r} hides the package {name!r} that moeplan needs, which is in "
            f"{str(home)!r}: rename it, uninstall it or run from another folder, or {ISOLATED}"
        )
    if spec is None or spec.origin is None or MARK not in ours.read_bytes():
        return (
            f"the package {name!r} of moeplan in {str(home)!r} was overwritten or removed, "
            f"as installing or uninstalling another package named {name!r} does: {ISOLATED}"
        )
    return None


def _place(spec: ModuleSpec | None) -> Path | None:
    """File or folder that Python would import."""
    if spec is None:
        return None
    places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
    return Path(places[0]) if places and places[0] else None


def _same(found: Path, ours: Path) -> bool:
    """Whether both are one, under two names, or ours lies in a folder that lost its first file."""
    return (ours.exists() and found.samefile(ours)) or found == ours.parent


def _error(problem: str, home: Path) -> Exception:
    """Make the error of the one tree: by its file, since its package may be what is hidden."""
    path = home / "presets" / "errors.py"
    spec = spec_from_file_location("presets.errors", path) if path.exists() else None
    if spec is None or spec.loader is None:
        return ImportError(problem)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    error: Exception = module.ShadowedError(problem)
    return error
