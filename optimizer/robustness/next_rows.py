"""What to measure next: the configurations whose true figures would best inform the choice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from costmodel.calibration import CalibrationFile
from costmodel.deployments import deployments_of, run
from costmodel.draws import draw_constants, drawn
from costmodel.inputs import FloatArray
from costmodel.observations import configuration_key
from costmodel.results import Case, Configuration
from optimizer.problem import Problem
from optimizer.robustness.trials import SEED, Trials
from optimizer.space import shape_of
from presets import ServingRow
from presets.record import Record

ROWS = 3
"""How many configurations are proposed. [1]"""

CONSTANT = 1e-9
"""Standard deviation of a logarithm below which a figure says nothing. [1]"""


class NextMeasurement(Record):
    """One configuration to measure, and what that is worth.

    Attributes
    ----------
    config : Configuration
    expected_gain : float
        Rise of what is made best, in what is then chosen, as a share. [1]
    changes_choice : float
        Share of draws in which its figures lead to another fleet. [1]
    """

    config: Configuration
    expected_gain: float
    changes_choice: float


def next_rows(
    trials: Trials,
    problem: Problem,
    file: CalibrationFile,
    measured: Sequence[ServingRow],
    seed: int = SEED,
) -> tuple[NextMeasurement, ...]:
    """Choose untested configurations of distinct structures, the most informative first.

    Parameters
    ----------
    trials : Trials
        Draws and shortlist.
    problem, file, seed
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
    tested = set() if problem.prefill_cluster else {configuration_key(row) for row in measured}
    offered = [
        configuration
        for configuration in trials.answers
        if configuration_key(row_of(configuration, problem)) not in tested
    ]
    if not offered or not trials.best.any():
        return ()
    constants = draw_constants(file, len(trials.best), seed)
    cases = [Case(each, problem.scenario, *problem.resources) for each in offered]
    result = run(deployments_of(cases), drawn(file, constants))
    shape = len(trials.best), len(offered)
    figures = np.log(
        [
            np.broadcast_to(values, shape)
            for values in (result.tpot_median, result.ttft_mean, result.total_tok_s_per_gpu)
        ]
    )
    rows = []
    for place, each in enumerate(offered):
        gain, changes = gain_of(figures[:, :, place].T, trials.retuned)
        rows.append(NextMeasurement(config=each, expected_gain=gain, changes_choice=changes))
    # Where none changes the choice, the order of the shortlist stays: the winner first.
    rows.sort(key=lambda row: (-row.expected_gain, -row.changes_choice))
    distinct: dict[object, NextMeasurement] = {}
    for row in rows:
        distinct.setdefault(shape_of(row.config).structure, row)
    return tuple(distinct.values())[:ROWS]


def row_of(configuration: Configuration, problem: Problem) -> ServingRow:
    """Row of a configuration in the columns of measured rows, with nothing measured."""
    scenario = problem.scenario
    return ServingRow(
        sku=problem.cluster.sku,
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
