"""A chart of curves as an SVG or PNG file, the same bytes every time."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from moeplan.render.chart import COLOURS, SPEED, Chart, Series
from presets.extras import needed_for

with needed_for("--plot", "plot"):
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

INK, QUIET, RULE = "#22272e", "#6a737d", "#e4e7eb"
MARKS = ("o", "s", "^", "D", "v", "P")
"""Measured runs of each machine: told apart in grey too."""

DASHES, DOTS, HATCH = (5, 3), (1, 1.8), "//////"

INCHES = (9.6, 6.0)
DOTS_PER_INCH = 160
APART = 0.05
"""Least distance of two labels, as a part of the height. [1]"""

STRIP = 0.024
"""Height of the strip that shows the gaps of a machine, as a part of the height. [1]"""

STYLE: Any = {
    "svg.hashsalt": "moeplan",
    "svg.fonttype": "none",  # text stays text
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "text.parse_math": False,  # names are the user's
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "hatch.linewidth": 0.5,
}


def picture(chart: Chart, form: str) -> bytes:
    """Draw a chart.

    Parameters
    ----------
    chart : Chart
    form : {"svg", "png"}
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=INCHES, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.085, 0.13, 0.765, 0.70))
        _frame(axes, chart)
        for place, series in enumerate(chart.series):
            _draw(axes, series, place)
        _limits(axes, chart)
        _names(axes, chart)
        _words(figure, chart)
        file = io.BytesIO()
        blank = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        figure.savefig(file, format=form, dpi=DOTS_PER_INCH, metadata=blank)
    return file.getvalue()


def _frame(axes: Axes, chart: Chart) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6)
    axes.set_xlabel(SPEED, labelpad=8)
    if chart.metric.is_log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _draw(axes: Axes, series: Series, place: int) -> None:
    colour, mark = COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)]
    ends = [[*each] for each in zip(*series.band, strict=True)]
    axes.fill_between(series.x, ends[0], ends[1], color=colour, alpha=0.13, linewidth=0)
    for gap in series.gaps:
        low, high = _strip(place)
        axes.axvspan(
            gap["from"], gap["to"], low, high, facecolor="white", edgecolor=colour, hatch=HATCH,
            linewidth=0.0,
        )  # fmt: skip
    if series.line:
        axes.plot(*zip(*series.line, strict=True), color=colour, linewidth=1.3, dashes=DASHES)
    axes.plot(series.x, series.safe, color=colour, linewidth=1.6, dashes=DOTS)
    axes.plot(series.x, series.modelled, color=colour, linewidth=2.2, solid_capstyle="round")
    axes.plot(
        [series.x[place] for place in series.changes],
        [series.modelled[place] for place in series.changes],
        linestyle="none", marker="|", markersize=9, markeredgewidth=1.4, color=colour,
    )  # fmt: skip
    axes.plot(
        [point.x for point in series.points],
        [point.y for point in series.points],
        linestyle="none", marker=mark, markersize=5.5, color=colour, markeredgecolor="white",
        markeredgewidth=0.7,
    )  # fmt: skip


def _strip(place: int) -> tuple[float, float]:
    """Lower and upper end of the strip in which a machine has its gaps, of the height [1]."""
    return STRIP * place, STRIP * (place + 0.85)


def _limits(axes: Axes, chart: Chart) -> None:
    xs = [x for each in chart.series for x in each.x]
    axes.set_ylim(*chart.heights())
    room = 0.02 * (max(xs) - min(xs)) or 1.0
    axes.set_xlim(min(xs) - room, max(xs) + room)


def _names(axes: Axes, chart: Chart) -> None:
    """Write each machine beside the end of its line, clear of the others."""
    ends = []
    for place, series in enumerate(chart.series):
        reached = [at for at, y in enumerate(series.modelled) if math.isfinite(y)]
        at = reached[-1] if reached else None
        where = (series.x[at], series.modelled[at]) if at is not None else (series.x[-1], math.nan)
        ends.append((where, series.label, COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)]))
    heights = [
        axes.transAxes.inverted().transform(axes.transData.transform(where))[1]
        if math.isfinite(where[1])
        else 0.02
        for where, *_ in ends
    ]
    order = sorted(range(len(ends)), key=heights.__getitem__)
    free = -APART
    for at in order:
        free = max(heights[at], free + APART)
        _, label, colour, mark = ends[at]
        axes.plot(
            [1.03], [free], transform=axes.transAxes, clip_on=False, marker=mark, markersize=6.5,
            color=colour, linestyle="none",
        )  # fmt: skip
        axes.text(
            1.05, free, label, transform=axes.transAxes, color=colour, weight="bold",
            va="center", clip_on=False,
        )  # fmt: skip


def _words(figure: Figure, chart: Chart) -> None:
    """Write title, what is served, what lines mean, and what the gaps are."""
    figure.text(0.03, 0.955, chart.metric.title, size=14.5, weight="bold", va="center")
    figure.text(0.03, 0.912, _short(chart.title, 130), size=9.0, color=QUIET, va="center")
    handles = [
        _key("measured run", linestyle="none", marker="o", markersize=5.5),
        _key("interpolated", linewidth=1.3, dashes=DASHES),
        _key("best as modelled", linewidth=2.2),
        _area("its 90 % interval", facecolor=QUIET, alpha=0.2),
        _key("safe choice", linewidth=1.6, dashes=DOTS),
        _key("other shape of deployment", linestyle="none", marker="|", markersize=9),
    ]
    if any(each.gaps for each in chart.series):
        hatched = {"facecolor": "white", "edgecolor": QUIET, "linewidth": 0.0, "hatch": HATCH}
        handles.append(_area("gap in the frontier", **hatched))
    figure.legend(
        handles=handles, loc="center left", bbox_to_anchor=(0.02, 0.865), ncols=len(handles),
        frameon=False, fontsize=8.0, handlelength=1.7, columnspacing=1.05, handletextpad=0.45,
        labelcolor=INK,
    )  # fmt: skip
    notes = chart.notes()
    for line, note in enumerate(notes[:2]):
        more = f" (and {len(notes) - 2} more)" if line == 1 and len(notes) > 2 else ""
        text = _short(f"{note}{more}.", 140)
        figure.text(0.03, 0.034 - 0.024 * line, text, size=8.0, color=QUIET, va="center")


def _key(label: str, **style: Any) -> Artist:
    """Make a line or a mark of the key, in the colour of no machine."""
    return Line2D([], [], color=QUIET, label=label, **style)


def _area(label: str, **style: Any) -> Artist:
    return Patch(label=label, **style)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
