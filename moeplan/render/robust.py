"""How far an answer holds, and what to measure next, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from moeplan.render.common import (
    DASH,
    SHORT_UNITS,
    configuration_label,
    count,
    fact_name,
    fact_value,
    heading,
    paragraph,
    percent,
    table,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from moeplan.answers.explanation import Robustness

MADE_MOST = {
    "cost": "throughput per dollar",
    "throughput": "throughput per GPU",
    "output-cost": "output tokens per dollar",
    "power": "tokens per joule",
    "gpus": "rate per GPU",
}
"""What each objective makes most of, and regret is a share of."""


def report(found: Robustness) -> list[RenderableType]:
    """Lay out a robustness."""
    return [
        "",
        heading(f"Robustness: {found.draws} draws of the constants from their uncertainty"),
        *holdings_part(found),
        *assumed_part(found),
        *challengers_part(found),
        "",
        heading("What to measure next"),
        *next_part(found),
    ]


def holdings_part(found: Robustness) -> list[RenderableType]:
    """Lay out how often the winner stays best, what choosing it costs, and what bounds that."""
    return [
        _holdings_table(found),
        paragraph(
            f"Compared with {count(found.shortlist, 'fleet')}, each retuned in each draw (seed "
            f"{found.seed}). Regret is {MADE_MOST[found.objective]} given away, over the draws "
            "in which the limits are met. Errors of the model that no constant mends are not drawn."
        ),
        *[paragraph(text) for text in _remarks(found)],
    ]


def _holdings_table(found: Robustness) -> RenderableType:
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
            small(held.expected_regret_in_unit),
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
        f"Expected,\n{SHORT_UNITS[found.objective]}",
    )
    return table(*columns, rows=rows)


def _remarks(found: Robustness) -> Iterator[str]:
    """Say what the shares leave out, and what they take as given."""
    if found.feasible_draws < found.draws:
        missed = found.draws - found.feasible_draws
        yield f"In {count(missed, 'draw')} nothing meets the limits."
    if found.min_confidence is not None:
        yield (
            f"Limits of a draw ask for the target with probability {found.min_confidence:g}, as "
            "the search does; the median interactivity of this configuration alone meets it in "
            f"{percent(found.reaches_target)} of the draws."
        )
    if found.independent:
        yield (
            "The calibration file holds no correlations, so constants are drawn independently: "
            "predictions spread two to three times as wide as the fit supports."
        )


def assumed_part(found: Robustness) -> list[RenderableType]:
    """Lay out how the fleet fares by what each assumed fact is taken as."""
    rows = [
        [
            f"{fact_name(fact.fact)} of {fact.sku}",
            fact_value(fact.fact, taken.value, fact.unit),
            str(taken.draws),
            percent(taken.stays_best),
        ]
        for fact in found.assumed
        for taken in fact.taken_as
    ]
    if not rows:
        return []
    return [
        "",
        heading("Assumed facts, drawn beside the constants"),
        table("Fact", "Taken as", "Draws", "Its fleet stays best", left=2, rows=rows),
    ]


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
        f"Expected gain: {MADE_MOST[found.objective]}, once its figures are known and the choice "
        "is made again."
    )
    if all(one.expected_gain == 0.0 for one in found.measure_next):
        said = (
            "No single measurement is expected to lead to a better choice; these come first among "
            "those that are untested."
        )
    if found.rows_can_say:
        said += " --next-rows FILE.csv writes these rows for `moeplan validate`."
    return [table(*columns, rows=rows), paragraph(said), *map(paragraph, _settled(found))]


def _settled(found: Robustness) -> Iterator[str]:
    """Say which of the runs would settle an assumed fact that the choice hangs on."""
    runs: dict[str, list[str]] = {}
    for one in found.measure_next:
        for fact in one.settles:
            name = f"{fact_name(fact.fact)} of {fact.sku}"
            runs.setdefault(name, []).append(configuration_label(one.config))
    for name, labels in runs.items():
        yield (
            f"The choice hangs on the {name}, which is assumed; a run of "
            f"{' or '.join(dict.fromkeys(labels))} would settle it."
        )


def share(value: float | None) -> str:
    """Write a small share with two decimals.

    Examples
    --------
    >>> share(0.00123), share(None)
    ('0.12 %', '-')
    """
    return DASH if value is None else f"{100.0 * value:.2f} %"


def small(value: float | None) -> str:
    """Write a small figure with two significant digits, to a millionth at most.

    Examples
    --------
    >>> small(121.4), small(0.0602), small(0.00005495), small(0.0), small(None)
    ('121', '0.060', '0.000055', '0', '-')
    """
    if value is None:
        return DASH
    if value < 1e-6:
        return "0"
    return f"{value:,.{min(6, max(0, 1 - math.floor(math.log10(value))))}f}"
