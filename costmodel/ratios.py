"""How sure a ratio of two predictions is: errors that both share cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from costmodel.calibration import CalibrationFile
from costmodel.deployments import deployments_of, run
from costmodel.draws import draw_constants, drawn
from costmodel.inputs import FloatArray
from costmodel.intervals import ONE_SIDED
from costmodel.results import Case
from presets import ClusterSpec

DRAWS = 100
"""Draws of the constants: an interval is then known to within 7 %. [1]"""

SMALLEST = 1e-12
"""Spread of the logarithm that is none. [1]"""


class Known(NamedTuple):
    """A deployment, and how well its throughput is known.

    Attributes
    ----------
    case : Case
    half_width : float
        Half of the 90 % interval of its throughput, of the logarithm. [1]
    constants : CalibrationFile
        What it is predicted by.
    """

    case: Case
    half_width: float
    constants: CalibrationFile


def ratio_widths(known: Sequence[Known]) -> FloatArray:
    """Half-widths of the 90 % intervals of ratios of throughputs, of the logarithm [1].

    Returns
    -------
    array of float
        Of each to each, symmetric, 0 between a deployment and itself; shape ``(n, n)``.

    Notes
    -----
    The constants of the model are drawn from what the fit leaves uncertain about them, and all
    deployments of one calibration are predicted under the same draws: what a constant moves in both
    alike cancels. The rest of an interval is of what the constants do not hold, such as kernels and
    recipe flags: equal for one deployment at any price, and independent between two. Where the
    draws alone spread wider than the interval they are drawn together to it, so that each
    deployment by itself has the interval that its prediction has.
    """
    files = [each.constants for each in known]
    fit = np.array([files.index(each) for each in files])
    total = np.array([each.half_width for each in known]) / ONE_SIDED
    moved = np.zeros((DRAWS, len(known)))
    for one in sorted({*fit.tolist()}):
        places = np.flatnonzero(fit == one).tolist()
        moved[:, places] = _moved([known[place].case for place in places], files[one])
    spread = np.sqrt((moved**2).mean(axis=0))
    moved *= np.minimum(1.0, total / np.maximum(spread, SMALLEST))
    of_each = np.maximum(total**2, (moved**2).mean(axis=0))
    one_fit = fit[:, None] == fit  # another errs on its own
    shared = np.where(one_fit, moved.T @ moved / DRAWS, 0.0)
    variance = of_each[:, None] + of_each - 2.0 * shared
    numbers: dict[Case, int] = {}
    number = np.array(
        [numbers.setdefault(_without_prices(each.case), len(numbers)) for each in known]
    )
    variance[one_fit & (number[:, None] == number)] = 0.0  # nothing tells them apart
    return np.asarray(ONE_SIDED * np.sqrt(np.maximum(variance, 0.0)))


def _moved(cases: Sequence[Case], file: CalibrationFile) -> FloatArray:
    """Draw constants, and say by how much they move throughput, of the logarithm [1].

    Shape ``(draws, n)``; each deployment around the mean of its draws.
    """
    constants = draw_constants(file, DRAWS, seed=0)
    found = run(deployments_of(cases, file.anchors), drawn(file, constants))
    logs = np.log(found.total_tok_s_per_gpu)
    return np.asarray(logs - logs.mean(axis=0))


def _without_prices(case: Case) -> Case:
    """Leave out what a deployment costs, which changes nothing of what it does."""
    there = case.prefill_cluster
    return case._replace(
        cluster=_unpriced(case.cluster), prefill_cluster=None if there is None else _unpriced(there)
    )


def _unpriced(cluster: ClusterSpec) -> ClusterSpec:
    return cluster.model_copy(update={"price_usd_per_hour": None})
