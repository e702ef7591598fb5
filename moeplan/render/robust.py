"""How far an answer holds, and what to measure next, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moeplan.render.common import (
    configuration_label,
    count,
    heading,
    paragraph,
    percent,
    table,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from moeplan.explanations import Robustness


def report(found: Robustness) -> list[RenderableType]:
    """Lay out a robustness."""
    return [
        "",
        heading(f"Robustness: {found.draws} draws of the constants from their uncertainty"),
        *holdings_part(found),
        *challengers_part(found),
        "",
        heading("What to measure next"),
        *next_part(found),
    ]


def holdings_part(found: Robustness) -> list[RenderableType]:
    """Lay out how often the winner stays best, and what choosing it costs."""
    readings = {
        "this configuration, as it is": found.as_configured,
        "its fleet, batch and users retuned": found.retuned,
        "its structure, fleet retuned too": found.structure,
    }
    rows = [
        [
            name,
            percent(held.stays_best),
            percent(held.within_1_percent),
            percent(held.meets_limits),
            share(held.expected_regret),
            share(held.regret_95),
        ]
        for name, held in readings.items()
    ]
    columns = (
        "Winner",
        "Stays\nbest",
        "Within\n1 %",
        "Meets\nlimits",
        "Expected\nregret",
        "Exceeded\nin 5 %",
    )
    parts: list[RenderableType] = [
        table(*columns, rows=rows),
        paragraph(
            f"Compared with {count(found.shortlist, 'fleet')}, each retuned in each draw (seed "
            f"{found.seed}). Regret is throughput per dollar given away, over the draws in which "
            "the limits are met. Errors of the model that no constant mends are not drawn."
        ),
    ]
    if found.feasible_draws < found.draws:
        missed = found.draws - found.feasible_draws
        parts.append(paragraph(f"In {count(missed, 'draw')} nothing meets the limits."))
    if found.independent:
        parts.append(
            paragraph(
                "The calibration file holds no correlations, so constants are drawn independently: "
                "predictions spread two to three times as wide as the fit supports."
            )
        )
    return parts


def challengers_part(found: Robustness) -> list[RenderableType]:
    """Name the fleets that are best in other draws."""
    if not found.challengers:
        return []
    rows = [[configuration_label(other.config), percent(other.best)] for other in found.challengers]
    said = "On average over the draws the winner's fleet gives most."
    if found.on_average is not None:
        said = (
            f"On average over the draws {configuration_label(found.on_average.config)} gives most, "
            f"{share(found.on_average.gain)} more than the winner's fleet."
        )
    return [
        "",
        heading("Best instead"),
        table("Configuration", "Draws", rows=rows),
        paragraph(said),
    ]


def next_part(found: Robustness) -> list[RenderableType]:
    """Lay out the measurements that would best inform the choice."""
    if not found.measure_next:
        return [paragraph("Every configuration of the shortlist has been measured.")]
    rows = [
        [
            configuration_label(one.config),
            f"{one.config.concurrency:,}",
            share(one.expected_gain),
            percent(one.changes_choice),
        ]
        for one in found.measure_next
    ]
    columns = ("Untested configuration", "Users", "Expected gain", "Changes the choice in")
    said = (
        "Expected gain: throughput per dollar, once its figures are known and the choice is made "
        "again. --next-rows FILE.csv writes these rows for `moeplan validate`."
    )
    if all(one.expected_gain == 0.0 for one in found.measure_next):
        said = (
            "No single measurement is expected to lead to a better choice; these come first among "
            "those that are untested. --next-rows FILE.csv writes them for `moeplan validate`."
        )
    return [table(*columns, rows=rows), paragraph(said)]


def share(value: float | None) -> str:
    """Write a small share with two decimals.

    Examples
    --------
    >>> share(0.00123), share(None)
    ('0.12 %', '-')
    """
    return "-" if value is None else f"{100.0 * value:.2f} %"
