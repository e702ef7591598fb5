"""What to measure next: the configurations whose true figures would best inform the choice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from costmodel.calibration import CalibrationFile
from costmodel.deployments import deployments_of, run
from costmodel.inputs import FloatArray
from costmodel.observations import configuration_key
from costmodel.results import Case, Configuration
from optimizer.problem import Problem
from optimizer.robustness.draws import draw
from optimizer.robustness.trials import SEED, Trials
from optimizer.space import shape_of
from presets import ServingRow
from presets.record import Record

ROWS = 3
"""How many configurations are proposed. [1]"""

FIGURES = ("tpot_median", "ttft_mean", "total_tok_s_per_gpu")
"""What a run tells."""

CONSTANT = 1e-9
"""Standard deviation of a logarithm below which a figure says nothing. [1]"""


SETTLED = 0.5
"""Share of the variance of a fact that a run which settles it explains, at least. [1]"""


class SettledFact(Record):
    """Name of an assumed fact, and its machine."""

    sku: str
    fact: str


class NextMeasurement(Record):
    """One configuration to measure, and what that is worth.

    Attributes
    ----------
    config : Configuration
    expected_gain : float
        Rise of what is made best, in what is then chosen, as a share. [1]
    changes_choice : float
        Share of draws in which its figures lead to another fleet. [1]
    settles : tuple of SettledFact
        Assumed facts that the choice hangs on and that its figures tell.
    """

    config: Configuration
    expected_gain: float
    changes_choice: float
    settles: tuple[SettledFact, ...] = ()


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
    taken as known exactly and as telling of constants and assumed facts alone: noise of a run and
    what the model itself has wrong are left out.

    A fact that would lead to another choice were it known, and that some configuration settles, is
    settled by one of those that are chosen.
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
    drawn = draw(problem, file, len(trials.best), seed)
    figures = np.zeros((len(FIGURES), drawn.count, len(offered)))
    for there, draws in drawn.machines:
        cases = [Case(each, problem.scenario, *there.resources) for each in offered]
        result = run(deployments_of(cases, problem.calibration.anchors), drawn.calibration(draws))
        for place, name in enumerate(FIGURES):
            figures[place, draws] = np.log(getattr(result, name))
    decisive = {
        fact: np.log(drawn)
        for fact, drawn in trials.facts.items()
        if gain_of(_indicators(drawn), trials.retuned)[1] > 0.0
    }
    rows = []
    for place, each in enumerate(offered):
        told = figures[:, :, place].T
        gain, changes = gain_of(told, trials.retuned)
        settles = tuple(
            SettledFact(sku=fact.sku, fact=fact.fact)
            for fact, values in decisive.items()
            if _explained(told, values) >= SETTLED
        )
        rows.append(
            NextMeasurement(
                config=each, expected_gain=gain, changes_choice=changes, settles=settles
            )
        )
    # Where none changes the choice, the order of the shortlist stays: the winner first.
    rows.sort(key=lambda row: (-row.expected_gain, -row.changes_choice))
    return chosen(rows)


def chosen(rows: Sequence[NextMeasurement]) -> tuple[NextMeasurement, ...]:
    """Take the first of distinct structures, and as the last one that settles what these do not."""
    distinct: dict[object, NextMeasurement] = {}
    for row in rows:
        distinct.setdefault(shape_of(row.config).structure, row)
    first = [*distinct.values()][:ROWS]
    settled = {fact for row in first for fact in row.settles}
    left = next((row for row in rows if not settled.issuperset(row.settles)), None)
    return tuple(first) if left is None else (*first[: ROWS - 1], left)


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
    mean = values.mean(axis=0)
    chosen, default = _left_out(_design(figures), values).argmax(axis=1), mean.argmax()
    gained = values[np.arange(len(values)), chosen].mean() / mean[default] - 1.0
    return max(float(gained), 0.0), float(np.mean(chosen != default))


def _explained(figures: FloatArray, values: FloatArray) -> float:
    """Share of the variance of values, shape ``(draws,)``, that figures explain [1]."""
    missed = values[:, np.newaxis] - _left_out(_design(figures), values[:, np.newaxis])
    return 1.0 - float(np.mean(missed**2) / values.var())


def _indicators(values: FloatArray) -> FloatArray:
    """Tell each value apart from the others, shape ``(draws, values)``."""
    return np.asarray(values[:, np.newaxis] == np.unique(values), dtype=np.float64)


def _design(figures: FloatArray) -> FloatArray:
    """Scale figures, and put a constant before them."""
    varying = figures[:, figures.std(axis=0) > CONSTANT]
    scaled = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    return np.hstack([np.ones((len(figures), 1)), scaled])


def _left_out(design: FloatArray, values: FloatArray) -> FloatArray:
    """Least squares of values on a design, each draw predicted by a fit on the others."""
    hat = design @ np.linalg.pinv(design)
    leverage = np.minimum(np.diag(hat), 1.0 - 1e-9)[:, np.newaxis]
    return np.asarray((hat @ values - leverage * values) / (1.0 - leverage))
