"""What an answer and its rivals give where constants and assumed facts are not quite as taken.

They are drawn from their uncertainty. Under each draw a shortlist of fleets is retuned, and the
answer is compared with the best of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from costmodel.calibration import Calibration, CalibrationFile
from costmodel.deployments import Deployments, deployments_of, run
from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.results import Case, Configuration
from optimizer.assumed import AssumedFact
from optimizer.problem import Limits, Problem
from optimizer.robustness.draws import draw
from optimizer.robustness.retune import Retuning, retuning_of, with_settings
from optimizer.robustness.shortlist import Progress, shortlist
from optimizer.worth import Worth, worth_of

DRAWS = 200
"""Draws of constants and assumed facts. [1]"""

SEED = 0
"""Of the draws: the same question has the same answer. [1]"""

SCOUTS = 8
"""Draws under which the whole space is searched for fleets that the shortlist should have. [1]"""

BLOCK = 10
"""Draws evaluated at a time: arrays stay in the cache, and progress shows. [1]"""


@dataclass(frozen=True, eq=False)
class Trials:
    """What the winner and the shortlist give under each draw.

    Attributes
    ----------
    winner : Configuration
        As answered.
    fleets : tuple of Configuration
        The shortlist, the winner's first.
    settings : tuple of (Configuration or None)
        Each with the batch and users that suit it best under the values of the fit; None where none
        meets the limits.
    worth : Worth
        What the objective makes of throughput.
    retuned : array of float
        Worth of each fleet at the batch and users that suit it best, 0 where none meets the
        limits; shape ``(draws, fleets)``. [token/s per GPU]
    configured : array of float
        Worth of the winner as answered, whether or not it meets the limits; shape ``(draws,)``.
        [token/s per GPU]
    meets : array of bool
        Whether it does; shape ``(draws,)``.
    reaches : array of bool
        Whether its median interactivity meets the target, whatever else is asked; shape
        ``(draws,)``.
    facts : dict
        Assumed facts, as drawn, in their units; shape ``(draws,)`` each.
    """

    winner: Configuration
    fleets: tuple[Configuration, ...]
    settings: tuple[Configuration | None, ...]
    worth: Worth
    retuned: FloatArray
    configured: FloatArray
    meets: BoolArray
    reaches: BoolArray
    facts: Mapping[AssumedFact, FloatArray] = field(default_factory=dict)

    @property
    def answers(self) -> tuple[Configuration, ...]:
        """Configurations that meet the limits under the values of the fit, the winner first."""
        return self.winner, *(each for each in self.settings[1:] if each)

    @property
    def best(self) -> FloatArray:
        """Best worth of each draw, shape ``(draws,)`` [token/s per GPU]."""
        found = np.max(self.retuned, axis=1, initial=0.0)
        return np.asarray(np.maximum(found, np.where(self.meets, self.configured, 0.0)))


def try_draws(
    winner: Configuration,
    problem: Problem,
    file: CalibrationFile,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Trials:
    """Draw constants and assumed facts, and retune a shortlist of fleets under each draw.

    Parameters
    ----------
    winner : Configuration
        What the search answers under the values of `file`.
    problem : Problem
        What was asked.
    file : CalibrationFile
        Constants with their standard errors and correlations.
    draws, seed : int
        [1]
    progress : callable, optional
        Called `steps_of` times, evenly.

    Raises
    ------
    InputError
        As the search does.
    """
    advance = progress or (lambda: None)
    fitted = problem.under(file.calibration)
    drawn = draw(fitted, file, draws, seed)
    scouts = [drawn.problem_of(each) for each in range(min(SCOUTS, draws))]
    fleets = shortlist(winner, [fitted, *scouts], advance)
    worth, bought = worth_of(fleets, fitted), _bought(winner, fitted)
    retuned = np.zeros((draws, len(fleets)))
    done = told = 0
    configured, meets, reaches = np.zeros(draws), np.zeros(draws, bool), np.zeros(draws, bool)
    for there, places in drawn.machines:
        retuning = retuning_of(fleets, there)
        as_it_is = _as_it_is(winner, there, retuning, bought)
        for start in range(0, len(places), BLOCK):
            some = places[start : start + BLOCK]
            calibration = drawn.calibration(some)
            retuned[some] = worth.of(retuning.under(calibration).total_tok_s_per_gpu)
            given, fits, fast = as_it_is.under(calibration)
            configured[some], meets[some], reaches[some] = (
                np.broadcast_to(each, (len(some), 1))[:, 0] for each in (given, fits, fast)
            )
            done += len(some)
            while told < done / BLOCK:
                advance()
                told += 1
    settings = with_settings(fleets, retuning_of(fleets, fitted).under(file.calibration))
    return Trials(winner, fleets, settings, worth, retuned, configured, meets, reaches, drawn.facts)


def steps_of(draws: int = DRAWS) -> int:
    """How often `try_draws` reports progress."""
    return 1 + min(SCOUTS, draws) + math.ceil(draws / BLOCK)


@dataclass(frozen=True)
class _AsItIs:
    """The winner with its batch and users, whatever the constants.

    Attributes
    ----------
    deployments : Deployments
        The winner alone.
    worth : Worth
        Of it alone.
    limits : Limits
    promised : array of float
        Share of its median interactivity that counts against the target. [1]
    ttft_factor : array of float
        Factor by which its TTFT counts against the limit. [1]
    replicas : array of int
        That serve a rate under the values of the fit; 1 without a rate. [1]
    """

    deployments: Deployments
    worth: Worth
    limits: Limits
    promised: FloatArray
    ttft_factor: FloatArray
    replicas: IntArray

    def under(self, calibration: Calibration) -> tuple[FloatArray, BoolArray, BoolArray]:
        """Say what it is worth, whether it meets the limits and rate, and whether the target alone.

        The target alone is asked without a confidence.
        """
        result = run(self.deployments, calibration)
        worth = self.worth.of(result.total_tok_s_per_gpu, self.replicas)
        longest = math.inf if self.limits.max_ttft is None else self.limits.max_ttft
        tpot = result.tpot_at(self.limits.target_percentile)
        ttft = result.ttft_at(self.limits.ttft_percentile) * self.ttft_factor
        reaches = tpot <= 1.0 / self.limits.target
        promises = tpot <= self.promised / self.limits.target
        meets = promises & (ttft <= longest) & (worth > 0.0)
        return worth, np.asarray(meets), np.asarray(reaches)


def _as_it_is(
    winner: Configuration, problem: Problem, retuning: Retuning, bought: IntArray
) -> _AsItIs:
    case = Case(winner, problem.scenario, *problem.resources)
    promise, batch = retuning.promise.take(np.array([0])), np.array([winner.max_batch])
    return _AsItIs(
        deployments_of([case], problem.calibration.anchors),
        worth_of([winner], problem),
        problem.limits,
        promise.speed(batch),
        promise.ttft_factor(batch, retuning.widening[:1]),
        bought,
    )


def _bought(winner: Configuration, problem: Problem) -> IntArray:
    """Count the replicas that serve a rate under the values of the fit."""
    case = Case(winner, problem.scenario, *problem.resources)
    alone = deployments_of([case], problem.calibration.anchors)
    result = run(alone, problem.calibration)
    return worth_of([winner], problem).replicas(result.total_tok_s_per_gpu)
