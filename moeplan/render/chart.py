"""What a chart of curves shows, whatever draws it: series over interactivity, gaps, changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from moeplan.answers.best import Best
from moeplan.answers.curve import KILOWATT, watts_per_gpu
from moeplan.render.common import configuration_label, served
from moeplan.report.measured import gaps_of, line_of, points_of

SPEED = "Interactivity, tok/s/user"

COLOURS = ("#0072b2", "#c4510b", "#007a5a", "#a8508a", "#8a6d00", "#3b78a0")
"""Of the machines: told apart by eyes that see no difference between red and green."""

Pair = tuple[float, float]


class Metric(NamedTuple):
    """One figure that is drawn over interactivity.

    Attributes
    ----------
    title : str
        With its unit.
    of : callable
        From throughput [token/s/GPU], price [USD/GPU-hour] and power [W] of a GPU; None where it
        is no function of these.
    is_log : bool
        Whether its axis is logarithmic.
    """

    title: str
    of: Callable[[float, float, float], float] | None
    is_log: bool = False


METRICS = {
    "throughput": Metric("Throughput, tok/s/GPU", lambda rate, price, watts: rate),
    "cost": Metric(
        "Cost, $ per million tokens", lambda rate, price, watts: price / (3600 * rate / 1e6), True
    ),
    "per-dollar": Metric(
        "Throughput, million tokens per $", lambda rate, price, watts: 3600 * rate / price / 1e6
    ),
    "per-kilowatt": Metric(
        "Throughput, tok/s per kW of GPUs", lambda rate, price, watts: KILOWATT * rate / watts
    ),
    "ttft": Metric("Mean time to first token, ms", None, True),
}


class Point(NamedTuple):
    """A measured run: where it lies, and what it was."""

    x: float
    y: float
    note: str


class Series(NamedTuple):
    """One machine over interactivity; a value that is missing is NaN.

    Attributes
    ----------
    label : str
        Of the machine.
    served : str
        What it serves.
    x : list of float
        Targets, rising. [token/s]
    modelled, safe : list of float
        The best as modelled, and the safe choice, by target.
    band : list of pairs
        90 % interval of the best as modelled.
    notes : list of str
        Deployment behind each target.
    changes : list of int
        Places of `x` at which the deployment has another shape than one target before.
    line : list of pairs
        The frontier interpolated between published rows.
    points : list of Point
        Measured runs.
    gaps : list of dict
        Stretches of that frontier without a row: "from", "to" [token/s] and "fall" [1].
    """

    label: str
    served: str
    x: list[float]
    modelled: list[float]
    band: list[Pair]
    safe: list[float]
    notes: list[str]
    changes: list[int]
    line: list[Pair]
    points: list[Point]
    gaps: list[dict[str, float]]


class Chart(NamedTuple):
    """Machines over interactivity, in one figure.

    Attributes
    ----------
    metric : Metric
    series : tuple of Series
        By machine.
    """

    metric: Metric
    series: tuple[Series, ...]

    @property
    def title(self) -> str:
        """What is served on any of them."""
        return "; ".join(dict.fromkeys(each.served for each in self.series))

    def heights(self) -> Pair:
        """Lower and upper end of its axis: all lines and runs, bands cut off."""
        drawn = [
            y
            for each in self.series
            for y in (*each.modelled, *each.safe, *(y for _, y in each.line))
        ]
        drawn += [point.y for each in self.series for point in each.points]
        known = [y for y in drawn if math.isfinite(y)] or [1.0]
        if self.metric.is_log:
            return min(known) / 1.35, max(known) * 1.35
        return 0.0, 1.06 * max(known)

    def notes(self) -> list[str]:
        """Say where the published frontier has gaps."""
        return [
            f"{each.label}: no row of the published frontier lies between {gap['from']:.1f} and "
            f"{gap['to']:.1f} tok/s/user, where its throughput falls {gap['fall']:.1f}-fold"
            for each in self.series
            for gap in each.gaps
        ]


def chart_of(curves: Mapping[str, Sequence[Best]], metric: str) -> Chart:
    """Gather what is drawn.

    Parameters
    ----------
    curves : mapping
        Answers by target, rising, by label of the machine.
    metric : str
        One of `METRICS`.
    """
    chosen = METRICS[metric]
    return Chart(chosen, tuple(_series(label, rows, chosen) for label, rows in curves.items()))


def _series(label: str, answers: Sequence[Best], metric: Metric) -> Series:
    question = answers[0].question
    x = [answer.target_tok_s_per_user for answer in answers]
    shapes = [_shape(answer) for answer in answers]
    gaps = gaps_of(question)
    price = answers[0].price_usd_per_hour
    watts = question.cluster.hardware().power_watts.value
    line = [] if metric.of is None else line_of(question, x)
    return Series(
        label=label,
        served=served(answers[0].scenario),
        x=x,
        modelled=[_figure(answer, answer.prediction, metric) for answer in answers],
        band=[_band(answer, metric) for answer in answers],
        safe=[_figure(answer, _safe(answer), metric) for answer in answers],
        notes=[configuration_label(each.config) if each.config else "" for each in answers],
        changes=[
            place + 1
            for place, (before, after) in enumerate(pairwise(shapes))
            if before and after and before != after
        ],
        line=[(speed, metric.of(rate, price, watts)) for speed, rate in line if metric.of],
        points=[
            Point(point["speed"], y, _told(label, point))
            for point in points_of(question)
            if (y := _measured(point, metric, price, watts)) is not None
        ],
        gaps=gaps,
    )


def _figure(answer: Best, prediction: Any, metric: Metric) -> float:
    """Figure of a deployment; its price is what its cost and throughput say."""
    if prediction is None:
        return math.nan
    if metric.of is None:
        return float(prediction.ttft_ms)
    rate = prediction.total_tok_s_per_gpu
    price = prediction.usd_per_m_total_tokens * 3600 * rate / 1e6
    return metric.of(rate, price, watts_per_gpu(answer) or math.nan)


def _band(answer: Best, metric: Metric) -> Pair:
    found = answer.prediction
    if found is None:
        return math.nan, math.nan
    if metric.of is None:
        return found.interval_90["ttft_ms"]
    price = found.usd_per_m_total_tokens * 3600 * found.total_tok_s_per_gpu / 1e6
    watts = watts_per_gpu(answer) or math.nan
    rates = found.interval_90["total_tok_s_per_gpu"]
    low, high = sorted(metric.of(rate, price, watts) for rate in rates)
    return low, high


def _safe(answer: Best) -> Any:
    return answer.safe_choice.prediction if answer.safe_choice else None


def _shape(answer: Best) -> str:
    """Name a deployment without its batch and drafts."""
    return configuration_label(answer.config).split(" batch ")[0] if answer.config else ""


def _measured(point: Mapping[str, Any], metric: Metric, price: float, watts: float) -> float | None:
    if metric.of is None:
        return point["ttft_ms"]  # type: ignore[no-any-return]
    return metric.of(point["throughput"], price, watts)


def _told(label: str, point: Mapping[str, Any]) -> str:
    doubt = f"; suspect: {point['suspect']}" if point["suspect"] else ""
    return (
        f"{label}, measured: {point['label']}, {point['engine']}, {point['date']} "
        f"({point['table']}){doubt}"
    )
