"""A fit as tables: whole fits from priors, and adaptations to rows of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from costmodel.calibration_file import shipped_calibration
from costmodel.fit import Fit
from moeplan.render.common import DASH, count, heading, paragraph, percent, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from costmodel.adaptation import Adaptation, Move  # other tables do without the fit
    from costmodel.validation import Statistics, Validation

FIGURES = {"tpot": "TPOT", "ttft": "TTFT", "throughput": "tok/s/GPU"}
STAGES = {"step": "TPOT", "wait": "TTFT, tok/s"}
DRIFTS = {
    "none": "stay",
    "shared": "move by one factor for each group of constants",
    "own": "move by a factor of each constant's own",
}
PULLING = 2
"""Rows that are named beside a constant, those that moved it most. [1]"""


def report(found: Fit | Adaptation, path: Path, written: bool = True) -> list[RenderableType]:
    """Lay out what a fit found, its errors, and whether it was written."""
    end = paragraph(f"Written to {path}." if written else f"Nothing is written to {path}.")
    parts = _fitted(found) if isinstance(found, Fit) else _adapted(found, written)
    return [*parts, end]


def _fitted(fit: Fit) -> list[RenderableType]:
    """Lay out all constants with their priors and how well the data determine them."""
    by_data: dict[str, list[list[str]]] = {}
    for name, constant in fit.file.constants.items():
        row = [
            name,
            f"{constant.value:.4g}",
            constant.unit,
            f"{constant.prior:.4g}",
            DASH if constant.standard_error is None else percent(constant.standard_error),
            DASH if name not in fit.informed else percent(max(fit.informed[name], 0.0)),
        ]
        by_data.setdefault(constant.informed_by, []).append(row)
    columns = ("", "Value", "Unit", "Prior", "Error", "Informed")
    rests_on = count(fit.file.coverage.rows, "measured row")
    return [
        heading(f"Constants fitted to {rests_on}, in {count(fit.evaluations, 'evaluation')}"),
        paragraph(
            "Error is the standard error, informed the share of a prior's variance that the data "
            "removed; constants without it were not fitted."
        ),
        *(
            part
            for data, rows in by_data.items()
            for part in ("", heading(f"Set by {data}"), table(*columns, rows=rows))
        ),
    ]


def _adapted(found: Adaptation, written: bool) -> list[RenderableType]:
    """Lay out what moved, the errors on rows left out and on the shipped rows, and the verdict."""
    rows = count(len(found.before.rows), "measured row")
    evaluations = count(found.fit.evaluations, "evaluation")
    return [
        heading(f"Constants adapted to {rows} of {_skus(found)}, in {evaluations}"),
        paragraph(
            f"Constants of the step {DRIFTS[found.drifts['step']]}; those of prefill and waiting "
            f"{DRIFTS[found.drifts['wait']]}. The rows give good odds for no more."
        ),
        *_moved(found),
        *_widened(found),
        *_errors(
            "these rows: before, and by fits that left the row out", found.before, found.after
        ),
        *_errors("the shipped rows: before and after", found.shipped_before, found.shipped_after),
        *_other_machines(found),
        "",
        heading("Verdict"),
        paragraph(verdict(found, written)),
    ]


def _moved(found: Adaptation) -> list[RenderableType]:
    """Lay out each constant that moved, by how much, and what moved it."""
    if not found.moves:
        return ["", paragraph("No constant moves.")]
    rows = [
        [
            move.name,
            f"{move.before:.4g}",
            f"{move.after:.4g}",
            move.unit,
            f"{100 * (move.after / move.before - 1):+.1f} %",
            percent(found.fit.file.constants[move.name].standard_error),
            f"{STAGES[move.stage]} of {_labels(found, move)}",
        ]
        for move in found.moves
    ]
    start = "Shipped" if found.start is shipped_calibration() else "Before"
    columns = ("", start, "After", "Unit", "Change", "Error", "Moved most by")
    stay = len(found.fit.file.constants) - len(found.moves)
    return [
        "",
        heading("Constants that moved"),
        table(*columns, rows=rows),
        paragraph(f"Error is the standard error. The other {stay} constants stay as they were."),
    ]


def most_pulling(move: Move) -> list[int]:
    """Rows that pulled a constant most in the direction in which it moved."""
    towards = move.pulls * np.sign(np.log(move.after / move.before))
    order = np.argsort(-towards, kind="stable")[:PULLING]
    return [int(row) for row in order if towards[row] > 0]


def _labels(found: Adaptation, move: Move) -> str:
    """Name the rows that moved a constant most."""
    return ", ".join(_label(found, row) for row in most_pulling(move))


def _label(found: Adaptation, row: int) -> str:
    """Name a row by its line, or by its number where it stands in no file."""
    if not found.places:
        return f"row {row + 1}"
    file, _, line = found.places[row].rpartition(", line ")
    one_file = all(place.startswith(f"{file}, line ") for place in found.places)
    return f"line {line}" if one_file else f"{Path(file).name} line {line}"


def _widened(found: Adaptation) -> list[RenderableType]:
    """Say which intervals the rows left out made wider."""
    wider = _interval_changes(found)
    if not wider:
        return []
    told = "; ".join(
        f"{name} {percent(before)} to {percent(after)}" for name, (before, after) in wider.items()
    )
    return ["", paragraph(f"Wider 90 % intervals, half-width of the logarithm: {told}.")]


def _interval_changes(found: Adaptation) -> dict[str, tuple[float, float]]:
    values = {
        name: (found.start.constants[name].value, constant.value)
        for name, constant in found.fit.file.constants.items()
        if "_half_width." in name
    }
    return {name: pair for name, pair in values.items() if pair[0] != pair[1]}


def _errors(where: str, before: Validation, after: Validation) -> list[RenderableType]:
    """Lay out errors before and after."""
    first, second = before.statistics(), after.statistics()
    rows = []
    for name, label in FIGURES.items():
        if first[name]["known"]:
            kinds = ("mape", "max_ape", "coverage_90")
            cells = [percent(each[name][kind]) for kind in kinds for each in (first, second)]
            rows.append([label, str(first[name]["known"]), *cells])
    columns = ("", "Rows", "Mean\nbefore", "\nafter", "Worst\nbefore", "\nafter")
    inside = ("Inside 90 %\nbefore", "\nafter")
    return ["", heading(f"Errors on {where}"), table(*columns, *inside, rows=rows)]


def _other_machines(found: Adaptation) -> list[RenderableType]:
    """Say what a fit to a user's rows means for machines that they do not have."""
    names = {row.sku for row in found.before.rows}
    others = sorted(set(found.fit.file.coverage.skus) - names)
    if not others or not (found.moves or found.anchors != found.start.anchors):
        return []
    text = f"The rows are of {_skus(found)}. Predictions of {', '.join(others)} move with the "
    text += "constants and anchors that machines share; no row says how well: without "
    return [paragraph(text + "--calibration they stay as shipped.")]


