"""A fit as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from costmodel.fit import Fit
from moeplan.render.common import DASH, count, heading, paragraph, percent, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from costmodel.stages import Adaptation

FIGURES = {"tpot": "TPOT", "ttft": "TTFT", "throughput": "tok/s"}


def report(found: Fit | Adaptation, path: Path) -> list[RenderableType]:
    """Lay out the constants with their priors and how well the data determine them."""
    fit = fit_of(found)
    by_data: dict[str, list[list[str]]] = {}
    told = _told(found)
    for name, constant in fit.file.constants.items():
        if name not in told:
            continue
        row = [
            name,
            f"{constant.value:.4g}",
            constant.unit,
            f"{constant.prior:.4g}",
            DASH if constant.standard_error is None else f"{100 * constant.standard_error:.1f} %",
            DASH if name not in fit.informed else percent(max(fit.informed[name], 0.0)),
        ]
        by_data.setdefault(constant.informed_by, []).append(row)
    columns = ("", "Value", "Unit", "Prior", "Error", "Informed")
    rests_on = count(_rows(found), "measured row")
    tables = [
        part
        for data, rows in by_data.items()
        for part in ("", heading(f"Set by {data}"), table(*columns, rows=rows))
    ]
    return [
        heading(f"Constants fitted to {rests_on}, in {count(fit.evaluations, 'evaluation')}"),
        paragraph(
            "Error is the standard error, informed the share of a prior's variance that the data "
            "removed; constants without it were not fitted."
        ),
        *tables,
        *_untold(len(fit.file.constants) - len(told)),
        *_checks(found),
        *_other_machines(found),
        paragraph(f"Written to {path}."),
    ]


def _told(found: Fit | Adaptation) -> set[str]:
    """Constants to print: all of a whole fit, and of a user's those that the rows inform."""
    fit = fit_of(found)
    if isinstance(found, Fit):
        return set(fit.file.constants)
    from costmodel.stages import INFORMED

    return {name for name, share in fit.informed.items() if share > INFORMED}


def _untold(count_of: int) -> list[RenderableType]:
    """Say how many constants are not printed."""
    if not count_of:
        return []
    return ["", paragraph(f"The other {count_of} constants stay; --json has all of them.")]


def _other_machines(found: Fit | Adaptation) -> list[RenderableType]:
    """Say what a fit to a user's rows means for machines that they do not have."""
    if isinstance(found, Fit):
        return []
    names = sorted({row.sku for row in found.before.rows})
    others = sorted(set(found.fit.file.coverage.skus) - set(names))
    if not others:
        return []
    text = f"The rows are of {', '.join(names)}. Predictions of {', '.join(others)} move with the "
    text += "constants that all machines share; no row says how well: without --calibration they "
    return [paragraph(text + "stay as shipped.")]


def fit_of(found: Fit | Adaptation) -> Fit:
    """Take the fit alone."""
    return found if isinstance(found, Fit) else found.fit


def _rows(found: Fit | Adaptation) -> int:
    """Rows that were fitted to; the coverage of an adapted file counts those before it too."""
    return found.file.coverage.rows if isinstance(found, Fit) else len(found.before.rows)


def _checks(found: Fit | Adaptation) -> list[RenderableType]:
    """Errors on the rows before the fit, and of fits that left each configuration out."""
    if isinstance(found, Fit):
        return []
    before, after = found.before.statistics(), found.after.statistics()
    rows = [
        [
            label,
            str(before[name]["known"]),
            percent(before[name]["mape"]),
            percent(after[name]["mape"]),
            percent(before[name]["max_ape"]),
            percent(after[name]["max_ape"]),
        ]
        for name, label in FIGURES.items()
        if before[name]["known"]
    ]
    columns = ("", "Rows", "Mean\nbefore", "\nafter", "Worst\nbefore", "\nafter")
    return [
        "",
        heading("Errors on these rows: before the fit, and after it with the row left out"),
        table(*columns, rows=rows),
    ]


def summary(found: Fit | Adaptation) -> dict[str, Any]:
    """Content that ``--json`` prints."""
    fit = fit_of(found)
    checks = {}
    if not isinstance(found, Fit):
        checks = {"before": found.before.statistics(), "left_out": found.after.statistics()}
    return checks | {
        "rows": _rows(found),
        "evaluations": fit.evaluations,
        "constants": {
            name: {
                "value": constant.value,
                "unit": constant.unit,
                "prior": constant.prior,
                "standard_error": constant.standard_error,
                "informed": fit.informed.get(name),
                "informed_by": constant.informed_by,
            }
            for name, constant in fit.file.constants.items()
        },
    }
