"""The answer of ``moeplan curve`` as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moeplan.answers.best import Best
from moeplan.answers.curve import Curve, Curves
from moeplan.answers.measured import hole_of
from moeplan.answers.reasons import of_requests
from moeplan.render.best import BEST, CHANCES, budget_notes, price_of, what_is_safe
from moeplan.render.common import (
    DASH,
    SHORT_UNITS,
    chance,
    configuration_label,
    dollars,
    figure,
    heading,
    paragraph,
    served,
    span,
    table,
    titled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from moeplan.answers.safe import SafeChoice

EXTRAPOLATED = "*"

IN_TABLE = ("cost", "throughput")
"""Objectives whose amount every table has."""


def report_several(found: Curves) -> list[RenderableType]:
    """Lay out one machine after the other, and who is missing."""
    parts: list[RenderableType] = []
    for label, curve in found.curves.items():
        parts += ["", *report(curve, label)] if parts else report(curve, label)
    refused = [f"{label} is left out: {reason}." for label, reason in found.refused.items()]
    return [*parts, *map(paragraph, refused)]


def report(curve: Curve, label: str | None = None) -> list[RenderableType]:
    """Lay out one line per target, and what a reader has to know of them.

    `label` is that of the machine where it is one of several.
    """
    name, label = curve.rows[0].objective.name, label or curve.sku
    share = of_requests(curve.question.options.target_percentile)
    columns = (
        "Target",
        "Configuration",
        *([] if name in IN_TABLE else [SHORT_UNITS[name]]),
        "tok/s/GPU",
        "90 % interval",
        "$/M tokens",
        "Measured\ntok/s/GPU",
        "\n$/M tokens",
    )
    return [
        heading(f"{titled(label, curve.rows[0])}: {BEST[name]} by tok/s/user{share}"),
        paragraph(f"{served(curve.scenario)}; at {price_of(curve.rows[0])}"),
        "",
        table(*columns, left=2, rows=[_cells(row) for row in curve.rows]),
        *[paragraph(note) for note in [*notes({label: curve.rows}), *budget_notes(curve.rows[0])]],
    ]


def notes(curves: Mapping[str, Sequence[Best]]) -> list[str]:
    """Say, once each, why a target is out of reach, what is sure, and where holes are.

    Answers are by the label of their machine.
    """
    answers = [(label, row) for label, rows in curves.items() for row in rows]
    found = [
        f"{label} at {row.target_tok_s_per_user:g}: {row.reason}."
        for label, row in answers
        if row.reason
    ]
    found += _chance_notes(answers)
    found += _safe_notes(curves)
    if any(row.prediction and row.prediction.origin == "extrapolated" for _, row in answers):
        found.append(f"{EXTRAPOLATED} extrapolated: outside the range of the calibration data.")
    holes: dict[str, list[str]] = {}
    for label, row in answers:
        if hole := hole_of(row.measured):
            holes.setdefault(f"{label} {hole}", []).append(f"{row.target_tok_s_per_user:g}")
    if holes:
        listed = "; ".join(f"{hole} (asked at {', '.join(at)})" for hole, at in holes.items())
        found.append(
            f"No row is published for {listed}. There an interpolated value says what was measured "
            "around the hole, not what the machine can do in it."
        )
    return found


def _chance_notes(answers: Sequence[tuple[str, Best]]) -> list[str]:
    """Say how likely each machine meets each limit, targets of equal chance together."""
    at: dict[tuple[str, str], dict[str, list[str]]] = {}
    for label, row in answers:
        for limit, value in (row.chance_to_meet or {}).items():
            same = at.setdefault((label, CHANCES[limit]), {})
            same.setdefault(chance(value), []).append(f"{row.target_tok_s_per_user:g}")
    return [
        f"Chance that {sku} as modelled meets {what}: "
        + "; ".join(f"{text} (at {', '.join(targets)})" for text, targets in same.items())
        + "."
        for (sku, what), same in at.items()
    ]


def _safe_notes(curves: Mapping[str, Sequence[Best]]) -> list[str]:
    """Say what the safe choices of each machine cost, or why one has none anywhere."""
    notes = []
    for sku, rows in curves.items():
        found = [(row, row.safe_choice) for row in rows if row.safe_choice]
        reasons = {choice.reason for _, choice in found}
        if not found:
            continue
        what = f"{sku}, safe choice ({what_is_safe(found[0][1])})"
        if len(reasons) == 1 and None not in reasons:
            notes.append(f"{what}: none, as {reasons.pop()}.")
            continue
        costs = [
            f"{_safe_cost(choice)} (at {row.target_tok_s_per_user:g})" for row, choice in found
        ]
        notes.append(f"{what}, $/M tokens: {', '.join(costs)}.")
    return notes


def _safe_cost(choice: SafeChoice) -> str:
    if choice.prediction is None:
        return "none"
    cost = dollars(choice.prediction.usd_per_m_total_tokens)
    return f"{cost}, the best itself" if choice.is_best else cost


def _cells(row: Best) -> list[str]:
    measured = [
        figure(row.measured.total_tok_s_per_gpu if row.measured else None),
        dollars(row.measured.usd_per_m_total_tokens if row.measured else None),
    ]
    target, amount = f"{row.target_tok_s_per_user:g}", row.objective.amount
    made_best = [] if row.objective.name in IN_TABLE else [figure(amount)]
    if amount is not None and row.objective.name == "gpus":
        made_best = [f"{amount:,.0f}"]
    if row.prediction is None or row.config is None:
        return [target, "unreachable", *made_best, DASH, DASH, DASH, *measured]
    mark = EXTRAPOLATED if row.prediction.origin == "extrapolated" else ""
    return [
        target,
        configuration_label(row.config),
        *made_best,
        mark + figure(row.prediction.total_tok_s_per_gpu),
        span(row.prediction.interval_90["total_tok_s_per_gpu"]),
        dollars(row.prediction.usd_per_m_total_tokens),
        *measured,
    ]
