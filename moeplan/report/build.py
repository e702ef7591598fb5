"""From a question about machines to a report: the comparison, and the same over a fine grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from moeplan.answers.best import Best
from moeplan.answers.build import version
from moeplan.answers.comparison import (
    MEASURED_NOISE,
    TOO_CLOSE,
    Comparison,
    ComparisonRow,
    comparison_of,
    comparison_row,
)
from moeplan.api import UNIT, curves_of
from moeplan.arguments import checked_arguments
from moeplan.machines import machines_of
from moeplan.numbers import positive_number
from moeplan.options import DEFAULTS, Options
from moeplan.question import ask
from moeplan.report.curves import machine_content
from moeplan.report.measured import speeds_of
from moeplan.report.page import page_of
from moeplan.report.sources import sources_of
from moeplan.report.words import headline
from optimizer.space import Space
from presets import InputError

POINTS = 60
"""Most steps of the grid over which a report answers. [1]"""

ROOM = 2.0
"""How far the grid reaches beyond the targets where nothing was measured. [1]"""

STEPS = (1.0, 2.0, 2.5, 5.0)
"""Widths of a step that read well, times a power of ten. [1]"""


class Report(NamedTuple):
    """A comparison, and what its page holds.

    Attributes
    ----------
    comparison : Comparison
        At the targets that were asked for.
    content : dict
        What the page draws, as JSON: every figure over the whole grid, at the prices asked for.
    """

    comparison: Comparison
    content: dict[str, Any]

    def html(self) -> str:
        """Write the page: one file that asks no other host for anything."""
        return page_of(self.content)


@checked_arguments
def report_of(
    skus: Sequence[str],
    targets: Sequence[float],
    options: Options | Mapping[str, Options] = DEFAULTS,
    *,
    space: Space | None = None,
    command: str = "",
) -> Report:
    """Compare machines at some targets, and over a fine grid around them.

    Parameters
    ----------
    skus, targets, options, space
        As those of `moeplan.compare`.
    command : str
        What makes the report, for its reader.

    Raises
    ------
    InputError
        As `moeplan.compare` does.
    """
    targets = [positive_number("target", target, UNIT) for target in targets]
    if not targets:
        raise InputError("targets: none is given; give at least one")
    grid = grid_of(targets, _measured(skus, options))
    curves, refused = curves_of(skus, grid, options, space, explained=targets)
    for sku, curve in curves.items():
        if other := curve[0].prefill_sku:
            raise InputError(
                f"report: prefill of {sku} stands on {other}, so that prices change which "
                "deployment is best; give clusters of one machine each, or compare without a report"
            )
    asked = {
        sku: [curve[grid.index(target)] for target in targets] for sku, curve in curves.items()
    }
    comparison = comparison_of(targets, asked, refused, version())
    fine = [
        comparison_row(target, {sku: curve[place] for sku, curve in curves.items()})
        for place, target in enumerate(grid)
    ]
    return Report(comparison, _content(comparison, fine, curves, command))


def grid_of(targets: Sequence[float], measured: Sequence[float] = ()) -> list[float]:
    """Targets of a report, rising: those asked for, and even steps over all that was measured.

    Parameters
    ----------
    targets : sequence of float
        Asked for. [token/s]
    measured : sequence of float
        Interactivity of measured points. [token/s]

    Examples
    --------
    >>> grid_of([50, 72], [40.0, 90.5])[:5], len(grid_of([50.0], [10.0, 1000.0]))
    ([40.0, 41.0, 42.0, 43.0, 44.0], 51)
    """
    ends = [*targets, *measured]
    low, high = min(ends), max(ends)
    if not measured:
        low, high = low / ROOM, high * ROOM
    least = max((high - low) / POINTS, low / 100.0)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(each * power for each in (*STEPS, 10.0) if each * power >= least * (1 - 1e-9))
    even = range(math.ceil(low / step), math.floor(high / step) + 1)
    return sorted({*map(float, targets), *(round(place * step, 9) for place in even)})


def _measured(skus: Sequence[str], options: Options | Mapping[str, Options]) -> list[float]:
    """Interactivity of all measured points of the machines [token/s]; a refused one has none."""
    found: list[float] = []
    for _, sku, own in machines_of(skus, options, least=2):
        try:
            found += speeds_of(ask(sku, own))
        except InputError:
            continue  # `compare` says why
    return found


def _content(
    comparison: Comparison,
    fine: Sequence[ComparisonRow],
    curves: Mapping[str, Sequence[Best]],
    command: str,
) -> dict[str, Any]:
    asked = [row.target_tok_s_per_user for row in comparison.rows]
    start = asked[len(asked) // 2]
    grid = [row.target_tok_s_per_user for row in fine]
    machines = [machine_content(sku, curve) for sku, curve in curves.items()]
    return {
        "title": " against ".join(each["title"] for each in machines),
        "command": command,
        "version": comparison.version,
        "headline": headline(comparison, fine, start),
        "refused": [f"{sku} is not compared: {why}." for sku, why in comparison.refused.items()],
        "asked": asked,
        "grid": grid,
        "start": grid.index(start),
        "noise": MEASURED_NOISE,
        "too_close": TOO_CLOSE,
        "machines": machines,
        **sources_of(comparison, curves),
    }
