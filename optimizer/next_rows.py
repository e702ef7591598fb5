"""What to measure next: the configurations whose true figures would best inform the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costmodel.calibration import CalibrationFile
from costmodel.deployments import deployments_of, run
from costmodel.draws import draw_constants, drawn
from costmodel.inputs import FloatArray
from costmodel.observations import configuration_key
from costmodel.results import Case, Configuration, Scenario
from optimizer.robust import SEED, Trials
from optimizer.space import shape_of
from presets import ClusterSpec, ServingRow

ROWS = 3
"""How many configurations are proposed. [1]"""

CONSTANT = 1e-9
"""Standard deviation of a logarithm below which a figure says nothing. [1]"""


@dataclass(frozen=True)
class NextRow:
    """One configuration to measure, and what that is worth.

    Attributes
    ----------
    configuration : Configuration
    gain : float
        Expected rise of the worth of what is then chosen, as a share. [1]
    changes : float
        Share of draws in which its figures lead to another fleet. [1]
    """

    configuration: Configuration
    gain: float
    changes: float


def next_rows(
    trials: Trials,
    scenario: Scenario,
    cluster: ClusterSpec,
    file: CalibrationFile,
    measured: Sequence[ServingRow],
    seed: int = SEED,
    prefill_cluster: ClusterSpec | None = None,
) -> tuple[NextRow, ...]:
    """Choose untested configurations of distinct structures, the most informative first.

    Parameters
    ----------
    trials : Trials
        Draws and shortlist.
    scenario, cluster, file, seed, prefill_cluster
        Those of the trials.
    measured : sequence of ServingRow
        What was measured: none of these is proposed.

    Notes
    -----
    Value of information by regression: were the figures of a configuration known, each fleet would
    be expected to be worth what a straight line through the other draws says, and the fleet of the
    highest expectation would be chosen. The gain is what that choice is worth in the draw that was
    left out, over what the best fleet on average is. The figures are TPOT, TTFT and throughput,
    taken as known exactly and as telling of the constants alone: noise of a run and what the model
    itself has wrong are left out.
    """
    # Every row ran prefill and decode on one machine.
    tested = set() if prefill_cluster else {configuration_key(row) for row in measured}
    offered = [
        configuration
        for configuration in trials.answers
        if configuration_key(row_of(configuration, scenario, cluster)) not in tested
    ]
    if not offered or not trials.best.any():
        return ()
    constants = draw_constants(file, len(trials.best), seed)
    cases = [Case(each, scenario, cluster, prefill_cluster) for each in offered]
    result = run(deployments_of(cases), drawn(file, constants))
    shape = len(trials.best), len(offered)
    figures = np.log(
        [
            np.broadcast_to(values, shape)
            for values in (result.tpot_median, result.ttft_mean, result.total_tok_s_per_gpu)
        ]
    )
    rows = [
        NextRow(each, *gain_of(figures[:, :, place].T, trials.retuned))
        for place, each in enumerate(offered)
    ]
    # Where none changes the choice, the order of the shortlist stays: the winner first.
    rows.sort(key=lambda row: (-row.gain, -row.changes))
    distinct: dict[object, NextRow] = {}
    for row in rows:
        distinct.setdefault(shape_of(row.configuration).structure, row)
    return tuple(distinct.values())[:ROWS]


def row_of(configuration: Configuration, scenario: Scenario, cluster: ClusterSpec) -> ServingRow:
    """Row of a configuration in the columns of measured rows, with nothing measured."""
    return ServingRow(
        sku=cluster.sku,
        model=scenario.model.name,
        precision=scenario.precision,
        isl=scenario.isl,
        osl=scenario.osl,
        framework=scenario.engine,
        **configuration.model_dump(),
    )


def gain_of(figures: FloatArray, values: FloatArray) -> tuple[float, float]:
    """Say what a choice that knows some figures is expected to gain, and how often it is another.

    Parameters
    ----------
    figures : array of float
        Shape ``(draws, figures)``.
    values : array of float
        What each choice gives, shape ``(draws, choices)``.

    Examples
    --------
    One figure tells which of two choices is better: 1.1 instead of a mean of 1.0.

    >>> figures = np.tile([-1.0, 1.0], 50)[:, np.newaxis]
    >>> gain, changes = gain_of(figures, 1.0 + 0.1 * np.hstack([figures, -figures]))
    >>> round(gain, 3), changes
    (0.1, 0.5)
    """
    draws = len(values)
    varying = figures[:, figures.std(axis=0) > CONSTANT]
    scaled = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    design = np.hstack([np.ones((draws, 1)), scaled])
    mean = values.mean(axis=0)
    chosen, default = _left_out(design, values).argmax(axis=1), mean.argmax()
    gained = values[np.arange(draws), chosen].mean() / mean[default] - 1.0
    return max(float(gained), 0.0), float(np.mean(chosen != default))


def _left_out(design: FloatArray, values: FloatArray) -> FloatArray:
    """Least squares of values on a design, each draw predicted by a fit on the others."""
    hat = design @ np.linalg.pinv(design)
    leverage = np.minimum(np.diag(hat), 1.0 - 1e-9)[:, np.newaxis]
    return np.asarray((hat @ values - leverage * values) / (1.0 - leverage))
