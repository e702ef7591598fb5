"""Flat rows: a configuration and its figures by column."""

from __future__ import annotations

from typing import Any

from costmodel.results import Configuration, Prediction

FIGURES = ("tok_s_per_user", "tpot_ms", "ttft_ms", "total_tok_s_per_gpu", "usd_per_m_total_tokens")


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
