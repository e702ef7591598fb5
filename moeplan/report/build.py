"""From a question about machines to a report: the comparison, and the same over a fine grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from moeplan.answers.apart import apart_90
from moeplan.answers.best import Best
from moeplan.answers.build import version
from moeplan.answers.comparison import (
    MEASURED_NOISE,
    TOO_CLOSE,
    Comparison,
    ComparisonRow,
    comparison_of,
    comparison_row,
    side_by_side,
)
from moeplan.arguments import checked_arguments
from moeplan.options import DEFAULTS, Options
from moeplan.report.curves import machine_content
from moeplan.report.grid import curves_over
from moeplan.report.page import page_of
from moeplan.report.sources import sources_of
from moeplan.report.words import headline
from optimizer.space import Space
from presets import InputError


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
    over = curves_over(skus, targets, options, space, least=2)
    grid, curves = over.grid, over.curves
    for sku, curve in curves.items():
        if other := curve[0].prefill_sku:
            raise InputError(
                f"report: prefill of {sku} stands on {other}, so that prices change which "
                "deployment is best; give clusters of one machine each, or compare without a report"
            )
    comparison = comparison_of(over.targets, over.asked(), over.refused, version())
    beside = side_by_side(curves)
    fine = [
        comparison_row(target, answers, apart)
        for target, answers, apart in zip(grid, beside, apart_90(beside), strict=True)
    ]
    return Report(comparison, _content(comparison, fine, curves, command))


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
        "apart": [
            [[row.apart.get((one, other)) for other in curves] for one in curves] for row in fine
        ],
        **sources_of(comparison, curves),
    }
