"""What ``moeplan recipe`` wrote, found and compared, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moeplan.recipes.checks import Result, failures
from moeplan.recipes.diff import Change
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.plan import PlanRecipes
from moeplan.recipes.recipe import Recipe
from moeplan.recipes.writing import recipe_names
from moeplan.render.common import (
    DASH,
    configuration_rows,
    count,
    figure,
    heading,
    pairs,
    paragraph,
    table,
)
from presets.engines import load_engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType


def written(recipe: Recipe, folder: str) -> list[RenderableType]:
    """Say what was written."""
    engine = load_engine(FORMATS[recipe.format].engine)
    return [
        heading(f"Recipe of format {recipe.format} in {folder}"),
        paragraph(
            f"{recipe.served.model} in {recipe.served.precision} on {recipe.machine.title}, with "
            f"{engine.title} {recipe.engine_release}; every check passed."
        ),
        *([paragraph("The configuration is the safe choice.")] if recipe.safe else []),
        *([paragraph(f"Warning: max_batch {recipe.batch_note}.")] if recipe.batch_note else []),
        "",
        pairs([*configuration_rows(recipe.config), ("GPUs", count(recipe.config.gpus, "GPU"))]),
        "",
        paragraph(f"Files: {', '.join(recipe_names(recipe))}."),
        paragraph("README.md has the commands to apply, check and benchmark it."),
    ]


def summary(recipe: Recipe, folder: str) -> dict[str, Any]:
    """Content of ``recipe --json``."""
    return {"output": folder, "files": list(recipe_names(recipe)), "recipe": recipe.to_json()}


def plan_written(found: PlanRecipes, folder: str) -> list[RenderableType]:
    """Say what of a plan was written, and what was not."""
    rows = [
        [
            name,
            found.tiers[name],
            recipe.format,
            f"{recipe.config.prefill_workers}x{recipe.config.prefill_gpus_per_worker}",
            f"{recipe.config.decode_workers}x{recipe.config.decode_gpus_per_worker}",
            figure(found.rates[name]),
            f"{recipe.config.concurrency:,}",
        ]
        for name, recipe in found.recipes.items()
    ]
    return [
        heading(f"Recipes of a plan in {folder}: every check passed"),
        table("Folder", "Tier", "Format", "Prefill", "Decode", "req/s", "Users", left=3, rows=rows),
        "",
        *(paragraph(f"{each}.") for each in found.more),
        *(paragraph(f"Not written: {name}: {why}.") for name, why in found.left_out.items()),
        paragraph("README.md of each folder has the commands to apply, check and benchmark it."),
    ]


def plan_summary(found: PlanRecipes, files: Mapping[str, str], folder: str) -> dict[str, Any]:
    """Content of ``recipe --plan --json``."""
    return {
        "output": folder,
        "files": sorted(files),
        "recipes": [
            {
                "folder": name,
                "tier": found.tiers[name],
                "requests_per_s": found.rates[name],
                "recipe": recipe.to_json(),
            }
            for name, recipe in found.recipes.items()
        ],
        "beyond_the_plan": found.more,
        "left_out": [{"tier": name, "reason": why} for name, why in found.left_out.items()],
    }


def check_report(format_name: str, folder: str, results: list[Result]) -> list[RenderableType]:
    """List every check and what it found."""
    failed = len(failures(results))
    skipped = sum(result.status == "skipped" for result in results)
    outcome = count(failed, "problem") if failed else "every check passes"
    if skipped:
        outcome = f"{outcome}{'' if failed else ' that could run'}, {skipped} skipped"
    rows = [[result.check.name, result.status, result.check.rule] for result in results]
    parts: list[RenderableType] = [
        heading(f"{folder}, {format_name}: {outcome}"),
        table("Check", "Result", "Demands that", left=3, rows=rows),
    ]
    found = [
        [finding.check, finding.field, finding.problem]
        for result in results
        for finding in result.findings
    ]
    if found:
        parts += [
            "",
            heading("Found"),
            table("Check", "Field", "Problem", left=3, rows=found),
        ]
    return parts


def check_summary(format_name: str, results: list[Result]) -> dict[str, Any]:
    """Content of ``recipe check --json``."""
    return {
        "status": "failed" if failures(results) else "passed",
        "format": format_name,
        "checks": [
            {
                "name": result.check.name,
                "rule": result.check.rule,
                "status": result.status,
                "findings": [
                    {
                        "field": finding.field,
                        "problem": finding.problem,
                        "severity": finding.severity,
                    }
                    for finding in result.findings
                ],
            }
            for result in results
        ],
    }


def diff_report(
    first: str, second: str, changes: list[Change], failing: list[str]
) -> list[RenderableType]:
    """Lay out what changes."""
    notes: list[RenderableType] = [
        paragraph(f"{folder} fails a check: its files are not what its configuration says.")
        for folder in failing
    ]
    if not changes:
        same = f"{first} and {second} are of one configuration, machine and engine."
        return [paragraph(same), *notes]
    rows = [
        [change.part, change.key, _shown(change.before), _shown(change.after)] for change in changes
    ]
    return [
        heading(f"From {first} to {second}"),
        table("Part", "What", "From", "To", left=2, rows=rows),
        *notes,
    ]


def diff_summary(changes: list[Change], failing: list[str]) -> dict[str, Any]:
    """Content of ``recipe diff --json``."""
    return {"changes": [change._asdict() for change in changes], "failing": failing}


def _shown(value: object) -> str:
    if value is None:
        return DASH
    return figure(value) if isinstance(value, float) else str(value)
