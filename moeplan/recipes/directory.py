"""Recipes on disk: written whole or not at all, and read back bounded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from moeplan.json_text import parse_json
from moeplan.recipes.formats import FORMATS, Format, format_of
from moeplan.recipes.recipe import Recipe
from moeplan.recipes.swap import clear_left_over, only_writer, put_in_place
from moeplan.recipes.writing import OWN_FILES, RECORD
from presets import DataFileError, InputError
from presets.errors import shown
from presets.files import read_text, validated
from presets.hardware import hardware_names

PLAN = "plan.json"
"""File of a folder with the recipes of a whole plan: that plan."""

MAX_BYTES = 1_000_000
"""Longest file of a recipe that is read. [B]"""

MOST_FILES = 200
"""Most files of a recipe that are read. [1]"""

READ_SUFFIXES = (".yaml", ".sh", ".json", ".csv", ".md")


def write_recipe(option: str, folder: Path, files: Mapping[str, str], *, force: bool) -> None:
    """Write the files of a recipe into a folder that appears whole.

    Parameters
    ----------
    option : str
        What named the folder, for messages.
    folder : Path
        A folder that does not exist, or is empty; its parent exists.
    files : mapping of str to str
        Text by plain file name, or that of a folder and a file in it.
    force : bool
        Replace the recipe that the folder holds. What else lies in it stays.

    Raises
    ------
    InputError
        Where the folder cannot be written, holds files without `force`, or is no recipe.
    """
    folder = _resolved(option, folder)
    try:
        with only_writer(folder.parent):
            clear_left_over(folder.parent)
            old = _entries(option, folder)
            _check_free(option, folder, old, force)
            put_in_place(
                folder,
                lambda fresh: _fill(fresh, folder, files, old),
                replace=bool(old),
            )
    except OSError as error:
        raise _unwritable(option, folder, error.strerror or str(error)) from None


def _check_free(option: str, folder: Path, old: list[str], force: bool) -> None:
    """Refuse a folder with files in it, unless they are a recipe that is to be replaced."""
    if old and not force:
        raise InputError(
            f"{option}: {shown(str(folder))} holds files; choose another folder, or replace the "
            "recipe in it with --force"
        )
    if old and not {RECORD, PLAN}.intersection(old):
        raise InputError(
            f"{option}: {shown(str(folder))} holds files but no {RECORD} or {PLAN}, so it "
            "is no recipe; choose another folder"
        )


def read_any(path: Path) -> tuple[Recipe | None, Format, dict[str, str]]:
    """Read a recipe, or files of one of the formats that moeplan did not write.

    Parameters
    ----------
    path : Path
        A folder, or a recipe file of srt-slurm of any name.

    Raises
    ------
    DataFileError
        Where it cannot be read, or is of no format that is known.
    """
    try:
        one_file = path.is_file()
    except ValueError:
        raise InputError(
            f"{shown(str(path))} is not a folder; give the folder of a recipe"
        ) from None
    if one_file:
        files = {"recipe.yaml": read_text(path, MAX_BYTES)}
    else:
        files = _texts(path)
        if RECORD in files:
            recipe = _record(path / RECORD, files[RECORD])
            return recipe, FORMATS[recipe.format], files
    found = format_of(files)
    if found is None:
        what = "is no recipe file of srt-slurm" if one_file else f"holds no {RECORD}"
        raise DataFileError(
            f"{what}; give the folder of a recipe, or of files as a format has them "
            f"({', '.join(FORMATS)})",
            path,
        )
    return None, found, files


def read_recipe(folder: Path) -> tuple[Recipe, dict[str, str]]:
    """Read the files of a recipe, and its record.

    Raises
    ------
    DataFileError
        Where the folder cannot be read, or its record is missing or malformed.
    """
    files = _texts(folder)
    if RECORD not in files:
        raise DataFileError(f"holds no {RECORD}; give the folder of a recipe", folder)
    return _record(folder / RECORD, files[RECORD]), files


def _texts(folder: Path) -> dict[str, str]:
    """Read the files of a folder that a recipe may have, bounded."""
    try:
        names = sorted(
            each.name
            for each in folder.iterdir()
            if each.suffix in READ_SUFFIXES and each.is_file()
        )
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; give the folder of a recipe"
        raise DataFileError(problem, folder) from None
    except ValueError:
        raise InputError(
            f"{shown(str(folder))} is not a folder; give the folder of a recipe"
        ) from None
    if len(names) > MOST_FILES:
        raise DataFileError(f"holds more than {MOST_FILES} files, the most read", folder)
    return {name: read_text(folder / name, MAX_BYTES) for name in names}


def _record(path: Path, text: str) -> Recipe:
    content = parse_json(text, path)
    if isinstance(content, dict) and isinstance(content.get("prediction"), dict):
        _tuples(content["prediction"])
    if isinstance(content, dict):
        _check_name(content, "format", FORMATS, path)
        machine = content.get("machine")
        if isinstance(machine, dict):
            _check_name(machine, "sku", hardware_names(), path, "machine.")
    return validated(Recipe, content, path)


def _check_name(
    content: dict[str, object], key: str, valid: Collection[str], path: Path, before: str = ""
) -> None:
    """Refuse a name that nothing here has; what is no text is told with all else."""
    name = content.get(key)
    if isinstance(name, str) and name not in valid:
        problem = f"{shown(name)} is not valid; give {', '.join(valid)}"
        raise DataFileError(problem, path, key=f"{before}{key}")


def _tuples(prediction: dict[str, object]) -> None:
    """Turn lists of JSON into the tuples that a strict record holds."""
    intervals = prediction.get("interval_90")
    if isinstance(intervals, dict):
        prediction["interval_90"] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in intervals.items()
        }
    reasons = prediction.get("extrapolated_in")
    if isinstance(reasons, list):
        prediction["extrapolated_in"] = tuple(reasons)


def _resolved(option: str, folder: Path) -> Path:
    try:
        folder = folder.resolve()
        problem = None
        if folder.exists() and not folder.is_dir():
            problem = "it is a file"
        elif not folder.parent.is_dir():
            problem = f"there is no folder {str(folder.parent)!r}"
        elif not os.access(folder.parent, os.W_OK):
            problem = "its parent cannot be written to"
    except (OSError, ValueError, RuntimeError):  # a NUL in the name, or links in a circle
        problem = "it is not a folder name"
    if problem:
        raise _unwritable(option, folder, problem)
    return folder


def _entries(option: str, folder: Path) -> list[str]:
    try:
        return sorted(each.name for each in folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise _unwritable(option, folder, error.strerror or str(error)) from None


def _fill(fresh: Path, folder: Path, files: Mapping[str, str], old: list[str]) -> None:
    """Write the files of a recipe, and keep what lies in the folder besides."""
    for name, text in files.items():
        path = fresh / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if name.endswith(".sh"):
            path.chmod(path.stat().st_mode | 0o111)
    _carry_over(folder, fresh, files, old)


def _carry_over(folder: Path, fresh: Path, files: Mapping[str, str], old: list[str]) -> None:
    """Keep what lies in the folder and is no part of the recipe it holds."""
    if not old:
        return
    replaced = {*(name.split("/")[0] for name in files), *OWN_FILES, PLAN}
    for name in old:
        if name in replaced or (PLAN in old and (folder / name / RECORD).is_file()):
            continue
        source = folder / name
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, fresh / name, symlinks=True)
        else:
            shutil.copy2(source, fresh / name, follow_symlinks=False)


def _unwritable(option: str, folder: Path, problem: str) -> InputError:
    return InputError(
        f"{option}: {shown(str(folder))} cannot be written: {problem}; choose another folder"
    )
