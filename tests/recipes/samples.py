"""Recipes of measured and of searched configurations, made once."""

from __future__ import annotations

from functools import cache
from typing import Any

import moeplan
from moeplan.options import Options
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.question import Request, recipe_for_configuration, recipe_of
from moeplan.recipes.recipe import Recipe
from moeplan.recipes.writing import recipe_files
from optimizer import Space
from presets import published_rows

TARGETS = (
    *(10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0, 110.0, 120.0, 125.0),
    *(130.0, 140.0, 150.0, 160.0, 175.0, 190.0, 200.0, 220.0, 240.0, 260.0, 280.0, 300.0),
)
MACHINES = ("b200", "b300", "gb200", "gb300", "h200")


@cache
def answers(sku: str) -> tuple[moeplan.Best, ...]:
    """Best of each target that the machine meets, of as many structures; searched once."""
    found = moeplan.curve(sku, TARGETS, space=Space(batch_ratio=1.3))
    return tuple(row for row in found.rows if row.config is not None)


@cache
def published(format_name: str) -> tuple[Recipe, ...]:
    """Recipes of the 20 published configurations."""
    options = Options(engine=FORMATS[format_name].engine)
    found = []
    for row in published_rows():
        content = {name: getattr(row, name) for name in moeplan.Configuration.model_fields}
        configuration = moeplan.Configuration(**content)
        found.append(
            recipe_for_configuration(row.sku, configuration, options, Request(format_name))
        )
    return tuple(found)


@cache
def searched(sku: str, format_name: str) -> tuple[Recipe, ...]:
    """Recipes of the best answers of a machine."""
    return tuple(recipe_of(answer, Request(format_name)) for answer in answers(sku))


Files = dict[str, str]


@cache
def every_recipe(format_name: str) -> tuple[tuple[Recipe, Files], ...]:
    """Published and searched, on all machines, each with its files."""
    found = published(format_name)
    for sku in MACHINES:
        found += searched(sku, format_name)
    return tuple((recipe, recipe_files(recipe)) for recipe in found)


@cache
def good(format_name: str, sku: str = "gb200") -> tuple[Recipe, Files]:
    """A recipe over several nodes with drafts and copied experts, and its files."""
    configuration = moeplan.Configuration(
        prefill_workers=3,
        prefill_gpus_per_worker=2 if sku == "gb300" else 4,
        decode_workers=2,
        decode_gpus_per_worker=16,
        decode_ep=16,
        decode_attention="dp",
        max_batch=32,
        mtp_depth=1,
        eplb_slots=288,
        concurrency=1060,
    )
    options = Options(engine=FORMATS[format_name].engine)
    recipe = recipe_for_configuration(sku, configuration, options, Request(format_name))
    return recipe, recipe_files(recipe)


ONE_POOL_FORMATS = tuple(name for name, each in FORMATS.items() if each.one_pool)


@cache
def one_pool(format_name: str, sku: str = "b200", **changes: Any) -> tuple[Recipe, Files]:
    """A recipe of workers that prefill what they decode, and its files."""
    content: dict[str, Any] = {
        "serving": "aggregated",
        "decode_workers": 2,
        "decode_gpus_per_worker": 8,
        "decode_ep": 8,
        "decode_attention": "dp",
        "max_batch": 32,
        "mtp_depth": 1,
        "concurrency": 500,
    }
    asked = {
        name: changes.pop(name)
        for name in ("precision", "isl", "cached_share", "model")
        if name in changes
    }
    options = Options(engine=FORMATS[format_name].engine, **asked)
    configuration = moeplan.Configuration(**content | changes)
    recipe = recipe_for_configuration(sku, configuration, options, Request(format_name))
    return recipe, recipe_files(recipe)
