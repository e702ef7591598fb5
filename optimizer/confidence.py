"""How far below its median an interactivity is promised, for a target to be met with confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from costmodel.calibration import Coverage
from costmodel.inputs import FloatArray
from costmodel.intervals import half_widths, largest_batch_sent
from costmodel.results import Prediction, Scenario
from optimizer.inside import case_of_workers
from optimizer.problem import Limits, Problem
from optimizer.space import Shape

ONE_SIDED = 1.6448536269514722
"""Standard deviations to the low end of a 90 % interval, which 0.95 of all cases exceed. [1]"""


class Promise(NamedTuple):
    """Share of the median interactivity that counts against a target, by shape and batch.

    Attributes
    ----------
    edges : array of float
        Batches of each shape, rising, at which it changes what lies outside the data of the
        calibration: the share holds up to an edge. Shape ``(shapes, edges)``. [1]
    shares : array of float
        Between them. Shape ``(shapes, edges + 1)``. [1]
    """

    edges: FloatArray
    shares: FloatArray

    def share(self, batch: FloatArray | NDArray[np.int64]) -> FloatArray:
        """Share at a batch of each shape; ``batch`` has the shape ``(..., shapes)`` [1]."""
        passed = (np.asarray(batch)[..., None] > self.edges).sum(axis=-1)
        shape = np.arange(len(self.shares))
        return np.asarray(self.shares[shape, passed])

    def take(self, index: NDArray[np.int64]) -> Promise:
        """Keep the chosen shapes."""
        return Promise(self.edges[index], self.shares[index])


def promise_of(shapes: Sequence[Shape], problem: Problem) -> Promise:
    """Promise of each shape: the whole median without a confidence."""
    confidence = problem.limits.min_confidence
    if confidence is None:
        return Promise(np.zeros((len(shapes), 0)), np.ones((len(shapes), 1)))
    edges = np.array(
        [_edges(shape, problem.scenario, problem.calibration.coverage) for shape in shapes]
    )
    inside = np.maximum(np.column_stack([edges, edges[:, -1] + 1]), 1)
    shares = [
        promised_share(list(zip(shapes, batches.tolist(), strict=True)), problem, confidence)
        for batches in inside.T
    ]
    return Promise(edges.astype(np.float64), np.column_stack(shares))


def _edges(shape: Shape, scenario: Scenario, coverage: Coverage) -> list[int]:
    """Largest batches of a shape before another lies outside the data, rising [1]."""
    least, most = coverage.max_batch_dp if shape.attention == "dp" else coverage.max_batch_tp
    return sorted([least - 1, most, math.floor(largest_batch_sent(scenario, shape.mtp_depth))])


def promised_share(
    workers: Sequence[tuple[Shape, int]], problem: Problem, confidence: float
) -> FloatArray:
    """Share of the median interactivity that decode workers exceed with `confidence` [1].

    The half-width of the interval, of the logarithm, is taken as 1.645 standard deviations of a
    normal distribution: 0.95 gives the low end of the 90 % interval, 0.5 the median.

    Parameters
    ----------
    workers
        Shapes with their batch.
    """
    from statistics import NormalDist  # only a confidence needs it

    cases = [
        case_of_workers(shape, batch, problem.scenario, problem.resources)
        for shape, batch in workers
    ]
    deviations = NormalDist().inv_cdf(confidence) / ONE_SIDED
    return np.asarray(np.exp(-half_widths(cases, problem.calibration)["tpot"] * deviations))


def chance_to_meet(
    prediction: Prediction, limits: Limits
) -> dict[Literal["target", "max_ttft"], float]:
    """Probability with which a prediction meets its target and its limit on TTFT, if there is one.

    The inverse of `promised_share`, by the interval of each figure for itself. [1]

    Examples
    --------
    A median at the target meets it every other time, one at the end of its interval nearly always:

    >>> interval_90 = {"tok_s_per_user": (100.0, 144.0), "ttft_ms": (500.0, 2000.0)}
    >>> prediction = Prediction(
    ...     tok_s_per_user=120.0, tpot_ms=1e3 / 120.0, ttft_ms=1000.0, ttft_median_ms=900.0,
    ...     total_tok_s_per_gpu=1.0, usd_per_m_total_tokens=1.0, origin="modelled",
    ...     interval_90=interval_90,
    ... )
    >>> chance_to_meet(prediction, Limits(120.0))
    {'target': 0.5}
    >>> chances = chance_to_meet(prediction, Limits(100.0, max_ttft=2.0))
    >>> {name: round(chance, 3) for name, chance in chances.items()}
    {'target': 0.95, 'max_ttft': 0.95}
    """
    speed, ttft = prediction.tok_s_per_user, prediction.ttft_ms
    low, _ = prediction.interval_90["tok_s_per_user"]
    chances: dict[Literal["target", "max_ttft"], float] = {
        "target": _chance(math.log(speed / limits.target), math.log(speed / low))
    }
    if limits.max_ttft is not None:
        _, high = prediction.interval_90["ttft_ms"]
        room = math.log(1e3 * limits.max_ttft / ttft)
        chances["max_ttft"] = _chance(room, math.log(high / ttft))
    return chances


def _chance(room: float, half_width: float) -> float:
    """Probability that an error is less than `room`, both of the logarithm [1]."""
    # The error function in place of `statistics`, which would cost every answer its import.
    deviations = ONE_SIDED * room / half_width
    return 0.5 * (1.0 + math.erf(deviations / math.sqrt(2.0)))
