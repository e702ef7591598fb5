"""How far below its median an interactivity is promised, for a target to be met with confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from costmodel.calibration import Calibration
from costmodel.inputs import FloatArray
from costmodel.intervals import half_widths
from costmodel.results import Case, Configuration, Scenario
from optimizer.ground import Ground
from optimizer.space import Shape

ONE_SIDED = 0.95
"""Share of cases above the low end of a 90 % interval. [1]"""


@dataclass(frozen=True)
class Promise:
    """Share of the median interactivity that counts against a target, by shape and batch.

    Attributes
    ----------
    inside, outside : array of float
        Of each shape, with a batch inside and outside the data of the calibration. [1]
    largest : array of float
        Largest batch inside. [1]
    """

    inside: FloatArray
    outside: FloatArray
    largest: FloatArray

    def share(self, batch: FloatArray | NDArray[np.int64]) -> FloatArray:
        """Share at a batch of each shape [1]."""
        return np.where(batch > self.largest, self.outside, self.inside)

    def take(self, index: NDArray[np.int64]) -> Promise:
        """Keep the chosen shapes."""
        return Promise(self.inside[index], self.outside[index], self.largest[index])


def promise_of(
    shapes: Sequence[Shape],
    prefill_gpus: int,
    scenario: Scenario,
    ground: Ground,
    calibration: Calibration,
    confidence: float | None,
) -> Promise:
    """Promise of each shape: the whole median without a confidence.

    Parameters are those of `promised_share`.
    """
    coverage = calibration.coverage
    modes = {"dp": coverage.max_batch_dp[1], "tp": coverage.max_batch_tp[1]}
    largest = np.array([modes[shape.attention] for shape in shapes])
    if confidence is None:
        return Promise(np.ones(len(shapes)), np.ones(len(shapes)), largest)
    inside, outside = (
        promised_share(
            list(zip(shapes, batches.tolist(), strict=True)),
            prefill_gpus,
            scenario,
            ground,
            calibration,
            confidence,
        )
        for batches in (np.ones_like(largest), largest + 1)
    )
    return Promise(inside, outside, largest)


def promised_share(
    workers: Sequence[tuple[Shape, int]],
    prefill_gpus: int,
    scenario: Scenario,
    ground: Ground,
    calibration: Calibration,
    confidence: float,
) -> FloatArray:
    """Share of the median interactivity that decode workers exceed with `confidence` [1].

    The half-width of the interval, of the logarithm, is taken as 1.645 standard deviations of a
    normal distribution: 0.95 gives the low end of the 90 % interval, 0.5 the median.

    Parameters
    ----------
    workers
        Shapes with their batch.
    prefill_gpus
        Largest prefill worker: where it lies outside the data it widens the interval of all. [GPU]
    """
    cases = [
        Case(
            Configuration(
                prefill_workers=1,
                prefill_gpus_per_worker=prefill_gpus,
                decode_workers=1,
                decode_gpus_per_worker=shape.gpus,
                decode_ep=shape.gpus,
                decode_attention=shape.attention,
                max_batch=batch,
                mtp_depth=shape.mtp_depth,
                eplb_slots=shape.eplb_slots,
                concurrency=1,
            ),
            scenario,
            ground.cluster,
            ground.prefill_cluster,
        )
        for shape, batch in workers
    ]
    deviations = NormalDist().inv_cdf(confidence) / NormalDist().inv_cdf(ONE_SIDED)
    return np.asarray(np.exp(-half_widths(cases, calibration)["tpot"] * deviations))
