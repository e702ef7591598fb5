"""Predicted against measured, as a page to look at: one panel per figure, one dot per row."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from costmodel.results import Configuration
from moeplan.render.common import configuration_label
from presets.extras import needed_for

with needed_for("--plot", "plot"):
    from plotly.graph_objects import Scatter
    from plotly.io import to_html
    from plotly.subplots import make_subplots

if TYPE_CHECKING:
    from costmodel.inputs import FloatArray
    from costmodel.validation import Validation

PANELS = {
    "tpot": ("TPOT, ms", 1e3),
    "throughput": ("tok/s/GPU", 1.0),
    "ttft": ("TTFT, ms", 1e3),
}
"""Figures that are drawn: title, and factor from SI."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of the machines: told apart by eyes that see no difference between red and green."""


def page(validation: Validation) -> str:
    """Write the page: it needs no network, and its dots say what they are when pointed at."""
    return str(to_html(figure(validation), include_plotlyjs=True, full_html=True))


def figure(validation: Validation) -> Any:
    """Draw predicted over measured, both logarithmic, with the line of equality."""
    titles = [title for title, _ in PANELS.values()]
    result = make_subplots(rows=1, cols=len(PANELS), subplot_titles=titles)
    machines = sorted({row.sku for row in validation.rows})
    notes = np.array([_note(line) for line in validation.lines()])
    skus = np.array([row.sku for row in validation.rows])
    for column, (name, (_, factor)) in enumerate(PANELS.items(), start=1):
        compared = validation.figures[name]
        known = ~np.isnan(compared.measured)
        measured, predicted = factor * compared.measured, factor * compared.predicted
        ends = _ends(np.concatenate([measured[known], predicted[known]]))
        result.add_trace(
            Scatter(x=ends, y=ends, mode="lines", line={"color": "#999999"}, showlegend=False),
            row=1,
            col=column,
        )
        for place, sku in enumerate(machines):
            chosen = known & (skus == sku)
            dots = Scatter(
                x=measured[chosen].tolist(),
                y=predicted[chosen].tolist(),
                mode="markers",
                name=sku,
                legendgroup=sku,
                showlegend=column == 1,
                marker={"color": COLOURS[place % len(COLOURS)], "size": 7, "opacity": 0.8},
                text=notes[chosen].tolist(),
                hovertemplate="%{text}<br>measured %{x:.4g}, predicted %{y:.4g}<extra></extra>",
            )
            result.add_trace(dots, row=1, col=column)
        result.update_xaxes(type="log", title_text="measured", row=1, col=column)
        result.update_yaxes(type="log", title_text="predicted", row=1, col=column)
    result.update_layout(
        title=f"Predictions against {len(validation.rows)} measured rows",
        template="plotly_white",
        hovermode="closest",
    )
    return result


def _ends(values: FloatArray) -> list[float]:
    """Both ends of the line of equality; none where nothing was measured."""
    return [float(values.min()), float(values.max())] if len(values) else []


def _note(line: dict[str, object]) -> str:
    """Say what a dot is; names come from the user's file, so they are escaped."""
    fields = {name: line[name] for name in Configuration.model_fields}
    configuration = Configuration.model_validate(fields)
    case = f"{line['sku']} {line['model']} {line['precision']} {line['isl']}/{line['osl']}"
    return html.escape(f"{case}: {configuration_label(configuration)}")
