"""What changes from one recipe to another, in terms of the configuration."""

from __future__ import annotations

from typing import NamedTuple

from moeplan.recipes.placement import lay_out
from moeplan.recipes.recipe import Recipe

Value = str | int | float | None

FIGURES = (
    "tok_s_per_user",
    "tpot_ms",
    "ttft_ms",
    "ttft_median_ms",
    "total_tok_s_per_gpu",
    "usd_per_m_total_tokens",
    "origin",
)


class Change(NamedTuple):
    """One value that differs.

    Attributes
    ----------
    part : str
        Configuration, machine, placement, workload, engine, settings or prediction.
    key : str
    before, after : str, int, float or None
    """

    part: str
    key: str
    before: Value
    after: Value


def compare_recipes(before: Recipe, after: Recipe) -> list[Change]:
    """List what differs, the configuration first.

    Parameters
    ----------
    before, after : Recipe
        Two recipes, of any formats and machines.
    """
    parts = zip(_parts(before), _parts(after), strict=True)
    changes: list[Change] = []
    for (part, old), (_, new) in parts:
        keys = [*old, *(key for key in new if key not in old)]
        changes += [
            Change(part, key, old.get(key), new.get(key))
            for key in keys
            if old.get(key) != new.get(key)
        ]
    return changes


def _parts(recipe: Recipe) -> list[tuple[str, dict[str, Value]]]:
    prediction = recipe.prediction
    settings = recipe.settings.model_dump()
    labels = settings.pop("node_selector")
    return [
        ("configuration", {**recipe.config.model_dump(), "gpus": recipe.config.gpus}),
        ("machine", recipe.machine.model_dump()),
        ("placement", _placement(recipe)),
        ("workload", recipe.served.model_dump()),
        ("engine", {"format": recipe.format, "engine_release": recipe.engine_release}),
        ("settings", {**settings, **{f"node {key}": value for key, value in labels.items()}}),
        (
            "prediction",
            {key: getattr(prediction, key) for key in FIGURES} if prediction else {},
        ),
    ]


def _placement(recipe: Recipe) -> dict[str, Value]:
    layout = lay_out(recipe)
    values: dict[str, Value] = {}
    for role, spread in layout.spread.items():
        values[f"{role}_nodes_per_worker"] = spread.nodes
        values[f"{role}_gpus_per_node"] = spread.gpus_per_node
    values["packed_into_one_nvlink_domain"] = layout.pack or "nothing"
    return values
