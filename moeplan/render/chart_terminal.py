"""A chart of curves in letters, for a terminal: it reads without colour."""

from __future__ import annotations

import math
from collections.abc import Iterable
from textwrap import wrap

from moeplan.render.chart import SPEED, Chart
from presets.extras import needed_for

with needed_for("--plot -", "plot"):
    import plotext

MODELLED = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Best as modelled of each machine; the small letter is a measured run of it."""

INTERPOLATED, SAFE, BAND = "~", ".", ":"

LINES = 24
"""Of the chart. [1]"""


def text(chart: Chart, width: int) -> str:
    """Draw a chart, of some columns [1]."""
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, LINES)
    plotext.title(chart.metric.title)
    plotext.xlabel(SPEED)
    values = [y for each in chart.series for y in (*each.modelled, *(p.y for p in each.points))]
    known = [y for y in values if math.isfinite(y)] or [1.0]
    low, high = (min(known) if chart.metric.is_log else 0.0), max(known)
    height = math.log10 if chart.metric.is_log else float
    plotext.ylim(height(low), height(high))
    if chart.metric.is_log:
        ticks = [y for y in _rounded(low, high) if low <= y <= high]
        plotext.yticks([*map(height, ticks)], [f"{y:,.4g}" for y in ticks])

    def line(points: Iterable[tuple[float, float]], mark: str) -> None:
        drawn = [(x, height(min(max(y, low), high))) for x, y in points if math.isfinite(y)]
        if drawn:
            plotext.plot(*map(list, zip(*drawn, strict=True)), marker=mark)

    for series in chart.series:  # what stands last covers what is below it
        for end in zip(*series.band, strict=True):
            line(zip(series.x, end, strict=True), BAND)
        line(zip(series.x, series.safe, strict=True), SAFE)
        line(series.line, INTERPOLATED)
    for letter, series in zip(MODELLED, chart.series, strict=False):
        line(zip(series.x, series.modelled, strict=True), letter)
        xs, ys = [point.x for point in series.points], [height(p.y) for p in series.points]
        if xs:
            plotext.scatter(xs, ys, marker=letter.lower())
    drawn = plotext.uncolorize(plotext.build()).rstrip()
    lines = [line.rstrip() for line in drawn.split("\n")]
    for told in _key(chart):
        lines += wrap(told, width, subsequent_indent="  ")
    return "\n".join(lines)


def _rounded(low: float, high: float) -> list[float]:
    """Numbers that read well from one to another, as far apart as a logarithmic axis shows.

    Examples
    --------
    >>> _rounded(0.03, 4.0)
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
    """
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    return [float(f"{first}e{power}") for power in powers for first in (1, 2, 5)]


def _key(chart: Chart) -> list[str]:
    """Say what the letters mean, where shapes change, and where gaps are."""
    lines = [
        f"{letter} {series.label}, best as modelled; {letter.lower()} measured runs"
        + (
            f"; shape changes at {', '.join(f'{series.x[at]:g}' for at in series.changes)}"
            if series.changes
            else ""
        )
        for letter, series in zip(MODELLED, chart.series, strict=False)
    ]
    marks = f"{INTERPOLATED} interpolated between published rows, {SAFE} safe choice"
    return [*lines, f"{marks}, {BAND} ends of the 90 % interval", *map(_sentence, chart.notes())]


def _sentence(note: str) -> str:
    return f"{note}."
