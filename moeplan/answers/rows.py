"""Flat rows: a configuration, its figures and what was asked, by column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from costmodel.percentiles import percentile_name
from costmodel.results import Configuration, Prediction
from moeplan.question import Question

FIGURES = (
    "tok_s_per_user",
    "tpot_ms",
    "ttft_ms",
    "ttft_median_ms",
    "total_tok_s_per_gpu",
    "usd_per_m_total_tokens",
)


def figures_of(config: Configuration | None, prediction: Prediction | None) -> dict[str, Any]:
    """Write a configuration and its prediction as flat columns; None where there is none."""
    result: dict[str, Any] = {
        name: getattr(config, name, None) for name in Configuration.model_fields
    }
    for name in FIGURES:
        low, high = prediction.interval_90[name] if prediction else (None, None)
        value = getattr(prediction, name, None)
        result |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return result | {"origin": getattr(prediction, "origin", None)}


def percentile_columns(found: Mapping[str, float], question: Question) -> dict[str, Any]:
    """Write the percentiles that are asked for as flat columns; None where none is [ms]."""
    options = question.options
    asked = {"tpot": options.target_percentile, "ttft": options.ttft_percentile}
    return {
        f"{clock}_percentile_ms": each and found.get(percentile_name(clock, each))
        for clock, each in asked.items()
    }


def outside(prediction: Prediction | None) -> str | None:
    """Say in what a prediction lies outside the data, as one cell; None where there is none."""
    return "; ".join(prediction.extrapolated_in) if prediction else None


def asked_columns(question: Question) -> dict[str, Any]:
    """Write all that was asked as flat columns, by the keys of the options; a cluster is its JSON.

    Users, frontends and drafts that were asked for are named apart from those of a configuration.
    """
    columns: dict[str, Any] = {}
    for key, value in question.to_json().items():
        name = f"asked_{key}" if key in Configuration.model_fields else key
        columns[name] = json.dumps(value) if isinstance(value, dict) else value
    return columns
