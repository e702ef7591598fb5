"""How far below its median an interactivity is promised, for a target to be met with confidence."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import FloatArray
from costmodel.intervals import half_widths
from costmodel.results import Case, Configuration, Scenario
from optimizer.ground import Ground
from optimizer.space import Shape

ONE_SIDED = 0.95
"""Share of cases above the low end of a 90 % interval. [1]"""


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
