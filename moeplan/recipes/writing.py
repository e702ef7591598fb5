"""From a recipe to its files, which pass every check or are not written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from moeplan.output import csv_text
from moeplan.recipes.checks import Result, failures, run_checks
from moeplan.recipes.dynamo import dynamo_files
from moeplan.recipes.launch_trtllm import read_trtllm, trtllm_files
from moeplan.recipes.parsed import Parsed
from moeplan.recipes.reading_dynamo import read_dynamo
from moeplan.recipes.readme import readme
from moeplan.recipes.recipe import Format, Recipe
from moeplan.recipes.sglang import read_sglang, sglang_files
from moeplan.recipes.slurm import read_slurm, slurm_files
from moeplan.recipes.vllm import read_vllm, vllm_files
from presets import InputError

Writer = Callable[[Recipe], dict[str, str]]
Reader = Callable[[Parsed, Mapping[str, str]], None]

RECORD, README, ROW = "recipe.json", "README.md", "configuration.csv"

FORMAT_PARTS: dict[Format, tuple[Writer, Reader]] = {
    "dynamo": (dynamo_files, read_dynamo),
    "sglang": (sglang_files, read_sglang),
    "slurm": (slurm_files, read_slurm),
    "trtllm": (trtllm_files, read_trtllm),
    "vllm": (vllm_files, read_vllm),
}
"""How each format is written, and how it is read."""

OWN_FILES = frozenset(
    {
        RECORD,
        README,
        ROW,
        "benchmark.sh",
        "benchmark.yaml",
        "compute-domain.yaml",
        "decode-engine.yaml",
        "decode.sh",
        "decode.yaml",
        "deployment.yaml",
        "prefill-engine.yaml",
        "prefill.sh",
        "prefill.yaml",
        "recipe.yaml",
        "router.sh",
        "router.yaml",
        "topology.yaml",
    }
)
"""Every file that a recipe of any format writes."""


def recipe_files(recipe: Recipe) -> dict[str, str]:
    """Write all files of a recipe, by name.

    Raises
    ------
    InputError
        Where the engine cannot run the configuration, or a check fails; it names check and field.
    """
    writer, _ = FORMAT_PARTS[recipe.format]
    files = writer(recipe)
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
        "framework": recipe.engine,
        "framework_version": recipe.engine_release,
        "isl": served.isl,
        "osl": served.osl,
        **recipe.config.model_dump(),
    }


def recipe_names(recipe: Recipe) -> tuple[str, ...]:
    """List the files of a recipe, sorted."""
    writer, _ = FORMAT_PARTS[recipe.format]
    return tuple(sorted([*writer(recipe), RECORD, ROW, README]))


def parse_files(recipe: Recipe, files: Mapping[str, str]) -> Parsed:
    """Read the files of a recipe into typed documents."""
    parsed = Parsed(recipe)
    _, reader = FORMAT_PARTS[recipe.format]
    reader(parsed, files)
    return parsed


def check_files(recipe: Recipe, files: Mapping[str, str]) -> list[Result]:
    """Read the files of a recipe and run every check."""
    return run_checks(parse_files(recipe, files))


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
