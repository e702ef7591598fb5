"""How much better than its limits a median must be, for them to be met with confidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from costmodel.anchors import is_anchored
from costmodel.inputs import FloatArray
from costmodel.intervals import ONE_SIDED, WIDEST, Outside, corpus_class, narrowing, worker_class
from costmodel.percentiles import percentile_name
from costmodel.results import Prediction
from optimizer.inside import case_of_workers, decode_outside, prefill_outside
from optimizer.problem import Limits, Problem
from optimizer.space import Shape

NO_PERCENTILES: Mapping[str, float] = MappingProxyType({})


class Promise(NamedTuple):
    """Half-widths of the intervals of decode workers, of the logarithm, and what is asked of them.

    A half-width is taken as 1.645 standard deviations of a normal distribution: a confidence of
    0.95 asks for the end of the 90 % interval, 0.5 for the median.

    Attributes
    ----------
    edges : array of float
        Batches of each shape, rising, at which it changes what lies outside the data of the
        calibration: half-widths hold up to an edge. Shape ``(shapes, edges)``. [1]
    tpot, ttft : array of float
        Between them; that of TTFT without what lies outside the data in prefill. Shape
        ``(shapes, edges + 1)``. [1]
    margin : float
        How many of them a confidence asks for; 0 without one. [1]
    """

    edges: FloatArray
    tpot: FloatArray
    ttft: FloatArray
    margin: float

    def speed(self, batch: FloatArray | NDArray[np.int64]) -> FloatArray:
        """Share of the median interactivity that counts against a target [1].

        `batch` is one of each shape, ``(..., shapes)``.
        """
        return np.asarray(np.exp(-self.margin * self._at(batch, self.tpot)))

    def ttft_factor(
        self, batch: FloatArray | NDArray[np.int64], widening: FloatArray
    ) -> FloatArray:
        """Factor by which TTFT counts against its limit [1].

        Arguments are those of `speed`, and `prefill_widening`.
        """
        return ttft_factor(self.margin, self.half_width(batch) * widening)

    def half_width(self, batch: FloatArray | NDArray[np.int64]) -> FloatArray:
        """Half-width of the interval of TTFT without what lies outside the data in prefill."""
        return self._at(batch, self.ttft)

    def take(self, index: NDArray[np.int64]) -> Promise:
        """Keep the chosen shapes."""
        return Promise(self.edges[index], self.tpot[index], self.ttft[index], self.margin)

    def _at(self, batch: FloatArray | NDArray[np.int64], half_widths: FloatArray) -> FloatArray:
        passed = (np.asarray(batch)[..., None] > self.edges).sum(axis=-1)
        return np.asarray(half_widths[np.arange(len(half_widths)), passed])


def promise_of(shapes: Sequence[Shape], problem: Problem, *, inside: bool = False) -> Promise:
    """Promise of each shape: of the median without a confidence.

    `inside` says that only batches inside the data are asked about: nothing is looked up for them.
    """
    margin, count = margin_of(problem.limits), len(shapes)
    if not margin:
        return Promise(np.zeros((count, 0)), np.zeros((count, 1)), np.zeros((count, 1)), 0.0)
    if inside:
        edges, widening = np.zeros((count, 0)), np.ones((count, 1))
    else:
        edges = np.array([_edges(shape, problem) for shape in shapes], dtype=np.float64)
        probes = np.maximum(np.column_stack([edges, edges[:, -1] + 1]), 1).astype(np.int64)
        workers = [
            (shape, batch)
            for shape, batches in zip(shapes, probes.tolist(), strict=True)
            for batch in batches
        ]
        widening = _widening(decode_outside(workers, problem), problem).reshape(count, -1)
    cluster, precision = problem.cluster, problem.scenario.precision
    if problem.is_shared:
        kinds = [worker_class(shape.gpus, cluster, precision, problem.serving) for shape in shapes]
    else:
        kinds = [corpus_class(problem.serving)] * count
    tpot, ttft = (
        np.array([[getattr(widths, kind)] for kind in kinds]) * widening
        for widths in (problem.constants.tpot_half_width, problem.constants.ttft_half_width)
    )
    if own := problem.calibration.anchors:
        known = [is_anchored(case_of_workers(shape, 1, problem), own) for shape in shapes]
        pairs = zip(kinds, known, strict=True)
        tpot *= np.array([[narrowing(kind) if each else 1.0] for kind, each in pairs])
    return Promise(edges, np.minimum(tpot, WIDEST), ttft, margin)


def ttft_factor(margin: float, half_width: FloatArray) -> FloatArray:
    """Factor by which TTFT counts against its limit, by half-width of its interval [1]."""
    if margin == 0.0:
        return np.ones(())
    return np.asarray(np.exp(margin * np.minimum(half_width, WIDEST)))


def prefill_widening(shapes: Sequence[Shape], problem: Problem) -> FloatArray:
    """Factor by which prefill workers outside the data widen the interval of TTFT [1].

    In one pool there are none: what its workers lie outside the data in, decode feels too.
    """
    if problem.is_aggregated or not margin_of(problem.limits):
        return np.ones(len(shapes))
    return _widening(prefill_outside(shapes, problem), problem)


def margin_of(limits: Limits) -> float:
    """Half-widths of its interval by which a figure has to be better than its limit [1].

    Examples
    --------
    >>> round(margin_of(Limits(100.0, min_confidence=0.95)), 6), margin_of(Limits(100.0))
    (1.0, 0.0)
    """
    if limits.min_confidence is None:
        return 0.0
    from statistics import NormalDist  # only a confidence needs it

    return NormalDist().inv_cdf(limits.min_confidence) / ONE_SIDED


def _edges(shape: Shape, problem: Problem) -> list[int]:
    """Largest batches of a shape before another lies outside the data, rising [1]."""
    coverage = problem.coverage
    least, most = coverage.max_batch_dp if shape.attention == "dp" else coverage.max_batch_tp
    return [least - 1, most]


def _widening(found: Sequence[Sequence[Outside]], problem: Problem) -> FloatArray:
    """Factor by which what lies outside the data widens an interval [1]."""
    weights = np.array([sum(one.weight for one in outside) for outside in found])
    return np.asarray(problem.calibration.extrapolation_widening**weights)


def chance_to_meet(
    prediction: Prediction, limits: Limits, percentiles_ms: Mapping[str, float] = NO_PERCENTILES
) -> dict[Literal["target", "max_ttft"], float]:
    """Probability with which a prediction meets its target and its limit on TTFT, if there is one.

    The inverse of `Promise`, by the interval of each figure for itself; a percentile, of those
    given, is as uncertain as the figure that it is of. [1]

    Examples
    --------
    A median at the target meets it every other time, one at the end of its interval nearly always:

    >>> interval_90 = {"tok_s_per_user": (100.0, 144.0), "ttft_ms": (500.0, 2000.0)}
    >>> prediction = Prediction(
    ...     tok_s_per_user=120.0, tpot_ms=1e3 / 120.0, ttft_ms=1000.0, ttft_median_ms=900.0,
    ...     total_tok_s_per_gpu=1.0, usd_per_m_total_tokens=1.0, origin="modelled",
    ...     interval_90=interval_90,
    ... )
    >>> round(chance_to_meet(prediction, Limits(120.0))["target"], 3)
    0.5
    >>> chances = chance_to_meet(prediction, Limits(100.0, max_ttft=2.0))
    >>> {name: round(chance, 3) for name, chance in chances.items()}
    {'target': 0.95, 'max_ttft': 0.95}
    """
    tpot, ttft = prediction.tpot_ms, prediction.ttft_ms
    if limits.target_percentile is not None:
        tpot = percentiles_ms[percentile_name("tpot", limits.target_percentile)]
    low, _ = prediction.interval_90["tok_s_per_user"]
    width = math.log(prediction.tok_s_per_user / low)
    chances: dict[Literal["target", "max_ttft"], float] = {
        "target": _chance(math.log(1e3 / tpot / limits.target), width)
    }
    if limits.max_ttft is not None:
        if limits.ttft_percentile is not None:
            ttft = percentiles_ms[percentile_name("ttft", limits.ttft_percentile)]
        _, high = prediction.interval_90["ttft_ms"]
        width = math.log(high / prediction.ttft_ms)
        chances["max_ttft"] = _chance(math.log(1e3 * limits.max_ttft / ttft), width)
    return chances


def _chance(room: float, half_width: float) -> float:
    """Probability that an error is less than `room`, both of the logarithm [1]."""
    # The error function in place of `statistics`, which would cost every answer its import.
    deviations = ONE_SIDED * room / half_width
    return 0.5 * (1.0 + math.erf(deviations / math.sqrt(2.0)))
