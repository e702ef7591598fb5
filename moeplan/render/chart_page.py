"""A chart of curves as a page to point at: it needs no network."""

from __future__ import annotations

import html
import math
from typing import Any

from moeplan.render.chart import COLOURS, SPEED, Chart, Series
from presets.extras import needed_for

with needed_for("--plot", "plot"):
    from plotly.graph_objects import Figure, Scatter
    from plotly.io import to_html

MARKS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
FAINT = 0.13
"""Opacity of a band and of a gap. [1]"""


def page(chart: Chart) -> str:
    """Write the page; the same every time."""
    return str(to_html(figure(chart), include_plotlyjs=True, full_html=True, div_id="chart"))


def figure(chart: Chart) -> Any:
    """Draw a chart, every text of the user's escaped."""
    result = Figure()
    for place, series in enumerate(chart.series):
        for trace in _traces(series, place):
            result.add_trace(trace)
        for gap in series.gaps:
            result.add_vrect(
                x0=gap["from"],
                x1=gap["to"],
                line_width=0,
                opacity=FAINT / 2,
                fillcolor=COLOURS[place % len(COLOURS)],
            )
    notes = "".join(f"<br>{html.escape(note)}." for note in chart.notes())
    result.update_layout(
        title={
            "text": f"<b>{html.escape(chart.metric.title)}</b>",
            "subtitle": {"text": html.escape(chart.title)},
        },
        template="plotly_white",
        hovermode="closest",
        legend={"groupclick": "toggleitem"},
        xaxis={"title": {"text": f"{SPEED}<span style='font-size:11px'>{notes}</span>"}},
        yaxis={"type": "log", "range": [*map(math.log10, chart.heights())]}
        if chart.metric.is_log
        else {"type": "linear", "range": [*chart.heights()]},
    )
    return result


def _traces(series: Series, place: int) -> list[Any]:
    colour, name = COLOURS[place % len(COLOURS)], html.escape(series.label)
    low, high = (list(map(_known, ends)) for ends in zip(*series.band, strict=True))
    notes = [html.escape(note) for note in series.notes]
    group = {"legendgroup": name, "legendgrouptitle": {"text": f"<b>{name}</b>"}}

    def line(what: str, x: list[float], y: list[float | None], dash: str, **more: Any) -> Any:
        style = {"color": colour, "dash": dash, "width": more.pop("width", 1.5)}
        return Scatter(x=x, y=y, mode="lines", name=what, line=style, **group, **more)

    fill = f"rgba{(*(int(colour[at : at + 2], 16) for at in (1, 3, 5)), FAINT)}"
    edge = {"width": 0, "hoverinfo": "skip"}
    shapes = [place for place in series.changes if math.isfinite(series.modelled[place])]
    told = "%{text}<br>%{x:.4g} tok/s/user: %{y:.4g}<extra>" + name + "</extra>"
    speeds = [x for x, _ in series.line]
    return [
        line("90 % interval", series.x, low, "solid", showlegend=False, **edge),
        line("90 % interval", series.x, high, "solid", fill="tonexty", fillcolor=fill, **edge),
        line("interpolated", speeds, [y for _, y in series.line], "dash"),
        line("safe choice", series.x, list(map(_known, series.safe)), "dot"),
        line(
            "best as modelled",
            series.x,
            list(map(_known, series.modelled)),
            "solid",
            width=2.5,
            text=notes,
            hovertemplate=told,
        ),
        Scatter(
            x=[series.x[at] for at in shapes],
            y=[series.modelled[at] for at in shapes],
            mode="markers",
            name="other shape of deployment",
            hoverinfo="skip",
            **group,
            marker={"symbol": "line-ns", "size": 9, "line": {"color": colour, "width": 1.5}},
        ),
        Scatter(
            x=[point.x for point in series.points],
            y=[point.y for point in series.points],
            mode="markers",
            name="measured run",
            hovertemplate=told,
            **group,
            text=[html.escape(point.note) for point in series.points],
            marker={"symbol": MARKS[place % len(MARKS)], "color": colour, "size": 8},
        ),
    ]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
