"""From a recipe to its files, which pass every check or are not written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from moeplan.output import csv_text
from moeplan.recipes.checks import Result, failures, run_checks
from moeplan.recipes.formats import FORMATS, Format
from moeplan.recipes.parsed import Facts, Parsed
from moeplan.recipes.readme import readme
from moeplan.recipes.recipe import ONE_POOL, TWO_POOLS, Recipe
from presets import InputError

RECORD, README, ROW = "recipe.json", "README.md", "configuration.csv"

OWN_FILES = frozenset({RECORD, README, ROW}).union(*(each.files for each in FORMATS.values()))
"""Every file that a recipe of any format writes."""


def recipe_files(recipe: Recipe) -> dict[str, str]:
    """Write all files of a recipe, by name.

    Raises
    ------
    InputError
        Where the engine cannot run the configuration, or a check fails; it names check and field.
    """
    files = FORMATS[recipe.format].write(recipe)
    refuse_failures(check_files(recipe, files))
    files[RECORD] = json.dumps(recipe.to_json(), indent=2, allow_nan=False) + "\n"
    files[ROW] = csv_text([configuration_row(recipe)])
    files[README] = readme(recipe)
    return files


def configuration_row(recipe: Recipe) -> dict[str, object]:
    """Give what was run in the columns that `moeplan validate` reads, results left out."""
    served = recipe.served
    return {
        "sku": recipe.machine.sku,
        "model": served.model,
        "precision": served.precision,
        "framework": FORMATS[recipe.format].engine,
        "framework_version": recipe.engine_release,
        "isl": served.isl,
        "osl": served.osl,
        **recipe.config.model_dump(),
    }


def recipe_names(recipe: Recipe) -> tuple[str, ...]:
    """List the files of a recipe, sorted."""
    return tuple(sorted([*FORMATS[recipe.format].write(recipe), RECORD, ROW, README]))


def parse_files(recipe: Recipe, files: Mapping[str, str]) -> Parsed:
    """Read the files of a recipe into typed documents."""
    chosen = FORMATS[recipe.format]
    parsed = Parsed(recipe, Facts.of(recipe, chosen.engine), recipe.roles)
    chosen.read(parsed, files)
    return parsed


def check_files(recipe: Recipe, files: Mapping[str, str]) -> list[Result]:
    """Read the files of a recipe and run every check."""
    return run_checks(FORMATS[recipe.format].checks, parse_files(recipe, files))


def check_foreign(files: Mapping[str, str], chosen: Format) -> list[Result]:
    """Run every check that needs no record on files that moeplan did not write."""
    roles = ONE_POOL if chosen.one_pool and "worker.sh" in files else TWO_POOLS
    parsed = Parsed(None, Facts(engine=chosen.engine), roles)
    chosen.read(parsed, files)
    lengths = {name: parsed.load[name].value for name in ("isl", "osl") if name in parsed.load}
    parsed.facts = replace(parsed.facts, **lengths)
    return run_checks(chosen.checks, parsed)


def refuse_failures(results: list[Result]) -> None:
    """Refuse a recipe that could not run.

    Raises
    ------
    InputError
        Naming the first check that failed, its field and what would be valid.
    """
    found = failures(results)
    if found:
        first = found[0]
        more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
        raise InputError(f"check {first.check}: {first.field} {first.problem}{more}")
