"""Which kernel carries a deployment's tokens across NVLink domains, in which number formats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from costmodel.calibration import Calibration, Coverage
from costmodel.counts import BF16_BYTES, FP8_BYTES, NVFP4_BYTES
from costmodel.decode import runs_two_batches
from costmodel.deployments import Deployments
from costmodel.exchange import Carrier, carriers
from costmodel.inputs import FloatArray
from costmodel.resolve import resolve
from costmodel.results import Case, Crossing, WireFormat

FORMATS: dict[WireFormat, float] = {"fp4": NVFP4_BYTES, "fp8": FP8_BYTES, "bf16": BF16_BYTES}
"""Bytes of one element on the wire, scales included. [B]"""


def crossings(
    cases: Sequence[Case], deployments: Deployments, batch: FloatArray, calibration: Calibration
) -> list[Crossing | None]:
    """Tell what carries the tokens of each decode worker; None where none leave their domain.

    Parameters
    ----------
    cases, deployments
        The same, one entry each.
    batch
        Requests in flight that a request meets on its rank. [1]
    calibration
        Its coverage says which kernels were measured, and on which machines.
    """
    workers = deployments.workers
    crossing = (deployments.paths.domains > 1) & workers.attention_dp
    if not crossing.any():
        return [None] * len(cases)
    tokens = batch * (1.0 + workers.mtp_depth)
    own = resolve(calibration, deployments.kinds)
    facts = deployments.machine, deployments.model, workers
    found = list(carriers(*facts, tokens, deployments.paths, own))
    times = [
        np.where(each.allowed, each.exchange.dispatch + each.exchange.combine, np.inf)
        for each in found
    ]
    halved = np.broadcast_to(runs_two_batches(*facts, deployments.paths, batch, own), len(cases))
    # Two half batches are exchanged by low-latency kernels, whatever carries a whole one.
    names = [each.name for each in found]
    low_latency = names.index("deepep_low_latency") if halved.any() else 0
    quickest = np.where(halved, low_latency, np.argmin(times, axis=0))
    return [
        _crossing(
            found[quickest[place]], case, place, deployments, calibration.coverage
        ).model_copy(update={"two_batches": bool(halved[place])})
        if crossing[place]
        else None
        for place, case in enumerate(cases)
    ]


def _crossing(
    carrier: Carrier, case: Case, place: int, deployments: Deployments, coverage: Coverage
) -> Crossing:
    """Put what carries the tokens of one deployment into words."""
    width = deployments.model.expert_width
    there, back = (
        _format(float(np.ravel(size / width)[place]))
        for size in (carrier.dispatch_bytes, carrier.combine_bytes)
    )
    rows_ran_it = carrier.name in coverage.exchanges
    return Crossing(
        kernel=carrier.name,
        engine=case.scenario.engine,
        dispatch_format=there,
        combine_format=back,
        measured=rows_ran_it and case.cluster.sku in coverage.crossing_skus,
    )


def _format(element: float) -> WireFormat:
    """Name the format whose elements are nearest to so many bytes.

    >>> _format(0.5625), _format(1.03), _format(2.0)
    ('fp4', 'fp8', 'bf16')
    """
    return min(FORMATS, key=lambda name: abs(FORMATS[name] - element))
