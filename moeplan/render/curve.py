"""The answer of ``moeplan curve`` as a table and as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costmodel.results import Configuration, Prediction
from moeplan.measured import hole_of
from moeplan.render.best import BEST, budget_notes
from moeplan.render.common import (
    DASH,
    configuration_label,
    dollars,
    figure,
    heading,
    paragraph,
    served,
    span,
    table,
)
from moeplan.results import Best, Curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

EXTRAPOLATED = "*"
FIGURES = ("tok_s_per_user", "tpot_ms", "ttft_ms", "total_tok_s_per_gpu", "usd_per_m_total_tokens")


def report(curve: Curve) -> list[RenderableType]:
    """Lay out one line per target, and what a reader has to know of them."""
    columns = (
        "Target",
        "Configuration",
        "tok/s/GPU",
        "90 % interval",
        "$/M tokens",
        "Measured",
        "$/M tokens",
    )
    return [
        heading(f"{curve.rows[0].title}: {BEST[curve.rows[0].objective.name]} by tok/s/user"),
        paragraph(served(curve.scenario)),
        "",
        table(*columns, left=2, wrap=(1,), rows=[_cells(row) for row in curve.rows]),
        *[paragraph(note) for note in [*notes(curve.rows), *budget_notes(curve.rows[0])]],
    ]


def notes(rows: Sequence[Best]) -> list[str]:
    """Say, once each, why a target is out of reach, what is extrapolated, and where holes are."""
    found = [
        f"{row.sku} at {row.target_tok_s_per_user:g}: {row.reason}." for row in rows if row.reason
    ]
    if any(row.prediction and row.prediction.origin == "extrapolated" for row in rows):
        found.append(f"{EXTRAPOLATED} extrapolated: outside the range of the calibration data.")
    holes: dict[str, list[str]] = {}
    for row in rows:
        if hole := hole_of(row.measured):
            holes.setdefault(f"{row.sku} {hole}", []).append(f"{row.target_tok_s_per_user:g}")
    if holes:
        listed = "; ".join(f"{hole} (asked at {', '.join(at)})" for hole, at in holes.items())
        found.append(
            f"No row is published for {listed}. There an interpolated value says what was measured "
            "around the hole, not what the machine can do in it."
        )
    return found


def lines(curve: Curve) -> list[dict[str, Any]]:
    """One line per target, a configuration by its columns."""
    return [line(row) for row in curve.rows]


def _cells(row: Best) -> list[str]:
    measured = [
        figure(row.measured.total_tok_s_per_gpu if row.measured else None),
        dollars(row.measured.usd_per_m_total_tokens if row.measured else None),
    ]
    target = f"{row.target_tok_s_per_user:g}"
    if row.prediction is None or row.config is None:
        return [target, "unreachable", DASH, DASH, DASH, *measured]
    mark = EXTRAPOLATED if row.prediction.origin == "extrapolated" else ""
    return [
        target,
        configuration_label(row.config),
        mark + figure(row.prediction.total_tok_s_per_gpu),
        span(row.prediction.interval_90["total_tok_s_per_gpu"]),
        dollars(row.prediction.usd_per_m_total_tokens),
        *measured,
    ]


def line(row: Best) -> dict[str, Any]:
    """One target as flat columns."""
    result: dict[str, Any] = {
        "target_tok_s_per_user": row.target_tok_s_per_user,
        "sku": row.sku,
        "status": row.status,
    }
    result |= figures(row.config, row.prediction)
    result |= {
        "objective": row.objective.name,
        "objective_amount": row.objective.amount,
        "objective_unit": row.objective.unit,
    }
    for name in ("total_tok_s_per_gpu", "usd_per_m_total_tokens"):
        result[f"measured_{name}"] = getattr(row.measured, name, None)
    return result


def figures(config: Configuration | None, prediction: Prediction | None) -> dict[str, Any]:
    """Write a configuration and its prediction as flat columns; None where there is none."""
    result: dict[str, Any] = {
        name: getattr(config, name, None) for name in Configuration.model_fields
    }
    for name in FIGURES:
        low, high = prediction.interval_90[name] if prediction else (None, None)
        value = getattr(prediction, name, None)
        result |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return result | {"origin": getattr(prediction, "origin", None)}