def verdict(found: Adaptation, written: bool = True) -> str:
    """Say in one or two sentences what the rows left out say of a fit."""
    if found.verdict == "anchored":
        return (
            "One configuration cannot check a fit, so no constant moves. What it says of the level "
            f"of deployments like it is kept as {_anchored(found)}: of the same worker most, of "
            "others of its model, engine or shape less; `moeplan predict --calibration` shows it."
        )
    change = _change(found.before.statistics(), found.after.statistics())
    if found.verdict == "unchanged":
        return (
            f"The rows agree with the calibration: no constant moves ({change}). The file adds the "
            "range of these rows to what counts as measured."
        )
    kept = ""
    if found.anchors != found.start.anchors:
        kept = (
            f" What the constants leave of the level of these rows is kept as {_anchored(found)}."
        )
    if found.verdict == "better":
        return f"Better on rows left out: {change}.{kept}"
    forced = "Written all the same, by --force." if written else "--force would write it."
    return f"Worse on rows left out: {change}. {forced}"


def _anchored(found: Adaptation) -> str:
    """Name the anchors that the rows set."""
    return f"anchors at {count(len(found.before.rows), 'row')}"


def _change(before: dict[str, Statistics], after: dict[str, Statistics]) -> str:
    """Mean errors before and after, figure by figure."""
    return ", ".join(
        f"{label} {percent(before[name]['mape'])} to {percent(after[name]['mape'])}"
        for name, label in FIGURES.items()
        if before[name]["known"]
    )


def fit_of(found: Fit | Adaptation) -> Fit:
    """Take the fit alone."""
    return found if isinstance(found, Fit) else found.fit


def _skus(found: Adaptation) -> str:
    return ", ".join(sorted({row.sku for row in found.before.rows}))


def summary(found: Fit | Adaptation, written: bool = True) -> dict[str, Any]:
    """Content that ``--json`` prints."""
    fit = fit_of(found)
    return (_checks(found, written) if not isinstance(found, Fit) else {}) | {
        "written": written,
        # The coverage of an adapted file counts the rows before it too.
        "rows": fit.file.coverage.rows if isinstance(found, Fit) else len(found.before.rows),
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


def _checks(found: Adaptation, written: bool) -> dict[str, Any]:
    """Verdict of an adaptation, what moved, and errors before and after."""
    return {
        "verdict": found.verdict,
        "reason": verdict(found, written),
        "drift": found.drifts,
        "moved": {
            move.name: {
                "before": move.before,
                "after": move.after,
                "unit": move.unit,
                "stage": move.stage,
                "most_by": [_label(found, row) for row in most_pulling(move)],
            }
            for move in found.moves
        },
        "widened": {
            name: {"before": before, "after": after}
            for name, (before, after) in _interval_changes(found).items()
        },
        "before": found.before.statistics(),
        "left_out": found.after.statistics(),
        "shipped_rows": {
            "before": found.shipped_before.statistics(),
            "after": found.shipped_after.statistics(),
        },
    }
