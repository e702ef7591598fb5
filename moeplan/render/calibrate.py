"""A fit as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from moeplan.render.common import DASH, count, heading, paragraph, percent, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from costmodel.fit import Fit


def report(fit: Fit, path: Path) -> list[RenderableType]:
    """Lay out the constants with their priors and how well the data determine them."""
    rows = [
        [
            name,
            f"{constant.value:.4g}",
            constant.unit,
            f"{constant.prior:.4g}",
            DASH if constant.standard_error is None else f"{100 * constant.standard_error:.1f} %",
            percent(fit.informed.get(name)),
        ]
        for name, constant in fit.file.constants.items()
    ]
    columns = ("Constant", "Value", "Unit", "Prior", "Error", "Informed")
    rests_on = count(fit.file.coverage.rows, "measured row")
    return [
        heading(f"Constants fitted to {rests_on}, in {count(fit.evaluations, 'evaluation')}"),
        table(*columns, rows=rows),
        paragraph(
            "Informed is the share of a prior's variance that the data removed; constants without "
            "it were not fitted."
        ),
        paragraph(f"Written to {path}."),
    ]


def summary(fit: Fit) -> dict[str, Any]:
    """Content that ``--json`` prints."""
    return {
        "rows": fit.file.coverage.rows,
        "evaluations": fit.evaluations,
        "constants": {
            name: {
                "value": constant.value,
                "unit": constant.unit,
                "prior": constant.prior,
                "standard_error": constant.standard_error,
                "informed": fit.informed.get(name),
            }
            for name, constant in fit.file.constants.items()
        },
    }
